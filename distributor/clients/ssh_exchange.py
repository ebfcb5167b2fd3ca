"""One command over one channel: what is sent when, and what came back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import paramiko

from distributor.clients.ssh_connection import Connection
from distributor.clients.ssh_errors import FOREIGN
from distributor.protocol.remote_command import Dialogue

_BLINK: Final = 0.02
"""Seconds that stderr waits at most while nothing comes on stdout."""
_PIECE: Final = 1 << 15
_WINDOW: Final = 1 << 18
"""Bytes that may be on their way to us before we have read them."""


class Exchange:
    """A channel on which `line` runs; what it says is told to `dialogue`.

    It has to stand inside of a bound of the connection's wire, which ends it if nothing else does.
    """

    def __init__(self, connection: Connection, line: str, dialogue: Dialogue) -> None:
        self._connection = connection
        self._line = line
        self._dialogue = dialogue
        self._is_over = False

    def run(self, stdin: bytes, password: bytes | None = None) -> None:
        """Run the command until it ends or cannot go on; what became of it is in the dialogue.

        `password` is for sudo, known to be right, and sent once, when a shell is about to run sudo.
        Whether that reads it or not, `stdin` follows when the command has begun. Raises a HostError
        where there is no channel.
        """
        dialogue = self._dialogue
        with self._channel() as channel:
            if password is not None:
                self._to_sudo(channel, password)
                stdin = dialogue.cleared + stdin
            self._hear_until(channel, lambda: dialogue.has_begun)
            if not dialogue.has_begun:
                return
            self._send(channel, stdin)
            _quietly(channel.shutdown_write)
            self._hear_until(channel, lambda: dialogue.has_ended)

    def check(self, password: bytes) -> None:
        """Run it with nothing but the password to read: sudo cannot ask for another one."""
        with self._channel() as channel:
            self._to_sudo(channel, password)
            _quietly(channel.shutdown_write)
            self._hear_until(channel, lambda: self._dialogue.has_ended)

    @contextmanager
    def _channel(self) -> Iterator[paramiko.Channel]:
        connection = self._connection
        with connection.translating():
            channel = connection.transport.open_session(
                window_size=_WINDOW, timeout=connection.wire.seconds_left + 1
            )
        try:
            channel.settimeout(_BLINK)
            with connection.translating():
                channel.exec_command(self._line)
            yield channel
        finally:
            _quietly(channel.close)

    def _to_sudo(self, channel: paramiko.Channel, password: bytes) -> None:
        self._hear_until(channel, lambda: self._dialogue.has_shell)
        if self._dialogue.has_shell:
            self._send(channel, password)

    def _hear_until(self, channel: paramiko.Channel, is_there: Callable[[], bool]) -> None:
        dialogue = self._dialogue
        while not (is_there() or self._is_over or dialogue.is_too_much or dialogue.prompts > 1):
            self._hear(channel)

    def _hear(self, channel: paramiko.Channel) -> None:
        out = err = b""
        try:
            out = channel.recv(_PIECE)
            self._is_over = not out
        except TimeoutError:
            pass  # nothing yet
        except FOREIGN:
            self._is_over = True
        try:
            # Where stdout has ended, so has stderr: the rest of it comes at once.
            while channel.recv_stderr_ready():
                err += channel.recv_stderr(_PIECE)
        except FOREIGN:
            self._is_over = True
        self._dialogue.heard(out, err)

    def _send(self, channel: paramiko.Channel, data: bytes) -> None:
        """Send; a command that ended without reading all of it tells so by its end."""
        view = memoryview(data)
        while view and not self._is_over:
            try:
                view = view[channel.send(bytes(view[:_PIECE])) :]
            except TimeoutError:
                self._hear(channel)
            except FOREIGN:
                return


def _quietly(close: Callable[[], None]) -> None:
    """Close something of a connection that may be gone already, which shows elsewhere."""
    try:
        close()
    except FOREIGN:
        return
