"""What a plan would do that nobody may be surprised by: refused unless accepted by name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from distributor.model.bundle import Certificate, covers
from distributor.model.choice import names_of
from distributor.model.hosts import Host
from distributor.model.plan import Change, Plan
from distributor.model.state import (
    CERTIFICATE,
    CHAIN,
    DEVICE,
    LEAF,
    MANAGED_BY,
    NOT_AFTER,
    NOT_BEFORE,
    SELF_SIGNED,
    Address,
)
from distributor.model.superseded import users
from distributor.model.text import printable
from distributor.model.times import rfc3339

FEWER_NAMES: Final = "fewer-names"
EARLIER_EXPIRY: Final = "earlier-expiry"
UNTRUSTED_ISSUER: Final = "untrusted-issuer"
DEFAULT_CHANGES: Final = "default-changes"
SERVICE_ORPHANED: Final = "service-orphaned"
NOT_RESTORABLE: Final = "not-restorable"
DEVICE_MANAGED: Final = "device-managed"
KEY_TYPE_UNSUPPORTED: Final = "key-type-unsupported"
NO_COMMON_NAME: Final = "no-common-name"

HAZARDS: Final = (
    FEWER_NAMES,
    EARLIER_EXPIRY,
    UNTRUSTED_ISSUER,
    DEFAULT_CHANGES,
    SERVICE_ORPHANED,
    NOT_RESTORABLE,
    DEVICE_MANAGED,
    KEY_TYPE_UNSUPPORTED,
    NO_COMMON_NAME,
)


@dataclass(frozen=True, slots=True)
class Hazard:
    """One of `HAZARDS`, and what it means in this plan."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the inventory asks for by name, and is therefore no surprise."""

    default: bool = False
    services: frozenset[str] = frozenset()
    """Selectors, lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a device can take; known only once it was asked."""

    elliptic_curves: bool = True
    needs_common_name: bool = False
    puts_back_self_signed: bool = False
    """A leaf that the device signed by itself is served again once it is imported again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What a look at the device tells of a plan before anything is changed."""

    notes: tuple[str, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    heals: bool = False
    """Nothing can serve what is there now: a port that is silent may come back with the plan."""


def asked_for(host: Host) -> Asked:
    """Return what the inventory asks of a host by name."""
    listed = (one.services for one in host.deliveries if isinstance(one.services, tuple))
    return Asked(
        default=any(one.default for one in host.deliveries),
        services=frozenset(selector.casefold() for services in listed for selector in services),
    )


def hazards(plan: Plan, asked: Asked, traits: Traits) -> tuple[Hazard, ...]:
    """Return the plan's hazards, each name with every reason it has, in the order of `HAZARDS`."""
    if plan.is_noop:
        return ()
    return in_order(hazard for rule in _RULES for hazard in rule(plan, asked, traits))


def in_order(found: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """Return each hazard once, in the order of `HAZARDS`."""
    return tuple(sorted(dict.fromkeys(found), key=lambda hazard: HAZARDS.index(hazard.name)))


def refused(found: Iterable[Hazard], accepted: Iterable[str]) -> tuple[Hazard, ...]:
    """Return the hazards that nobody accepted by name."""
    names = set(accepted)
    return tuple(hazard for hazard in found if hazard.name not in names)


def _fewer_names(plan: Plan, asked: Asked, _traits: Traits) -> Iterator[Hazard]:
    for change, old in _replaced(plan, asked):
        ours = plan.certificate(change.certificate).names
        lost = [name for name in names_of(plan.observed, old) if not covers(ours, name)]
        if lost:
            yield Hazard(
                FEWER_NAMES, f"{change.address} would lose {', '.join(map(printable, lost))}"
            )


def _earlier_expiry(plan: Plan, asked: Asked, _traits: Traits) -> Iterator[Hazard]:
    for change, old in _replaced(plan, asked):
        ours = plan.certificate(change.certificate)
        begins, ends = plan.observed.get(old, NOT_BEFORE), plan.observed.get(old, NOT_AFTER)
        if ours.not_before is None or ours.not_after is None:
            continue
        if not isinstance(begins, str) or not isinstance(ends, str):
            continue
        # RFC 3339 in UTC sorts as text. An older leaf that lives longer is no hazard: lifetimes
        # shrink, and a leaf issued before ours is what ours replaces.
        if begins > rfc3339(ours.not_before) and ends > rfc3339(ours.not_after):
            yield Hazard(
                EARLIER_EXPIRY,
                f"{old} was issued later ({begins}) and lasts longer ({ends}) than ours",
            )


def _untrusted_issuer(plan: Plan, _asked: Asked, _traits: Traits) -> Iterator[Hazard]:
    for certificate in _delivered(plan):
        if certificate.trusted is False:
            yield Hazard(
                UNTRUSTED_ISSUER,
                f"the chain of '{certificate.name}' ends at no expected root "
                f"(issued by {certificate.issued_by})",
            )


def _default_changes(plan: Plan, asked: Asked, _traits: Traits) -> Iterator[Hazard]:
    for change in plan.changes:
        if change.address.kind == "default certificate" and not _is_asked(change.address, asked):
            yield Hazard(DEFAULT_CHANGES, f"the default would become {change.after}")


def _device_managed(plan: Plan, _asked: Asked, _traits: Traits) -> Iterator[Hazard]:
    for address in _overwritten(plan):
        if plan.observed.get(address, MANAGED_BY) == DEVICE:
            yield Hazard(DEVICE_MANAGED, f"{address} is renewed by the device itself")


def _not_restorable(plan: Plan, _asked: Asked, traits: Traits) -> Iterator[Hazard]:
    # Its own renewal, or its own CA, does not come back with the certificate's three files.
    lost = {DEVICE} if traits.puts_back_self_signed else {SELF_SIGNED, DEVICE}
    for address in _overwritten(plan):
        if plan.observed.get(address, MANAGED_BY) in lost:
            yield Hazard(NOT_RESTORABLE, f"only the device can make {address} again")
    for change in plan.changes:
        if change.address.kind == "service" and change.before is None:
            yield Hazard(
                NOT_RESTORABLE, f"{change.address} has no certificate now; that cannot be set"
            )


def _service_orphaned(plan: Plan, _asked: Asked, _traits: Traits) -> Iterator[Hazard]:
    leaving = {change.address for change in plan.changes if change.fact == CERTIFICATE}
    taking = {change.after for change in plan.changes if change.fact == CERTIFICATE}
    for removal in plan.removals:
        left = [one for one in users(plan.observed, removal.address) if one not in leaving]
        if removal.address in taking:
            left.append(removal.address)
        if left:
            named = ", ".join(map(str, left))
            yield Hazard(SERVICE_ORPHANED, f"{removal.address} would go, and {named} uses it")


def _key_type_unsupported(plan: Plan, _asked: Asked, traits: Traits) -> Iterator[Hazard]:
    for certificate in _delivered(plan):
        if certificate.key_type.startswith("ec") and not traits.elliptic_curves:
            yield Hazard(
                KEY_TYPE_UNSUPPORTED, f"'{certificate.name}' has an EC key, the device takes RSA"
            )


def _no_common_name(plan: Plan, _asked: Asked, traits: Traits) -> Iterator[Hazard]:
    for certificate in _delivered(plan):
        if certificate.common_name is None and traits.needs_common_name:
            yield Hazard(NO_COMMON_NAME, f"'{certificate.name}' has no common name")


_RULES: Final[tuple[Callable[[Plan, Asked, Traits], Iterator[Hazard]], ...]] = (
    _fewer_names,
    _earlier_expiry,
    _untrusted_issuer,
    _default_changes,
    _service_orphaned,
    _not_restorable,
    _device_managed,
    _key_type_unsupported,
    _no_common_name,
)


def _delivered(plan: Plan) -> list[Certificate]:
    names = dict.fromkeys(change.certificate for change in plan.changes)
    return [one for one in plan.certificates if one.name in names]


def _overwritten(plan: Plan) -> list[Address]:
    """Entries that exist and would get another leaf or chain."""
    return list(
        dict.fromkeys(
            change.address
            for change in plan.changes
            if change.address.kind == "certificate"
            and change.address in plan.observed.facts
            and change.fact in {LEAF, CHAIN}
        )
    )


def _replaced(plan: Plan, asked: Asked) -> Iterator[tuple[Change, Address]]:
    """Each change that takes a protected certificate away, with the entry it takes away."""
    for change in plan.changes:
        if change.fact == LEAF and change.before is not None:
            old = change.address
        elif change.fact == CERTIFICATE and isinstance(change.before, Address):
            old = change.before
        else:
            continue
        is_own = plan.observed.get(old, MANAGED_BY) == SELF_SIGNED
        if not is_own and not _is_asked(change.address, asked):
            yield change, old


def _is_asked(address: Address, asked: Asked) -> bool:
    if address.kind == "default certificate":
        return asked.default
    names = {address.name.casefold(), address.id.casefold()}
    return address.kind == "service" and bool(names & asked.services)
