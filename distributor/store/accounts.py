"""ACME accounts: one key and URL per CA and contact."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from distributor.model.errors import BundleError, StateError
from distributor.model.pem import private_key_from, private_key_pem
from distributor.model.secret import Secret
from distributor.store.files import DAMAGED, read, remove, rename, text, write

_KEY: Final = "key.pem"
_NEXT: Final = "next.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account key, and the URL under which the CA knows it once it does."""

    key_pem: Secret
    url: str | None = None
    next_key_pem: Secret | None = None
    """The key that is to follow, from before the CA is asked until it is known what it did."""


class Accounts:
    """`accounts/<mark>/{key.pem,next.pem,account.json}`.

    The mark is a hash of directory URL and contact.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, directory_url: str, email: str | None) -> Account | None:
        """Return the account, or None when there is none yet."""
        folder = self._place(directory_url, email)
        key_pem = _key(folder / _KEY)
        if key_pem is None:
            return None
        next_key_pem = _key(folder / _NEXT)
        known = read(folder / "account.json")
        if known is None:
            return Account(key_pem=key_pem, next_key_pem=next_key_pem)
        try:
            url = text(json.loads(known)["url"])
        except DAMAGED as error:
            raise StateError(
                f"{folder / 'account.json'} cannot be read",
                hint="remove it: the CA finds the account by its key",
            ) from error
        return Account(key_pem=key_pem, url=url, next_key_pem=next_key_pem)

    def save(self, directory_url: str, email: str | None, account: Account) -> None:
        """Keep the key before the CA is asked, and the URL after it answered."""
        folder = self._place(directory_url, email)
        write(folder / _KEY, account.key_pem.reveal().encode("ascii"))
        if account.url is not None:
            about = {"version": 0, "directory": directory_url, "contact": email, "url": account.url}
            write(folder / "account.json", json.dumps(about, indent=1).encode("utf-8"))

    def note_next(self, directory_url: str, email: str | None, key_pem: Secret) -> None:
        """Keep the key that is to follow, before the CA is asked to take it."""
        folder = self._place(directory_url, email)
        write(folder / _NEXT, key_pem.reveal().encode("ascii"))

    def settle_next(self, directory_url: str, email: str | None, *, is_taken: bool) -> None:
        """Let the next key take the place of the key if the CA has taken it; else forget it."""
        folder = self._place(directory_url, email)
        if is_taken:
            rename(folder / _NEXT, folder / _KEY)
        else:
            remove(folder / _NEXT)

    def _place(self, directory_url: str, email: str | None) -> Path:
        mark = sha256(f"{directory_url}\n{email or ''}".encode()).hexdigest()
        return self._folder / mark[:16]


def _key(path: Path) -> Secret | None:
    written = read(path)
    if written is None:
        return None
    try:
        return private_key_pem(private_key_from(written, "the account key"))
    except BundleError as error:
        raise StateError(
            f"{path} cannot be read", hint=f"remove {path.parent}: a new account is registered"
        ) from error
