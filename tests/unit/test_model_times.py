"""Times as text."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.times import from_rfc3339, rfc3339

seconds_in_utc = st.integers(
    86_400, 3_652_058 * 86_400
).map(  # years 1 to 9999, a day from the ends
    lambda seconds: datetime(1, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(seconds_in_utc)
def test_a_time_survives_the_way_to_text_and_back(moment: datetime) -> None:
    assert from_rfc3339(rfc3339(moment)) == moment


@given(seconds_in_utc, seconds_in_utc)
def test_texts_sort_as_the_times_do(one: datetime, other: datetime) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)


@given(seconds_in_utc, st.integers(-23 * 60, 23 * 60))
def test_the_zone_in_which_a_time_is_given_does_not_matter(moment: datetime, minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert rfc3339(elsewhere) == rfc3339(moment)


def test_a_time_is_written_in_whole_seconds_and_utc() -> None:
    assert rfc3339(datetime(2026, 11, 21, 2, 0, 0, 999999, tzinfo=UTC)) == "2026-11-21T02:00:00Z"


@pytest.mark.parametrize(
    "text", ["", "2026-11-21", "2026-11-21T02:00:00", "2026-11-21T02:00:00+00:00", "yesterday"]
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not match format"):
        from_rfc3339(text)
