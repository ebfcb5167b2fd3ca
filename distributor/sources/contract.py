"""What the core asks of every source of a certificate.

`look` reads (network or disk), changes nothing outside, and does no harm when it fails; what it
learnt it may keep in the store, but not in a dry run. `due` and `outlook` are pure.
`renew` returns a proved bundle that is already in the store, or leaves the store as it was; the
caller holds the run lock. A dry run never calls `renew`, and plans against the forecast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from distributor.model.bundle import Bundle, Certificate
from distributor.model.renewal import Held, Hints, Outlook, Renewal

Progress = Callable[[str], None]
"""Takes one line on where the work stands."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A bundle in the store, and what may be shown of it."""

    held: Held
    bundle: Bundle


class Source(Protocol):
    """Where one certificate of the inventory comes from."""

    def current(self) -> Ready | None:
        """Return what the store holds, expired or not; None when there is none."""

    def forecast(self) -> Certificate:
        """Return what a renewal would bring, as far as it can be said beforehand. Pure."""

    def look(self) -> Hints:
        """Learn what bears on renewal. MUST NOT raise: what fails is in `Hints.error`."""

    def due(self, current: Held | None, hints: Hints, now: datetime) -> Renewal | None:
        """Return why a new certificate is due, or None. Pure."""

    def outlook(self, current: Held, hints: Hints) -> Outlook:
        """Return when `current` will be due if nothing but time changes, and why then. Pure."""

    def tidy(self) -> tuple[str, ...]:
        """Remove what a cut run left behind outside; return one line for what still could not be.

        Quiet when nothing is left, and not called in a dry run.
        """

    def renew(self, progress: Progress, *, is_asked_for: bool = False) -> Ready:
        """Obtain a new certificate and store it.

        `is_asked_for`: a person wants it now, whatever earlier failures say.

        Raises a DistributorError when it cannot be had; the store is then as it was.
        """
