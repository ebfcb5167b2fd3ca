"""Peers on loopback that say what an input says, whatever they are asked."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distributor.model.hosts import SocketAddress

Talk = Callable[[socket.socket], None]

PATIENCE = 5.0
"""Seconds that a peer waits for a client, so that one which hangs is told apart."""


@contextmanager
def peer(talk: Talk) -> Iterator[SocketAddress]:
    """Serve `talk` to one connection after the other; all of it is over at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_accept, args=(listening, talk), name="fuzz-peer")
        thread.start()
        try:
            yield SocketAddress("127.0.0.1", int(listening.getsockname()[1]))
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # wakes the one who accepts
            thread.join(2 * PATIENCE)
            assert not thread.is_alive()


def _accept(listening: socket.socket, talk: Talk) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        # A client that leaves early is no mistake of its own.
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            talk(connection)


def saying(data: bytes) -> Talk:
    """Return what says it all at once, and listens until the client leaves."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        drain(connection)

    return talk


def drain(connection: socket.socket) -> None:
    """Listen until the client leaves."""
    while connection.recv(1 << 16):
        pass


def heard(connection: socket.socket) -> bytes:
    """Return a request of HTTP up to its blank line, or what came of it."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(1 << 16)
        if not piece:
            break
        got += piece
    return got
