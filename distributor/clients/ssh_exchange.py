"""One command over one channel: what is sent when, and what came back."""

from collections.abc import Callable
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
        self._has_answered = False

    def run(self, stdin: bytes, password: Callable[[], bytes]) -> None:
        """Run the command until it ends or cannot go on; what became of it is in the dialogue.

        `password` gives what sudo reads, and is called at most once, when it asks. Raises what that
        raises, and a HostError where there is no channel to run it on.
        """
        connection, dialogue = self._connection, self._dialogue
        with connection.translating():
            channel = connection.transport.open_session(
                window_size=_WINDOW, timeout=connection.wire.seconds_left + 1
            )
        try:
            channel.settimeout(_BLINK)
            with connection.translating():
                channel.exec_command(self._line)
            while not (dialogue.has_begun or self._cannot_go_on):
                self._hear(channel)
                if dialogue.prompts and not self._has_answered:
                    self._has_answered = True
                    self._send(channel, password())
            if not dialogue.has_begun:
                return
            self._send(channel, stdin)
            self._end_stdin(channel)
            while not (dialogue.has_ended or self._cannot_go_on):
                self._hear(channel)
        finally:
            _quietly(channel.close)

    @property
    def _cannot_go_on(self) -> bool:
        return self._is_over or self._dialogue.is_too_much or self._dialogue.prompts > 1

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

    def _end_stdin(self, channel: paramiko.Channel) -> None:
        _quietly(channel.shutdown_write)


def _quietly(close: Callable[[], None]) -> None:
    """Close something of a connection that may be gone already, which shows elsewhere."""
    try:
        close()
    except FOREIGN:
        return
