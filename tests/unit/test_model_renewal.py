"""When a certificate is due, and why."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate
from distributor.model.hosts import AcmeSource, WantedCertificate
from distributor.model.renewal import (
    BETWEEN_RUNS,
    MOST_OF_LIFE,
    SHORT_LIFETIME,
    Held,
    Hints,
    Renewal,
    drawn,
    due,
    outlook,
    renew_at,
)
from distributor.model.renewal_window import RenewalInfo
from distributor.model.times import rfc3339
from tests.certs import DAY, NOW

CA = "https://ca.example/directory"
SECOND = timedelta(seconds=1)
SOURCE = AcmeSource(ca="ours", directory_url=CA, email=None, agree_tos=True, dns="home")
WANTED = WantedCertificate(
    name="home",
    source=SOURCE,
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


def window(start: float, end: float, url: str | None = None) -> Hints:
    """What a CA says: from and to so many days from now."""
    info = RenewalInfo(
        start=NOW + start * DAY,
        end=NOW + end * DAY,
        explanation_url=url,
        ask_again=NOW + DAY / 4,
    )
    return Hints(window=info)


def judged(
    current: Held | None, wanted: WantedCertificate, now: datetime, hints: Hints | None = None
) -> Renewal | None:
    return due(current, wanted, SOURCE, hints or Hints(), now)


def reason(
    current: Held | None,
    wanted: WantedCertificate = WANTED,
    now: datetime = NOW,
    hints: Hints | None = None,
) -> str:
    renewal = judged(current, wanted, now, hints)
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
    renewal = judged(None, replace(WANTED, key_type="ec256"), NOW)
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
    if judged(current, wanted, NOW + at) is not None:
        assert judged(current, wanted, NOW + at + more) is not None


@given(lifetimes, margins, days)
def test_what_is_expired_is_due_and_what_is_due_has_reached_its_moment(
    lifetime: timedelta, margin: timedelta | None, at: timedelta
) -> None:
    end, now = NOW + lifetime, NOW + at
    current, wanted = held(not_after=end), replace(WANTED, renew_before=margin)
    when = renew_at(NOW, end, wanted)
    assert when <= end
    assert (judged(current, wanted, now) is not None) == (now >= when)
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
    set_or_not = wanted if margin <= lifetime * MOST_OF_LIFE else WANTED
    if margin <= lifetime * MOST_OF_LIFE:
        assert renew_at(NOW, NOW + lifetime, wanted) == NOW + lifetime - margin
    assert renew_at(NOW, NOW + lifetime, wanted) == renew_at(NOW, NOW + lifetime, set_or_not)


@given(lifetimes.filter(bool), margins, st.booleans())
def test_what_was_just_issued_is_never_due(
    lifetime: timedelta, margin: timedelta | None, has_past_window: bool
) -> None:
    # Whatever `renew` says, and whatever window a CA gives without a word on it.
    current = held(not_after=NOW + lifetime)
    hints = window(-3, -1) if has_past_window else Hints()
    assert reason(current, replace(WANTED, renew_before=margin), NOW, hints) == ""


def test_a_time_longer_than_most_of_a_life_does_not_count_and_says_so() -> None:
    wanted = replace(WANTED, renew_before=2000 * DAY)
    assert reason(held(), wanted, NOW + 60 * DAY - SECOND) == ""
    assert "a third of its life" in reason(held(), wanted, NOW + 60 * DAY)
    assert "does not count" in str(outlook(held(), wanted, Hints()))


def test_hints_may_be_empty() -> None:
    assert Hints().error is None
    assert Hints(error="the CA is down").error == "the CA is down"


def profiled(profile: str | None) -> Held:
    return replace(held(), profile=profile)


def test_a_certificate_that_was_revoked_is_due() -> None:
    assert reason(replace(held(), is_revoked=True)) == "revoked"


def test_another_profile_makes_it_due_and_says_which() -> None:
    short = replace(SOURCE, profile="shortlived")
    renewal = due(profiled(None), WANTED, short, Hints(), NOW)
    assert renewal is not None
    assert renewal.reason == "profile changed (the CA's own to shortlived)"
    assert due(profiled("shortlived"), WANTED, short, Hints(), NOW) is None


def test_what_a_fallback_ca_issued_stays_until_it_is_due() -> None:
    other = replace(SOURCE, ca="other", directory_url="https://other.example/", profile="their")
    source = replace(SOURCE, fallback=(other,))
    theirs = replace(held(ca="https://other.example/"), profile="their")
    assert due(theirs, WANTED, source, Hints(), NOW) is None
    assert due(theirs, WANTED, source, Hints(), NOW + 60 * DAY) is not None
    renewal = due(theirs, WANTED, SOURCE, Hints(), NOW)
    assert renewal is not None
    assert renewal.reason == "CA changed"


def test_a_window_that_is_past_makes_it_due_at_once_and_says_where_the_ca_explains() -> None:
    why = "https://ca.example/incident"
    assert reason(held(), hints=window(-2, -1, why)) == f"ARI window is past: {why}"
    later = NOW + 30 * DAY
    assert reason(held(), now=later, hints=window(28, 29)) == "ARI window is past"


def test_before_its_window_nothing_is_due_and_the_lifetime_does_not_count() -> None:
    hints = window(70, 72)
    assert reason(held(), now=NOW + 69 * DAY, hints=hints) == ""
    assert reason(held(), now=NOW + 61 * DAY, hints=hints) == ""


def test_inside_its_window_it_is_due_if_its_moment_comes_before_the_next_run() -> None:
    hints = window(60, 61)
    assert reason(held(), now=NOW + 60 * DAY, hints=hints).startswith("ARI window (until ")


def test_a_window_that_comes_too_late_does_not_let_it_expire() -> None:
    hints = window(89, 120)
    assert reason(held(), now=NOW + 75 * DAY - SECOND, hints=hints) == ""
    assert "comes too late" in reason(held(), now=NOW + 75 * DAY, hints=hints)


def test_a_time_that_is_set_stands_against_a_window_but_not_against_an_incident() -> None:
    wanted = replace(WANTED, renew_before=20 * DAY)
    at = NOW + 65 * DAY
    assert reason(held(), wanted, at, window(60, 62)) == ""
    assert "is past" in reason(held(), wanted, at, window(60, 62, "https://ca.example/why"))
    assert reason(held(), wanted, NOW + 70 * DAY, window(80, 82)).startswith("less than the time")


moments = st.floats(-5, 95).map(lambda number: NOW + number * DAY)
windows = st.tuples(st.floats(-30, 120), st.floats(0.01, 30)).map(
    lambda given: window(given[0], given[0] + given[1])
)


@given(windows, st.text(min_size=1))
def test_the_moment_lies_in_the_window_and_is_drawn_once(hints: Hints, leaf: str) -> None:
    assert hints.window is not None
    moment = drawn(hints.window, leaf)
    assert hints.window.start <= moment <= hints.window.end
    assert drawn(hints.window, leaf) == moment


def test_moments_of_many_certificates_are_spread_over_the_window() -> None:
    info = window(60, 62).window
    assert info is not None
    tenths = [int((drawn(info, f"sha256:{n}") - info.start) / (2 * DAY) * 10) for n in range(1000)]
    assert all(60 < tenths.count(tenth) < 140 for tenth in range(10))


@given(windows, moments, st.none() | st.just(20 * DAY))
def test_whatever_the_window_it_is_due_when_the_outlook_says_and_never_much_sooner(
    hints: Hints, now: datetime, margin: timedelta | None
) -> None:
    wanted = replace(WANTED, renew_before=margin)
    will = outlook(held(), wanted, hints)
    assert will.when is not None
    is_due = judged(held(), wanted, now, hints) is not None
    if now >= will.when:
        assert is_due
    elif is_due:
        assert hints.window is not None
        assert hints.window.start <= now
        assert will.when - now < BETWEEN_RUNS or hints.window.end <= now


@given(windows, moments, st.floats(0, 100))
def test_what_a_window_makes_due_stays_due(hints: Hints, now: datetime, more: float) -> None:
    if judged(held(), WANTED, now, hints) is not None:
        assert judged(held(), WANTED, now + more * DAY, hints) is not None


@given(windows)
def test_no_window_lets_a_certificate_expire(hints: Hints) -> None:
    will = outlook(held(), WANTED, hints)
    assert will.when is not None
    assert will.when <= NOW + 75 * DAY


def test_an_outlook_says_when_and_why() -> None:
    assert str(outlook(held(), WANTED, Hints())) == (
        f"from {rfc3339(NOW + 60 * DAY)}: a third of its life is left then"
    )
    assert "half of its life" in str(outlook(held(not_after=NOW + 6 * DAY), WANTED, Hints()))
    assert "drawn in the CA's window" in str(outlook(held(), WANTED, window(60, 62)))
    assert "the time set" in str(outlook(held(), replace(WANTED, renew_before=DAY), Hints()))
    assert str(outlook(held(not_after=None), WANTED, Hints())) == "its dates are not known"
