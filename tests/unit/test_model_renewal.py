"""When a certificate is due, and why."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate
from distributor.model.hosts import FilesSource, WantedCertificate
from distributor.model.renewal import SHORT_LIFETIME, Held, Hints, due, renew_at
from distributor.model.times import rfc3339
from tests.certs import DAY, NOW

CA = "https://ca.example/directory"
SECOND = timedelta(seconds=1)
WANTED = WantedCertificate(
    name="home",
    source=FilesSource(certificate=Path("unused.pem")),
    names=("example.com", "*.example.com"),
)
HAVE = Certificate(
    name="home",
    leaf="sha256:ours",
    names=("*.example.com", "example.com"),
    key_type="rsa2048",
    not_before=NOW,
    not_after=NOW + 90 * DAY,
)


def held(ca: str = CA, **other: object) -> Held:
    return Held(certificate=replace(HAVE, **other), ca=ca)  # type: ignore[arg-type]  # fields by name


def reason(current: Held | None, wanted: WantedCertificate = WANTED, now: datetime = NOW) -> str:
    renewal = due(current, wanted, CA, now)
    return "" if renewal is None else renewal.reason


@pytest.mark.parametrize(
    ("current", "wanted", "now", "expected"),
    [
        (held(), WANTED, NOW, ""),
        (None, WANTED, NOW, "none yet"),
        (held(names=("example.com",)), WANTED, NOW, "names changed (new: *.example.com)"),
        (
            held(names=(*HAVE.names, "old.example")),
            WANTED,
            NOW,
            "names changed (no longer: old.example)",
        ),
        (
            held(names=("b.example", "a.example")),
            WANTED,
            NOW,
            "names changed (new: *.example.com, example.com; no longer: a.example, b.example)",
        ),
        (held(key_type="ec256"), WANTED, NOW, "key type changed (ec256 to rsa2048)"),
        (held(), replace(WANTED, key_type="ec384"), NOW, "key type changed (rsa2048 to ec384)"),
        (held(ca="https://other.example/"), WANTED, NOW, "CA changed"),
        (held(ca=""), WANTED, NOW, "CA changed"),
        (held(not_before=None), WANTED, NOW, "its dates are not known"),
        (held(not_after=None), WANTED, NOW, "its dates are not known"),
        (held(), WANTED, NOW + 60 * DAY - SECOND, ""),
        (
            held(),
            WANTED,
            NOW + 60 * DAY,
            f"less than a third of its life is left (until {rfc3339(NOW + 90 * DAY)})",
        ),
        (held(not_after=NOW + 6 * DAY), WANTED, NOW + 3 * DAY - SECOND, ""),
        (
            held(not_after=NOW + 6 * DAY),
            WANTED,
            NOW + 3 * DAY,
            f"less than half of its life is left (until {rfc3339(NOW + 6 * DAY)})",
        ),
        (held(), replace(WANTED, renew_before=20 * DAY), NOW + 70 * DAY - SECOND, ""),
        (
            held(),
            replace(WANTED, renew_before=20 * DAY),
            NOW + 70 * DAY,
            f"less than the time set by `renew` is left (until {rfc3339(NOW + 90 * DAY)})",
        ),
        (
            held(),
            WANTED,
            NOW + 90 * DAY + SECOND,
            f"expired at {rfc3339(NOW + 90 * DAY)}",
        ),
        (
            held(),
            replace(WANTED, renew_before=20 * DAY),
            NOW + 91 * DAY,
            f"expired at {rfc3339(NOW + 90 * DAY)}",
        ),
    ],
    ids=lambda _value: "",  # a reason holds a date, and an id must be the same in every process
)
def test_the_reason_is_said_in_words(
    current: Held | None, wanted: WantedCertificate, now: datetime, expected: str
) -> None:
    assert reason(current, wanted, now) == expected


def test_the_order_of_names_does_not_make_a_certificate_due() -> None:
    assert HAVE.names != WANTED.names
    assert reason(held()) == ""


def test_names_that_a_ca_put_in_are_shown_harmlessly() -> None:
    assert reason(held(names=(*HAVE.names, "\x1b[2j"))).isprintable()


def test_a_renewal_says_what_will_come() -> None:
    renewal = due(None, replace(WANTED, key_type="ec256"), CA, NOW)
    assert renewal is not None
    assert renewal.forecast.is_forecast
    assert renewal.forecast.leaf == "next:home"
    assert renewal.forecast.names == ("*.example.com", "example.com")
    assert renewal.forecast.common_name == "example.com"
    assert renewal.forecast.key_type == "ec256"
    assert renewal.forecast.issued_by == CA


days = st.integers(-200, 400).map(lambda number: number * DAY / 4)
lifetimes = st.integers(0, 1600).map(lambda number: number * DAY / 4)
margins = st.none() | st.integers(0, 400).map(lambda number: number * DAY / 4)


@given(lifetimes, margins, days, days.map(abs))
def test_what_is_due_stays_due_while_nothing_changes(
    lifetime: timedelta, margin: timedelta | None, at: timedelta, more: timedelta
) -> None:
    current = held(not_after=NOW + lifetime)
    wanted = replace(WANTED, renew_before=margin)
    if due(current, wanted, CA, NOW + at) is not None:
        assert due(current, wanted, CA, NOW + at + more) is not None


@given(lifetimes, margins, days)
def test_what_is_expired_is_due_and_what_is_due_has_reached_its_moment(
    lifetime: timedelta, margin: timedelta | None, at: timedelta
) -> None:
    end, now = NOW + lifetime, NOW + at
    current, wanted = held(not_after=end), replace(WANTED, renew_before=margin)
    when = renew_at(NOW, end, wanted)
    assert when <= end
    assert (due(current, wanted, CA, now) is not None) == (now >= when)
    assert reason(current, wanted, now).startswith("expired") == (now > end)


@given(lifetimes)
@example(10 * DAY)
@example(10 * DAY - SECOND)
def test_half_of_a_short_life_and_a_third_of_a_long_one_must_be_left(lifetime: timedelta) -> None:
    left = NOW + lifetime - renew_at(NOW, NOW + lifetime, WANTED)
    assert left == (lifetime / 2 if lifetime < 10 * DAY else lifetime / 3)
    assert SHORT_LIFETIME == 10 * DAY


@given(lifetimes, lifetimes)
def test_a_time_that_is_set_counts_whatever_the_lifetime(
    lifetime: timedelta, margin: timedelta
) -> None:
    wanted = replace(WANTED, renew_before=margin)
    assert renew_at(NOW, NOW + lifetime, wanted) == NOW + lifetime - margin


def test_hints_may_be_empty() -> None:
    assert Hints().error is None
    assert Hints(error="the CA is down").error == "the CA is down"
