"""Removing superseded entries from a DiskStation: only what is still as planned and unused."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from distributor.model.errors import ApplyFailed
from distributor.model.plan import Plan
from distributor.model.state import ISSUED_BY, NAMES, NOT_AFTER, NOT_BEFORE
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.dsm import Entry
from distributor.targets.diskstation_calls import Calls

TRIES: Final = 3
"""How often a removal is sent at most when its answer is lost."""


def remove_entries(dsm: Calls, plan: Plan, sent: Callable[[Callable[[], None]], bool]) -> None:
    """Remove the entries of `plan.removals` and see that they are gone.

    Raises ApplyFailed, with nothing removed, when one of them is used by now or holds something
    else than what was planned for. `sent` makes a change and tells whether its answer came.
    """
    planned = {removal.address.id: removal.address for removal in plan.removals}
    for _ in range(TRIES):
        there = _listed(dsm, planned)
        if not there:
            return
        for entry in there:
            told = plan.observed.facts[planned[entry.id]]
            if any(told.get(fact) != value for fact, value in _facts(entry).items()):
                raise _not_removed(entry, "holds something else by now")
            if entry.is_default or entry.services:
                raise _not_removed(entry, "is used by now")
        if sent(partial(dsm.delete, [entry.id for entry in there])):
            break
    for entry in _listed(dsm, planned):
        raise _not_removed(entry, "is listed still")


def _listed(dsm: Calls, ids: Collection[str]) -> list[Entry]:
    return [entry for entry in dsm.certificates() if entry.id in ids]


def _facts(entry: Entry) -> dict[str, object]:
    """Return what tells an entry from what somebody may have put in its place."""
    return {
        NAMES: entry.names,
        NOT_BEFORE: rfc3339(entry.valid_from),
        NOT_AFTER: rfc3339(entry.valid_till),
        ISSUED_BY: printable(entry.issued_by),
    }


def _not_removed(entry: Entry, why: str) -> ApplyFailed:
    return ApplyFailed(
        f"the superseded certificate '{printable(entry.description)}' ({printable(entry.id)}) "
        f"was not removed: it {why}",
        hint="look at Control Panel > Security > Certificate",
        step="remove",
    )
