"""A server program as a child process that never outlives this one, not even after SIGKILL.

Between the two stands a supervisor: this very file, run as a program. It starts the server and
reads a pipe whose other end only we hold; when we close it, or die, the server is ended. The
pipe works the same on Linux and macOS. Standard library only, so that the supervisor starts fast.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_GRACE = 3.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_SIGNALLED = 128  # as shells do: exit codes above tell which signal ended the server
_TAIL = 2000


class Child:
    """A running server; what it prints goes to `log`, which only the owner can read.

    `environment` is the child's whole environment. No secret belongs into `command`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.log = log
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, *command],
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C is for us; we end the server in our own order
            )
        finally:
            os.close(descriptor)

    @property
    def exit_code(self) -> int | None:
        """The server's exit code, or None while it runs."""
        return self._process.poll()

    def tail(self) -> str:
        """Return the end of what the server printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()

    def stop(self) -> None:
        """End the server and wait for it: SIGTERM, after 3 s SIGKILL; quiet if it has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # The session is ours alone, so this reaches the server and its workers, no one else.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _supervise(command: Sequence[str]) -> int:
    """Run the server until it ends by itself or the pipe does; returns only in the first case."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while not select.select([sys.stdin], [], [], _POLL_SECONDS)[0]:
        if server.poll() is not None:
            return server.returncode if server.returncode >= 0 else _SIGNALLED - server.returncode
    server.terminate()
    try:
        server.wait(_GRACE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    os.killpg(0, signal.SIGKILL)  # what the server may have left behind, and this supervisor
    return 0


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1:]))
