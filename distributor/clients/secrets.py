"""Fetches a secret by its reference, at the last moment."""

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Final

from distributor.model.errors import SecretError
from distributor.model.hosts import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    SecretRef,
)
from distributor.model.secret import Secret
from distributor.model.text import printable

COMMAND_SECONDS: Final = 30.0
SIZE_LIMIT: Final = 64 << 10
"""Bytes: a secret is a password or a key, not a disk image."""
_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


def fetch(reference: SecretRef) -> Secret:
    """Return the secret; raises SecretError, which says what is missing and never the value.

    One final newline is taken off what a file or command gives; otherwise text is taken as it is.
    """
    match reference:
        case EnvSecret(name):
            return _from_environment(name)
        case FileSecret(path):
            return _from_file(path)
        case CommandSecret(argv):
            return _from_command(argv)
        case KeyringSecret(name):
            raise SecretError(
                f"the secret '{printable(name)}' cannot be fetched: keyrings are not built yet",
                hint="use { env = … }, { file = … } or { command = … }",
                step="secret",
            )
        case _:
            return reference.value


def clean_environment() -> dict[str, str]:
    """Return what a child gets of our environment: no secret that is meant for somebody else."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _from_environment(name: str) -> Secret:
    value = os.environ.get(name)
    if not value:
        raise SecretError(
            f"the environment variable {printable(name)} is "
            f"{'empty' if value is not None else 'not set'}",
            hint="set it where this command is started",
            step="secret",
        )
    return _text(os.fsencode(value), f"the environment variable {printable(name)}")


def _from_file(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: the path holds a character that none may
        raise SecretError(
            f"the secret file {printable(path)} cannot be read: {_why(error)}",
            hint="correct the path, or its owner and mode",
            step="secret",
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise SecretError(
            f"others may read the secret file {path}", hint=f"chmod 600 '{path}'", step="secret"
        )
    return _text(_without_newline(content), f"the secret file {path}")


def _from_command(argv: tuple[str, ...]) -> Secret:
    shown = printable(argv[0])
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            start_new_session=True,  # no terminal to ask at, and one group to end
        )
    except (OSError, ValueError) as error:
        raise SecretError(
            f"{shown} cannot be started: {_why(error)}",
            hint="is it installed, and on the PATH?",
            step="secret",
        ) from error
    content, in_time = _output(child)
    if not in_time:
        raise SecretError(
            f"{shown} did not give the secret within {COMMAND_SECONDS:g} s",
            hint="run it by hand: does it ask something?",
            step="secret",
        )
    if len(content) <= SIZE_LIMIT and child.returncode != 0:
        raise SecretError(
            f"{shown} ended with exit code {child.returncode}",
            hint="run it by hand to see what it says",
            step="secret",
        )
    return _text(_without_newline(content), f"the output of {shown}")


def _output(child: subprocess.Popen[bytes]) -> tuple[bytes, bool]:
    """Return what the child prints, a byte beyond the limit at most, and whether it was in time."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        _end(child)

    timer = threading.Timer(COMMAND_SECONDS, give_up)
    timer.start()
    try:
        with child:
            try:
                content = child.stdout.read(SIZE_LIMIT + 1) if child.stdout is not None else b""
                if len(content) <= SIZE_LIMIT:
                    child.wait()
            finally:
                _end(child)  # if it still runs: it printed too much, or Ctrl-C was pressed
    finally:
        timer.cancel()
    return content, not late.is_set()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and its own children, unless it has ended by itself."""
    if child.returncode is not None:
        return
    if os.name == "posix":
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or printable(error)


def _without_newline(content: bytes) -> bytes:
    if content.endswith(b"\r\n"):
        return content[:-2]
    return content.removesuffix(b"\n")


def _text(content: bytes, what: str) -> Secret:
    if len(content) > SIZE_LIMIT:
        raise SecretError(
            f"{what} is larger than {SIZE_LIMIT} bytes", hint="is it the right one?", step="secret"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError(
            f"{what} is not UTF-8 text", hint="is it the right one?", step="secret"
        ) from None
    if not text:
        raise SecretError(f"{what} is empty", hint="is it the right one?", step="secret")
    return Secret(text)
