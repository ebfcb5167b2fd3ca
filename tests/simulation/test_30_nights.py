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
SEEDS = range(300 if is_exhaustive() else 12)
QUIET = Night()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Do not wait for the disk, since no power is lost here, nor for what hosts serve."""
    clock = Clock(START)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr("distributor.delivery.monotonic", lambda: clock.time.timestamp())
    return clock


def fleet(folder: Path, clock: Clock, random: Random, *, troubled: bool = True) -> Fleet:
    seldom = (9.0, 1, 60) if troubled else (1e9, 1, 2)
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


@pytest.mark.parametrize("seed", SEEDS)
def test_thirty_nights_end_with_every_reachable_host_on_the_current_certificate(
    seed: int, tmp_path: Path, clock: Clock
) -> None:
    random = Random(f"night {seed}")  # noqa: S311 - the same nights each time
    here = fleet(tmp_path / "state", clock, random)
    for number in range(NIGHTS - 1):
        here.night(START + number * DAY, a_night(random))
    here.world.calm_down()
    off = set(random.sample(HOSTS, 1))
    faults = {name: Fault("off", 0) for name in off}
    # What was put back twice is left alone until a person names it, as one who read the report.
    held = frozenset(name for name, end in here.ends.items() if end == "held")
    here.night(START + (NIGHTS - 1) * DAY, Night(faults=faults), named=held)

    assert here.complaints == []
    current = here.current()
    assert {name: here.served(name) for name in HOSTS if name not in off} == {
        name: {current} for name in HOSTS if name not in off
    }, "\n".join(here.told)
    assert here.world.issued <= here.due
    assert here.world.complaints() == []
