"""A peer that answers one connection in the place of a port, and not as it should."""

import contextlib
import socket
import struct
import threading
import time
from typing import Final

from distributor.model.hosts import SocketAddress

ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x28"
"""A TLS alert: fatal, handshake_failure (RFC 8446 section 6)."""
NO_TLS: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_SECONDS: Final = 10.0
_RESET: Final = struct.pack("ii", 1, 0)


class FakePeer:
    """Takes one connection: cuts it, refuses it, talks something else, or is slow to pass it on."""

    def __init__(self, fault: str, real_port: int, slow_seconds: float) -> None:
        self._fault = fault
        self._real_port = real_port
        self._slow_seconds = slow_seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_SECONDS)
        self.address = SocketAddress("127.0.0.1", self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for its one connection to end."""
        self._thread.join(2 * _SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_SECONDS)
            connection.recv(1, socket.MSG_PEEK)
            if self._fault == "slow":
                time.sleep(self._slow_seconds)
                self._pass_on(connection)
            elif self._fault == "cut":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                connection.sendall({"refusal": ALERT, "garbage": NO_TLS}[self._fault])
                while connection.recv(4096):
                    pass

    def _pass_on(self, connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._real_port), _SECONDS) as real:
            other = threading.Thread(target=_copy, args=(real, connection), daemon=True)
            other.start()
            _copy(connection, real)
            other.join(_SECONDS)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(4096):
            sink.sendall(some)
        sink.shutdown(socket.SHUT_WR)
