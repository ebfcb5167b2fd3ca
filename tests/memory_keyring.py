"""A keyring in memory, registered through the library's own interface; and one that fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import keyring
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class MemoryKeyring(KeyringBackend):
    """Keeps what it is given, unless `failure` is set: then every call raises that."""

    priority = -2.0  # never chosen by itself

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring has no types here
        self.held: dict[tuple[str, str], str] = {}
        self.failure: Exception | None = None
        self.forgets = False

    def get_password(self, service: str, username: str) -> str | None:
        self._fail()
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._fail()
        if not self.forgets:
            self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._fail()
        if (service, username) not in self.held:
            raise PasswordDeleteError("not there")
        del self.held[service, username]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@contextmanager
def installed(backend: KeyringBackend) -> Iterator[None]:
    """Make `backend` the system's keyring for as long as the context lasts."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield
    finally:
        keyring.set_keyring(before)
