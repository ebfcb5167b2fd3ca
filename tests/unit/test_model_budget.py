"""What may still be ordered, as people and the source see it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from distributor.model.budget import (
    LONGEST_WAIT,
    Allowance,
    Ask,
    Event,
    EventKind,
    failures,
    is_renewal,
    is_urgent,
    left,
    limits_for,
    pruned,
    refusal,
)
from distributor.model.hosts import KNOWN_CAS
from tests.certs import DAY, NOW

CA = KNOWN_CAS["letsencrypt"]
OTHER_CA = "https://ca.example/directory"
NAMES = ("example.com", "*.example.com")
ASK = Ask(ca=CA, account="acct/1", names=NAMES, certificate="home")
URGENT = replace(ASK, urgent=True)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
START = NOW.replace(second=0)


def event(kind: EventKind, at: datetime = START, **other: object) -> Event:
    known = Event(
        at=at,
        kind=kind,
        ca=CA,
        account="acct/1",
        names=NAMES,
        certificate="home",
    )
    return replace(known, **other)  # type: ignore[arg-type]  # fields by name


def issued(count: int, at: datetime = START, **other: object) -> list[Event]:
    return [event("issued", at, **other)] * count


def allowance(events: list[Event], kind: str, now: datetime = START, ask: Ask = ASK) -> Allowance:
    (found,) = [one for one in left(events, ask, now) if one.kind == kind]
    return found


def test_nothing_is_refused_and_all_is_left_when_nothing_happened() -> None:
    assert refusal([], ASK, START) is None
    assert {(one.kind, one.left, one.of, one.next_at) for one in left([], ASK, START)} == {
        ("orders", 300, 300, None),
        ("domain", 50, 50, None),
        ("duplicates", 5, 5, None),
        ("failures", 5, 5, None),
    }


def test_the_last_certificate_with_the_same_names_is_kept_for_what_is_urgent() -> None:
    events = issued(4)
    assert allowance(events, "duplicates").left == 1
    refused = refusal(events, ASK, START)
    assert refused is not None
    assert refused.reason == (
        "the last of 5 certificates with exactly these names is kept in reserve"
    )
    assert refused.until == START + 34 * HOUR
    assert refusal(events, URGENT, START) is None
    assert refusal(issued(3), ASK, START) is None


def test_when_all_are_used_an_urgent_order_has_to_wait_for_one_and_others_for_two() -> None:
    events = issued(5)
    urgent, patient = refusal(events, URGENT, START), refusal(events, ASK, START)
    assert urgent is not None
    assert patient is not None
    assert urgent.reason.startswith("all 5 certificates with exactly these names")
    assert (urgent.until, patient.until) == (START + 34 * HOUR, START + 68 * HOUR)
    shown = allowance(events, "duplicates", START + HOUR)
    assert (shown.left, shown.of, shown.reserve) == (0, 5, 1)
    assert shown.next_at == START + 34 * HOUR


def test_more_than_is_known_to_be_allowed_does_not_take_longer_to_refill() -> None:
    assert refusal(issued(40), URGENT, START) == refusal(issued(5), URGENT, START)


def test_other_names_are_another_certificate() -> None:
    events = issued(5)
    assert refusal(events, replace(ASK, names=("example.com",)), START) is None
    assert refusal(events, replace(ASK, names=("*.Example.com", "EXAMPLE.com")), START) is not None


def test_another_ca_has_limits_of_its_own_and_an_unknown_one_none() -> None:
    events = issued(5)
    for other in (KNOWN_CAS["letsencrypt-staging"], KNOWN_CAS["zerossl"], OTHER_CA):
        assert refusal(events, replace(ASK, ca=other), START) is None
    assert limits_for(OTHER_CA) == ()
    assert left(issued(5, ca=OTHER_CA), replace(ASK, ca=OTHER_CA), START) == ()


def test_an_order_that_replaces_is_exempt_and_still_counts_as_a_certificate() -> None:
    events = issued(5, renewal=True)
    assert refusal(events, replace(ASK, replaces=True), START) is None
    assert allowance(events, "duplicates").left == 0
    assert allowance(events, "domain").left == 50


def test_new_certificates_of_a_domain_are_counted_together_and_renewals_are_not() -> None:
    events = [event("issued", names=(f"{number}.example.com",)) for number in range(50)]
    new = replace(URGENT, names=("new.example.com",))
    refused = refusal(events, new, START)
    assert refused is not None
    assert "50 new certificates for example.com" in refused.reason
    assert refused.until == START + 202 * MINUTE
    assert refusal(events, replace(URGENT, names=("7.example.com",)), START) is None
    assert refusal(events, replace(URGENT, names=("7.example.org",)), START) is None
    renewed = [replace(one, renewal=True) for one in events]
    assert refusal(renewed, new, START) is None


def test_domains_below_a_public_suffix_of_two_labels_are_counted_together() -> None:
    events = [event("issued", names=(f"{number}.co.example",)) for number in range(50)]
    assert refusal(events, replace(URGENT, names=("new.co.example",)), START) is not None


def test_the_orders_of_an_account_are_counted() -> None:
    events = [event("ordered")] * 300
    refused = refusal(events, ASK, START)
    assert refused is not None
    assert "300 orders of this account" in refused.reason
    assert refused.until == START + MINUTE
    assert allowance(events, "orders").next_at == START + timedelta(seconds=36)
    assert refusal(events, replace(ASK, account="acct/2"), START) is None
    assert refusal([event("ordered", renewal=True)] * 300, ASK, START) is None


def test_failed_validations_are_counted_by_account_and_name_without_the_asterisk() -> None:
    events = [event("refused-authorization", identifiers=("*.example.com",))] * 5
    refused = refusal(events, URGENT, START)
    assert refused is not None
    assert "5 failed validations of example.com" in refused.reason
    assert refused.until == START + 12 * MINUTE
    assert refusal(events, replace(URGENT, account="acct/2"), START) is None
    assert refusal(events, replace(URGENT, names=("www.example.com",)), START) is None


def test_a_renewal_is_one_of_the_same_names_at_the_same_ca_within_120_days() -> None:
    events = [event("issued")]
    assert is_renewal(events, ASK, START + 120 * DAY - MINUTE)
    assert not is_renewal(events, ASK, START + 120 * DAY)
    assert not is_renewal(events, replace(ASK, ca=OTHER_CA), START)
    assert not is_renewal(events, replace(ASK, names=("example.com",)), START)
    assert not is_renewal([event("ordered")], ASK, START)
    assert not is_renewal(events, ASK, START - MINUTE)


def limited(until: datetime | None, names: tuple[str, ...] = NAMES) -> Event:
    return event("rate-limited", ca=OTHER_CA, until=until, names=names)


def test_what_the_ca_says_binds_whatever_is_asked_for_until_it_is_over() -> None:
    events = [limited(START + 90 * MINUTE)]
    for ask in (ASK, URGENT, replace(URGENT, replaces=True), replace(ASK, account="acct/2")):
        refused = refusal(events, replace(ask, ca=OTHER_CA), START)
        assert refused is not None
        assert "asked us to wait" in refused.reason
        assert refused.until == START + 90 * MINUTE
        assert refusal(events, replace(ask, ca=OTHER_CA), refused.until) is None
    assert refusal(events, ASK, START) is None
    assert refusal(events, replace(ASK, ca=OTHER_CA, names=("a.example.com",)), START) is None


def test_a_limit_that_was_met_before_there_was_an_order_binds_the_account() -> None:
    events = [limited(START + HOUR, names=())]
    ask = replace(ASK, ca=OTHER_CA, names=("a.example.com",))
    assert refusal(events, ask, START) is not None
    assert refusal(events, replace(ask, account="acct/2"), START) is None


def test_a_retry_after_of_a_year_is_believed_for_a_week() -> None:
    refused = refusal([limited(START + 365 * DAY)], replace(ASK, ca=OTHER_CA), START)
    assert refused is not None
    assert refused.until == START + LONGEST_WAIT == START + 7 * DAY


def test_the_latest_of_several_reasons_counts_and_whole_minutes_are_told() -> None:
    events = [*issued(5), event("rate-limited", until=START + DAY)]
    refused = refusal(events, URGENT, START + timedelta(seconds=1))
    assert refused is not None
    assert refused.until == START + 34 * HOUR
    events = [event("rate-limited", until=START + timedelta(seconds=61))]
    refused = refusal(events, URGENT, START)
    assert refused is not None
    assert refused.until == START + 2 * MINUTE


def test_what_a_clock_that_was_ahead_noted_counts_when_its_time_has_come() -> None:
    events = [*issued(5), *issued(5, START + 34 * HOUR)]
    refused = refusal(events, URGENT, START)
    assert refused is not None
    assert refused.until == START + 68 * HOUR


def test_what_a_success_ended_is_pruned_and_what_makes_a_renewal_is_not() -> None:
    names = ("old.example.com",)
    events = [event("failed"), event("issued"), event("issued", START + HOUR, names=names)]
    assert pruned(events, START + 100 * DAY) == tuple(events[1:])
    assert pruned(events, START + 121 * DAY) == (events[2],)


def test_failures_are_those_since_the_last_success_of_that_certificate_at_that_ca() -> None:
    events = [
        event("failed", START),
        event("issued", START + HOUR),
        event("ordered", START + 2 * HOUR),
        event("failed", START + 3 * HOUR),
        event("refused-authorization", START + 4 * HOUR),
        event("rate-limited", START + 5 * HOUR, until=None),
        event("rate-limited", START + 6 * HOUR, until=START + 7 * HOUR),
        event("failed", START + 7 * HOUR, certificate="other"),
        event("failed", START + 8 * HOUR, ca=OTHER_CA),
        event("failed", START + 99 * DAY),
    ]
    found = failures(events, CA, "home", START + DAY)
    assert found == tuple(START + number * HOUR for number in (3, 4, 5, 6))
    assert failures(events, OTHER_CA, "home", START + DAY) == (START + 8 * HOUR,)
    assert failures(events, CA, "home", START) == (START,)


@pytest.mark.parametrize(
    ("lifetime", "left_of_it", "expected"),
    [
        (90 * DAY, 9 * DAY, False),
        (90 * DAY, 9 * DAY - MINUTE, True),
        (90 * DAY, -DAY, True),
        (timedelta(hours=160), 2 * DAY, False),
        (timedelta(hours=160), 2 * DAY - MINUTE, True),
    ],
)
def test_little_of_a_life_makes_it_urgent(
    lifetime: timedelta, left_of_it: timedelta, expected: bool
) -> None:
    end = START + left_of_it
    assert is_urgent(end - lifetime, end, START) is expected
    assert is_urgent(end - lifetime, end, START, revoked=True)


def test_a_certificate_that_is_not_there_is_urgent() -> None:
    assert is_urgent(None, None, START)
