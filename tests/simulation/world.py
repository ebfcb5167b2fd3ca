"""One certificate over hundreds of days: what befalls it, its runs, and what they must achieve."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import cast

from cryptography import x509

from distributor.clients.certificate_authority import (
    STATUS_PENDING,
    STATUS_READY,
    CertificateAuthority,
)
from distributor.clients.nameservers import Nameservers
from distributor.model.hosts import AcmeSource, WantedCertificate
from distributor.model.renewal_window import RenewalInfo
from distributor.model.secret import Secret
from distributor.obtaining import IssueTerms, obtain
from distributor.sources.acme import Acme
from distributor.store import Publisher, Store
from tests.simulation.clock import Clock
from tests.simulation.virtual_authority import (
    SHORT_LIFE,
    Issued,
    Killed,
    VirtualCa,
    VirtualClient,
)
from tests.simulation.virtual_zone import Zone

NAMES = ("example.com", "*.example.com")
URGENT = timedelta(days=2)


class Deaf:
    """Hears nothing."""

    def certificate(self, name: str, text: str) -> None:
        """Take a line."""


def obtained(source: Acme, clock: Clock) -> None:
    """Do what a run does for one certificate."""
    obtain(source, IssueTerms(renew_now=False), Deaf(), threading.Event(), clock.now)


@dataclass
class World:
    """All that is outside of the product, and a state folder."""

    folder: Path
    clock: Clock
    zone: Zone
    cas: list[VirtualCa]
    random: Random
    client: Callable[[Acme, Clock], None] = obtained
    troubled: float = 0.0
    """Part of the runs that are killed, or lose a request."""
    missed: list[datetime] = field(default_factory=list)
    """Runs since the certificate was due that could have renewed it."""
    lapses: int = 0
    """Times that a host was left with an expired certificate: there was no way."""
    early: list[str] = field(default_factory=list)
    """Renewals that nothing asked for."""
    killed: int = 0
    renewals: int = 0

    def run(self, at: datetime) -> None:
        """Begin a run at that time; fail where a host was let down."""
        self.clock.time = at
        for ca in self.cas:
            ca.let_strangers_issue(NAMES, at)
        held, account = self.held(), self._accounts()
        fault, is_due = self._fault(), self.is_due(held, at)
        way = fault is None and is_due and self._way(held, account, at)
        self._note_lapse(held, at)
        if fault is not None:
            what, number = fault
            self.cas[0].faults = [""] * number + [what]
        try:
            self.client(self.source(), self.clock)
        except Killed:
            self.killed += 1
        for ca in self.cas:
            ca.faults.clear()
        new = self.held()
        if new is not held:
            self.renewals += 1
            self._note_if_early(held, at)
            is_due = self.is_due(new, at)
        if not is_due:
            self.missed.clear()
        elif way:
            self.missed.append(at)
        if fault is None and self.zone.works_at(at):
            assert not self.zone.values, f"{at}: left in the zone"

    def calm_down(self) -> None:
        """Let all troubles be over."""
        self.troubled = 0.0
        for trouble in (self.zone.refuses, self.zone.is_hidden, *(ca.outages for ca in self.cas)):
            trouble.spans.clear()

    def source(self) -> Acme:
        """The source as a new process makes it."""
        settings = [
            AcmeSource(
                ca=f"CA {number}",
                directory_url=ca.url,
                email=None,
                agree_tos=True,
                dns="home",
            )
            for number, ca in enumerate(self.cas)
        ]
        by_url = {ca.url: ca for ca in self.cas}

        def connect(source: AcmeSource, key: Secret) -> CertificateAuthority:
            return cast("CertificateAuthority", VirtualClient(by_url[source.directory_url], key))

        def ask_window(source: AcmeSource, leaf: x509.Certificate) -> RenewalInfo | None:
            return by_url[source.directory_url].ask_window(leaf)

        first = AcmeSource(
            ca="CA 0",
            directory_url=self.cas[0].url,
            email=None,
            agree_tos=True,
            dns="home",
            fallback=tuple(settings[1:]),
        )
        return Acme(
            wanted=WantedCertificate(name="home", source=first, names=NAMES, key_type="ec256"),
            source=first,
            store=Store(self.folder),
            connect=connect,
            ask_window=ask_window,
            external_account=lambda _source: None,
            publisher=Publisher("home", "virtual", "the zone"),
            provider=self.zone,
            find_provider=lambda _publisher: None,
            nameservers=cast("Nameservers", self.zone),
            propagation_timeout=timedelta(minutes=5),
            roots=lambda: (),
            now=self.clock.now,
        )

    @property
    def orders(self) -> int:
        return sum(len(ca.orders) for ca in self.cas)

    @property
    def undelivered(self) -> int:
        return sum(ca.undelivered for ca in self.cas)

    @property
    def issued(self) -> int:
        return sum(len(ca.issued) for ca in self.cas)

    @property
    def abandoned(self) -> int:
        """Orders that came to no end, good or bad."""
        ends = [order.status for ca in self.cas for order in ca.orders.values()]
        return sum(end in {STATUS_PENDING, STATUS_READY} for end in ends)

    def complaints(self) -> list[str]:
        return [f"{ca.url} {line}" for ca in self.cas for line in ca.complaints]

    def held(self) -> Issued | None:
        """What the store holds, as its CA knows it."""
        stored = Store(self.folder).bundles.current("home")
        if stored is None:
            return None
        (found,) = [one for ca in self.cas for one in ca.issued if one.leaf == stored.bundle.leaf]
        return found

    def _accounts(self) -> dict[str, str]:
        accounts = Store(self.folder).accounts
        known = {ca.url: accounts.load(ca.url, None) for ca in self.cas}
        return {url: one.url or "" for url, one in known.items() if one is not None}

    def _fault(self) -> tuple[str, int] | None:
        if self.random.random() >= self.troubled:
            return None
        return self.random.choice(("killed", "lost")), self.random.randrange(12)

    def is_due(self, held: Issued | None, at: datetime) -> bool:
        """Tell whether any client would renew now: by the lifetime, or for an incident it saw."""
        if held is None:
            return True
        life = held.end - held.start
        if at >= held.end - life / (2 if life < SHORT_LIFE else 3):
            return True
        ca = self.ca_of(held)
        is_told = at >= held.ask_again and not ca.outages.has(at)
        return ca.has_ari and is_told and ca.incident(held, at) is not None

    def ca_of(self, held: Issued) -> VirtualCa:
        """Return the CA that issued it."""
        return next(ca for ca in self.cas if held in ca.issued)

    def _way(self, held: Issued | None, accounts: dict[str, str], at: datetime) -> bool:
        """Tell whether a run at this time can renew.

        DNS works, and a CA is there that takes the order, where those before it have an outage or
        a limit of their own: what DNS refuses is not tried elsewhere.
        """
        if not self.zone.works_at(at):
            return False
        leaf = None if held is None else held.leaf
        return any(ca.would_issue(accounts.get(ca.url, ""), NAMES, leaf) for ca in self.cas)

    def _note_lapse(self, held: Issued | None, at: datetime) -> None:
        if held is None:
            return
        ca = self.ca_of(held)
        end = ca.usable_until(held) if ca.has_ari else held.end
        if at <= end:
            return
        ways = [f"{missed}" for missed in self.missed]
        assert not ways, f"{at}: usable until {end}, though there was a way at {ways}"
        self.lapses += 1

    def _note_if_early(self, held: Issued | None, at: datetime) -> None:
        """Note a renewal that nothing asked for."""
        if held is None or self.is_due(held, self.clock.now()):
            return
        ca = self.ca_of(held)
        start, _, _ = ca.window(held, at)
        if not ca.has_ari or start > self.clock.now():
            self.early.append(f"{at}: {held.start} to {held.end}")


def every(hours: float, random: Random, start: datetime, days: int) -> Iterable[datetime]:
    """Return runs this far apart, each up to an hour late."""
    at = start
    while at < start + timedelta(days=days):
        yield at + timedelta(hours=random.random())
        at += timedelta(hours=hours)


def now_and_then(random: Random, start: datetime, days: int) -> Iterable[datetime]:
    """Return runs of a machine that is not always on, a day and a half apart on the average."""
    at = start
    while at < start + timedelta(days=days):
        yield at
        at += timedelta(hours=max(0.2, random.expovariate(1 / 36)))
