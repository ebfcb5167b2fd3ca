"""What holds a request back before the CA has to: its known limits, its own word, and back-off.

Every request and its end is noted in the ledger, so that it counts in every later run.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from distributor.model.backoff import next_try
from distributor.model.budget import (
    Ask,
    Event,
    EventKind,
    Refusal,
    failures,
    is_renewal,
    is_urgent,
    last_failure,
    refusal,
    waiting,
)
from distributor.model.errors import (
    AuthorizationFailed,
    BackingOff,
    BudgetSpent,
    CaUnreachable,
    DistributorError,
    RateLimited,
)
from distributor.model.hosts import AcmeSource, WantedCertificate
from distributor.model.renewal import Held, is_past
from distributor.model.renewal_window import RenewalInfo
from distributor.model.times import rfc3339
from distributor.store import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The guard of one certificate at one CA."""

    wanted: WantedCertificate
    ca: AcmeSource
    ledger: Ledger
    current: Held | None
    window: RenewalInfo | None
    """What the CA said last of when to renew it."""
    account: Callable[[], str]
    """Gives the account's URL; empty while none is registered."""
    is_asked_for: bool
    """A person asked for this try: no back-off, and the reserve may be used."""
    now: Callable[[], datetime]

    def admit_try(self) -> None:
        """Raise BudgetSpent while the CA wants to be left alone, BackingOff after failures of ours.

        A person who asks is not held back by the latter.
        """
        found = waiting(self.ledger.events(), self.ask(replaces=False), self.now())
        if found is not None:
            raise self._spent(found)
        if self.is_asked_for:
            return
        now, own = self.now(), (self.ca.directory_url, self.wanted.name)
        events = self.ledger.events()
        failed, last = failures(events, *own, now), last_failure(events, *own, now)
        when = next_try(failed, now, urgent=self._is_urgent)
        if when is not None and last is not None:
            times = f"{len(failed)} times" if len(failed) > 1 else "once"
            raise BackingOff(
                f"{self.ca.ca} failed {times} lately, at {rfc3339(last.at)} last; "
                f"it is tried again from {rfc3339(when)}",
                retry_at=when,
                is_cas_own=last.is_cas_own,
                hint=f"see to the reason, then try at once: distribute issue {self.wanted.name}",
                step="order",
            )

    def admit_order(self, *, replaces: bool) -> None:
        """Note that an order is about to be made; raise BudgetSpent when a limit forbids it."""
        now, events, ask = self.now(), self.ledger.events(), self.ask(replaces=replaces)
        found = refusal(events, ask, now)
        if found is not None:
            raise self._spent(found)
        self._note("ordered", renewal=replaces or is_renewal(events, ask, now))

    def issued(self, order: str) -> None:
        """Note that the CA issued for an order, once, however often that is taken up."""
        events = self.ledger.events()
        if not any(one.kind == "issued" and one.order == order for one in events):
            renewal = is_renewal(events, self.ask(replaces=False), self.now())
            self._note("issued", renewal=renewal, order=order)

    def failed(self, error: DistributorError) -> None:
        """Note how a try ended, where it counts: not what was held back here."""
        if isinstance(error, BackingOff | BudgetSpent):
            return
        names = () if error.step == "account" else self.wanted.names
        until = error.retry_at if isinstance(error, CaUnreachable | RateLimited) else None
        if until is not None:
            self._note("rate-limited", until=until, names=names, cas_own=True)
        elif isinstance(error, AuthorizationFailed):
            self._note("refused-authorization", identifiers=self.wanted.names)
        else:
            self._note("failed", cas_own=is_cas_own(error))

    def ask(self, *, replaces: bool) -> Ask:
        """Return the order that would be made."""
        return Ask(
            ca=self.ca.directory_url,
            account=self.account(),
            names=self.wanted.names,
            certificate=self.wanted.name,
            urgent=self.is_asked_for or self._is_urgent,
            replaces=replaces,
        )

    def _spent(self, found: Refusal) -> BudgetSpent:
        return BudgetSpent(
            f"{self.ca.ca} is not asked for '{self.wanted.name}' before "
            f"{rfc3339(found.until)}: {found.reason}",
            retry_at=found.until,
            is_cas_own=found.is_cas_own,
            hint="the next run after that goes on; distribute show tells what is left",
            step="order",
        )

    @property
    def _is_urgent(self) -> bool:
        if self.current is None:
            return True
        have, now = self.current.certificate, self.now()
        is_asked_at_once = self.window is not None and is_past(self.window, have, now)
        return is_asked_at_once or is_urgent(
            have.not_before, have.not_after, now, revoked=self.current.is_revoked
        )

    def _note(
        self,
        kind: EventKind,
        *,
        renewal: bool = False,
        until: datetime | None = None,
        identifiers: tuple[str, ...] = (),
        cas_own: bool = False,
        names: tuple[str, ...] | None = None,
        order: str = "",
    ) -> None:
        event = Event(
            at=self.now(),
            kind=kind,
            ca=self.ca.directory_url,
            account=self.account(),
            names=self.wanted.names if names is None else names,
            certificate=self.wanted.name,
            until=until,
            identifiers=identifiers,
            renewal=renewal,
            is_cas_own=cas_own,
            order=order,
        )
        self.ledger.note(event)
        log.info("acme step=%s certificate=%s ca=%s", kind, self.wanted.name, self.ca.ca)


def is_cas_own(error: DistributorError) -> bool:
    """Tell whether a try failed by the CA, so that another CA may do: outage or rate limit.

    What DNS or a CAA record refuses, another CA would meet as well.
    """
    if isinstance(error, BackingOff | BudgetSpent):
        return error.is_cas_own
    if isinstance(error, CaUnreachable):
        return error.is_outage
    return isinstance(error, RateLimited)
