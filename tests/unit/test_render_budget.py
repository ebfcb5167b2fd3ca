"""What is left of a CA's limits, in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from distributor.model.budget import Ask, Event
from distributor.model.hosts import KNOWN_CAS
from distributor.render.budget import budget_lines

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
NAMES = ("example.com", "*.example.com")
ASK = Ask(ca=KNOWN_CAS["letsencrypt"], account="acct/1", names=NAMES, certificate="home")
ISSUED = Event(at=NOW, kind="issued", ca=ASK.ca, account="acct/1", names=NAMES, certificate="home")
RESERVED = "4 of 5 certificates with exactly these names left (the last one is kept in reserve)"
OURS_ALONE = "counted is what was ordered from here; what others order is not known"


def test_before_anything_was_ordered_only_the_scarcest_limit_is_shown() -> None:
    assert budget_lines((), ASK, NOW) == (
        f"5{RESERVED[1:]}",
        OURS_ALONE,
    )


def test_what_is_used_is_shown_with_when_there_is_more() -> None:
    assert budget_lines([ISSUED, replace(ISSUED, kind="ordered")], ASK, NOW) == (
        "299 of 300 orders of this account left, next at 2026-11-21 02:00 UTC",
        "49 of 50 new certificates for example.com left, next at 2026-11-21 05:22 UTC",
        f"{RESERVED}, next at 2026-11-22 12:00 UTC",
        OURS_ALONE,
    )


def test_an_order_that_would_not_be_made_is_named_with_its_reason() -> None:
    lines = budget_lines([replace(ISSUED, renewal=True)] * 4, ASK, NOW + timedelta(hours=1))
    assert lines[1] == (
        "no order before 2026-11-22 12:00 UTC: "
        "the last of 5 certificates with exactly these names is kept in reserve"
    )


def test_a_ca_of_unknown_limits_is_said_to_be_one() -> None:
    ask = replace(ASK, ca="https://ca.example/directory")
    unknown = "no rate limits of this CA are known; what it says itself is obeyed"
    assert budget_lines([ISSUED], ask, NOW) == (unknown,)
    until = NOW + timedelta(hours=3)
    before = NOW - timedelta(minutes=5)
    limited = replace(ISSUED, at=before, ca=ask.ca, kind="rate-limited", until=until)
    assert budget_lines([limited], ask, NOW) == (
        "no order before 2026-11-21 05:00 UTC: the CA asked us to wait",
        unknown,
    )


@pytest.mark.parametrize(
    ("times", "said", "minutes"),
    [(1, "failed once lately", 1), (2, "failed twice lately", 10), (3, "failed 3 times", 100)],
)
def test_failures_are_counted_in_words_with_when_it_is_tried_again(
    times: int, said: str, minutes: int
) -> None:
    failed = replace(ISSUED, kind="failed")
    lines = budget_lines([failed] * times, ASK, NOW)
    [line] = [line for line in lines if line.startswith("failed ")]
    assert line.startswith(said)
    assert line.endswith(f"tried again from {NOW + timedelta(minutes=minutes):%Y-%m-%d %H:%M} UTC")
