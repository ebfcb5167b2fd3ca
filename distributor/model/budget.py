"""What may still be asked of a CA: its known rate limits over what we remember of our own requests.

Limits are token buckets that refill continuously, as Let's Encrypt has them (acme-dns facts 3.1).
Whether they leave room is looked at when an order is made; a certificate is counted when it is
issued, a failed validation when it fails. What others ask for the same domain is not known here.
All functions are pure, and an event later than `now` does not count: one of the two clocks is
wrong, and nobody must be locked out by it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

from distributor.model.backoff import URGENT_TRIES
from distributor.model.hosts import KNOWN_CAS
from distributor.model.text import printable

LONGEST_WAIT: Final = timedelta(days=7)
"""A Retry-After counts at most this long: no window of a known limit is longer, and one request in
a week harms nobody."""
RENEWAL_WINDOW: Final = timedelta(days=120)
"""The same names again within this time are a renewal (acme-dns facts 3.1)."""
URGENT_LEFT: Final = timedelta(days=2)
"""Less than this is left: a nightly run has one or two more chances."""
URGENT_SHARE: Final = 10
"""Or less than this part of the lifetime."""

EventKind = Literal["ordered", "issued", "refused-authorization", "rate-limited", "failed"]
LimitKind = Literal["orders", "domain", "duplicates", "failures"]
Key = tuple[str, ...]
"""Tells the buckets of one limit apart; the last part is what people see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened between us and a CA. Nothing in it is secret."""

    at: datetime
    kind: EventKind
    """`failed` is any end of a try but a refused authorization and a rate limit."""
    ca: str
    """Directory URL."""
    account: str
    """Account URL, or whatever else tells accounts apart."""
    names: tuple[str, ...] = ()
    """Of the order; none where a limit was met before there was one."""
    certificate: str = ""
    """Its name in the inventory."""
    until: datetime | None = None
    """What Retry-After said, of a rate limit."""
    identifiers: tuple[str, ...] = ()
    """Names whose authorization failed."""
    renewal: bool = False
    """The order carried an accepted `replaces`, or `is_renewal` was true of it."""
    is_cas_own: bool = False
    """Of a try that failed: by the CA's outage or limit, so that another CA may do."""
    order: str = ""
    """Of an `issued`: the CA's URL of the order, which is counted once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An order that one would like to make."""

    ca: str
    account: str
    names: tuple[str, ...]
    certificate: str
    urgent: bool = False
    """See `is_urgent`: it may use what is kept in reserve."""
    replaces: bool = False
    """It will carry `replaces`, within the ARI window of a certificate of this CA and account: no
    known limit applies then. Where the CA does not take it, ask again without."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket of `capacity` tokens that gains one `every` so often."""

    kind: LimitKind
    capacity: int
    every: timedelta
    title: str
    """For people, in the plural; `{}` stands for what it is counted by."""
    reserve: int = 0
    """Tokens that only an urgent order may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is left of one limit."""

    kind: LimitKind
    title: str
    left: int
    of: int
    reserve: int
    next_at: datetime | None
    """When there is one more (UTC); None when nothing is used."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order must not be made now, and from when on it may be (UTC, after now)."""

    reason: str
    until: datetime
    is_cas_own: bool = True
    """Whether it is the CA that limits, so that another CA may do: not what we keep in reserve, nor
    what failed validations used up."""


_SAME_NAMES: Final = "certificates with exactly these names"
_LETSENCRYPT: Final = (
    Limit("orders", 300, timedelta(seconds=36), "orders of this account"),
    Limit("domain", 50, timedelta(minutes=202), "new certificates for {}"),
    Limit("duplicates", 5, timedelta(hours=34), _SAME_NAMES, reserve=1),
    Limit("failures", 5, timedelta(minutes=12), "failed validations of {}"),
)
_LETSENCRYPT_STAGING: Final = (
    Limit("duplicates", 30000, timedelta(seconds=21), _SAME_NAMES),
    Limit("failures", 200, timedelta(seconds=18), "failed validations of {}"),
)
_LIMITS: Final = {
    KNOWN_CAS["letsencrypt"]: _LETSENCRYPT,
    KNOWN_CAS["letsencrypt-staging"]: _LETSENCRYPT_STAGING,
}


def limits_for(ca: str) -> tuple[Limit, ...]:
    """Return the limits that are known of the CA with this directory URL; often none."""
    return _LIMITS.get(ca, ())


def is_urgent(
    not_before: datetime | None,
    not_after: datetime | None,
    now: datetime,
    *,
    revoked: bool = False,
) -> bool:
    """Tell whether a certificate of these dates (None: there is none) has to be replaced at once.

    It is revoked, or less than a tenth of its life or two days are left of it.
    """
    if revoked or not_before is None or not_after is None:
        return True
    return not_after - now < max(URGENT_LEFT, (not_after - not_before) / URGENT_SHARE)


def is_renewal(events: Iterable[Event], ask: Ask, now: datetime) -> bool:
    """Tell whether this CA issued for the same names lately: fewer limits apply then."""
    return any(
        event.kind == "issued"
        and event.ca == ask.ca
        and _set(event.names) == _set(ask.names)
        and now - RENEWAL_WINDOW < event.at <= now
        for event in events
    )


def left(events: Sequence[Event], ask: Ask, now: datetime) -> tuple[Allowance, ...]:
    """Return what is left of every known limit that such an order is counted by."""
    found = []
    for limit, key in _buckets_of(ask):
        debt = _debt(limit, ask.ca, key, events, now)
        tokens = (limit.capacity * limit.every - debt) // limit.every
        found.append(
            Allowance(
                kind=limit.kind,
                title=_title(limit, key),
                left=tokens,
                of=limit.capacity,
                reserve=limit.reserve,
                next_at=now + debt - (limit.capacity - tokens - 1) * limit.every if debt else None,
            )
        )
    return tuple(found)


def refusal(events: Sequence[Event], ask: Ask, now: datetime) -> Refusal | None:
    """Return why the order must not be made at `now`, or None when nothing known forbids it.

    From `until` on it may be made, if nothing else happens before.
    """
    found = _refusal(events, ask, now)
    while found is not None and (later := _refusal(events, ask, found.until)) is not None:
        found = later
    return found


def failures(
    events: Iterable[Event], ca: str, certificate: str, now: datetime
) -> tuple[datetime, ...]:
    """Return when tries for a certificate at a CA failed since the last that did not.

    A rate limit is one of them, beside binding by itself: a Retry-After of seconds must not undo
    the back-off.
    """
    own = [
        one for one in events if (one.ca, one.certificate) == (ca, certificate) and one.at <= now
    ]
    issued = max((one.at for one in own if one.kind == "issued"), default=None)
    return tuple(one.at for one in own if _is_failure(one) and (issued is None or one.at > issued))


def last_failure(events: Iterable[Event], ca: str, certificate: str, now: datetime) -> Event | None:
    """Return the newest of `failures`, or None."""
    failed = set(failures(events, ca, certificate, now))
    own = [one for one in events if (one.ca, one.certificate) == (ca, certificate)]
    return max((one for one in own if one.at in failed), key=lambda one: one.at, default=None)


def pruned(events: Sequence[Event], now: datetime) -> tuple[Event, ...]:
    """Return the events that still bear on any answer for `now` or later, in their order."""
    kept = {index for index, one in enumerate(events) if _end(one) > now}  # later ones too
    by_time = sorted(range(len(events)), key=lambda index: events[index].at)
    buckets: dict[tuple[Limit, str, Key], list[int]] = defaultdict(list)
    newest: dict[tuple[str, str | Key], int] = {}
    failed: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index in (index for index in by_time if events[index].at <= now):
        one = events[index]
        for limit in limits_for(one.ca):
            for key in _spent_by(one, limit):
                buckets[limit, one.ca, key].append(index)
        if one.kind == "issued":
            newest[one.ca, one.certificate] = index
            if one.at > now - RENEWAL_WINDOW:
                newest[one.ca, _set(one.names)] = index
            failed[one.ca, one.certificate].clear()
        elif _is_failure(one):
            failed[one.ca, one.certificate].append(index)
    kept.update(newest.values())
    for indexes in failed.values():
        kept.update(indexes[-URGENT_TRIES - 1 :])  # more make no difference to the back-off
    for (limit, _, _), indexes in buckets.items():
        debts = _debts(limit, [events[index].at for index in indexes], now)
        full = max((number + 1 for number, debt in enumerate(debts) if not debt), default=0)
        kept.update(indexes[full:])
    return tuple(events[index] for index in sorted(kept))


def waiting(events: Sequence[Event], ask: Ask, now: datetime) -> Refusal | None:
    """Return until when the CA wants to be left alone, whatever it would be asked; or None."""
    return _latest(list(_waits(events, ask, now)))


def _refusal(events: Sequence[Event], ask: Ask, now: datetime) -> Refusal | None:
    found = list(_waits(events, ask, now))
    is_free = is_renewal(events, ask, now)
    for limit, key in () if ask.replaces else _buckets_of(ask):
        if is_free and limit.kind in {"orders", "domain"}:
            continue
        debt = _debt(limit, ask.ca, key, events, now)
        needed = 1 if ask.urgent else 1 + limit.reserve
        wait = debt - (limit.capacity - needed) * limit.every
        if wait > timedelta(0):
            is_kept = _is_reserve(limit, debt)
            reason = _reason(limit, key, is_kept=is_kept)
            own = limit.kind != "failures" and not is_kept
            found.append(Refusal(reason, now + wait, is_cas_own=own))
    return _latest(found)


def _waits(events: Sequence[Event], ask: Ask, now: datetime) -> Iterator[Refusal]:
    for one in events:
        if one.at <= now < _end(one) and _is_bound(ask, one):
            yield Refusal("the CA asked us to wait", _end(one))


def _latest(found: Sequence[Refusal]) -> Refusal | None:
    latest = max(found, key=lambda one: one.until, default=None)
    if latest is None:
        return None
    own = all(one.is_cas_own for one in found)
    return replace(latest, until=_whole_minute(latest.until), is_cas_own=own)


def _is_reserve(limit: Limit, debt: timedelta) -> bool:
    return debt <= (limit.capacity - 1) * limit.every


def _reason(limit: Limit, key: Key, *, is_kept: bool) -> str:
    title = f"{limit.capacity} {_title(limit, key)}"
    if is_kept:
        return f"the last of {title} is kept in reserve"
    return f"all {title} that the CA allows for now are used"


def _title(limit: Limit, key: Key) -> str:
    return limit.title.format(printable(key[-1]))


def _debt(limit: Limit, ca: str, key: Key, events: Iterable[Event], now: datetime) -> timedelta:
    """Return how long the bucket takes from `now` to be full again."""
    moments = sorted(
        one.at for one in events if one.at <= now and one.ca == ca and key in _spent_by(one, limit)
    )
    debts = _debts(limit, moments, now)
    return debts[-1] if debts else timedelta(0)


def _debts(limit: Limit, moments: Sequence[datetime], now: datetime) -> list[timedelta]:
    """Return what the bucket lacks, as time to refill, just before each next moment and `now`."""
    debts, debt = [], timedelta(0)
    for at, after in pairwise([*moments, now]):
        # A token is only taken where there is a whole one, as the CA does: it may have allowed
        # more than we know of, and an empty bucket does not get emptier.
        if debt <= (limit.capacity - 1) * limit.every:
            debt += limit.every
        debt = max(debt - (after - at), timedelta(0))
        debts.append(debt)
    return debts


def _buckets_of(ask: Ask) -> list[tuple[Limit, Key]]:
    keys: dict[LimitKind, Iterable[Key]] = {
        "orders": [(ask.account,)],
        "domain": _domains(ask.names),
        "duplicates": [_set(ask.names)],
        "failures": _at_account(ask.account, ask.names),
    }
    return [(limit, key) for limit in limits_for(ask.ca) for key in keys[limit.kind]]


def _spent_by(event: Event, limit: Limit) -> Iterable[Key]:
    """Return the buckets of this limit that the event took a token from."""
    match event.kind, limit.kind:
        case "ordered", "orders" if not event.renewal:
            return [(event.account,)]
        case "issued", "domain" if not event.renewal:
            return _domains(event.names)
        case "issued", "duplicates":
            return [_set(event.names)]
        case "refused-authorization", "failures":
            return _at_account(event.account, event.identifiers)
        case _:
            return []


def _set(names: Iterable[str]) -> Key:
    return tuple(sorted({name.lower() for name in names}))


def _domains(names: Iterable[str]) -> list[Key]:
    # Without a public suffix list: the last two labels. A registered domain never has fewer, so
    # what the CA counts apart (a.co.uk and b.co.uk) we count together, never the other way round.
    return sorted({(".".join(name.lower().split(".")[-2:]),) for name in names})


def _at_account(account: str, names: Iterable[str]) -> list[Key]:
    # An authorization is for a name without its asterisk; that is also the stricter way to count.
    return sorted({(account, name.lower().removeprefix("*.")) for name in names})


def _is_failure(event: Event) -> bool:
    return event.kind in {"refused-authorization", "failed", "rate-limited"}


def _end(event: Event) -> datetime:
    """Return until when it binds by itself: a Retry-After, as far as it is believed."""
    if event.kind != "rate-limited" or event.until is None:
        return event.at
    return min(event.until, event.at + LONGEST_WAIT)


def _is_bound(ask: Ask, limited: Event) -> bool:
    """Tell whether a rate limit that was met speaks of this order too.

    The answer does not say which limit it was. One met by an order counts for the same names, with
    whatever account; one met before there was an order, for the whole account.
    """
    if limited.ca != ask.ca:
        return False
    if limited.names:
        return _set(limited.names) == _set(ask.names)
    return limited.account == ask.account


def _whole_minute(moment: datetime) -> datetime:
    """Return the next whole minute: what people are told, and some room for the CA's own clock."""
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)
