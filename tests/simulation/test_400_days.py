"""Four hundred days of a certificate: never expired while there was a way, never over a limit.

There is a way in a run when DNS works, validation is not lost, and at least one of the CAs in
question answers and has room for the order in its own buckets; it counts from when the certificate
is due by its lifetime, or the CA moved its window into the past. A few worlds in CI, many with
DISTRIBUTE_EXHAUSTIVE=1.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from distributor.model.hosts import KNOWN_CAS
from distributor.sources.acme import Acme
from tests.simulation.clock import Clock, Spans, spans
from tests.simulation.virtual_authority import VirtualCa
from tests.simulation.virtual_zone import Zone
from tests.simulation.world import World, every, now_and_then

DAYS = 400
DAY = timedelta(days=1)
START = datetime(2026, 11, 21, 2, tzinfo=UTC)
SECOND_CA = "https://second.test/directory"
LIVES: dict[str, Sequence[tuple[datetime, timedelta]]] = {
    "90 days": [(START, 90 * DAY)],
    "64 days": [(START, 64 * DAY)],
    "45 days": [(START, 45 * DAY)],
    "160 hours": [(START, timedelta(hours=160))],
    "ever shorter": [
        (START, 90 * DAY),
        (START + 90 * DAY, 64 * DAY),
        (START + 200 * DAY, 45 * DAY),
    ],
}
SCHEDULES: dict[str, Callable[[Random], Iterable[datetime]]] = {
    "nightly": lambda random: every(24, random, START, DAYS),
    "twice a day": lambda random: every(12, random, START, DAYS),
    "now and then": lambda random: now_and_then(random, START, DAYS),
}
Weather = Literal["fair", "rough", "stormy"]
BETWEEN: dict[Weather, float] = {"fair": 60, "rough": 20, "stormy": 6}
"""Days between two troubles of one kind, on the average."""


@dataclass(frozen=True)
class Story:
    lives: str
    has_ari: bool
    cas: int
    schedule: str
    weather: Weather
    number: int = 0

    def __str__(self) -> str:
        ari = "ARI" if self.has_ari else "no ARI"
        return f"{self.lives}, {ari}, {self.cas} CA, {self.schedule}, {self.weather}, {self.number}"


IN_CI = [
    Story("90 days", True, 1, "nightly", "rough"),
    Story("90 days", False, 2, "now and then", "stormy"),
    Story("64 days", True, 2, "nightly", "stormy"),
    Story("45 days", False, 1, "nightly", "rough"),
    Story("45 days", True, 1, "now and then", "stormy"),
    Story("160 hours", True, 2, "twice a day", "rough"),
    Story("160 hours", False, 2, "twice a day", "stormy"),
    Story("160 hours", True, 1, "nightly", "fair"),
    Story("ever shorter", True, 2, "nightly", "rough"),
]
ALL = [
    Story(lives, has_ari, cas, schedule, weather, number)
    for number in range(3)
    for lives in LIVES
    for has_ari in (True, False)
    for cas in (1, 2)
    for schedule in SCHEDULES
    for weather in BETWEEN
]
STORIES = ALL if os.environ.get("DISTRIBUTE_EXHAUSTIVE") == "1" else IN_CI


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is lost here, and each night writes."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def world(story: Story, folder: Path) -> World:
    random = Random(str(story))  # noqa: S311 - the same world each time
    between = BETWEEN[story.weather]
    clock = Clock(START)
    zone = Zone(
        clock,
        refuses=spans(random, START, DAYS, between, 1, 60),
        is_hidden=spans(random, START, DAYS, between, 1, 60),
    )
    cas = [
        VirtualCa(
            url,
            clock,
            zone,
            Random(random.random()),  # noqa: S311 - the same world each time
            LIVES[story.lives],
            has_ari=story.has_ari,
            outages=spans(random, START, DAYS, between, 1, 100),
            says_when_back=random.random() < 1 / 2,
            incidents=moments(random, 2) if story.has_ari else (),
            strangers=moments(random, int(DAYS / between)),
        )
        for url in (KNOWN_CAS["letsencrypt"], SECOND_CA)[: story.cas]
    ]
    return World(folder, clock, zone, cas, random, troubled=1 / between)


def moments(random: Random, count: int) -> list[datetime]:
    return sorted(START + random.uniform(0, DAYS) * DAY for _ in range(count))


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_no_host_is_left_with_an_expired_certificate_while_there_was_a_way(
    story: Story, tmp_path: Path
) -> None:
    here = world(story, tmp_path / "state")
    for at in sorted(SCHEDULES[story.schedule](here.random)):
        here.run(max(at, here.clock.now()))
    here.calm_down()
    here.run(here.clock.now() + DAY)  # what the last run left half done is taken up
    assert here.complaints() == []
    assert here.early == []
    # One that is not delivered waits at its CA, and another CA may have issued meanwhile.
    undelivered = here.undelivered if len(here.cas) > 1 else 0
    assert here.renewals <= here.issued <= here.renewals + undelivered
    assert here.abandoned <= here.killed + len(here.cas)


def quiet(folder: Path, cas: int, **other: object) -> World:
    """A world in which nothing goes wrong but what a test adds."""
    clock = Clock(START)
    zone = Zone(clock)
    urls = (KNOWN_CAS["letsencrypt"], SECOND_CA)[:cas]
    virtual = [VirtualCa(url, clock, zone, Random(7), LIVES["45 days"]) for url in urls]  # noqa: S311 - the same world each time
    return World(folder, clock, zone, virtual, Random(7), **other)  # type: ignore[arg-type]  # noqa: S311 - fields by name; the same world each time


def nights(here: World, first: int, last: int) -> None:
    for night in range(first, last):
        here.run(max(START + night * DAY, here.clock.now()))


def test_in_a_quiet_year_each_certificate_costs_one_order(tmp_path: Path) -> None:
    here = quiet(tmp_path / "state", 1)
    nights(here, 0, 365)
    assert here.orders == here.issued == here.renewals
    assert 365 / 30 <= here.renewals <= 365 / 30 + 2


def test_a_long_outage_ends_one_ca_and_not_two(tmp_path: Path) -> None:
    for cas, lapses in ((1, True), (2, False)):
        here = quiet(tmp_path / f"state{cas}", cas)
        here.cas[0].outages = Spans([(START + 20 * DAY, START + 120 * DAY)])
        nights(here, 0, 150)
        assert (here.lapses > 0) is lapses
        assert here.cas[0].issued[-1].at > START + 120 * DAY or cas == 2


def test_an_incident_is_followed_by_a_new_certificate_on_the_next_night(tmp_path: Path) -> None:
    here = quiet(tmp_path / "state", 1)
    here.cas[0].incidents = [START + 5.5 * DAY]
    nights(here, 0, 7)
    assert [one.at.date() for one in here.cas[0].issued] == [
        START.date(),
        (START + 6 * DAY).date(),
    ]


def test_a_ca_that_recalls_each_days_certificate_is_asked_for_no_more_than_it_gives(
    tmp_path: Path,
) -> None:
    here = quiet(tmp_path / "state", 1)
    here.cas[0].incidents = [START + (day + 0.5) * DAY for day in range(20)]
    nights(here, 0, 21)
    assert here.complaints() == []
    assert here.cas[0].refused == 0
    # As many as fit into the bucket but for the reserve, and then one in 34 hours.
    assert here.renewals == 5 + 20 * 24 // 34


def test_a_client_that_lets_a_host_down_is_noticed(tmp_path: Path) -> None:
    here = quiet(tmp_path / "state", 1)
    nights(here, 0, 1)
    here.client = lambda _source, _clock: None
    with pytest.raises(AssertionError, match="there was a way"):
        nights(here, 1, 60)


def test_a_client_that_renews_too_early_or_orders_too_often_is_noticed(tmp_path: Path) -> None:
    def hasty(source: Acme, _clock: Clock) -> None:
        source.store.ledger = type(source.store.ledger)(tmp_path / "nothing", persist=False)
        source.renew(lambda _line: None, is_asked_for=True)

    here = quiet(tmp_path / "state", 1, client=hasty)
    with pytest.raises(Exception, match="too many"):
        nights(here, 0, 60)
    assert here.early
    assert "a limit that was known" in here.complaints()[0]
