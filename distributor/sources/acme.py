"""Certificates ordered from an ACME CA by DNS-01, or from the next CA where one has an outage."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from distributor.clients.certificate_authority import ExternalAccountKey
from distributor.clients.nameservers import Nameservers
from distributor.dns_providers.challenges import Challenges, rehearse
from distributor.dns_providers.contract import DnsProvider, FindProvider
from distributor.model.budget import Ask
from distributor.model.bundle import Certificate, fingerprint, forecast
from distributor.model.errors import (
    BundleError,
    DistributorError,
    IssuanceError,
    OrderFailed,
    SecretError,
)
from distributor.model.hosts import AcmeSource, WantedCertificate
from distributor.model.renewal import Held, Hints, Outlook, Renewal, due, outlook
from distributor.model.renewal_window import RenewalInfo
from distributor.sources.acme_account import Connect, StoredAccount
from distributor.sources.acme_guard import Guard, is_cas_own
from distributor.sources.acme_order import AcmeOrder
from distributor.sources.contract import Progress, Ready
from distributor.store import Publisher, Store, Stored

log = logging.getLogger(__name__)

LONGEST_WAIT: Final = timedelta(days=1)
"""No CA is left unasked for its window longer, whatever it says."""

AskWindow = Callable[[AcmeSource, x509.Certificate], RenewalInfo | None]
"""Asks a CA when a certificate of its own is to be renewed; None where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """One certificate with `source = "acme"`."""

    wanted: WantedCertificate
    source: AcmeSource
    store: Store
    connect: Connect
    ask_window: AskWindow
    external_account: Callable[[AcmeSource], ExternalAccountKey | None]
    publisher: Publisher
    provider: DnsProvider
    find_provider: FindProvider
    nameservers: Nameservers
    propagation_timeout: timedelta
    roots: Callable[[], Collection[x509.Certificate]]
    """Gives the roots that hosts are expected to be verified against."""
    now: Callable[[], datetime]

    def current(self) -> Ready | None:
        """Return the store's current version."""
        stored = self.store.bundles.current(self.wanted.name)
        return None if stored is None else self._ready(stored)

    def forecast(self) -> Certificate:
        """Return names, key type and CA of the next certificate."""
        wanted = self.wanted
        return forecast(wanted.name, wanted.names, wanted.key_type, self.source.directory_url)

    def look(self) -> Hints:
        """Return the window that the CA suggests for what the store holds (RFC 9773).

        The CA is asked no more often than it wants; in between, what it said last counts.
        """
        try:
            return self._looked()
        except DistributorError as error:
            log.info("certificate=%s step=look error=%s", self.wanted.name, error.kind)
            return Hints(error=error.message)

    def due(self, current: Held | None, hints: Hints, now: datetime) -> Renewal | None:
        """Return why a new certificate is due, in the order of `model.renewal`."""
        return due(current, self.wanted, self.source, hints, now)

    def outlook(self, current: Held, hints: Hints) -> Outlook:
        """Return when the CA's window or the lifetime makes it due."""
        return outlook(current, self.wanted, hints)

    def rehearse(self, progress: Progress) -> dict[str, DistributorError]:
        """Publish and remove a marked TXT value for each name; return what went wrong, by name."""
        return rehearse(self._challenges, self.wanted.names, progress)

    def tidy(self) -> tuple[str, ...]:
        """Remove TXT values that an earlier run left, and forget orders that came to their end."""
        stored = self.store.bundles.current(self.wanted.name)
        for order in self.store.orders.all(self.wanted.name):
            if stored is not None and order.url is not None and order.url == stored.order:
                self.store.orders.clear(self.wanted.name, order.directory_url)
        self.store.orders.keep_only(self.wanted.name, {ca.directory_url for ca in self._cas})
        return self._challenges.remove()

    def renew(self, progress: Progress, *, is_asked_for: bool = False) -> Ready:
        """Obtain a certificate from the first CA that can issue; only an outage leads to the next.

        An order under way is taken up. Raises the first CA's error, which tells of the others.
        """
        failed: list[tuple[AcmeSource, DistributorError]] = []
        for ca in self._cas:
            try:
                return self._ready(self._obtained(ca, progress, is_asked_for=is_asked_for))
            except (IssuanceError, BundleError, SecretError) as error:
                failed.append((ca, error))
                if not is_cas_own(error):
                    break
                progress(error.message)
        first = failed[0][1]
        others = "; ".join(f"then {ca.ca}: {error.message}" for ca, error in failed[1:])
        if others:
            first.message = f"{first.message}; {others}"
        raise first

    def asks(self) -> tuple[Ask, ...]:
        """Return the orders that would be made at each CA, for `model.budget` to judge."""
        return tuple(
            self._guard(ca, self._account(ca), is_asked_for=False).ask(replaces=False)
            for ca in self._cas
        )

    def revoke(self, leaf: x509.Certificate, reason: int) -> None:
        """Have the CA that issued a version revoke it, by its CRL reason (RFC 5280 5.3.1).

        Raises OrderFailed for a leaf of a CA that the inventory no longer names.
        """
        account = self._account(self._issuer_of(leaf))
        authority = account.sign_in(lambda _line: None)
        try:
            account.as_known(authority, lambda: authority.revoke(leaf, reason))
        finally:
            authority.close()

    def accounts(self) -> tuple[StoredAccount, ...]:
        """Return the accounts with the CAs, the first CA's first."""
        return tuple(map(self._account, self._cas))

    def _looked(self) -> Hints:
        stored = self.store.bundles.current(self.wanted.name)
        ca = next(
            (ca for ca in self._cas if stored is not None and ca.directory_url == stored.ca), None
        )
        if stored is None or ca is None:
            return Hints()
        leaf = fingerprint(stored.bundle.leaf)
        known = self.store.windows.find(self.wanted.name, leaf)
        # A note of a clock that was ahead must not silence the CA: none is that far off.
        if known is not None and self.now() < known.ask_again <= self.now() + LONGEST_WAIT:
            return Hints(window=known)
        try:
            said = self.ask_window(ca, stored.bundle.leaf)
        except IssuanceError as error:
            log.info("certificate=%s step=look error=%s", self.wanted.name, error.kind)
            return Hints(window=known, error=error.message)
        if said is None:
            return Hints()
        return Hints(window=self.store.windows.note(self.wanted.name, leaf, said))

    def _obtained(self, ca: AcmeSource, progress: Progress, *, is_asked_for: bool) -> Stored:
        account = self._account(ca)
        guard = self._guard(ca, account, is_asked_for=is_asked_for)
        guard.admit_try()
        order = AcmeOrder(
            wanted=self.wanted,
            ca=ca,
            account=account,
            store=self.store,
            challenges=self._challenges,
            guard=guard,
            now=self.now,
        )
        try:
            return order.obtain(progress)
        except (IssuanceError, BundleError, SecretError) as error:
            guard.failed(error)
            raise

    def _issuer_of(self, leaf: x509.Certificate) -> AcmeSource:
        origin = self.store.bundles.origin(self.wanted.name, fingerprint(leaf))
        for ca in self._cas:
            if ca.directory_url == origin:
                return ca
        raise OrderFailed(
            f"'{self.wanted.name}' of that version came from {origin or 'elsewhere'}, "
            "which the inventory does not name",
            hint="set `ca` or `fallback` to it for this once",
            step="revoke",
        )

    def _guard(self, ca: AcmeSource, account: StoredAccount, *, is_asked_for: bool) -> Guard:
        ready = self.current()
        held = ready.held if ready is not None else None
        leaf = held.certificate.leaf if held is not None else ""
        return Guard(
            wanted=self.wanted,
            ca=ca,
            ledger=self.store.ledger,
            current=held,
            window=self.store.windows.find(self.wanted.name, leaf),
            account=lambda: account.url or "",
            is_asked_for=is_asked_for,
            now=self.now,
        )

    def _account(self, ca: AcmeSource) -> StoredAccount:
        return StoredAccount(
            source=ca,
            accounts=self.store.accounts,
            connect=self.connect,
            external_account=self.external_account,
        )

    def _ready(self, stored: Stored) -> Ready:
        held = Held(
            certificate=stored.bundle.certificate(self.wanted.name, self.roots()),
            ca=stored.ca,
            profile=stored.profile,
            is_revoked=stored.revoked is not None,
            ordered=stored.ordered,
        )
        return Ready(held, stored.bundle)

    @property
    def _cas(self) -> tuple[AcmeSource, ...]:
        return (self.source, *self.source.fallback)

    @property
    def _challenges(self) -> Challenges:
        return Challenges(
            certificate=self.wanted.name,
            journal=self.store.orders,
            publisher=self.publisher,
            provider=self.provider,
            find=self.find_provider,
            nameservers=self.nameservers,
            timeout=self.propagation_timeout,
        )
