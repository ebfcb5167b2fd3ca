"""INFO of a DiskStation's certificate archive: which entries there are, and who uses them.

DSM writes it, and so do its users' scripts: what is damaged is refused, not guessed at. Everything
in it may become part of a path (dsm-ssh facts 1.1, 1.2).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from distributor.model.errors import ProtocolError
from distributor.model.text import printable

CERTIFICATES: Final = "/usr/syno/etc/certificate"
"""Holds the copies that services of the system use, and the archive."""
PACKAGES: Final = "/usr/local/etc/certificate"
"""Holds the copies that services of packages use."""
ARCHIVE: Final = f"{CERTIFICATES}/_archive"

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PART: Final = re.compile(r"(?!\.{1,2}$|-)[^/\x00-\x1f\x7f]{1,255}")
"""One part of a path, and no option of the command that gets it as its argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundService:
    """A service that uses an entry."""

    subscriber: str
    service: str
    display_name: str
    is_package: bool

    @property
    def id(self) -> str:
        """`subscriber/service`, which together are unique on a box."""
        return f"{self.subscriber}/{self.service}"

    @property
    def folder(self) -> str:
        """Where its copy of the certificate is, if it has one."""
        return f"{PACKAGES if self.is_package else CERTIFICATES}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoEntry:
    """A certificate of the archive."""

    id: str
    description: str
    services: tuple[BoundService, ...]
    user_deletable: bool = True

    @property
    def folder(self) -> str:
        """Where its files are."""
        return f"{ARCHIVE}/{self.id}"


def parse_info(content: bytes) -> tuple[InfoEntry, ...]:
    """Return the entries by id.

    Raises ProtocolError when it is damaged: no JSON, a key twice, an id or service that is no part
    of a path, an entry without list of services, a service that two entries have.
    """
    try:
        told = json.loads(content.decode("utf-8"), object_pairs_hook=_distinct)
        if not isinstance(told, dict):
            raise TypeError("no object")  # noqa: TRY301 - one refusal for all that is unfit
        entries = tuple(_entry(key, value) for key, value in sorted(told.items()))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(f"it cannot be read ({printable(error)})") from error
    users: dict[str, str] = {}
    for entry in entries:
        for service in entry.services:
            if users.setdefault(service.id, entry.id) != entry.id:
                raise _damaged(
                    f"{printable(service.id)} is bound to {users[service.id]} and to {entry.id}"
                )
    return entries


def parse_default(content: bytes) -> str | None:
    """Return the id that the file DEFAULT names; None for anything else."""
    text = content.decode("utf-8", "replace").strip()
    return text if _ID.fullmatch(text) else None


def _distinct(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _entry(key: str, value: Any) -> InfoEntry:
    if not _ID.fullmatch(key):
        raise ValueError(f"'{key}' is no id")
    services = value["services"]
    if not isinstance(services, list):
        raise TypeError(f"{key} has no list of services")
    return InfoEntry(
        id=key,
        description=_text(value.get("desc", "")),
        services=tuple(map(_service, services)),
        user_deletable=_flag(value.get("user_deletable", True)),
    )


def _service(value: Any) -> BoundService:
    return BoundService(
        subscriber=_part(value["subscriber"]),
        service=_part(value["service"]),
        display_name=_text(value.get("display_name", "")),
        is_package=_flag(value.get("isPkg", False)),
    )


def _part(value: Any) -> str:
    text = _text(value)
    if not _PART.fullmatch(text):
        raise ValueError(f"'{text}' is no part of a path")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode("utf-8")  # raises ValueError for half of a surrogate pair
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("no truth value")
    return value


def _damaged(how: str) -> ProtocolError:
    return ProtocolError(
        f"the box's list of certificates ({ARCHIVE}/INFO) is damaged: {how}",
        hint="look at Control Panel > Security > Certificate; nothing is changed as long as it "
        "is so",
        step="read",
    )
