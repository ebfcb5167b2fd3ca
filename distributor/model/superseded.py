"""Which entries of a host are earlier deliveries of ours that nothing uses any more."""

from collections.abc import Mapping, Sequence

from distributor.model.bundle import Certificate
from distributor.model.state import (
    CERTIFICATE,
    DEFAULT,
    ISSUED_BY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    UNREADABLE,
    UPLOADED,
    Address,
    State,
)
from distributor.model.times import rfc3339


def superseded(
    observed: State, bound: State, versions: Mapping[str, Sequence[Certificate]]
) -> dict[Address, str]:
    """Return the entries that may be removed, each with the name of the certificate it held.

    `bound` is the desired state with its addresses resolved, `versions` has all that the store
    holds of the certificates whose earlier entries are to go. An entry is ours only when it holds
    one of these versions: by its leaf where that is known, else by names, both dates and issuer.
    It is spared when a service or the default uses it now or is to use it, and when it is one that
    a delivery goes to.
    """
    used = _used(observed) | _used(bound) | set(bound.of_kind("certificate"))
    found: dict[Address, str] = {}
    for entry in observed.of_kind("certificate"):
        if entry in used or observed.get(entry, MANAGED_BY) != UPLOADED:
            continue
        for name, held in versions.items():
            if any(_holds(observed, entry, version) for version in held):
                found.setdefault(entry, name)
    return found


def users(state: State, entry: Address) -> tuple[Address, ...]:
    """Return the services, and the default, that use an entry."""
    places = (*state.of_kind("service"), DEFAULT)
    return tuple(place for place in places if state.get(place, CERTIFICATE) == entry)


def _used(state: State) -> set[Address]:
    places = (*state.of_kind("service"), DEFAULT)
    return {used for p in places if isinstance(used := state.get(p, CERTIFICATE), Address)}


def _holds(observed: State, entry: Address, version: Certificate) -> bool:
    leaf = observed.get(entry, LEAF)
    if leaf is not UNREADABLE:
        return leaf == version.leaf
    if version.not_before is None or version.not_after is None or not version.names:
        return False
    told = [observed.get(entry, fact) for fact in (NAMES, NOT_BEFORE, NOT_AFTER, ISSUED_BY)]
    return told == [
        version.names,
        rfc3339(version.not_before),
        rfc3339(version.not_after),
        version.issued_by,
    ]
