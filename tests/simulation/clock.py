"""Virtual time, and spans of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

Span = tuple[datetime, datetime]


@dataclass
class Clock:
    """Time that passes only when it is told to."""

    time: datetime

    def now(self) -> datetime:
        return self.time

    def seconds(self) -> float:
        """Return it as seconds since 1970."""
        return self.time.timestamp()

    def pass_by(self, span: timedelta) -> datetime:
        self.time += span
        return self.time


@dataclass
class Spans:
    """When something is so."""

    spans: list[Span] = field(default_factory=list)

    def has(self, moment: datetime) -> bool:
        return any(start <= moment < end for start, end in self.spans)


def spans(random: Random, start: datetime, days: int, every: float, *hours: float) -> Spans:
    """Return spans within that many days, one in about `every` days, of so many hours."""
    least, most = hours
    found = []
    at = start + timedelta(days=random.expovariate(1 / every))
    while at < start + timedelta(days=days):
        end = at + timedelta(hours=least * (most / least) ** random.random())
        found.append((at, end))
        at = end + timedelta(days=random.expovariate(1 / every))
    return Spans(found)
