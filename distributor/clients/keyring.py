"""Secrets by name: in the system's keyring, or in secrets.toml where there is none."""

import logging
import shlex
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal

from distributor.model.errors import SecretError
from distributor.model.secret import Secret
from distributor.model.text import printable
from distributor.store.secrets_file import SecretsFile

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

log = logging.getLogger(__name__)

SERVICE: Final = "distribute"
"""What all our secrets stand under in a keyring; the secret's name is its user name there."""
NO_KEYRING: Final = "PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring"
"""Set in the environment, it keeps the library from using any keyring."""
FILE: Final = "secrets.toml"

Place = Literal["keyring", "secrets.toml", "missing"]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a secret lives, and what kept the keyring from being asked, if anything did."""

    place: Place
    error: SecretError | None = None


class NamedSecrets:
    """Secrets by name. The keyring comes first; secrets.toml stands in for it.

    A keyring that is locked (as it is for a nightly run, when nobody is signed in) does not hide a
    secret that secrets.toml has.
    """

    def __init__(self, file: SecretsFile) -> None:
        self._file = file

    def get(self, name: str) -> Secret:
        """Return the secret; raises SecretError, with the command that sets it, or StateError."""
        found, failure = self._look(name)
        if found is not None:
            return found[1]
        if failure is not None:
            raise failure
        raise SecretError(
            f"there is no secret '{printable(name)}', neither in the keyring nor in {FILE}",
            hint=f"distribute secret set {shlex.quote(printable(name))}",
            step="secret",
        )

    def where(self, name: str) -> Whereabouts:
        """Return where the secret lives; a keyring that fails is told, not raised."""
        found, failure = self._look(name)
        return Whereabouts("missing" if found is None else found[0], failure)

    def names(self) -> tuple[str, ...]:
        """Return the names that were set and not deleted, in alphabetical order."""
        return tuple(sorted({*self._file.names, *self._file.in_keyring}))

    def set(self, name: str, value: Secret) -> Place:
        """Keep a secret, and return where; raises SecretError or StateError."""
        try:
            backend = _backend()
            if backend is not None:
                backend.set_password(SERVICE, name, value.reveal())
            kept = backend.get_password(SERVICE, name) if backend is not None else None
        except _foreign() as error:
            raise translate(error, f"keeping '{printable(name)}'") from error
        if backend is None:
            self._file.put(name, value)
            return "secrets.toml"
        if kept != value.reveal():
            raise SecretError(
                f"the keyring ({_name_of(backend)}) took '{printable(name)}' and does not give it "
                "back",
                hint=f"to use {FILE} instead: "
                f"{NO_KEYRING} distribute secret set {shlex.quote(printable(name))}",
                step="secret",
            )
        self._file.note_in_keyring(name)
        return "keyring"

    def delete(self, name: str) -> tuple[Place, ...]:
        """Remove a secret wherever it is, and return where it was."""
        places: list[Place] = []
        try:
            backend = _backend()
            if backend is not None and backend.get_password(SERVICE, name) is not None:
                backend.delete_password(SERVICE, name)
                places.append("keyring")
        except _foreign() as error:
            raise translate(error, f"deleting '{printable(name)}'") from error
        if self._file.forget(name):
            places.append("secrets.toml")
        return tuple(places)

    def _look(self, name: str) -> tuple[tuple[Place, Secret] | None, SecretError | None]:
        failure: SecretError | None = None
        try:
            backend = _backend()
            value = backend.get_password(SERVICE, name) if backend is not None else None
        except _foreign() as error:
            value, failure = None, translate(error, f"looking for '{printable(name)}'")
            log.warning("keyring step=get name=%s error=%s", printable(name), type(error).__name__)
        if value:
            return ("keyring", Secret(value)), None
        held = self._file.get(name)
        return (None if held is None else ("secrets.toml", held)), failure


def translate(error: Exception, doing: str) -> SecretError:
    """Return our error for one that the library or its backend raised; `doing` says what failed.

    Backends may quote what they were given: of the cause only the kind is repeated.
    """
    from keyring import errors

    without = f"set {NO_KEYRING} to use {FILE} instead"
    lines: tuple[tuple[type[Exception], str, str], ...] = (
        (errors.KeyringLocked, "the keyring is locked", f"unlock it, or {without}"),
        (errors.NoKeyringError, "there is no keyring", without),
        (errors.InitError, "the keyring cannot be opened", f"unlock it, or {without}"),
        (errors.PasswordSetError, "the keyring does not keep it", f"unlock it, or {without}"),
        (errors.PasswordDeleteError, "the keyring does not delete it", "unlock it"),
    )
    for kind, message, hint in lines:
        if isinstance(error, kind):
            return SecretError(f"{doing}: {message}", hint=hint, step="secret")
    return SecretError(
        f"{doing}: the keyring failed ({type(error).__name__})", hint=without, step="secret"
    )


def _foreign() -> tuple[type[Exception], ...]:
    """Return all that the library and the backends of the usual systems raise."""
    # A missing library never comes this far; a backend named wrongly in the library's own
    # configuration shows as one of the last three.
    kinds: list[type[Exception]] = [OSError, RuntimeError, ImportError, AttributeError, ValueError]
    with suppress(ImportError):
        kinds.append(import_module("keyring.errors").KeyringError)
    with suppress(ImportError):  # what Linux desktops use; not all of it is wrapped by keyring
        kinds.append(import_module("secretstorage.exceptions").SecretStorageException)
    return tuple(kinds)


def _backend() -> "KeyringBackend | None":
    """Return the keyring in use; None without the library, or where it knows of no keyring."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:
        return None
    backend = keyring.get_keyring()
    return None if isinstance(backend, fail.Keyring | null.Keyring) else backend


def _name_of(backend: "KeyringBackend") -> str:
    return printable(backend.name)
