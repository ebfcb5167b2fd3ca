"""One host, back to what it had before the last change: look, decide, put back, prove."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Protocol

from distributor import delivery
from distributor.delivery import (
    new_outcome,
    remember,
    require_reachable,
    wait_for,
)
from distributor.model.bundle import Certificate, fingerprint, spki_fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import (
    DistributorError,
    Expired,
    PlanError,
    Revoked,
    RollbackFailed,
    StalePlan,
)
from distributor.model.hosts import Host
from distributor.model.proof import what_to_do
from distributor.model.report import Outcome
from distributor.model.snapshot import Snapshot
from distributor.model.state import CERTIFICATE, KEY, LEAF, NOT_AFTER, UNREADABLE, Address, State
from distributor.model.times import from_rfc3339
from distributor.model.trust import EXPIRED_AT_MOST, own_entry, own_leaf
from distributor.model.undoing import Undoing, is_as, undo
from distributor.unexpected import known_errors

log = logging.getLogger(__name__)


class Tools(delivery.Tools, Protocol):
    """What putting a host back needs from outside; `wiring` gives it."""

    def snapshot(self, host: str) -> Snapshot | None:
        """Return what the host had before its last change, or None."""

    def undoing(self, host: str) -> None:
        """Note, before the first write, that it is being put back: it may serve its old leaf."""

    def revoked_leaves(self) -> frozenset[str]:
        """Return the leaves that were revoked."""

    def compromised_keys(self) -> frozenset[str]:
        """Return the fingerprints (SPKI) of keys that certificates were revoked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """A host that was looked at and can go back; nothing is open, nothing was changed."""

    host: Host
    certificates: Mapping[str, Certificate]
    """What the host may serve now, by name."""
    snapshot: Snapshot
    undoing: Undoing
    outcome: Outcome
    """`planned`, or `unchanged` where the host is as it was already."""


def look_back(
    host: Host,
    certificates: Mapping[str, Certificate],
    snapshot: Snapshot,
    tools: Tools,
    now: datetime,
) -> WayBack | Outcome:
    """Look at a host and decide how it goes back; changes nothing.

    Returns an outcome where it does not: `refused` for what must not or cannot be undone, `failed`
    for a host that cannot be looked at.
    """
    began = monotonic()
    try:
        with known_errors(f"host={host.name}"):
            tools.step(host.name, "handshakes")
            served = tools.probe(host.endpoints)
            require_reachable(host, served)
            tools.step(host.name, "signing in")
            with tools.target(host, certificates).open() as session:
                state = session.inspect(served)
            undoing = undo(snapshot, state, served)
            _require_unrevoked(undoing, tools)
            _require_believed(host, undoing, now)
    except DistributorError as error:
        return _not_done(host, error)
    outcome = replace(
        new_outcome(host, "unchanged" if undoing.plan.is_noop else "planned"),
        plan=undoing.plan,
        endpoints=served,
        seconds=monotonic() - began,
    )
    return WayBack(
        host=host,
        certificates=certificates,
        snapshot=snapshot,
        undoing=undoing,
        outcome=outcome,
    )


def go_back(way: WayBack, tools: Tools) -> Outcome:
    """Put a host back and prove it, each on a fresh connection.

    Ends `rolled_back` only when all that was observed is as it was to be; `broken` when it is not,
    or nobody can tell; `refused` or `failed` when nothing was changed.
    """
    began, host = monotonic(), way.host

    def ended(**found: Any) -> Outcome:
        return replace(way.outcome, seconds=way.outcome.seconds + monotonic() - began, **found)

    has_begun = False
    try:
        with known_errors(f"host={host.name}"):
            tools.step(host.name, "signing in")
            tools.undoing(host.name)
            target = tools.target(host, way.certificates)
            with target.open() as session:
                served = tools.probe(host.endpoints)
                undoing = undo(way.snapshot, session.inspect(served), served)
                _require_same(way, undoing)
                tools.step(host.name, "putting back")
                has_begun = True
                failure = _tried(lambda: session.rollback(undoing.snapshot))
            tools.step(host.name, "proving")
            served = wait_for(host, tools, lambda seen: _are_shown(undoing.snapshot, seen))
            with target.open() as session:
                state = session.inspect(served)
            _require_back(undoing.snapshot, state, served, failure)
    except DistributorError as error:
        log.warning("host=%s step=rollback error=%s", host.name, error.kind)
        if not has_begun:
            failed = _not_done(host, error)
            return ended(status=failed.status, error=error)
        return ended(status="broken", error=_broken(host, error))
    return ended(
        status="rolled_back",
        endpoints=served,
        wanted=_as_wanted(undoing.snapshot, served),
        proof="handshake" if _is_seen(undoing, state) else "dates",
        warnings=remember(host, tools),
    )


def _require_unrevoked(undoing: Undoing, tools: Tools) -> None:
    """Raise Revoked when the host would serve again what nobody must believe."""
    revoked = tools.revoked_leaves()
    for leaf in sorted(_leaves_back(undoing) & revoked):
        raise _revoked(undoing.plan.host, f"{leaf}, which it would get back, was revoked")
    for key in sorted(_keys_back(undoing) & tools.compromised_keys()):
        raise _revoked(undoing.plan.host, f"the key {key}, which it would get back, is compromised")


def _revoked(host: str, message: str) -> Revoked:
    return Revoked(
        message,
        hint=f"it stays as it is; bring it another one: distribute --host {host}",
        step="plan",
    )


def _leaves_back(undoing: Undoing) -> set[str]:
    """Return the leaves that are brought again, and those of entries that are used again."""
    return {fingerprint(bundle.leaf) for bundle in undoing.restored} | _told_back(undoing, LEAF)


def _keys_back(undoing: Undoing) -> set[str]:
    return {spki_fingerprint(bundle.leaf) for bundle in undoing.restored} | _told_back(undoing, KEY)


def _told_back(undoing: Undoing, fact: str) -> set[str]:
    """Return what a fact will be of everything that is changed, or used, again."""
    goal, told = undoing.snapshot.before, set[str]()
    for change in undoing.plan.changes:
        place = change.after if change.fact == CERTIFICATE else change.address
        value = goal.get(place, fact) if isinstance(place, Address) else None
        if isinstance(value, str):
            told.add(value)
    return told


def _require_believed(host: Host, undoing: Undoing, now: datetime) -> None:
    """Raise Expired when nobody here would believe any more that it is the host."""
    goal, entry = undoing.snapshot.before, own_entry(undoing.snapshot.before)
    if entry is None or own_leaf(goal) == own_leaf(undoing.plan.observed):
        return
    ends = goal.get(entry, NOT_AFTER)
    if not isinstance(ends, str) or now - from_rfc3339(ends) <= _SAFELY_EXPIRED:
        return
    raise Expired(
        f"what {host.name} would serve at its own port ended at {ends}: this computer would not "
        "believe any more that it is this host",
        hint=f"it stays as it is; bring it another one: distribute --host {host.name}",
        step="plan",
    )


_SAFELY_EXPIRED = EXPIRED_AT_MOST - timedelta(days=1)
"""Putting back must not end because a leaf comes of age meanwhile."""


def _require_same(way: WayBack, undoing: Undoing) -> None:
    if undoing.plan.digest != way.undoing.plan.digest:
        raise StalePlan(
            f"{way.host.name} was changed while you looked at it",
            hint=f"look again: distribute rollback {way.host.name}",
            step="plan",
        )


def _tried(roll_back: Callable[[], None]) -> DistributorError | None:
    """Roll back; return why not. A host that refuses every change may still be as it was."""
    try:
        roll_back()
    except DistributorError as error:
        return error
    return None


def _are_shown(snapshot: Snapshot, seen: Collection[Served]) -> bool:
    return all(
        shown.is_shown_by(one)
        for shown in snapshot.shown
        for one in seen
        if shown.is_of(one.endpoint)
    )


def _require_back(
    snapshot: Snapshot,
    state: State,
    served: Collection[Served],
    failure: DistributorError | None,
) -> None:
    if is_as(snapshot.before, state) and _are_shown(snapshot, served):
        return
    raise failure or RollbackFailed("it is not as it was before", step="rollback")


def _broken(host: Host, error: DistributorError) -> RollbackFailed:
    return RollbackFailed(
        f"putting it back failed: {error.message}",
        hint=what_to_do(host),
        step="rollback",
        code=error.code,
    )


def _not_done(host: Host, error: DistributorError) -> Outcome:
    """Return the outcome of a host on which nothing was changed."""
    is_refused = isinstance(error, PlanError | Revoked | Expired)
    return new_outcome(host, "refused" if is_refused else "failed", error)


def _as_wanted(snapshot: Snapshot, served: Collection[Served]) -> tuple[Certificate, ...]:
    """Return what endpoints serve as they should, once for each name that the inventory has."""
    found = {
        one.endpoint.certificate: replace(one.certificate, name=one.endpoint.certificate)
        for one in served
        if one.certificate is not None
        and any(shown.is_of(one.endpoint) for shown in snapshot.shown)
    }
    return tuple(found.values())


def _is_seen(undoing: Undoing, state: State) -> bool:
    """Tell whether handshakes showed every leaf that the host holds or uses again."""
    places = [
        change.after if change.fact == CERTIFICATE else change.address
        for change in undoing.plan.changes
    ]
    entries = {one for one in places if isinstance(one, Address)} & state.facts.keys()
    return all(
        state.get(entry, LEAF) is not UNREADABLE for entry in entries if entry.kind != "service"
    )
