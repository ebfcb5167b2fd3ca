"""In what order hosts are changed, and how many at once: a canary, then the rest in parallel."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from distributor.model.hosts import Host, Rollout
from distributor.model.report import HostStatus, Outcome

_WRITTEN_IN_VAIN: Final[frozenset[HostStatus]] = frozenset({"rolled_back", "broken"})
"""Ends of a host that was written to and is not changed."""
_WAKE_SECONDS: Final = 0.2


def roll_out(
    hosts: Sequence[str],
    deliver: Callable[[str], Outcome],
    policy: Rollout,
    stop: threading.Event,
    places: Mapping[str, str] | None = None,
) -> tuple[dict[str, Outcome], str]:
    """Deliver to `hosts` in order; return the outcomes, and why the others were not started.

    `hosts` are those that answered and have changes. The canary comes first and alone; a host that
    ends without having been written to passes the role on, one that was written to in vain ends the
    roll-out. Then up to `parallel` at once, until `max_failures` were written to in vain or `stop`
    is set; hosts under way come to their end. Two hosts with one place are never worked on at once.
    """
    waiting = list(canary_first(hosts, policy.canary))
    outcomes: dict[str, Outcome] = {}
    while waiting and not stop.is_set():
        host = waiting.pop(0)
        outcomes[host] = deliver(host)
        if outcomes[host].status in _WRITTEN_IN_VAIN:
            return outcomes, f"the canary {host} did not take the change"
        if outcomes[host].status == "changed":
            break

    def is_enough() -> bool:
        return stop.is_set() or _failures(outcomes) >= policy.max_failures

    in_turns(waiting, places or {}, deliver, outcomes, policy.parallel, is_enough)
    if stop.is_set():
        return outcomes, "the run was interrupted"
    return outcomes, f"{_failures(outcomes)} hosts did not take the change (max_failures)"


def in_turns(
    hosts: Iterable[str],
    places: Mapping[str, str],
    work: Callable[[str], Outcome],
    outcomes: dict[str, Outcome],
    at_once: int,
    is_enough: Callable[[], bool] = lambda: False,
) -> None:
    """Work on hosts, up to `at_once` at the same time, and never on two of one place.

    What became of each is added to `outcomes`. No other is started once `is_enough`.
    """
    waiting, busy, turn = list(hosts), set[str](), threading.Condition()

    def take() -> str | None:
        while waiting and not is_enough():
            for host in waiting:
                place = places.get(host, host)
                if place not in busy:
                    busy.add(place)
                    waiting.remove(host)
                    return host
            turn.wait(_WAKE_SECONDS)  # for who is at work there, or for a signal
        return None

    def worker() -> None:
        while True:
            with turn:
                host = take()
            if host is None:
                return
            try:
                outcome = work(host)
                with turn:
                    outcomes[host] = outcome
            finally:
                with turn:
                    busy.discard(places.get(host, host))
                    turn.notify_all()

    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="deliver") as pool:
        at_work = {pool.submit(worker) for _ in range(at_once)}
        while at_work:
            # Waking now and then lets a signal be handled also where waiting would not be.
            done, at_work = wait(at_work, timeout=_WAKE_SECONDS)
            for one in done:
                one.result()


def place_of(host: Host) -> str:
    """Return what two hosts share that may be one box: the address, as the inventory has it."""
    return host.address.casefold().rstrip(".")


def canary_first(hosts: Sequence[str], canary: str | None) -> tuple[str, ...]:
    """Return `hosts` with the canary in front, if the inventory names one that is among them."""
    if canary is None or canary not in hosts:
        return tuple(hosts)
    return (canary, *(host for host in hosts if host != canary))


def _failures(outcomes: dict[str, Outcome]) -> int:
    return sum(outcome.status in _WRITTEN_IN_VAIN for outcome in outcomes.values())
