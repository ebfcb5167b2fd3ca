"""When to try again after failures: soon at first, then daily. Pure; a ledger remembers them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

STEPS: Final = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100))
"""Waits after the first failures (Let's Encrypt's integration guide, acme-dns facts 3.1)."""
DAILY: Final = timedelta(hours=20)
"""The wait after those: once a day, and a nightly run that begins earlier than last night's is not
sent home."""
URGENT_TRIES: Final = 100
"""Failures up to which an urgent try waits no longer than the last of `STEPS`. Let's Encrypt pauses
a name after 1152 failures in a row and takes one off per day: daily tries never get there."""
FORGOTTEN: Final = timedelta(days=7)
"""A failure this long before the next one, or before now, is another story."""


def next_try(
    failures: Sequence[datetime], now: datetime, *, urgent: bool = False
) -> datetime | None:
    """Return when one may try again after these failures since the last success; None: at once.

    Failures later than `now` were noted by a clock that was wrong then or is now: they do not
    count. `urgent` says that there is no valid certificate, or not for long.
    """
    last, count = None, 0
    for at in sorted((at for at in failures if at <= now), reverse=True):
        if (now if last is None else last) - at > FORGOTTEN:
            break
        last, count = at, count + 1
    if count == 0:
        return None
    newest = max(at for at in failures if at <= now)
    if count <= len(STEPS):
        wait = STEPS[count - 1]
    else:
        wait = STEPS[-1] if urgent and count <= URGENT_TRIES else DAILY
    return newest + wait if newest + wait > now else None
