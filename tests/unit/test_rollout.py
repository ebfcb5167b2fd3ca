"""In what order hosts are changed, when it ends, and how many at once."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.hosts import Host, Rollout
from distributor.model.report import HostStatus, Outcome
from distributor.rollout import canary_first, place_of, roll_out
from tests.unit.bench import host

HOSTS = ("attic", "cellar", "garage", "office", "studio")
ENDS: tuple[HostStatus, ...] = ("changed", "failed", "refused", "rolled_back", "broken")
IN_VAIN = {"rolled_back", "broken"}


def outcome(host: str, status: HostStatus) -> Outcome:
    return Outcome(host=host, kind="diskstation", via="api", status=status)


class Deliveries:
    """Ends each host as told (`changed` if nothing is said), and notes the order."""

    def __init__(
        self, ends: dict[str, HostStatus] | None = None, then: Callable[[str], object] = str
    ) -> None:
        self._ends = ends or {}
        self._then = then
        self._lock = threading.Lock()
        self._now = 0
        self.started: list[str] = []
        self.most_at_once = 0
        self.alone: list[str] = []

    def __call__(self, host: str) -> Outcome:
        with self._lock:
            self.started.append(host)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self._then(host)
        with self._lock:
            if self._now == 1:
                self.alone.append(host)
            self._now -= 1
        return outcome(host, self._ends.get(host, "changed"))


def rolled(
    deliver: Callable[[str], Outcome],
    policy: Rollout | None = None,
    hosts: Sequence[str] = HOSTS,
    stop: threading.Event | None = None,
    places: dict[str, str] | None = None,
) -> tuple[dict[str, Outcome], str]:
    # One at a time unless told otherwise, so that the order is known.
    policy, stop = policy or Rollout(parallel=1), stop or threading.Event()
    return roll_out(hosts, deliver, policy, stop, places)


def test_every_host_is_delivered_to_in_order() -> None:
    deliveries = Deliveries()

    outcomes, _ = rolled(deliveries)

    assert deliveries.started == list(HOSTS)
    assert set(outcomes) == set(HOSTS)


def test_the_canary_of_the_inventory_goes_first() -> None:
    deliveries = Deliveries()

    rolled(deliveries, Rollout(parallel=1, canary="office"))

    assert deliveries.started == ["office", "attic", "cellar", "garage", "studio"]


def test_a_canary_that_has_no_changes_leaves_the_role_to_the_first() -> None:
    assert canary_first(HOSTS, "elsewhere") == HOSTS
    assert canary_first(HOSTS, None) == HOSTS


def test_the_canary_is_alone_and_the_rest_goes_in_parallel() -> None:
    four = threading.Barrier(4, timeout=5)
    deliveries = Deliveries(then=lambda host: host == "attic" or four.wait())

    outcomes, _ = rolled(deliveries, Rollout(parallel=4))

    assert len(outcomes) == 5
    assert deliveries.started[0] == "attic"
    assert deliveries.alone[0] == "attic"
    assert deliveries.most_at_once == 4


def test_no_more_than_parallel_are_under_way() -> None:
    deliveries = Deliveries(then=lambda _host: threading.Event().wait(0.02))

    rolled(deliveries, Rollout(parallel=2))

    assert deliveries.most_at_once == 2


def test_a_canary_that_does_not_take_the_change_spares_all_others() -> None:
    in_vain: tuple[HostStatus, ...] = ("rolled_back", "broken")
    for status in in_vain:
        deliveries = Deliveries({"attic": status})

        outcomes, why = rolled(deliveries)

        assert list(outcomes) == ["attic"]
        assert why == "the canary attic did not take the change"


def test_a_host_that_was_not_written_to_passes_the_role_of_canary_on() -> None:
    deliveries = Deliveries({"attic": "failed", "cellar": "refused", "garage": "rolled_back"})

    outcomes, why = rolled(deliveries, Rollout(parallel=8))

    assert list(outcomes) == ["attic", "cellar", "garage"]
    assert why == "the canary garage did not take the change"


def test_max_failures_ends_the_roll_out_after_a_good_canary() -> None:
    deliveries = Deliveries({"cellar": "rolled_back", "garage": "broken"})

    two, why = rolled(deliveries, Rollout(parallel=1, max_failures=2))
    one, _ = rolled(deliveries, Rollout(parallel=1, max_failures=1))

    assert list(two) == ["attic", "cellar", "garage"]
    assert why == "2 hosts did not take the change (max_failures)"
    assert list(one) == ["attic", "cellar"]


def test_hosts_that_were_not_written_to_never_stop_the_others() -> None:
    deliveries = Deliveries(dict.fromkeys(HOSTS[1:4], "failed"))

    outcomes, _ = rolled(deliveries)

    assert set(outcomes) == set(HOSTS)


def test_stop_lets_the_host_at_hand_end_and_starts_no_other() -> None:
    stop = threading.Event()
    deliveries = Deliveries(then=lambda host: stop.set() if host == "cellar" else None)

    outcomes, why = rolled(deliveries, stop=stop)

    assert list(outcomes) == ["attic", "cellar"]
    assert outcomes["cellar"].status == "changed"
    assert why == "the run was interrupted"


def test_stop_before_the_canary_starts_nothing() -> None:
    stop = threading.Event()
    stop.set()
    deliveries = Deliveries()

    outcomes, why = rolled(deliveries, stop=stop)

    assert (outcomes, why) == ({}, "the run was interrupted")
    assert deliveries.started == []


class AtWork:
    """Notes which hosts are worked on at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: set[str] = set()
        self.together: set[frozenset[str]] = set()

    def __call__(self, host: str) -> Outcome:
        with self._lock:
            self._now.add(host)
            self.together |= {frozenset({host, other}) for other in self._now - {host}}
        threading.Event().wait(0.01)
        with self._lock:
            self._now.discard(host)
        return outcome(host, "changed")


def test_two_hosts_of_one_place_are_never_worked_on_at_once() -> None:
    at_work = AtWork()
    places = dict.fromkeys(("cellar", "garage", "office"), "192.168.1.11")

    outcomes, _ = rolled(at_work, Rollout(parallel=5), places=places)

    assert set(outcomes) == set(HOSTS)
    assert not [pair for pair in at_work.together if pair <= places.keys()]


def test_a_place_that_is_busy_keeps_nobody_else_waiting() -> None:
    meet = threading.Barrier(2, timeout=5)
    both = {"cellar", "studio"}
    deliveries = Deliveries(then=lambda host: host in both and meet.wait())
    places = dict.fromkeys(("cellar", "garage", "office"), "one")

    outcomes, _ = rolled(deliveries, Rollout(parallel=2), places=places)

    assert set(outcomes) == set(HOSTS)
    assert deliveries.started[:3] == ["attic", "cellar", "studio"]


def test_an_error_that_ends_all_leaves_no_worker_waiting() -> None:
    def deliver(host: str) -> Outcome:
        if host == "cellar":
            raise ZeroDivisionError
        return outcome(host, "changed")

    places = dict.fromkeys(HOSTS, "one")
    with pytest.raises(ZeroDivisionError):
        rolled(deliver, Rollout(parallel=3), places=places)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("Attic.Example.com.", "attic.example.com"),
        ("192.168.1.11", "192.168.1.11"),
        ("FE80::1", "fe80::1"),
    ],
)
def test_an_address_is_known_however_it_is_spelt(address: str, place: str) -> None:
    assert place_of(host_at(address)) == place


def host_at(address: str) -> Host:
    return replace(host("attic"), address=address)


def test_no_host_at_all_is_no_error() -> None:
    assert rolled(Deliveries(), hosts=())[0] == {}


@given(
    ends=st.lists(st.sampled_from(ENDS), max_size=8),
    parallel=st.integers(1, 4),
    max_failures=st.integers(1, 3),
    places=st.dictionaries(st.integers(0, 7).map("host{}".format), st.sampled_from("xy")),
)
def test_no_host_is_visited_twice_and_never_many_in_vain(
    ends: list[HostStatus], parallel: int, max_failures: int, places: dict[str, str]
) -> None:
    hosts = tuple(f"host{number}" for number in range(len(ends)))
    deliveries = Deliveries(dict(zip(hosts, ends, strict=True)))

    outcomes, _ = rolled(
        deliveries,
        Rollout(parallel=parallel, max_failures=max_failures),
        hosts=hosts,
        places=places,
    )

    assert len(set(deliveries.started)) == len(deliveries.started)
    assert set(outcomes) == set(deliveries.started)
    in_vain = sum(one.status in IN_VAIN for one in outcomes.values())
    # Those already under way when the last one is counted come to their end.
    assert in_vain <= max_failures + parallel - 1
    if in_vain == 0:
        assert set(outcomes) == set(hosts)
