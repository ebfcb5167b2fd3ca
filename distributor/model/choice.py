"""Which of a host's entries and services the inventory means: one rule for every kind of host."""

from collections.abc import Iterable

from distributor.model.bundle import covers
from distributor.model.errors import Ambiguous
from distributor.model.state import (
    CERTIFICATE,
    MANAGED_BY,
    NAMES,
    TAKES,
    UPLOADED,
    Address,
    FactValue,
    State,
)
from distributor.model.text import printable

SYSTEM_DEFAULT = "system/default"
"""The service behind DSM's own port, as `subscriber/service`."""
EVERY_SERVICE = "*"
"""Stands in a desired state for `services = "all"`."""
_IMMOVABLE = frozenset({"system/quickconnect"})
# DSM answers success and changes nothing when it is asked to move this one (dsm-web-api facts 3.5).


def resolve(observed: State, desired: State) -> State:
    """Return `desired` with its addresses replaced by those that `observed` has for them.

    An entry is found by id; else by description; else it is the one uploaded entry whose names
    ours covers (adopted); else it stays an address without id: a new one, which also takes over
    the services that its fact `takes` names. Raises Ambiguous when the inventory's words fit none
    or several.
    """
    entries = {
        address: choose_entry(observed, address, names_of(desired, address))
        for address in desired.of_kind("certificate")
    }
    _require_distinct(entries)
    facts: dict[Address, dict[str, FactValue]] = {}
    named: set[Address] = set()
    # The broad selector first, so that a service's own name wins over it.
    for address, wanted in sorted(desired.facts.items(), key=lambda item: not _is_broad(item[0])):
        bound = {
            name: entries.get(value, value) if isinstance(value, Address) else value
            for name, value in wanted.items()
            if name != TAKES
        }
        for place in _places(observed, address, entries):
            if place in named and facts[place] != bound:
                raise Ambiguous(
                    f"{place} is named for two certificates",
                    hint="name each service in one delivery only",
                    step="plan",
                )
            facts[place] = bound
            if not _is_broad(address):
                named.add(place)
    for wanted_entry, entry in entries.items():
        taken = desired.get(wanted_entry, TAKES)
        for selector in taken if isinstance(taken, tuple) and not entry.id else ():
            for service in services_matching(observed, selector):
                facts.setdefault(service, {CERTIFICATE: entry})
    return State(facts)


def choose_entry(observed: State, wanted: Address, names: Iterable[str]) -> Address:
    """Return the entry that `wanted` means, or `wanted` itself when a new one is to be made."""
    known = observed.of_kind("certificate")
    if wanted.id:
        for address in known:
            if address.id == wanted.id:
                return address
        raise Ambiguous(
            f"no certificate with the id '{printable(wanted.id)}'",
            hint=f"it has {_listed(known)}; correct or remove `id`",
            step="plan",
        )
    described = [address for address in known if address.name == wanted.name]
    if wanted.name and described:  # a box from the shop describes its own entry with nothing
        return _only(described, f"the description '{printable(wanted.name)}'")
    covered = tuple(names)
    adoptable = [
        address
        for address in known
        if observed.get(address, MANAGED_BY) == UPLOADED
        and names_of(observed, address)
        and all(covers(covered, name) for name in names_of(observed, address))
    ]
    if adoptable:
        return _only(adoptable, "names that the new certificate covers")
    return wanted


def services_matching(observed: State, selector: str) -> tuple[Address, ...]:
    """Return the services that `selector` means: `subscriber/service`, display name, or all."""
    services = observed.of_kind("service")
    if selector == EVERY_SERVICE:
        return tuple(address for address in services if address.id not in _IMMOVABLE)
    exact = tuple(address for address in services if address.id == selector)
    return exact or tuple(
        address for address in services if address.name.casefold() == selector.casefold()
    )


def names_of(state: State, address: Address) -> tuple[str, ...]:
    """Return the names that a state has for an entry; empty where it knows none."""
    names = state.get(address, NAMES)
    return names if isinstance(names, tuple) else ()


def _is_broad(address: Address) -> bool:
    return address.kind == "service" and address.name == EVERY_SERVICE


def _require_distinct(entries: dict[Address, Address]) -> None:
    chosen: dict[Address, Address] = {}
    for wanted, entry in entries.items():
        other = chosen.setdefault(entry, wanted)
        if other != wanted:
            raise Ambiguous(
                f"{other} and {wanted} are one entry on this host: {entry}",
                hint="give each delivery its own `id` or `description`",
                step="plan",
            )


def _places(
    observed: State, address: Address, entries: dict[Address, Address]
) -> tuple[Address, ...]:
    if address.kind == "certificate":
        return (entries[address],)
    if address.kind != "service":
        return (address,)
    selector = address.name
    found = services_matching(observed, selector)
    if _is_broad(address):
        return found
    if not found:
        raise Ambiguous(
            f"no service '{printable(selector)}'",
            hint=f"it has {_listed(observed.of_kind('service'))}; correct `services`",
            step="plan",
        )
    return (_only(list(found), f"the name '{printable(selector)}'"),)


def _only(found: list[Address], what: str) -> Address:
    if len(found) == 1:
        return found[0]
    ids = ", ".join(f"'{printable(address.id)}'" for address in found)
    raise Ambiguous(
        f"{len(found)} entries have {what}: {ids}",
        hint="name the one that is meant by its id",
        step="plan",
    )


def _listed(addresses: tuple[Address, ...]) -> str:
    shown = [f"'{printable(address.name)}' ({printable(address.id)})" for address in addresses]
    return ", ".join(shown) or "none"
