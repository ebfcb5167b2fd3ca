"""What a virtual box holds: certificate entries, the default, and the bindings.

The rules of DSM about imports, bindings and deletions live here, without any HTTP (dsm-web-api
facts §3 and §7.6-7.8). A router is a box with one entry.
"""

import secrets
import string
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from distributor.lab.material import (
    Material,
    describe,
    fingerprint,
    key_fingerprint,
)

_ID_LETTERS = string.ascii_letters + string.digits
_CORE_KEYS = frozenset({"display_name", "isPkg", "owner", "service", "subscriber"})
UNBOUND = ""  # what stands for the entry of a service that has none
Starttls = Literal["ftp", "smtp", "imap", "ldap"]
_WEB_SUBSCRIBERS = frozenset({"system", "ReverseProxy", "AppPortal"})


class RefusedError(Exception):
    """The box refuses a change; `code` is the Web API's number for it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Service:
    """One thing on the box that holds a certificate; None stands for a key that is not listed."""

    subscriber: str
    service: str
    display_name: str
    owner: str = "root"
    is_pkg: bool = False
    display_name_i18n: str | None = None
    multiple_cert: bool | None = None
    user_setable: bool | None = None
    starttls: tuple[Starttls, ...] = ()
    """Protocols that have a port of their own where TLS begins on demand."""

    @property
    def key(self) -> str:
        """`subscriber/service`, which is unique on a box."""
        return f"{self.subscriber}/{self.service}"

    @property
    def is_web(self) -> bool:
        """Whether the web server itself presents this service's certificate."""
        return self.subscriber in _WEB_SUBSCRIBERS

    def listed(self) -> dict[str, object]:
        """Return the object that `CRT list` shows for it."""
        told: dict[str, object] = {
            "display_name": self.display_name,
            "isPkg": self.is_pkg,
            "owner": self.owner,
            "service": self.service,
            "subscriber": self.subscriber,
        }
        optional = {
            "display_name_i18n": self.display_name_i18n,
            "multiple_cert": self.multiple_cert,
            "user_setable": self.user_setable,
        }
        return told | {key: value for key, value in optional.items() if value is not None}

    def is_meant_by(self, given: Mapping[str, object]) -> bool:
        """Whether an object sent by a client is this service as listed.

        The five core keys must be there; the others may be left out (facts §3.5).
        """
        listed = self.listed()
        return given.keys() >= _CORE_KEYS and all(
            key in listed and type(value) is type(listed[key]) and value == listed[key]
            for key, value in given.items()
        )


DSM_DESKTOP = Service(
    "system",
    "default",
    "DSM Desktop Service",
    display_name_i18n="common:web_desktop",
    multiple_cert=True,
    user_setable=True,
)
# A router tells of no services: this one stands for its web server, and its name is inferred.
SRM_DESKTOP = Service("system", "default", "SRM Desktop Service")
FTPS = Service("smbftpd", "ftpd", "FTPS", multiple_cert=True, user_setable=True, starttls=("ftp",))
# Subscriber, service and display name of these two are inferred.
MAIL = Service(
    "MailPlus-Server",
    "MailPlus-Server",
    "MailPlus Server",
    owner="MailPlus-Server",
    is_pkg=True,
    starttls=("smtp", "imap"),
)
LDAP = Service(
    "DirectoryServer",
    "DirectoryServer",
    "LDAP Server",
    owner="DirectoryServer",
    is_pkg=True,
    starttls=("ldap",),
)
# The display name of this one is inferred; that it cannot be moved was seen.
QUICKCONNECT = Service("system", "quickconnect", "QuickConnect")
DRIVE = Service(
    "SynologyDrive",
    "SynologyDrive",
    "Synology Drive Server",
    owner="SynologyDrive",
    is_pkg=True,
)


def reverse_proxy(host_name: str) -> Service:
    """Return a reverse-proxy rule; its service is a UUID, the same for the same host name."""
    rule = uuid.uuid5(uuid.NAMESPACE_DNS, host_name)
    return Service("ReverseProxy", str(rule), host_name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate of the list."""

    id: str
    desc: str
    material: Material
    renewable: bool = False
    user_deletable: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did: the entry, the services that now present something else, the default."""

    entry_id: str
    services: frozenset[str] = frozenset()
    created: bool = False
    touches_default: bool = False
    """The default flag moved, or the files of the default entry changed."""


class BoxState:
    """The entries and bindings of one box. Every method is atomic; safe for many threads."""

    def __init__(self, first: Entry, services: Sequence[Service]) -> None:
        self._lock = threading.RLock()
        self._entries = {first.id: first}
        self._default = first.id
        self._services = {service.key: service for service in services}
        if len(self._services) != len(services):
            raise ValueError("two services of one box have the same subscriber and service")
        self._bindings = dict.fromkeys(self._services, first.id)

    @property
    def services(self) -> tuple[Service, ...]:
        """All services of the box."""
        return tuple(self._services.values())

    def entry(self, entry_id: str) -> Entry:
        """One entry; an unknown id is refused with 5503, which is inferred for most calls."""
        with self._lock:
            if entry_id not in self._entries:
                raise RefusedError(5503)
            return self._entries[entry_id]

    def presented(self, service_key: str) -> Material:
        """Return the files a service presents in a handshake.

        That a service without an entry presents the default one is inferred.
        """
        with self._lock:
            return self._entries[self._bindings[service_key] or self._default].material

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Forget what is done meanwhile: afterwards everything is as before."""
        with self._lock:
            before = dict(self._entries), dict(self._bindings), self._default
            try:
                yield
            finally:
                self._entries, self._bindings, self._default = before

    @property
    def default(self) -> str:
        """The id of the default entry."""
        with self._lock:
            return self._default

    def presented_by_default(self) -> Material:
        """Return the files of the default entry."""
        with self._lock:
            return self._entries[self._default].material

    def put(
        self, entry_id: str, material: Material, desc: str, *, default: bool, create: bool = False
    ) -> Change:
        """Import: replace the entry `entry_id` in place, or make a new one when it is "".

        Replacing keeps bindings and default, and overwrites the description. An unknown id is
        refused with 5503 unless `create`, which makes a new entry under an id of its own.
        """
        with self._lock:
            created = not entry_id or (create and entry_id not in self._entries)
            if created:
                entry = Entry(self._new_id(), desc, material)
            else:
                entry = replace(self.entry(entry_id), desc=desc, material=material)
            self._entries[entry.id] = entry
            moved = default and self._default != entry.id
            if default:
                self._default = entry.id
            is_default = self._default == entry.id
            return Change(entry.id, self._presenting(entry.id), created, moved or is_default)

    def add(self, entry: Entry) -> None:
        """Put an entry there exactly as given, replacing one of the same id."""
        with self._lock:
            self._entries[entry.id] = entry

    def new_entry(self, material: Material, desc: str) -> Entry:
        """Return an entry with a fresh id, not yet on the box."""
        with self._lock:
            return Entry(self._new_id(), desc, material)

    def describe_as(self, entry_id: str, *, desc: str | None, default: bool) -> Change:
        """CRT set: rename (None keeps the description) and perhaps make it the default.

        A new default moves no service that is bound elsewhere (facts §3.3).
        """
        with self._lock:
            entry = self.entry(entry_id)
            if desc is not None:
                self._entries[entry_id] = replace(entry, desc=desc)
            moved = default and self._default != entry_id
            if default:
                self._default = entry_id
            services = self._bound_to(UNBOUND) if moved else frozenset()
            return Change(entry_id, services, touches_default=moved)

    def delete(self, entry_ids: Sequence[str]) -> Change:
        """CRT delete: all or, on a refusal, none; bound services fall back to the default.

        The default entry and entries the user may not delete are refused. That this gives 5503, and
        that nothing is deleted then, is inferred.
        """
        with self._lock:
            for entry_id in entry_ids:
                if entry_id == self._default or not self.entry(entry_id).user_deletable:
                    raise RefusedError(5503)
            gone = frozenset(entry_ids)
            fallen = frozenset(key for key, bound in self._bindings.items() if bound in gone)
            self._bindings |= dict.fromkeys(fallen, self._default)
            for entry_id in gone:
                del self._entries[entry_id]
            return Change(self._default, fallen)

    def bind(
        self,
        moves: Sequence[tuple[Mapping[str, object], str, str]],
        *,
        drops_unmoved: bool = False,
    ) -> Change:
        """Service set: each move is (service object as listed, old id or "", new id).

        A rebuilt object, an unknown id or a wrong old id refuses the whole call with 5503 (the last
        two are inferred). QuickConnect stays where it is, and so does what is already there, unless
        `drops_unmoved`: then that loses its certificate (DSM 6).
        """
        with self._lock:
            planned = {}
            for given, old_id, new_id in moves:
                service = self._listed_service(given)
                self.entry(new_id)
                if self._bindings[service.key] != old_id:
                    raise RefusedError(5503)
                if service.key == QUICKCONNECT.key:
                    continue
                if new_id != old_id:
                    planned[service.key] = new_id
                elif drops_unmoved:
                    planned[service.key] = UNBOUND
            self._bindings |= planned
            return Change("", frozenset(planned))

    def find_service(self, selector: str) -> Service:
        """Return the service of that `subscriber/service` or display name; raises KeyError."""
        for service in self._services.values():
            if selector in {service.key, service.display_name}:
                return service
        raise KeyError(selector)

    def move(self, service: Service, entry_id: str) -> None:
        """Bind one service, whatever it was bound to."""
        with self._lock:
            self._bindings[service.key] = self.entry(entry_id).id

    def unbind(self, service: Service) -> None:
        """Leave one service without an entry, as it is not in the list then."""
        with self._lock:
            self._bindings[service.key] = UNBOUND

    def _listed_service(self, given: Mapping[str, object]) -> Service:
        service = self._services.get(f"{given.get('subscriber')}/{given.get('service')}")
        if service is None or not service.is_meant_by(given):
            raise RefusedError(5503)
        return service

    def listed(self, rsa_key_types: str) -> list[dict[str, object]]:
        """Return the `certificates` of CRT list, in the order they were made."""
        with self._lock:
            return [
                {
                    "desc": entry.desc,
                    "id": entry.id,
                    "is_broken": False,
                    "is_default": entry.id == self._default,
                    "renewable": entry.renewable,
                    "services": [
                        service.listed()
                        for key, service in self._services.items()
                        if self._bindings[key] == entry.id
                    ],
                    "user_deletable": entry.user_deletable,
                    **describe(entry.material, rsa_key_types),
                }
                for entry in self._entries.values()
            ]

    def snapshot(self) -> dict[str, Any]:
        """Everything that counts, as plain data that compares equal when nothing changed.

        `default` is an id, `bindings` maps `subscriber/service` to an id or "", `entries` maps each
        id to its `desc` and the fingerprints of `leaf`, `chain` and `key`; where there are two
        pairs, these are of the ECC one, and those of the other stand under `rsa`.
        """
        with self._lock:
            return {
                "default": self._default,
                "bindings": dict(self._bindings),
                "entries": {
                    entry.id: {"desc": entry.desc, **_fingerprints(entry.material)}
                    for entry in self._entries.values()
                },
            }

    def _presenting(self, entry_id: str) -> frozenset[str]:
        unbound = self._bound_to(UNBOUND) if entry_id == self._default else frozenset()
        return self._bound_to(entry_id) | unbound

    def _bound_to(self, entry_id: str) -> frozenset[str]:
        return frozenset(key for key, bound in self._bindings.items() if bound == entry_id)

    def _new_id(self) -> str:
        while (found := new_entry_id()) in self._entries:
            pass
        return found


def _fingerprints(material: Material) -> dict[str, Any]:
    found: dict[str, Any] = {
        "leaf": fingerprint(material.leaf),
        "chain": [fingerprint(link) for link in material.chain],
        "key": key_fingerprint(material),
    }
    if material.rsa_pair is not None:
        found["rsa"] = _fingerprints(material.rsa_pair)
    return found


def new_entry_id() -> str:
    """Six letters or digits, as mkdtemp names the archive folder of an entry (facts §3.1)."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(6))
