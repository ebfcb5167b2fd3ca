"""refusals.toml: logins that a host refused, so that the same words are not sent to it again.

Devices block an address after a few refused logins; a nightly run with a wrong password would get
there by itself. Of the password only a salted, slow hash is kept, and that for a day.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from distributor.model.secret import Secret
from distributor.model.times import from_rfc3339, rfc3339
from distributor.store.files import text
from distributor.store.host_tables import HostTables

REMEMBERED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login that a host refused."""

    when: datetime
    code: int
    """The host's own."""


@dataclass(frozen=True, slots=True)
class _Noted:
    user: str
    salt: bytes
    hash: str
    code: int
    when: datetime


class Refusals:
    """What each host refused; kept in memory too, so that a dry run need not write."""

    def __init__(self, path: Path, *, persist: bool) -> None:
        self._tables = HostTables(path, "remove it: it only remembers refused logins")
        self._persist = persist
        self._fresh: dict[str, _Noted] = {}

    def find(self, host: str, user: str, password: Secret, now: datetime) -> Refusal | None:
        """Return the refusal of these words within the last day, or None."""
        noted = self._fresh.get(host) or self._tables.read(host, _parsed)
        if noted is None or noted.user != user:
            return None
        if not noted.when <= now < noted.when + REMEMBERED:
            return None
        same = hmac.compare_digest(_hash(password, noted.salt), noted.hash)
        return Refusal(noted.when, noted.code) if same else None

    def note(self, host: str, user: str, password: Secret, code: int, now: datetime) -> None:
        """Remember that `host` refused these words with its code."""
        salt = secrets.token_bytes(16)
        noted = _Noted(user, salt, _hash(password, salt), code, now.replace(microsecond=0))
        self._fresh[host] = noted
        if self._persist:
            with self._tables.changing(host) as table:
                table |= {
                    "user": user,
                    "salt": salt.hex(),
                    "hash": noted.hash,
                    "code": code,
                    "when": rfc3339(noted.when),
                }

    def forget(self, host: str) -> None:
        """Forget what `host` refused: a person has seen to it."""
        self._fresh.pop(host, None)
        with self._tables.changing(host) as table:
            table.clear()


def _hash(password: Secret, salt: bytes) -> str:
    # 16 MiB and about 50 ms: enough to make guessing from a stolen state folder slow.
    raw = password.reveal().encode("utf-8")
    return hashlib.scrypt(raw, salt=salt, n=1 << 14, r=8, p=1, dklen=32).hex()


def _parsed(table: Any) -> _Noted:
    return _Noted(
        user=text(table["user"]),
        salt=bytes.fromhex(table["salt"]),
        hash=bytes.fromhex(table["hash"]).hex(),
        code=int(table["code"]),
        when=from_rfc3339(table["when"]),
    )
