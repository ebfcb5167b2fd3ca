"""Let's Encrypt's rate limits as its CA enforces them (acme-dns facts 3.1), for tests.

Written apart from the product's own model, from the limits' definition: a bucket holds whole tokens
and fractions of them, a request that finds no whole token is refused and takes none. An order is
looked at when it is made; a certificate and a failed validation are counted when they happen.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

MICROSECOND = timedelta(microseconds=1)


@dataclass
class Bucket:
    capacity: int
    period: timedelta
    since: datetime | None = None
    level: int = 0
    """In parts of which a token has as many as the period has microseconds."""

    @property
    def token(self) -> int:
        return self.period // MICROSECOND

    def fill(self, now: datetime) -> int:
        """Let it refill, and return its level."""
        full = self.capacity * self.token
        gained = full if self.since is None else (now - self.since) // MICROSECOND * self.capacity
        self.level = min(full, self.level + gained)
        self.since = now
        return self.level

    def ready(self, now: datetime) -> datetime | None:
        """When there is a whole token; None: now."""
        lacking = self.token - self.fill(now)
        return None if lacking <= 0 else now - (-lacking // self.capacity) * MICROSECOND

    def spend(self, now: datetime) -> None:
        if self.ready(now) is None:
            self.level -= self.token


def last_two_labels(name: str) -> str:
    return ".".join(name.split(".")[-2:])


@dataclass
class RateLimits:
    """The buckets of one CA."""

    registered_domain: Callable[[str], str] = last_two_labels
    duplicates: int = 5
    buckets: dict[tuple[object, ...], Bucket] = field(default_factory=dict)
    issued_at: dict[frozenset[str], datetime] = field(default_factory=dict)

    def is_renewal(self, names: Iterable[str], now: datetime) -> bool:
        last = self.issued_at.get(frozenset(names))
        return last is not None and now - last < timedelta(days=120)

    def order(
        self, account: str, names: Iterable[str], now: datetime, *, exempt: bool = False
    ) -> datetime | None:
        """Take an order (None), or return when to come back; `exempt`: an accepted `replaces`."""
        wait = self.wait(account, names := tuple(names), now, exempt=exempt)
        if wait is None and not exempt and not self.is_renewal(names, now):
            self._orders(account).spend(now)
        return wait

    def wait(
        self, account: str, names: Iterable[str], now: datetime, *, exempt: bool = False
    ) -> datetime | None:
        """Return when such an order would be taken; None: now."""
        if exempt:
            return None
        names = tuple(names)
        asked = [self._failures(account, name) for name in names]
        asked.append(self._same(names))
        if not self.is_renewal(names, now):
            asked += [self._domain(name) for name in names]
            asked.append(self._orders(account))
        waits = [when for bucket in asked if (when := bucket.ready(now)) is not None]
        return max(waits, default=None)

    def issue(self, names: Iterable[str], now: datetime, *, renewal: bool) -> None:
        names = tuple(names)
        self._same(names).spend(now)
        if not renewal:
            for bucket in {id(one): one for one in map(self._domain, names)}.values():
                bucket.spend(now)
        self.issued_at[frozenset(names)] = now

    def fail(self, account: str, name: str, now: datetime) -> None:
        self._failures(account, name).spend(now)

    def _bucket(self, capacity: int, period: timedelta, *key: object) -> Bucket:
        return self.buckets.setdefault(key, Bucket(capacity, period))

    def _orders(self, account: str) -> Bucket:
        return self._bucket(300, timedelta(hours=3), "orders", account)

    def _domain(self, name: str) -> Bucket:
        return self._bucket(50, timedelta(days=7), "domain", self.registered_domain(name))

    def _same(self, names: Iterable[str]) -> Bucket:
        return self._bucket(self.duplicates, timedelta(days=7), "same", frozenset(names))

    def _failures(self, account: str, name: str) -> Bucket:
        return self._bucket(5, timedelta(hours=1), "failures", account, name)
