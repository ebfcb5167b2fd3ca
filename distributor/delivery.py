"""One host, from the first handshake to its outcome: observe, plan, apply, verify, put back."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final, NoReturn, Protocol

from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served, all_serve, astray_error
from distributor.model.errors import (
    Busy,
    DistributorError,
    PlanError,
    RollbackFailed,
    Unreachable,
    UnsafePlan,
    VerifyFailed,
)
from distributor.model.hazards import (
    NOT_RESTORABLE,
    Foresight,
    Hazard,
    asked_for,
    hazards,
    in_order,
    refused,
)
from distributor.model.holds import Hold
from distributor.model.hosts import Endpoint, Host, SocketAddress
from distributor.model.plan import Plan, diff
from distributor.model.proof import proof_of, unproved, what_to_do, where_to_look
from distributor.model.report import HostStatus, Outcome
from distributor.model.reviewed import Reviewed
from distributor.model.snapshot import Snapshot
from distributor.model.state import State
from distributor.model.undoing import to_be_undone
from distributor.planning import plan_for, require_reviewed
from distributor.targets.contract import Session, Target
from distributor.unexpected import known_errors

log = logging.getLogger(__name__)

SERVED_SECONDS: Final = 90.0
"""How long an endpoint may take to serve the new leaf: services reload one after the other."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 3.0


class Tools(Protocol):
    """What working on a host needs from outside; `wiring` gives it."""

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        """Shake hands with every endpoint."""

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        """Return the driver of a host, trusting what it served and what it is to serve."""

    def versions(self, certificate: str) -> tuple[Certificate, ...]:
        """Return what may be shown of all versions of a certificate that the store holds."""

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot to disk."""

    def hold(self, host: str) -> Hold | None:
        """Return what is remembered of a host that did not take what it was to get."""

    def put_hold(self, host: str, hold: Hold | None) -> None:
        """Remember that, or forget it for None."""

    def remember(self, host: Host) -> None:
        """Move the pin of the host to what it serves now, after that was verified."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def step(self, host: str, text: str) -> None:
        """Say where the work on a host stands."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A host that was observed and has changes: its session is open, its plan made."""

    host: Host
    target: Target
    session: Session
    closing: ExitStack
    outcome: Outcome
    """What is known so far: plan, endpoints, hazards, time spent."""
    plan: Plan
    may_lose: bool
    """Whether a person accepted that something could not be put back."""

    def close(self) -> None:
        """Sign out."""
        self.closing.close()


def observe(
    host: Host,
    certificates: Mapping[str, Certificate],
    tools: Tools,
    *,
    dry_run: bool,
    accepted: frozenset[str],
    reviewed: Reviewed | None,
    quick: bool = False,
) -> Visit | Outcome:
    """Look at a host and plan; return a visit to go on with, or the outcome where nothing is left.

    With `quick` a host whose endpoints serve everything it is to get is not signed in to. Raises a
    DistributorError when the host cannot be looked at; it is signed out then.
    """
    began = monotonic()
    with ExitStack() as closing:
        tools.step(host.name, "handshakes")
        served = tools.probe(host.endpoints)
        require_reachable(host, served)
        if quick and _all_proved(certificates, served):
            return _proved_by_handshake(host, certificates, served, None if dry_run else tools)
        target = tools.target(host, certificates)
        tools.step(host.name, "signing in")
        session = closing.enter_context(target.open())
        tools.step(host.name, "looking")
        observed = session.inspect(served)
        if reviewed is not None:
            require_reviewed(host, observed, target, reviewed, tools)
        plan = plan_for(host, observed, target, certificates, tools)
        seen = Foresight() if plan.is_noop else session.foresee(plan)
        plan = replace(plan, notes=(*plan.notes, *seen.notes))
        outcome = replace(
            new_outcome(host, "planned"),
            plan=plan,
            endpoints=served,
            wanted=tuple(certificates.values()),
            hazards=in_order((*hazards(plan, asked_for(host), session.traits), *seen.hazards)),
            seconds=monotonic() - began,
        )
        if plan.is_noop:
            return _nothing_to_do(host, outcome, observed, target, None if dry_run else tools)
        silent = _silent(served)
        if silent is not None and not seen.heals:
            return replace(outcome, status="failed", error=silent)
        accepted |= host.accept
        left = refused(outcome.hazards, accepted)
        if left:
            return replace(outcome, status="refused", error=_unsafe(host, left))
        if dry_run:
            return outcome
        tools.step(host.name, "waiting for its turn")
        may_lose = NOT_RESTORABLE in accepted
        return Visit(host, target, session, closing.pop_all(), outcome, plan, may_lose)
    raise AssertionError("the context above swallows nothing")


def deliver(visit: Visit, bundles: Mapping[str, Bundle], tools: Tools) -> Outcome:
    """Bring one host to its plan and prove it, or put it back; signed out in either case."""
    began = monotonic()
    host, plan = visit.host, visit.plan
    with visit.closing:
        try:
            with known_errors(f"host={host.name}"):
                tools.step(host.name, "keeping what is there")
                snapshot = visit.session.snapshot(plan, may_lose=visit.may_lose)
                if plan.changes:  # a removal alone cannot be taken back
                    tools.keep(to_be_undone(snapshot, plan, visit.outcome.endpoints))
        except UnsafePlan as error:
            return _ended(visit, began, status="refused", error=error)
        except DistributorError as error:
            return _ended(visit, began, status="failed", error=error)
        try:
            with known_errors(f"host={host.name}"):
                tools.step(host.name, "changing")
                untouched = _apply(visit, bundles)
                if untouched is not None:
                    ended = "failed" if isinstance(untouched, Busy) else "refused"
                    return _ended(visit, began, status=ended, error=untouched)
                tools.step(host.name, "proving")
                served, state = _verified(visit, tools)
        except DistributorError as error:
            status, reason = _put_back(visit, snapshot, error, tools)
            return _ended(visit, began, status=status, error=reason)
        wanted = {one.name: one for one in plan.certificates}
        proof = proof_of(state, visit.target.desired(wanted), served)
        left = _remove(visit, tools)
        if left is not None and not plan.changes:
            return _ended(visit, began, status="failed", endpoints=served, error=left)
        kept = () if left is None else (str(left),)
        return _ended(
            visit,
            began,
            status="changed",
            endpoints=served,
            proof=proof,
            warnings=(*kept, *unproved(proof), *remember(host, tools)),
        )


def _apply(visit: Visit, bundles: Mapping[str, Bundle]) -> PlanError | None:
    """Make the changes; return why none of them was begun, if so."""
    try:
        visit.session.apply(visit.plan, bundles)
    except PlanError as error:
        return error
    return None


def new_outcome(host: Host, status: HostStatus, error: DistributorError | None = None) -> Outcome:
    """Return an outcome that says nothing yet but the host, its status and an error."""
    return Outcome(
        host=host.name,
        kind=host.kind,
        via=host.via,
        status=status,
        certificates=host.certificates,
        error=error,
    )


def _nothing_to_do(
    host: Host, outcome: Outcome, observed: State, target: Target, tools: Tools | None
) -> Outcome:
    wanted = {one.name: one for one in outcome.wanted}
    astray = [one for one in outcome.endpoints if not all_serve((one,), wanted)]
    if astray:
        return replace(outcome, status="failed", error=astray_error(astray))
    proof = proof_of(observed, target.desired(wanted), outcome.endpoints)
    warnings = remember(host, tools) if tools is not None else ()
    warnings = (*unproved(proof), *warnings)
    return replace(outcome, status="unchanged", proof=proof, warnings=warnings)


def _all_proved(certificates: Mapping[str, Certificate], served: Sequence[Served]) -> bool:
    """Tell whether each certificate is served, by every endpoint that is for it."""
    asked = {one.endpoint.certificate for one in served}
    return asked == set(certificates) and all_serve(served, dict(certificates))


def _proved_by_handshake(
    host: Host,
    certificates: Mapping[str, Certificate],
    served: tuple[Served, ...],
    tools: Tools | None,
) -> Outcome:
    return replace(
        new_outcome(host, "unchanged"),
        proof="handshake",
        endpoints=served,
        wanted=tuple(certificates.values()),
        warnings=remember(host, tools) if tools is not None else (),
    )


def require_reachable(host: Host, served: Sequence[Served]) -> None:
    """Raise what the handshake with the host's own port met: a second time-out tells no more."""
    own = SocketAddress(host.address, host.access.port)
    for one in served:
        if one.endpoint.address == own and isinstance(one.error, Unreachable):
            raise one.error


def _silent(served: Sequence[Served]) -> VerifyFailed | None:
    """Return why an endpoint shows no certificate: it could prove nothing after the change."""
    for one in served:
        if one.error is not None:
            return VerifyFailed(
                f"{one.endpoint} shows no certificate, so that nothing could be proved: "
                f"{one.error.message}",
                hint="nothing was changed; correct `endpoints`, or start that service",
                step="handshake",
            )
    return None


def _verified(visit: Visit, tools: Tools) -> tuple[tuple[Served, ...], State]:
    """Return what is served and held once it is what the plan says; raises VerifyFailed else."""
    wanted = {one.name: one for one in visit.plan.certificates}
    served = wait_for(visit.host, tools, lambda shown: all_serve(shown, wanted))
    astray = [one for one in served if not all_serve((one,), wanted)]
    if astray:
        raise astray_error(astray)
    state = visit.session.inspect(served)
    left = diff(state, visit.target.desired(wanted))
    if left:
        shown = ", ".join(f"{change.address}: {change.fact}" for change in left)
        raise VerifyFailed(
            f"the box serves the new leaf, but does not hold what was asked for ({shown})",
            hint=f"look at {where_to_look(visit.host)}",
            step="verify",
        )
    return served, state


def _put_back(
    visit: Visit, snapshot: Snapshot, reason: DistributorError, tools: Tools
) -> tuple[HostStatus, DistributorError]:
    """Roll back on a fresh connection, and look: only what was seen counts as put back."""
    before = {one.endpoint: one.certificate for one in visit.outcome.endpoints}
    try:
        with known_errors(f"host={visit.host.name}"):
            tools.step(visit.host.name, "putting back")
            visit.close()
            with visit.target.open() as session:
                failure = _rolled_back(session, snapshot)
                served = wait_for(
                    visit.host, tools, lambda shown: all(_as_before(one, before) for one in shown)
                )
                now = session.inspect(served)
            if now != snapshot.before or not all(_as_before(one, before) for one in served):
                _give_up(failure)
    except DistributorError as error:
        log.warning("host=%s step=rollback error=%s", visit.host.name, error.kind)
        return "broken", RollbackFailed(
            f"{reason.message}; then putting it back failed: {error.message}",
            hint=what_to_do(visit.host),
            step="rollback",
            code=error.code,
        )
    remember(visit.host, tools)
    return "rolled_back", reason


def _rolled_back(session: Session, snapshot: Snapshot) -> DistributorError | None:
    """Roll back; return why not. A host that refuses every change may still be as it was."""
    try:
        session.rollback(snapshot)
    except DistributorError as error:
        return error
    return None


def _give_up(failure: DistributorError | None) -> NoReturn:
    raise failure or RollbackFailed("it is not as it was before", step="rollback")


def _remove(visit: Visit, tools: Tools) -> DistributorError | None:
    """Remove what is superseded; return why not. What was delivered is well in any case."""
    if not visit.plan.removals:
        return None
    try:
        with known_errors(f"host={visit.host.name}"):
            tools.step(visit.host.name, "removing what is superseded")
            visit.session.remove(visit.plan)
    except DistributorError as error:
        log.warning("host=%s step=remove error=%s", visit.host.name, error.kind)
        return error
    return None


def remember(host: Host, tools: Tools) -> tuple[str, ...]:
    """Move the pin; the host is well in any case, so a failure is a warning."""
    try:
        with known_errors(f"host={host.name}"):
            tools.remember(host)
    except DistributorError as error:
        log.warning("host=%s step=remember error=%s", host.name, error.kind)
        return (f"what it serves now could not be pinned: {error.message}",)
    return ()


def _as_before(one: Served, before: Mapping[Endpoint, Certificate | None]) -> bool:
    then = before[one.endpoint]
    return then is None or one.serves(then)


def wait_for(
    host: Host, tools: Tools, is_right: Callable[[Sequence[Served]], bool]
) -> tuple[Served, ...]:
    """Shake hands until it is right or the time is over; return what was seen last."""
    ends = monotonic() + SERVED_SECONDS
    pause = _FIRST_PAUSE
    while True:
        served = tools.probe(host.endpoints)
        if is_right(served) or monotonic() >= ends:
            return served
        tools.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _unsafe(host: Host, left: Sequence[Hazard]) -> UnsafePlan:
    return UnsafePlan(
        "; ".join(map(str, left)),
        hazards=tuple(dict.fromkeys(hazard.name for hazard in left)),
        hint=f"if that is what you want: --accept {host.name}:{left[0].name}",
    )


def _ended(visit: Visit, began: float, **found: Any) -> Outcome:
    seconds = visit.outcome.seconds + monotonic() - began
    return replace(visit.outcome, seconds=seconds, **found)
