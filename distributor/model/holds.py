"""Which hosts are left alone: put back by a person, or twice by us for the same leaves."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from distributor.model.bundle import Certificate
from distributor.model.errors import Held
from distributor.model.report import HostStatus
from distributor.model.text import printable

ROLLED_BACK_AT_MOST: Final = 2
"""Times that one set of leaves may be rolled back on a host before the host is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A line of holds.toml: what did not go well on a host, and how often."""

    leaves: frozenset[str]
    """Fingerprints of what it was to get."""
    rolled_back: int
    by: Literal["run", "person"]
    since: datetime
    """When it was last rolled back."""
    reason: str
    """The last error in words."""


def held(hold: Hold | None, wanted: Iterable[Certificate], *, named: bool) -> Held | None:
    """Return why a host is left alone, or None when it is not.

    It is held while it would get the very leaves that it did not take; a person who names it with
    `--host` tries again.
    """
    if hold is None or named or hold.leaves != leaves_of(wanted):
        return None
    if hold.by == "run" and hold.rolled_back < ROLLED_BACK_AT_MOST:
        return None
    who = (
        "a person put it back"
        if hold.by == "person"
        else f"it was put back {hold.rolled_back} times with this certificate"
    )
    return Held(
        f"{who}, last at {hold.since:%Y-%m-%d %H:%M} UTC: {hold.reason}",
        hint="when the cause is gone, name it: distribute --host NAME",
        step="plan",
    )


def next_hold(
    hold: Hold | None,
    status: HostStatus,
    wanted: Collection[Certificate],
    reason: str,
    now: datetime,
) -> Hold | None:
    """Return what is to be remembered of a host after a run, or None for nothing.

    A roll-back counts for its leaves only; what ended well is forgotten; any other end, in which
    nothing was tried or the host needs a person anyway, leaves the memory as it is.
    """
    if status in {"changed", "unchanged"}:
        return None
    if status != "rolled_back":
        return hold
    leaves = leaves_of(wanted)
    before = hold.rolled_back if hold is not None and hold.leaves == leaves else 0
    return Hold(
        leaves=leaves,
        rolled_back=before + 1,
        by="run",
        since=now,
        reason=printable(reason, 300),
    )


def hold_by_person(leaves: Collection[str], reason: str, now: datetime) -> Hold:
    """Return that a person put a host back, which is not to get `leaves` until one names it."""
    return Hold(
        leaves=frozenset(leaves),
        rolled_back=0,
        by="person",
        since=now,
        reason=printable(reason, 300),
    )


def leaves_of(wanted: Iterable[Certificate]) -> frozenset[str]:
    """Return the fingerprints that stand for what a host is to get."""
    return frozenset(one.leaf for one in wanted)
