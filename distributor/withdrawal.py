"""All or nothing: when one host does not take the change, the others do not keep it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from distributor.model.errors import AllOrNothing, DistributorError, StateError
from distributor.model.hosts import Host, Rollout
from distributor.model.report import HostStatus, Outcome
from distributor.rollback import Tools, WayBack, go_back, look_back
from distributor.rollout import in_turns, place_of
from distributor.unexpected import known_errors

_TOOK_IT: Final[frozenset[HostStatus]] = frozenset({"changed", "unchanged", "planned"})


def without_it(outcomes: Mapping[str, Outcome]) -> str | None:
    """Return which hosts do not have the change, in words, or None where all do."""
    named = [
        f"{name} is {one.status}" for name, one in outcomes.items() if one.status not in _TOOK_IT
    ]
    return f"all or nothing: {', '.join(named)}" if named else None


def withdraw(
    hosts: Sequence[Host],
    outcomes: Mapping[str, Outcome],
    tools: Tools,
    policy: Rollout,
    now: Callable[[], datetime],
    tell: Callable[[Outcome], None],
) -> dict[str, Outcome]:
    """Put every changed host back unless all hosts took the change; return how each ended.

    A host that cannot be put back keeps the change, which was proved, and says why.
    """
    why = without_it(outcomes)
    changed = [host for host in hosts if outcomes[host.name].status == "changed"]
    if why is None or not changed:
        return dict(outcomes)

    by_name = {host.name: host for host in changed}

    def put_back(name: str) -> Outcome:
        ended = _put_back(by_name[name], outcomes[name], why, tools, now())
        tell(ended)
        return ended

    ends = dict(outcomes)
    places = {name: place_of(host) for name, host in by_name.items()}
    in_turns(by_name, places, put_back, ends, policy.parallel)
    return ends


def _put_back(host: Host, outcome: Outcome, why: str, tools: Tools, now: datetime) -> Outcome:
    try:
        with known_errors(f"host={host.name} step=withdraw"):
            snapshot = tools.snapshot(host.name)
            if snapshot is None:
                raise StateError("there is no snapshot of it", step="rollback")
            wanted = {one.name: one for one in outcome.wanted}
            way = look_back(host, wanted, snapshot, tools, now)
            ended = go_back(way, tools) if isinstance(way, WayBack) else way
    except DistributorError as error:
        return _kept(outcome, why, error)
    if ended.status == "broken":
        return replace(ended, plan=outcome.plan)
    if ended.status != "rolled_back":
        return _kept(outcome, why, ended.error)
    return replace(
        outcome,
        status="rolled_back",
        seconds=outcome.seconds + ended.seconds,
        endpoints=ended.endpoints,
        proof=ended.proof,
        error=AllOrNothing(
            f"it took the change and was put back; {why}",
            hint="see to those, then run again",
            step="rollback",
        ),
        warnings=(*outcome.warnings, *ended.warnings),
    )


def _kept(outcome: Outcome, why: str, error: DistributorError | None) -> Outcome:
    said = "it is as it was before" if error is None else str(error)
    return replace(
        outcome, warnings=(*outcome.warnings, f"{why}; it was not put back all the same: {said}")
    )
