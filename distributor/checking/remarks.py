"""One thing that a check has to say."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from distributor.model.errors import DistributorError

CLOCK_LIMIT: Final = timedelta(minutes=5)
"""More than this, and one-time codes and fresh certificates fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What it is about, what was seen, and what to do.

    A finding is wrong and makes the check fail; a note is worth knowing, and may be as it should.
    """

    name: str
    """One word with hyphens, the same for the same kind of remark, for scripts."""
    about: str
    """Such as `host attic` or `certificate home`."""
    message: str
    hint: str
    is_finding: bool = True


def error_remark(about: str, error: DistributorError, name: str) -> Remark:
    """Return a finding that says what an error says."""
    return Remark(
        name=name,
        about=about,
        message=error.message,
        hint=error.hint or "run again with -v and look at the log",
    )


def clock_remark(about: str, skew: timedelta, where: str) -> Iterator[Remark]:
    """Give a finding for a clock that is `skew` ahead of ours; `where` says how it is set."""
    if abs(skew) > CLOCK_LIMIT:
        minutes = round(abs(skew).total_seconds() / 60)
        side = "ahead of" if skew > timedelta(0) else "behind"
        yield Remark(
            name="clock",
            about=about,
            message=f"its clock is {minutes} minutes {side} this computer's",
            hint=f"set both by NTP ({where}): a certificate that is new is not valid yet for a "
            "clock that is behind",
        )
