"""The passphrase of a PKCS#12 file: from a variable, a file or a terminal, never an argument."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from distributor.model.secret import Secret

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Where a passphrase comes from; nothing is read before it is needed."""

    variable: str | None = None
    file: Path | None = None

    def given(self) -> "Secret | None":
        """Return what the options say, or None where they say nothing; raises SecretError."""
        from distributor.clients.secrets import fetch
        from distributor.model.errors import SecretError, UsageError
        from distributor.model.hosts import EnvSecret, FileSecret

        if self.variable is not None and self.file is not None:
            raise UsageError(
                "--passphrase-env and --passphrase-file contradict each other", hint="give one"
            )
        if self.variable is not None:
            reference: EnvSecret | FileSecret = EnvSecret(self.variable)
        elif self.file is not None:
            reference = FileSecret(self.file)
        else:
            return None
        found = fetch(reference, _no_names)
        if found.is_empty:
            raise SecretError("the passphrase is empty", hint="a key needs one", step="secret")
        return found

    def asked(self, what: str, *, new: bool) -> "Secret | None":
        """Return what a person types (twice for a new one); None where there is no terminal."""
        from distributor.model.secret import Secret

        if not sys.stdin.isatty():
            return None
        return Secret(
            click.prompt(
                f"Passphrase of {what} (not shown)",
                hide_input=True,
                confirmation_prompt=new,
                err=True,
            )
        )


def passphrase_options(command: Command) -> Command:
    """Let a command take `passphrase`, made of two options."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, passphrase_env: str | None, passphrase_file: Path | None, **more: Any
    ) -> Any:
        return command(*args, passphrase=Passphrase(passphrase_env, passphrase_file), **more)

    for option in (
        click.option(
            "--passphrase-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Read the passphrase of PKCS#12 from this file.",
        ),
        click.option(
            "--passphrase-env",
            metavar="NAME",
            help="Take the passphrase of PKCS#12 from this environment variable.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature


def _no_names(name: str) -> "Secret":
    raise LookupError(name)  # a variable or a file has no name in a keyring
