"""A peer that goes before the handshake must not cost a descriptor."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from distributor.clients.tls_socket import TlsSocket


@contextmanager
def reset_by_peer() -> Iterator[socket.socket]:
    """Give a client's connection whose peer ended it by a TCP reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=5)
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    with client:
        yield client


def wrap(plain: socket.socket, kind: type[ssl.SSLSocket]) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = kind
    return context.wrap_socket(plain)


def test_wrapping_a_connection_that_was_reset_raises_and_leaves_no_socket_open() -> None:
    made: list[TlsSocket] = []

    class Kept(TlsSocket):
        def getpeername(self) -> object:
            made.append(self)
            return super().getpeername()

    with reset_by_peer() as plain, pytest.raises(ConnectionResetError):
        wrap(plain, Kept)
    assert [one.fileno() for one in made] == [-1]


def test_a_live_connection_tells_its_peer() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.sslsocket_class = TlsSocket
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as plain,
        context.wrap_socket(plain, do_handshake_on_connect=False) as secured,
    ):
        assert secured.getpeername() == server.getsockname()
