"""THE STORY: certificates, then hosts: observe, plan, canary, the rest, report.

A dry run is the same path with nothing that writes. One host's failure is its outcome, never the
end of the run.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Final, Protocol

from distributor.delivery import Visit, deliver, new_outcome, observe
from distributor.model.bundle import Certificate
from distributor.model.errors import (
    DistributorError,
    IssuanceError,
    RollbackFailed,
    StalePlan,
    Unsupported,
)
from distributor.model.holds import held, next_hold
from distributor.model.hosts import Host, Rollout
from distributor.model.report import HostStatus, Outcome, Report
from distributor.model.reviewed import Reviewed
from distributor.obtaining import IssueTerms, Obtained, obtain_each
from distributor.rollback import Tools
from distributor.rollout import place_of, roll_out
from distributor.sources.contract import Source
from distributor.unexpected import known_errors
from distributor.withdrawal import withdraw, without_it

log = logging.getLogger(__name__)

LOOKING_AT_ONCE: Final = 32
"""Hosts observed at once: a dead one costs its own time-out and nobody else's."""


class Progress(Protocol):
    """Hears where the run stands."""

    def certificate(self, name: str, text: str) -> None:
        """Take a line on a certificate."""

    def ended(self, outcome: Outcome) -> None:
        """Take a host's outcome, as soon as it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be done."""

    sources: Mapping[str, Source]
    """By certificate name: those that the hosts use, in the inventory's order."""
    hosts: Sequence[Host]
    rollout: Rollout
    dry_run: bool = False
    no_renew: bool = False
    accepted: Mapping[str, frozenset[str]]
    """Hazards accepted on the command line, by host."""
    named: frozenset[str] = frozenset()
    """Hosts that the command names, which are tried even if they are held."""
    reviewed: Reviewed | None = None
    want_exit_code: bool = False
    quick: bool = False
    """Hosts whose endpoints serve what they should are not signed in to."""
    all_or_nothing: bool = False
    """Unless every host takes the change, none keeps it."""


def run(
    order: Run,
    make_tools: Callable[[Mapping[str, Obtained]], Tools],
    progress: Progress,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> Report:
    """Do all of it, and return what became of every certificate and host."""
    started, began = now(), monotonic()
    terms = IssueTerms(
        dry_run=order.dry_run, no_renew=order.no_renew, renew_now=False, reviewed=order.reviewed
    )
    obtained = obtain_each(order.sources, terms, progress, stop, now)
    tools = make_tools(obtained)
    looked_at = _observe_all(order, obtained, tools, progress, stop)
    outcomes = _deliver_all(order, obtained, looked_at, tools, progress, stop)
    outcomes = {name: _noted(order, one, tools, now()) for name, one in outcomes.items()}
    if order.all_or_nothing:
        tell = partial(_tell, progress)
        outcomes = withdraw(order.hosts, outcomes, tools, order.rollout, now, tell)
    return Report(
        started=started,
        seconds=monotonic() - began,
        dry_run=order.dry_run,
        certificates=tuple(one.outcome for one in obtained.values()),
        hosts=tuple(outcomes[host.name] for host in order.hosts),
        interrupted=stop.is_set(),
        want_exit_code=order.want_exit_code,
    )


def _observe_all(
    order: Run,
    obtained: Mapping[str, Obtained],
    tools: Tools,
    progress: Progress,
    stop: threading.Event,
) -> dict[str, Visit | Outcome]:
    def look(host: Host) -> Visit | Outcome:
        if stop.is_set():
            return replace(new_outcome(host, "skipped"), warnings=("the run was interrupted",))
        try:
            with known_errors(f"host={host.name}"):
                _require_in_plan(host, order.reviewed)
                wanted = _certificates_for(host, obtained)
                is_named = host.name in order.named
                left_alone = held(tools.hold(host.name), wanted.values(), named=is_named)
                if left_alone is not None:
                    return new_outcome(host, "held", left_alone)
                return observe(
                    host,
                    wanted,
                    tools,
                    dry_run=order.dry_run,
                    accepted=order.accepted.get(host.name, frozenset()),
                    reviewed=order.reviewed,
                    quick=order.quick,
                )
        except DistributorError as error:
            return _as_outcome(host, error)

    at_once = min(LOOKING_AT_ONCE, max(1, len(order.hosts)))
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="observe") as pool:
        looked_at = {}
        for host, found in zip(order.hosts, pool.map(look, order.hosts), strict=True):
            looked_at[host.name] = found
            if isinstance(found, Outcome):
                _tell(progress, found)
    return looked_at


def _deliver_all(
    order: Run,
    obtained: Mapping[str, Obtained],
    looked_at: Mapping[str, Visit | Outcome],
    tools: Tools,
    progress: Progress,
    stop: threading.Event,
) -> dict[str, Outcome]:
    visits = {name: found for name, found in looked_at.items() if isinstance(found, Visit)}
    bundles = {name: one.bundle for name, one in obtained.items() if one.bundle is not None}

    def bring(name: str) -> Outcome:
        try:
            with known_errors(f"host={name}"):
                outcome = deliver(visits[name], bundles, tools)
        except DistributorError as error:
            outcome = replace(visits[name].outcome, status="broken", error=_unseen(error))
        _tell(progress, outcome)
        return outcome

    looked = {name: found for name, found in looked_at.items() if isinstance(found, Outcome)}
    places = {host.name: place_of(host) for host in order.hosts}
    delivered: dict[str, Outcome] = {}
    why = without_it(looked) if order.all_or_nothing else None
    if why is None:
        delivered, why = roll_out(tuple(visits), bring, order.rollout, stop, places)
    for name in visits.keys() - delivered.keys():
        _sign_out(visits[name])
        delivered[name] = replace(visits[name].outcome, status="skipped", warnings=(why,))
        _tell(progress, delivered[name])
    return delivered | looked


def _unseen(error: DistributorError) -> RollbackFailed:
    """Return what is said of a host whose delivery ended in an error of which it does not speak.

    It may have been written to, and nobody has looked at it since.
    """
    return RollbackFailed(
        f"{error.message}; how it left the host is not known",
        hint="look at the host, and run again: it is observed anew",
        step=error.step,
        code=error.code,
    )


def _tell(progress: Progress, outcome: Outcome) -> None:
    """Say how a host ended; that it cannot be said changes nothing of it."""
    try:
        with known_errors(f"host={outcome.host} told={outcome.status}"):
            progress.ended(outcome)
    except DistributorError as error:
        log.warning("host=%s step=progress error=%s", outcome.host, error.kind)


def _sign_out(visit: Visit) -> None:
    """Leave a host to which nothing was written; a session that stays open ends by itself."""
    try:
        with known_errors(f"host={visit.host.name}"):
            visit.close()
    except DistributorError as error:
        log.warning("host=%s step=sign-out error=%s", visit.host.name, error.kind)


def _noted(order: Run, outcome: Outcome, tools: Tools, now: datetime) -> Outcome:
    """Remember a host that was put back, and forget it once it is well."""
    if order.dry_run:
        return outcome
    reason = outcome.error.message if outcome.error is not None else ""
    try:
        with known_errors(f"host={outcome.host}"):
            before = tools.hold(outcome.host)
            hold = next_hold(before, outcome.status, outcome.wanted, reason, now)
            if hold != before:
                tools.put_hold(outcome.host, hold)
    except DistributorError as error:
        return replace(outcome, warnings=(*outcome.warnings, str(error)))
    return outcome


def _require_in_plan(host: Host, reviewed: Reviewed | None) -> None:
    if reviewed is not None and host.name not in reviewed.digests:
        raise StalePlan(
            f"the plan says nothing of {host.name}",
            hint="choose the hosts that were reviewed, or review a new plan",
            step="plan",
        )


def _certificates_for(host: Host, obtained: Mapping[str, Obtained]) -> dict[str, Certificate]:
    """Return what the host is to hold; raises when it is not to be had or not as reviewed."""
    found = {}
    for name in host.certificates:
        one = obtained[name]
        if one.certificate is None:
            raise IssuanceError(
                f"there is no valid certificate '{name}' to deliver",
                hint="see what is said of the certificate",
                step="issue",
            )
        if not one.as_reviewed:
            raise StalePlan(
                f"the certificate '{name}' is not the one that was reviewed",
                hint="review a new plan: distribute --all --dry-run --save-plan FILE",
                step="plan",
            )
        found[name] = one.certificate
    return found


def _as_outcome(host: Host, error: DistributorError) -> Outcome:
    """Return the outcome of a host whose work ended in an error."""
    status: HostStatus = "refused" if isinstance(error, StalePlan | Unsupported) else "failed"
    return new_outcome(host, status, error)
