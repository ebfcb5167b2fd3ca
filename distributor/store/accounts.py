"""ACME accounts: one key and URL per CA and contact."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from distributor.model.errors import BundleError, StateError
from distributor.model.pem import private_key_from, private_key_pem
from distributor.model.secret import Secret
from distributor.store.files import read, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account key, and the URL under which the CA knows it once it does."""

    key_pem: Secret
    url: str | None = None


class Accounts:
    """`accounts/<mark>/{key.pem,account.json}`; the mark is a hash of directory URL and contact."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, directory_url: str, email: str | None) -> Account | None:
        """Return the account, or None when there is none yet."""
        folder = self._place(directory_url, email)
        key = read(folder / "key.pem")
        if key is None:
            return None
        try:
            key_pem = private_key_pem(private_key_from(key, "the account key"))
        except BundleError as error:
            raise StateError(
                f"{folder / 'key.pem'} cannot be read",
                hint=f"remove {folder}: a new account is registered",
            ) from error
        known = read(folder / "account.json")
        if known is None:
            return Account(key_pem=key_pem)
        try:
            url = str(json.loads(known)["url"])
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{folder / 'account.json'} cannot be read",
                hint="remove it: the CA finds the account by its key",
            ) from error
        return Account(key_pem=key_pem, url=url)

    def save(self, directory_url: str, email: str | None, account: Account) -> None:
        """Keep the key before the CA is asked, and the URL after it answered."""
        folder = self._place(directory_url, email)
        write(folder / "key.pem", account.key_pem.reveal().encode("ascii"))
        if account.url is not None:
            about = {"version": 0, "directory": directory_url, "contact": email, "url": account.url}
            write(folder / "account.json", json.dumps(about, indent=1).encode("utf-8"))

    def _place(self, directory_url: str, email: str | None) -> Path:
        mark = sha256(f"{directory_url}\n{email or ''}".encode()).hexdigest()
        return self._folder / mark[:16]
