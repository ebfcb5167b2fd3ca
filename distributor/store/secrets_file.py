"""secrets.toml: secrets by name, for a computer without a keyring, and which names a keyring has.

A keyring gives a secret for its name but no list of names; those that were put there by `distribute
secret set` are noted here, without their values.
"""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from distributor.model.errors import StateError
from distributor.model.secret import Secret
from distributor.store.files import DAMAGED, remove, write


@dataclass(frozen=True, slots=True)
class _Content:
    secrets: dict[str, str] = field(repr=False)
    in_keyring: frozenset[str]


class SecretsFile:
    """The file and its names; readable by its owner alone, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> Secret | None:
        """Return the secret that the file holds under `name`, or None.

        Raises StateError when the file cannot be read, or others may read it.
        """
        value = self._content().secrets.get(name)
        return None if value is None else Secret(value)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the secrets that the file holds."""
        return tuple(self._content().secrets)

    @property
    def in_keyring(self) -> tuple[str, ...]:
        """Names that were put into a keyring; it may have lost them since."""
        return tuple(sorted(self._content().in_keyring))

    def put(self, name: str, value: Secret) -> None:
        """Keep a secret in the file."""
        content = self._content()
        secrets = content.secrets | {name: value.reveal()}
        self._write(_Content(secrets, content.in_keyring - {name}))

    def note_in_keyring(self, name: str) -> None:
        """Note that a keyring has the secret; a copy of it in the file is removed."""
        content = self._content()
        self._write(_Content(_without(content.secrets, name), content.in_keyring | {name}))

    def forget(self, name: str) -> bool:
        """Remove the secret and the note on it; return whether the file held the secret."""
        content = self._content()
        held = name in content.secrets
        if held or name in content.in_keyring:
            self._write(_Content(_without(content.secrets, name), content.in_keyring - {name}))
        return held

    def _content(self) -> _Content:
        written = _read_private(self.path)
        if written is None:
            return _Content({}, frozenset())
        try:
            data = tomllib.loads(written.decode("utf-8"))
            secrets, noted = data.get("secrets", {}), data.get("in_keyring", [])
            if not all(isinstance(one, str) for one in (*secrets.values(), *noted)):
                raise TypeError("not text")
            return _Content(dict(secrets), frozenset(noted))
        except DAMAGED:
            # Not chained: the parser's words could quote a secret.
            raise StateError(
                f"{self.path} cannot be read: it is not as `distribute secret set` writes it",
                hint="correct it by hand, or remove it and set the secrets again",
            ) from None

    def _write(self, content: _Content) -> None:
        import tomli_w

        if not content.secrets and not content.in_keyring:
            remove(self.path)
            return
        data = {
            "version": 0,
            "in_keyring": sorted(content.in_keyring),
            "secrets": content.secrets,
        }
        write(self.path, tomli_w.dumps(data).encode("utf-8"))


def _read_private(path: Path) -> bytes | None:
    """Return the content, or None when there is no such file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"cannot read {path}: {error.strerror}", hint="check its owner and mode"
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise StateError(
            f"others may read {path}, which holds secrets",
            hint=f"chmod 600 '{path}', and change the passwords in it",
        )
    return content


def _without(secrets: dict[str, str], name: str) -> dict[str, str]:
    return {known: value for known, value in secrets.items() if known != name}
