"""What a DiskStation's own list and handshakes on its ports tell, as facts."""

from collections.abc import Sequence

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
    bare = State(facts)
    for address, shown in _shown(bare, served).items():
        facts[address] |= shown
    return State(facts)


def _shown(state: State, served: Sequence[Served]) -> dict[Address, dict[str, FactValue]]:
    """Return what handshakes tell of entries, by the service that answered."""
    seen: dict[Address, list[Certificate]] = {}
    for one in served:
        if one.certificate is None:
            continue
        services = services_behind(state, one.endpoint)
        entries = {state.get(service, CERTIFICATE) for service in services}
        # Services of one display name may use several entries: then it shows none of them.
        if len(entries) == 1 and isinstance(entry := entries.pop(), Address):
            seen.setdefault(entry, []).append(one.certificate)
    return {
        entry: {LEAF: _one([c.leaf for c in shown]), CHAIN: _same([c.chain for c in shown])}
        for entry, shown in seen.items()
    }


def _one(leaves: list[str]) -> FactValue:
    # Endpoints of one entry that serve different leaves: one of them was not reloaded. That is
    # different from any single leaf, so that the entry is brought anew.
    distinct = sorted(set(leaves))
    return distinct[0] if len(distinct) == 1 else tuple(distinct)


def _same(chains: list[tuple[str, ...]]) -> FactValue:
    return chains[0] if len(set(chains)) == 1 else tuple(sorted({str(one) for one in chains}))


def _managed_by(entry: Entry) -> str:
    if entry.self_signed:
        return SELF_SIGNED
    return DEVICE if entry.renewable or not entry.user_deletable else UPLOADED
