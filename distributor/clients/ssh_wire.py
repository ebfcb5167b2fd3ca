"""What an SSH connection runs over: a stream that ends by itself when it takes too long.

paramiko waits without an end in places (for a banner that comes byte by byte, for the answer to a
request), and reads as much as it is sent. Here both have their bounds in one place: what is late or
too much looks to paramiko like a connection that was cut.
"""

import errno
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, Literal

import paramiko

_GREETING_BYTES: Final = 1024


class Wire:
    """A connected socket, or a channel through another host, as paramiko wants one."""

    def __init__(self, below: socket.socket | paramiko.Channel) -> None:
        self._below = below
        self._closed = False  # paramiko reads it, of a socket too
        self._until = math.inf
        self._bytes = math.inf
        self.seconds = math.inf
        """What the last bound allowed."""
        self.greeting = b""
        """What came first."""
        self.ended_by: Literal["time", "size"] | None = None
        """Which bound ended it; None as long as none did."""

    @contextmanager
    def within(self, seconds: float, size: int) -> Iterator[None]:
        """Let what is inside take so long, and receive so many bytes."""
        self.seconds = seconds
        self._until, self._bytes = monotonic() + seconds, size
        try:
            yield
        finally:
            self._until, self._bytes = math.inf, math.inf

    @property
    def seconds_left(self) -> float:
        """What is left of the time."""
        return max(self._until - monotonic(), 0.0)

    def recv(self, size: int) -> bytes:
        """Receive as a socket does; nothing once a bound is passed."""
        if self._is_over():
            return b""
        data: bytes = self._below.recv(size)
        self._bytes -= len(data)
        if len(self.greeting) < _GREETING_BYTES:
            self.greeting += data[: _GREETING_BYTES - len(self.greeting)]
        return data

    def send(self, data: bytes) -> int:
        """Send as a socket does; raises OSError once a bound is passed."""
        if self._is_over():
            raise OSError(errno.ECONNABORTED, "out of bounds")
        return self._below.send(data)

    def settimeout(self, seconds: float | None) -> None:
        """Let each call take so long."""
        self._below.settimeout(seconds)

    def getpeername(self) -> Any:
        """Return the other end's address."""
        return self._below.getpeername()

    def close(self) -> None:
        """Close what is below."""
        self._closed = True
        self._below.close()

    def _is_over(self) -> bool:
        if self.ended_by is None:
            if monotonic() > self._until:
                self.ended_by = "time"
            elif self._bytes < 0:
                self.ended_by = "size"
        return self.ended_by is not None
