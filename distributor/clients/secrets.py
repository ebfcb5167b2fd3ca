"""Fetches a secret by its reference, at the last moment."""

import os
import subprocess
from collections.abc import Callable
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


def fetch(reference: SecretRef, named: Callable[[str], Secret]) -> Secret:
    """Return the secret; raises SecretError, which says what is missing and never the value.

    `named` gives the secret that the keyring, or what stands in for it, has under a name. One final
    newline is taken off what a file or command gives; otherwise text is taken as it is.
    """
    match reference:
        case EnvSecret(name):
            return _from_environment(name)
        case FileSecret(path):
            return _from_file(path)
        case CommandSecret(argv):
            return _from_command(argv)
        case KeyringSecret(name):
            return named(name)
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
    return Secret(value)


def _from_file(path: Path) -> Secret:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()[: SIZE_LIMIT + 1]
    except OSError as error:
        raise SecretError(
            f"the secret file {path} cannot be read: {error.strerror}",
            hint="correct the path, or its owner and mode",
            step="secret",
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise SecretError(
            f"others may read the secret file {path}", hint=f"chmod 600 '{path}'", step="secret"
        )
    return secret_from(content, f"the secret file {path}")


def _from_command(argv: tuple[str, ...]) -> Secret:
    shown = printable(argv[0])
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            env=clean_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        # Not chained: the exception carries what was printed so far.
        raise SecretError(
            f"{shown} did not give the secret within {COMMAND_SECONDS:g} s",
            hint="run it by hand: does it ask something?",
            step="secret",
        ) from None
    except OSError as error:
        raise SecretError(
            f"{shown} cannot be started: {error.strerror}",
            hint="is it installed, and on the PATH?",
            step="secret",
        ) from error
    if done.returncode != 0:
        raise SecretError(
            f"{shown} ended with exit code {done.returncode}",
            hint="run it by hand to see what it says",
            step="secret",
        )
    return secret_from(done.stdout, f"the output of {shown}")


def secret_from(content: bytes, what: str) -> Secret:
    """Return UTF-8 text less one final newline; raises SecretError, which calls it `what`."""
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
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise SecretError(f"{what} is empty", hint="is it the right one?", step="secret")
    return Secret(value)
