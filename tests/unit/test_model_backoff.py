"""When one may try again after failures."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.backoff import DAILY, FORGOTTEN, URGENT_TRIES, next_try
from tests.certs import DAY, NOW

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def tries(count: int, end: datetime = NOW) -> list[datetime]:
    """That many failures, each when it may be, the last at `end`."""
    return [end - number * DAY for number in range(count)]


@pytest.mark.parametrize(
    ("count", "wait"),
    [(1, MINUTE), (2, 10 * MINUTE), (3, 100 * MINUTE), (4, DAILY), (5, DAILY), (40, DAILY)],
)
def test_the_waits_are_one_ten_and_a_hundred_minutes_and_then_daily(
    count: int, wait: timedelta
) -> None:
    assert next_try(tries(count), NOW) == NOW + wait
    assert next_try(tries(count), NOW + wait - SECOND) == NOW + wait
    assert next_try(tries(count), NOW + wait) is None


def test_without_failures_one_may_try_at_once() -> None:
    assert next_try([], NOW) is None


def test_daily_means_each_night_also_when_the_run_begins_earlier_than_the_last() -> None:
    assert next_try(tries(9, NOW), NOW + DAY - timedelta(hours=3)) is None


def test_an_urgent_try_waits_no_longer_than_a_hundred_minutes_but_not_for_ever() -> None:
    close = [NOW - number * 100 * MINUTE for number in range(URGENT_TRIES)]
    assert next_try(close, NOW, urgent=True) == NOW + 100 * MINUTE
    assert next_try([*close, NOW], NOW, urgent=True) == NOW + DAILY
    assert next_try(tries(1), NOW, urgent=True) == NOW + MINUTE


def test_a_failure_of_long_ago_is_another_story() -> None:
    old = tries(30, NOW - FORGOTTEN - SECOND)
    assert next_try([*old, NOW], NOW) == NOW + MINUTE
    assert next_try(tries(30, NOW - FORGOTTEN), NOW) is None
    assert next_try([*tries(3, NOW - FORGOTTEN), NOW], NOW) == NOW + DAILY


moments = st.lists(st.integers(-30 * 24 * 60, 400 * 24 * 60).map(lambda n: NOW + n * MINUTE))


@given(moments, st.booleans())
def test_a_clock_that_was_wrong_keeps_nobody_waiting_for_more_than_a_day(
    failures: list[datetime], urgent: bool
) -> None:
    when = next_try(failures, NOW, urgent=urgent)
    assert when is None or NOW < when <= NOW + DAILY
    past = [one for one in failures if one <= NOW]
    assert when == next_try(past, NOW, urgent=urgent)


@given(moments, st.booleans())
def test_one_more_failure_now_never_makes_the_next_try_sooner(
    failures: list[datetime], urgent: bool
) -> None:
    before = next_try(failures, NOW, urgent=urgent)
    after = next_try([*failures, NOW], NOW, urgent=urgent)
    assert after is not None
    assert before is None or before <= after


@given(moments)
def test_what_is_urgent_never_waits_longer(failures: list[datetime]) -> None:
    hurried, patient = next_try(failures, NOW, urgent=True), next_try(failures, NOW)
    assert hurried is None or (patient is not None and hurried <= patient)


@given(moments)
def test_their_order_does_not_matter(failures: list[datetime]) -> None:
    assert next_try(failures, NOW) == next_try(sorted(failures), NOW)
