"""Laws of the budget, for any history, and against limits as the CA itself counts them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import get_args

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from distributor.model.backoff import DAILY, next_try
from distributor.model.budget import (
    Ask,
    Event,
    EventKind,
    failures,
    is_renewal,
    left,
    pruned,
    refusal,
)
from distributor.model.hosts import KNOWN_CAS
from tests.certs import NOW
from tests.simulation.rate_limits import RateLimits

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
CAS = (KNOWN_CAS["letsencrypt"], KNOWN_CAS["letsencrypt-staging"], "https://ca.example/dir")
ACCOUNTS = ("acct/1", "acct/2")
NAMES = (
    ("example.com", "*.example.com"),
    ("example.com",),
    ("www.example.com",),
    ("a.co.uk", "*.a.co.uk"),
    ("b.co.uk", "example.com"),
)
NO_WAIT = timedelta(0)

moments = st.integers(-130 * 24 * 60, 10 * 24 * 60).map(lambda number: NOW + number * MINUTE)
recent = st.integers(-3 * 24 * 60, 0).map(lambda number: NOW + number * MINUTE)


@st.composite
def events(draw: st.DrawFn, when: st.SearchStrategy[datetime] = moments | recent) -> Event:
    names = draw(st.sampled_from(NAMES))
    at = draw(when)
    kind: EventKind = draw(st.sampled_from(get_args(EventKind)))
    wait = draw(st.none() | st.integers(-60, 600 * 24 * 60).map(lambda number: number * MINUTE))
    return Event(
        at=at,
        kind=kind,
        ca=draw(st.sampled_from(CAS)),
        account=draw(st.sampled_from(ACCOUNTS)),
        names=names if kind != "rate-limited" or draw(st.booleans()) else (),
        certificate=draw(st.sampled_from(("home", "other"))),
        until=at + wait if wait is not None else None,
        identifiers=tuple(draw(st.sets(st.sampled_from(names)))),
        renewal=draw(st.booleans()),
    )


asks = st.builds(
    Ask,
    ca=st.sampled_from(CAS),
    account=st.sampled_from(ACCOUNTS),
    names=st.sampled_from(NAMES),
    certificate=st.sampled_from(("home", "other")),
    urgent=st.booleans(),
    replaces=st.booleans(),
)
repeats = st.integers(1, 6)
histories = st.lists(st.tuples(events(), repeats), max_size=25).map(
    lambda pairs: tuple(event for event, times in pairs for _ in range(times))
)
pasts = st.lists(st.tuples(events(recent), repeats), max_size=25).map(
    lambda pairs: tuple(event for event, times in pairs for _ in range(times))
)
spans = st.integers(0, 130 * 24 * 60).map(lambda number: number * MINUTE)


def waits(history: Sequence[Event], ask: Ask, now: datetime = NOW) -> timedelta:
    refused = refusal(history, ask, now)
    return NO_WAIT if refused is None else refused.until - now


@given(asks)
def test_nothing_is_refused_when_nothing_happened(ask: Ask) -> None:
    assert refusal((), ask, NOW) is None


@given(histories, asks)
def test_a_refusal_says_when_and_then_the_same_order_is_allowed(
    history: tuple[Event, ...], ask: Ask
) -> None:
    refused = refusal(history, ask, NOW)
    if refused is not None:
        assert refused.until > NOW
        assert refusal(history, ask, refused.until) is None


@given(pasts, asks)
def test_nobody_is_kept_for_longer_than_the_longest_window(
    history: tuple[Event, ...], ask: Ask
) -> None:
    assert waits(history, ask) <= 7 * DAY + MINUTE


@given(histories, asks, st.integers(1, 10_000))
def test_a_clock_that_was_ahead_keeps_nobody_from_an_order(
    history: tuple[Event, ...], ask: Ask, ahead: int
) -> None:
    wrong = tuple(replace(event, at=NOW + ahead * DAY) for event in history)
    assert refusal(wrong, ask, NOW) is None


@given(pasts, asks, spans, spans)
def test_what_is_left_lies_between_nothing_and_all_and_grows_with_time(
    history: tuple[Event, ...], ask: Ask, soon: timedelta, later: timedelta
) -> None:
    first, second = left(history, ask, NOW + soon), left(history, ask, NOW + soon + later)
    for before, after in zip(first, second, strict=True):
        assert 0 <= before.left <= after.left <= after.of
        if before.next_at is None:
            assert before.left == before.of
        else:
            assert before.next_at > NOW + soon
            grown = {one.title: one for one in left(history, ask, before.next_at)}
            assert grown[before.title].left == before.left + 1


@given(pasts, asks, events(recent))
def test_one_more_event_never_makes_room(history: tuple[Event, ...], ask: Ask, more: Event) -> None:
    longer = (*history, more)
    for before, after in zip(left(history, ask, NOW), left(longer, ask, NOW), strict=True):
        assert after.left <= before.left
    # A certificate can make the next one a renewal, which has fewer limits.
    assume(is_renewal(history, ask, NOW) == is_renewal(longer, ask, NOW))
    assert waits(longer, ask) >= waits(history, ask)


@given(pasts, asks)
def test_what_is_urgent_or_exempt_never_waits_longer(history: tuple[Event, ...], ask: Ask) -> None:
    patient = waits(history, replace(ask, urgent=False, replaces=False))
    assert waits(history, replace(ask, urgent=True, replaces=False)) <= patient
    assert waits(history, replace(ask, replaces=True)) <= patient


@given(pasts, asks)
def test_only_what_is_urgent_takes_the_last_certificate(
    history: tuple[Event, ...], ask: Ask
) -> None:
    ask = replace(ask, ca=CAS[0], urgent=False, replaces=False)
    (same,) = [one for one in left(history, ask, NOW) if one.kind == "duplicates"]
    if same.left <= 1:
        assert refusal(history, ask, NOW) is not None


ASK = Ask(ca=CAS[0], account="acct/1", names=NAMES[0], certificate="home")
ISSUED = Event(
    at=NOW, kind="issued", ca=ASK.ca, account="acct/1", names=NAMES[0], certificate="home"
)
REFUSED = replace(ISSUED, kind="refused-authorization", identifiers=NAMES[0])
USED_AS_FAST_AS_IT_REFILLS = tuple(
    replace(ISSUED, at=NOW - 20 * DAY + at)
    for at in [NO_WAIT] * 5 + [number * timedelta(hours=34) for number in range(1, 15)]
)
FAILING_ELSEWHERE_SINCE = (
    *(replace(REFUSED, at=NOW - 2 * DAY) for _ in range(5)),
    replace(ISSUED, at=NOW - 2 * DAY + MINUTE),
    *(
        replace(REFUSED, at=NOW - 2 * DAY + number * 12 * MINUTE, certificate="other")
        for number in range(1, 240)
    ),
)


@given(histories, asks, spans)
@settings(max_examples=200)
@example(USED_AS_FAST_AS_IT_REFILLS, ASK, NO_WAIT)
@example(FAILING_ELSEWHERE_SINCE, ASK, NO_WAIT)
def test_pruning_never_changes_an_answer(
    history: tuple[Event, ...], ask: Ask, after: timedelta
) -> None:
    kept = pruned(history, NOW)
    now = NOW + after
    assert set(kept) <= set(history)
    assert refusal(kept, ask, now) == refusal(history, ask, now)
    assert left(kept, ask, now) == left(history, ask, now)
    assert is_renewal(kept, ask, now) == is_renewal(history, ask, now)
    for urgent in (True, False):
        tries = [
            next_try(failures(one, ask.ca, ask.certificate, now), now, urgent=urgent)
            for one in (kept, history)
        ]
        assert tries[0] == tries[1]
    assert pruned(kept, NOW) == kept


def test_pruning_keeps_little_of_a_year_of_failing_nights() -> None:
    nights = [
        replace(one, at=NOW + number * DAY)
        for number in range(365)
        for one in (replace(ISSUED, kind="ordered"), REFUSED)
    ]
    now = NOW + 365 * DAY
    kept = pruned(nights, now)
    assert len(kept) <= 110
    tries = failures(kept, CAS[0], "home", now)
    assert next_try(tries, NOW + 364 * DAY, urgent=True) == NOW + 364 * DAY + DAILY


def registered_domain(name: str) -> str:
    labels = name.removeprefix("*.").split(".")
    return ".".join(labels[-3:] if labels[-2:] == ["co", "uk"] else labels[-2:])


steps = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(("issued", "issued", "refused", "left")),
    st.booleans(),  # urgent
    st.integers(1, 70),  # how often
    st.integers(0, 40 * 60).map(lambda number: number * MINUTE),  # and time between
    st.booleans(),  # with a name of its own each time
)


@given(st.lists(steps, max_size=12))
@settings(max_examples=60)
def test_an_order_that_is_allowed_is_one_that_the_ca_takes(
    story: list[tuple[tuple[str, ...], str, str, bool, int, timedelta, bool]],
) -> None:
    ca, ledger, now = RateLimits(registered_domain=registered_domain), list[Event](), NOW
    for number, (names, account, end, urgent, times, gap, is_new) in enumerate(story):
        for repetition in range(times):
            now += gap / times
            own = (f"{number}-{repetition}.{names[0]}",) if is_new else names
            ask = Ask(ca=CAS[0], account=account, names=own, certificate="home", urgent=urgent)
            if refusal(ledger, ask, now) is not None:
                continue
            renewal = is_renewal(ledger, ask, now)
            assert renewal == ca.is_renewal(own, now)
            assert ca.order(account, own, now) is None
            noted = Event(
                at=now,
                kind="ordered",
                ca=ask.ca,
                account=account,
                names=own,
                certificate="home",
                renewal=renewal,
            )
            ledger.append(noted)
            if end == "issued":
                ca.issue(own, now, renewal=renewal)
                ledger.append(replace(noted, kind="issued"))
            elif end == "refused":
                for name in own:
                    ca.fail(account, name, now)
                ledger.append(replace(noted, kind="refused-authorization", identifiers=own))
        ledger = list(pruned(ledger, now))
