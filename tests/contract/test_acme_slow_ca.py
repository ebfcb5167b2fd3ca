"""A CA that takes its time to validate finds the values in place, whoever stops meanwhile."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from distributor.access import interruptible_sleep
from distributor.lab.authority import Authority
from distributor.lab.pebble import PebbleOptions
from distributor.model.errors import CaUnreachable, DnsRefused, Interrupted
from tests.contract.acme_rig import (
    CHALLENGE,
    AcmeRig,
    FailingProvider,
    Gate,
    Servers,
    acme_rig,
    acme_servers,
    hush,
    noted,
    short_sleep,
)

WAITS = "waiting for the CA to validate"
STANDARD = PebbleOptions(authorization_reuse_percent=0)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with acme_servers(tmp_path_factory) as servers:
        yield servers


@dataclass(frozen=True)
class Slow:
    rig: AcmeRig
    gate: Gate


@pytest.fixture
def slow(servers: Servers, tmp_path: Path) -> Iterator[Slow]:
    """A CA that validates nothing before the gate is open."""
    with (
        Gate(servers.nameserver) as gate,
        Authority(
            engine="pebble", dns=gate.address, folder=tmp_path / "pebble", options=STANDARD
        ) as pebble,
        acme_rig(replace(servers, pebble=pebble), tmp_path / "state") as rig,
    ):
        yield Slow(rig, gate)


def run_into_the_deadline(rig: AcmeRig, patch: pytest.MonkeyPatch) -> None:
    with patch.context() as hurried:
        hurried.setattr("distributor.sources.acme_order.CA_TIMEOUT", timedelta(0))
        with pytest.raises(CaUnreachable, match="in time"):
            rig.acme().renew(hush)


def test_a_ca_that_is_not_done_in_time_finds_the_values_after_the_run(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_into_the_deadline(slow.rig, monkeypatch)
    assert slow.rig.published == set(noted(slow.rig.store)[CHALLENGE])
    assert len(slow.rig.published) == 2
    assert slow.rig.source().tidy() == ()
    assert slow.rig.published == set()


def test_a_challenge_that_the_ca_is_at_is_waited_for_with_its_value_standing(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = slow.rig
    run_into_the_deadline(rig, monkeypatch)
    assert rig.source().tidy() == ()
    assert rig.published == set()

    def let_it_look(line: str) -> None:
        if line == WAITS:
            assert len(rig.published) == 2
            slow.gate.is_open.set()

    ready = rig.acme().renew(let_it_look)

    assert len(rig.spied.orders) == 1
    assert rig.source().current() == ready
    assert rig.pending() is None
    assert rig.published == set()


def test_a_stop_while_the_ca_looks_lets_it_finish_and_keeps_the_order(slow: Slow) -> None:
    rig, stop = slow.rig, threading.Event()
    stood: list[int] = []

    def stop_now(line: str) -> None:
        if line == WAITS:
            stop.set()

    def let_it_look(seconds: float) -> None:
        stood.append(len(rig.published))
        slow.gate.is_open.set()
        short_sleep(seconds)

    connect = rig.connect(sleep=interruptible_sleep(stop), patient_sleep=let_it_look)
    with pytest.raises(Interrupted):
        rig.acme(connect=connect).renew(stop_now)

    assert stood
    assert set(stood) == {2}
    assert rig.published == set()
    assert noted(rig.store) == {}
    assert rig.pending() is not None
    lines: list[str] = []
    rig.acme().renew(lines.append)
    assert len(rig.spied.orders) == 1
    assert not any("TXT" in line for line in lines), "it was validated already"


def test_a_stop_before_the_ca_looks_takes_the_values_away_at_once(slow: Slow) -> None:
    rig, stop = slow.rig, threading.Event()
    stop.set()
    rig.servers.nameserver.lag = 0.3
    with pytest.raises(Interrupted):
        rig.acme(nameservers=rig.nameservers(sleep=interruptible_sleep(stop))).renew(hush)
    assert rig.published == set()
    assert rig.pending() is not None


def test_a_key_that_dns_refuses_is_told_of_once_and_nothing_else_is(slow: Slow) -> None:
    lines: list[str] = []
    with pytest.raises(DnsRefused, match="does not know the TSIG key") as caught:
        slow.rig.acme(provider=slow.rig.provider(key_name="nobody")).renew(lines.append)
    assert "removed" not in "".join([*lines, caught.value.message])
    assert noted(slow.rig.store) == {}


def test_values_that_stay_after_a_failure_are_told_of_after_the_failure(slow: Slow) -> None:
    rig, lines = slow.rig, list[str]()
    lost = FailingProvider(rig.provider(), "present", DnsRefused("the answer is lost"))
    both = FailingProvider(lost, "cleanup", DnsRefused("no connection"))
    with pytest.raises(DnsRefused) as caught:
        rig.acme(provider=both).renew(lines.append)
    assert caught.value.message == (
        f"the answer is lost; TXT at {CHALLENGE} could not be removed yet: no connection"
    )
    assert "removed" not in "".join(lines)
    assert rig.source().tidy() == ()
