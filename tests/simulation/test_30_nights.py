"""Thirty nights of a fleet in trouble: each reachable host ends with the current certificate.

At most the orders that were due are made, no host is left torn without being called broken, and no
success is false. A few worlds in CI, many with DISTRIBUTE_EXHAUSTIVE=1.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from distributor.model.renewal import Renewal
from tests.contract.scenarios import is_exhaustive
from tests.simulation.clock import Clock, spans
from tests.simulation.fleet import HOSTS, HOW, MEDDLING, Fault, Fleet, Night, new_device
from tests.simulation.virtual_authority import VirtualCa
from tests.simulation.virtual_zone import Zone
from tests.simulation.world import World

NIGHTS = 30
DAY = timedelta(days=1)
START = datetime(2026, 11, 21, 2, tzinfo=UTC)
LIVES = (timedelta(hours=160), 12 * DAY, 45 * DAY)
SEEDS = range(300 if is_exhaustive() else 10)
ENDS = {"changed", "unchanged", "failed", "rolled_back", "broken", "skipped", "held"}
MISTAKES: dict[str, tuple[str, object, str]] = {
    "it takes every host to serve what it should": (
        "distributor.delivery.all_serve",
        lambda _served, _wanted: True,
        "does not serve what is current",
    ),
    "it does not put back, and says so": (
        "distributor.delivery._put_back",
        lambda _visit, _snapshot, reason, _tools: ("rolled_back", reason),
        "ends rolled_back and is not as it was",
    ),
    "it renews each night": (
        "distributor.sources.acme.Acme.due",
        lambda source, _current, _hints, _now: Renewal(reason="", forecast=source.forecast()),
        "1 orders though none was due",
    ),
}
"""What the product could do wrong: where, what instead, and what is noticed then."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Do not wait for the disk, since no power is lost here, nor for what hosts serve."""
    clock = Clock(START)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr("distributor.delivery.monotonic", clock.seconds)
    return clock


def fleet(folder: Path, clock: Clock, random: Random, *, troubled: bool = True) -> Fleet:
    seldom = (9.0, 1, 60) if troubled else (1e5, 1, 2)
    zone = Zone(
        clock,
        refuses=spans(random, START, NIGHTS, *seldom),
        is_hidden=spans(random, START, NIGHTS, *seldom),
    )
    ca = VirtualCa(
        "https://first.test/directory",
        clock,
        zone,
        Random(random.random()),  # noqa: S311 - the same world each time
        [(START, random.choice(LIVES))],
        has_ari=random.random() < 1 / 2,
        outages=spans(random, START, NIGHTS, *seldom),
    )
    world = World(folder, clock, zone, [ca], random)
    made = Fleet(world, {name: new_device() for name in HOSTS}, random)
    made.pin()
    return made


def a_night(random: Random) -> Night:
    """Return a night with about one trouble for each four hosts, and now and then one for all."""

    def happens(often: float) -> bool:
        return random.random() < often

    return Night(
        faults={
            name: Fault(random.choice(HOW), random.randint(1, 5)) for name in HOSTS if happens(0.25)
        },
        killed_at=random.randint(1, 90) if happens(0.15) else 0,
        disk_full_at=random.randint(1, 12) if happens(0.1) else 0,
        skew=random.uniform(-3, 3) * DAY if happens(0.1) else timedelta(0),
        meddled={name: random.choice(MEDDLING) for name in HOSTS if happens(0.06)},
        quick=happens(0.2),
        parallel=random.choice((1, 1, 2, 8)),
        canary=random.choice((None, *HOSTS)),
    )


def troubled_nights(here: Fleet, random: Random, number: int) -> None:
    """Let so many nights pass; every other trouble of a host lasts until the next."""
    lasting: dict[str, Fault] = {}
    for night in range(number):
        next_one = a_night(random)
        next_one = replace(next_one, faults={**lasting, **next_one.faults})
        here.night(START + night * DAY, next_one)
        lasting = {name: one for name, one in next_one.faults.items() if random.random() < 1 / 2}


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Every end that a host had in these tests."""
    return set()


@pytest.mark.parametrize("seed", SEEDS)
def test_thirty_nights_end_with_every_reachable_host_on_the_current_certificate(
    seed: int, tmp_path: Path, clock: Clock, seen: set[str]
) -> None:
    random = Random(f"night {seed}")  # noqa: S311 - the same nights each time
    here = fleet(tmp_path / "state", clock, random)
    troubled_nights(here, random, NIGHTS - 1)
    here.world.calm_down()
    off = set(random.sample(HOSTS, 1))
    faults = {name: Fault("off", 0) for name in off}
    here.night(START + (NIGHTS - 1) * DAY, Night(faults=faults))
    # What was put back twice is left alone until a person, who reads that, names it.
    held = frozenset(name for name, end in here.ends.items() if end == "held")
    if held:
        here.night(START + (NIGHTS - 1) * DAY, Night(faults=faults), named=held)

    assert here.complaints == []
    reachable = [name for name in HOSTS if name not in off]
    current = {here.current()}
    assert {name: here.served(name) for name in reachable} == dict.fromkeys(reachable, current), (
        "\n".join(here.told)
    )
    assert here.world.issued <= here.due
    assert here.world.complaints() == []
    seen |= here.seen


def test_these_nights_had_every_end_that_a_host_can_have(seen: set[str]) -> None:
    assert seen == ENDS


def test_thirty_quiet_nights_change_each_host_once_for_each_certificate(
    tmp_path: Path, clock: Clock
) -> None:
    random = Random("quiet")  # noqa: S311 - the same world each time
    here = fleet(tmp_path / "state", clock, random, troubled=False)
    changed = 0
    for night in range(NIGHTS):
        writes = {name: device.writes for name, device in here.devices.items()}
        issued = here.world.issued
        here.night(START + night * DAY, Night())
        is_new = here.world.issued > issued
        changed += is_new
        assert here.ends == dict.fromkeys(HOSTS, "changed" if is_new else "unchanged")
        after = {name: device.writes for name, device in here.devices.items()}
        assert (after == writes) is not is_new
    assert here.complaints == []
    assert changed == here.world.orders == here.world.issued == here.due


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_run_that_lets_a_host_down_is_noticed(
    mistake: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, instead, words = MISTAKES[mistake]
    monkeypatch.setattr(place, instead)
    random = Random(mistake)  # noqa: S311 - the same nights each time
    here = fleet(tmp_path / "state", clock, random)

    troubled_nights(here, random, NIGHTS)

    assert any(words in complaint for complaint in here.complaints), here.told
