"""refusals.toml: logins that a host refused, so that the same words are not sent to it again.

Devices block an address after a few refused logins; a nightly run with a wrong password would get
there by itself. Of the password only a salted, slow hash is kept, and that for a day.
"""

import hashlib
import hmac
import secrets
import threading
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from distributor.model.errors import StateError
from distributor.model.secret import Secret
from distributor.model.times import from_rfc3339, rfc3339
from distributor.store.files import read, write

REMEMBERED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login that a host refused."""

    when: datetime
    code: int
    """The host's own."""


class Refusals:
    """What each host refused, by user; kept in memory too, so that a dry run need not write."""

    def __init__(self, path: Path, *, persist: bool) -> None:
        self._path = path
        self._persist = persist
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] | None = None

    def find(self, host: str, user: str, password: Secret, now: datetime) -> Refusal | None:
        """Return the refusal of these words within the last day, or None."""
        with self._lock:
            noted = self._read().get(host)
        if noted is None or noted["user"] != user:
            return None
        when = from_rfc3339(noted["when"])
        if not when <= now < when + REMEMBERED:
            return None
        same = hmac.compare_digest(_hash(password, bytes.fromhex(noted["salt"])), noted["hash"])
        return Refusal(when, int(noted["code"])) if same else None

    def note(self, host: str, user: str, password: Secret, code: int, now: datetime) -> None:
        """Remember that `host` refused these words with its code."""
        salt = secrets.token_bytes(16)
        entry = {
            "user": user,
            "salt": salt.hex(),
            "hash": _hash(password, salt),
            "code": code,
            "when": rfc3339(now),
        }
        with self._lock:
            self._save(self._read() | {host: entry})

    def forget(self, host: str) -> None:
        """Forget what `host` refused: a person has seen to it, or a login succeeded."""
        with self._lock:
            known = self._read()
            if host in known:
                self._save({name: entry for name, entry in known.items() if name != host})

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._known is None:
            written = read(self._path)
            self._known = _parsed(written, self._path) if written is not None else {}
        return self._known

    def _save(self, known: dict[str, dict[str, Any]]) -> None:
        import tomli_w

        self._known = known
        if self._persist:
            write(self._path, tomli_w.dumps({"version": 0, "hosts": known}).encode("utf-8"))


def _hash(password: Secret, salt: bytes) -> str:
    # 16 MiB and about 50 ms: enough to make guessing from a stolen state folder slow.
    raw = password.reveal().encode("utf-8")
    return hashlib.scrypt(raw, salt=salt, n=1 << 14, r=8, p=1, dklen=32).hex()


def _parsed(written: bytes, path: Path) -> dict[str, dict[str, Any]]:
    try:
        hosts = tomllib.loads(written.decode("utf-8"))["hosts"]
        for noted in hosts.values():
            from_rfc3339(noted["when"])
            bytes.fromhex(noted["salt"])
            _ = (str(noted["user"]), str(noted["hash"]), int(noted["code"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"{path} cannot be read", hint="remove it: it only remembers refused logins"
        ) from error
    return {str(name): dict(noted) for name, noted in hosts.items()}
