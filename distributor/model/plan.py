"""The plan of one host: what would change, as data that can be shown, compared and refused."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from distributor.model.bundle import Certificate
from distributor.model.choice import resolve
from distributor.model.notes import notes_on
from distributor.model.state import (
    ABSENT,
    CERTIFICATE,
    CHAIN,
    ENTRY,
    ISSUED_BY,
    LEAF,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    PLANNING,
    SAKE,
    UNREADABLE,
    Absent,
    Address,
    Facts,
    FactValue,
    State,
    address_key,
    value_as_json,
)
from distributor.model.superseded import superseded

_PROVED_BY_LEAF = frozenset({LEAF, CHAIN})
_TELLING = (NAMES, NOT_AFTER, ISSUED_BY)
"""What stands for a leaf that could not be read."""
_IMPLIED_BY_LEAF = frozenset({NAMES, NOT_BEFORE, NOT_AFTER, ISSUED_BY})


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that is not as it should be."""

    address: Address
    fact: str
    before: FactValue | None
    """None when the address or fact does not exist yet."""
    after: FactValue | Absent
    certificate: str
    """Name of the certificate for whose sake it changes."""

    def as_json(self) -> dict[str, object]:
        """Return plain data that is the same for equal changes: the input of a digest."""
        return {
            "address": address_key(self.address),
            "fact": self.fact,
            "before": value_as_json(self.before),
            "after": value_as_json(self.after),
            "certificate": self.certificate,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that would change on one host, and what was observed when it was made.

    It is made of a `Certificate`, never of a bundle, so it holds no key and may be printed and
    saved.
    """

    host: str
    observed: State
    changes: tuple[Change, ...]
    certificates: tuple[Certificate, ...]
    removals: tuple[Change, ...] = ()
    """Entries that go once everything else was verified."""
    unproved: tuple[str, ...] = ()
    """Services that are to use a certificate and that no endpoint proves."""
    notes: tuple[str, ...] = ()
    """Consequences a person should know of: what restarts, what is copied."""

    @property
    def is_noop(self) -> bool:
        """Whether nothing is to be done."""
        return not self.changes and not self.removals

    @property
    def all_changes(self) -> tuple[Change, ...]:
        """What changes, and then what goes."""
        return (*self.changes, *self.removals)

    def certificate(self, name: str) -> Certificate:
        """Return the certificate of that inventory name; raises KeyError for another."""
        return {certificate.name: certificate for certificate in self.certificates}[name]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over host, observed facts and changes: not over times, nor any order."""
        return digest_of(
            {
                "host": self.host,
                "observed": self.observed.as_json(),
                "changes": sorted(_canonical(change.as_json()) for change in self.all_changes),
            }
        )


def diff(observed: State, desired: State) -> tuple[Change, ...]:
    """Return what has to change so that `observed` becomes `desired`; empty when nothing has to.

    `desired` is resolved against `observed` first (see `choice.resolve`). A leaf that could not be
    read is judged by names, end and issuer; anything else that could not be read counts as
    different.
    """
    return _changes(observed, resolve(observed, desired))


def make_plan(
    host: str,
    observed: State,
    desired: State,
    certificates: Sequence[Certificate],
    *,
    notes: Iterable[str] = (),
    proved_services: Iterable[str] = (),
    versions: Mapping[str, Sequence[Certificate]] = MappingProxyType({}),
) -> Plan:
    """Return the plan of one host; `proved_services` are those that an endpoint proves.

    `versions` are all that the store holds of the certificates whose superseded entries are to go.
    """
    proved = {service.casefold() for service in proved_services}
    bound = resolve(observed, desired)
    services = [
        address for address in bound.of_kind("service") if CERTIFICATE in bound.facts[address]
    ]
    changes = _changes(observed, bound)
    return Plan(
        host=host,
        observed=observed,
        changes=changes,
        certificates=tuple(certificates),
        removals=tuple(
            Change(entry, ENTRY, observed.get(entry, NOT_AFTER), ABSENT, name)
            for entry, name in superseded(observed, bound, versions).items()
        ),
        notes=(*notes_on(observed, desired, ((c.address, c.fact) for c in changes)), *notes),
        unproved=tuple(
            address.name or address.id
            for address in services
            if address.name.casefold() not in proved and address.id.casefold() not in proved
        ),
    )


def digest_of(data: object) -> str:
    """Return SHA-256 (hex) over the canonical JSON of plain data."""
    return sha256(_canonical(data).encode("utf-8")).hexdigest()


def _changes(observed: State, bound: State) -> tuple[Change, ...]:
    return tuple(
        Change(address, fact, observed.get(address, fact), after, _sake(bound, address))
        for address, wanted in bound.facts.items()
        for fact, after in wanted.items()
        if fact not in PLANNING and not _agrees(observed.facts.get(address), wanted, fact)
    )


def _agrees(have: Facts | None, wanted: Facts, fact: str) -> bool:
    if have is None:
        return False
    if fact in _PROVED_BY_LEAF and have.get(fact) is UNREADABLE:
        return all(name in wanted and have.get(name) == wanted[name] for name in _TELLING)
    if fact in _IMPLIED_BY_LEAF and LEAF in wanted and have.get(LEAF) == wanted[LEAF]:
        # The same leaf has the same names and dates, however the device spells them.
        return True
    return have.get(fact) == wanted[fact]


def _sake(bound: State, address: Address) -> str:
    entry = bound.get(address, CERTIFICATE)
    name = bound.get(entry if isinstance(entry, Address) else address, SAKE)
    return name if isinstance(name, str) else ""


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
