"""What a DiskStation's own list and handshakes on its ports tell, as facts."""

from collections.abc import Iterable, Sequence

from distributor.model.bundle import Certificate
from distributor.model.choice import services_behind
from distributor.model.endpoints import Served
from distributor.model.state import (
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    DEVICE,
    ISSUED_BY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    SELF_SIGNED,
    UNREADABLE,
    UPLOADED,
    Address,
    FactValue,
    State,
)
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.dsm import Entry


def observed_state(entries: Sequence[Entry], served: Sequence[Served]) -> State:
    """Return entries, bindings and default; the leaf of an entry only where a port served it."""
    facts: dict[Address, dict[str, FactValue]] = {}
    for entry in entries:
        address = Address("certificate", entry.description, entry.id)
        facts[address] = {
            LEAF: UNREADABLE,
            CHAIN: UNREADABLE,
            NAMES: entry.names,
            NOT_BEFORE: rfc3339(entry.valid_from),
            NOT_AFTER: rfc3339(entry.valid_till),
            ISSUED_BY: printable(entry.issued_by),
            MANAGED_BY: _managed_by(entry),
        }
        for service in entry.services:
            facts[Address("service", service.display_name, service.id)] = {CERTIFICATE: address}
        if entry.is_default:
            facts[DEFAULT] = {CERTIFICATE: address}
    for address, shown in shown_by(State(facts), served).items():
        facts[address] |= {
            LEAF: one_leaf(one.leaf for one in shown),
            CHAIN: same_chain(one.chain for one in shown),
        }
    return State(facts)


def shown_by(state: State, served: Sequence[Served]) -> dict[Address, list[Certificate]]:
    """Return what handshakes showed of entries, by the service that answered."""
    seen: dict[Address, list[Certificate]] = {}
    for one in served:
        if one.certificate is None:
            continue
        services = services_behind(state, one.endpoint)
        entries = {state.get(service, CERTIFICATE) for service in services}
        # Services of one display name may use several entries: then it shows none of them.
        if len(entries) == 1 and isinstance(entry := entries.pop(), Address):
            seen.setdefault(entry, []).append(one.certificate)
    return seen


def one_leaf(leaves: Iterable[str]) -> FactValue:
    """Return the leaf that all places have, else all of them: different from any single one."""
    # Endpoints of one entry that serve different leaves: one of them was not reloaded. That is
    # different from any single leaf, so that the entry is brought anew.
    distinct = sorted(set(leaves))
    return distinct[0] if len(distinct) == 1 else tuple(distinct)


def same_chain(chains: Iterable[tuple[str, ...]]) -> FactValue:
    """Return the chain that all places have, else a text for each: different from any chain."""
    distinct = sorted(set(chains))
    return distinct[0] if len(distinct) == 1 else tuple(map(str, distinct))


def _managed_by(entry: Entry) -> str:
    if entry.self_signed:
        return SELF_SIGNED
    return DEVICE if entry.renewable or not entry.user_deletable else UPLOADED
