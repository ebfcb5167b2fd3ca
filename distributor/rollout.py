"""In what order hosts are changed, and how many at once: a canary, then the rest in parallel."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from distributor.model.hosts import Rollout
from distributor.model.report import HostStatus, Outcome

_WRITTEN_IN_VAIN: Final[frozenset[HostStatus]] = frozenset({"rolled_back", "broken"})
"""Ends of a host that was written to and is not changed."""
_WAKE_SECONDS: Final = 0.2


def roll_out(
    hosts: Sequence[str],
    deliver: Callable[[str], Outcome],
    policy: Rollout,
    stop: threading.Event,
) -> tuple[dict[str, Outcome], str]:
    """Deliver to `hosts` in order; return the outcomes, and why the others were not started.

    `hosts` are those that answered and have changes. The canary comes first and alone; a host that
    ends without having been written to passes the role on, one that was written to in vain ends the
    roll-out. Then up to `parallel` at once, until `max_failures` were written to in vain or `stop`
    is set; hosts under way come to their end.
    """
    waiting = iter(canary_first(hosts, policy.canary))
    outcomes: dict[str, Outcome] = {}
    for host in _until(stop, waiting):
        outcomes[host] = deliver(host)
        if outcomes[host].status in _WRITTEN_IN_VAIN:
            return outcomes, f"the canary {host} did not take the change"
        if outcomes[host].status == "changed":
            break

    _in_parallel(waiting, deliver, outcomes, policy, stop)
    if stop.is_set():
        return outcomes, "the run was interrupted"
    return outcomes, f"{_failures(outcomes)} hosts did not take the change (max_failures)"


def _in_parallel(
    waiting: Iterator[str],
    deliver: Callable[[str], Outcome],
    outcomes: dict[str, Outcome],
    policy: Rollout,
    stop: threading.Event,
) -> None:
    turn = threading.Lock()

    def work() -> None:
        while True:
            with turn:
                enough = _failures(outcomes) >= policy.max_failures or stop.is_set()
                host = None if enough else next(waiting, None)
            if host is None:
                return
            outcome = deliver(host)
            with turn:
                outcomes[host] = outcome

    with ThreadPoolExecutor(max_workers=policy.parallel, thread_name_prefix="deliver") as pool:
        at_work = {pool.submit(work) for _ in range(policy.parallel)}
        while at_work:
            # Waking now and then lets a signal be handled also where waiting would not be.
            done, at_work = wait(at_work, timeout=_WAKE_SECONDS)
            for worker in done:
                worker.result()


def canary_first(hosts: Sequence[str], canary: str | None) -> tuple[str, ...]:
    """Return `hosts` with the canary in front, if the inventory names one that is among them."""
    if canary is None or canary not in hosts:
        return tuple(hosts)
    return (canary, *(host for host in hosts if host != canary))


def _failures(outcomes: dict[str, Outcome]) -> int:
    return sum(outcome.status in _WRITTEN_IN_VAIN for outcome in outcomes.values())


def _until(stop: threading.Event, hosts: Iterator[str]) -> Iterator[str]:
    for host in hosts:
        if stop.is_set():
            return
        yield host
