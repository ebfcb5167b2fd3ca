"""Which of a host's entries and services the inventory means: one rule for every kind of host."""

from collections.abc import Iterable

from distributor.model.bundle import covers
from distributor.model.errors import Ambiguous
from distributor.model.hosts import Endpoint
from distributor.model.state import (
    BEHIND,
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
_PROXIES = "ReverseProxy/"
"""Begins the id of a reverse-proxy rule, whose display name is the host name it answers to."""
_CUSTOM_DOMAIN = "system/"
"""Before a host name: the id of DSM's own pages under a name of their own."""
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
            if name not in {TAKES, BEHIND}
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
    _add_behind(observed, desired, entries, facts)
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


def services_behind(observed: State, endpoint: Endpoint) -> tuple[Address, ...]:
    """Return the services that answer at an endpoint: those it names, else by its server name.

    DSM's own web server tells its reverse proxies and its custom domain apart by the name in the
    handshake (dsm-web-api facts 3.1); a port that begins in plain text is another server's.
    """
    if endpoint.service is not None:
        return services_matching(observed, endpoint.service)
    if endpoint.server_name is None or endpoint.starttls is not None:
        return ()
    return services_named(observed, endpoint.server_name)


def services_named(observed: State, server_name: str) -> tuple[Address, ...]:
    """Return the services that the web server shows under a name of their own."""
    wanted = server_name.casefold()
    return tuple(
        address
        for address in observed.of_kind("service")
        if (address.id.startswith(_PROXIES) and address.name.casefold() == wanted)
        or address.id.casefold() == _CUSTOM_DOMAIN + wanted
    )


def left_alone(observed: State, desired: State) -> tuple[Address, ...]:
    """Return the services that were asked for and that the device does not let be moved."""
    selectors = {address.name for address in desired.of_kind("service")}
    named = {one for selector in selectors for one in services_matching(observed, selector)}
    return tuple(
        service
        for service in observed.of_kind("service")
        if service.id in _IMMOVABLE and (EVERY_SERVICE in selectors or service in named)
    )


def names_of(state: State, address: Address) -> tuple[str, ...]:
    """Return the names that a state has for an entry; empty where it knows none."""
    names = state.get(address, NAMES)
    return names if isinstance(names, tuple) else ()


def _add_behind(
    observed: State,
    desired: State,
    entries: dict[Address, Address],
    facts: dict[Address, dict[str, FactValue]],
) -> None:
    """Bind what answers under the endpoints' names, unless it is named for something already."""
    chosen: dict[Address, Address] = {}
    for wanted, entry in entries.items():
        behind = desired.get(wanted, BEHIND)
        for name in behind if isinstance(behind, tuple) else ():
            for service in services_named(observed, name):
                if chosen.setdefault(service, entry) != entry:
                    raise Ambiguous(
                        f"{service} is behind endpoints of two certificates",
                        hint="give these endpoints their `service`",
                        step="plan",
                    )
    for service, entry in chosen.items():
        facts.setdefault(service, {CERTIFICATE: entry})


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
    chosen = _only(list(found), f"the name '{printable(selector)}'")
    return () if chosen.id in _IMMOVABLE else (chosen,)


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
