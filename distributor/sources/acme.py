"""Certificates ordered from an ACME CA by DNS-01.

Each thing is on disk before it is used: the account key before it is registered, key and request
before the order, the order's URL before its challenges, every TXT value before it is published. A
run that was cut is taken up where it stands, and what it left in the zone is removed.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from distributor.clients.certificate_authority import (
    STATUS_INVALID,
    STATUS_PENDING,
    CertificateAuthority,
    OrderResource,
    make_csr,
)
from distributor.clients.nameservers import Nameservers
from distributor.dns_providers.challenges import Challenges, rehearse
from distributor.dns_providers.contract import DnsProvider
from distributor.model.bundle import Certificate, forecast, key_type, prove
from distributor.model.errors import (
    AccountUnknown,
    AuthorizationFailed,
    BundleError,
    DistributorError,
    OrderFailed,
)
from distributor.model.hosts import AcmeSource, KeyType, WantedCertificate
from distributor.model.keys import new_private_key
from distributor.model.renewal import Held, Hints, Renewal, due
from distributor.model.secret import Secret
from distributor.sources.contract import Progress, Ready
from distributor.store import Account, PendingOrder, Store, Stored

log = logging.getLogger(__name__)

CA_TIMEOUT: Final = timedelta(minutes=5)
"""How long the CA may take to validate, and again to issue; the order is kept when it is late."""
ACCOUNT_KEY: Final[KeyType] = "ec256"

Connect = Callable[[AcmeSource, Secret], CertificateAuthority]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """One certificate with `source = "acme"`."""

    wanted: WantedCertificate
    source: AcmeSource
    store: Store
    connect: Connect
    provider: DnsProvider
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
        """Return nothing: this CA is not asked when to renew."""
        return Hints()

    def due(self, current: Held | None, hints: Hints, now: datetime) -> Renewal | None:  # noqa: ARG002 - the contract's; ARI will need it
        """Return why a new certificate is due: none yet, names, key type, CA, lifetime."""
        return due(current, self.wanted, self.source.directory_url, now)

    def rehearse(self, progress: Progress) -> dict[str, DistributorError]:
        """Publish and remove a marked TXT value for each name; return what went wrong, by name."""
        return rehearse(self._challenges, self.wanted.names, progress)

    def tidy(self) -> tuple[str, ...]:
        """Remove TXT values that an earlier run published and did not remove."""
        return self._challenges.remove()

    def renew(self, progress: Progress) -> Ready:
        """Take up the order under way or make a new one, and bring it to its end."""
        account = self._account()
        authority = self.connect(self.source, account.key_pem)
        try:
            if account.url is not None:
                authority.use_account(account.url)
            else:
                progress(f"registering an account with {self.source.ca}")
                self._register(authority, account)
            pending, order = self._order(authority, account, progress)
            try:
                fullchain = self._finished(authority, order, progress)
                bundle = prove(
                    certificate=fullchain.encode("utf-8"),
                    private_key=pending.private_key_pem.reveal().encode("ascii"),
                    names=self.wanted.names,
                    now=self.now(),
                )
            except (AuthorizationFailed, OrderFailed, BundleError):
                # This order cannot come to a good end any more: the next run makes a new one.
                self.store.orders.clear(self.wanted.name)
                raise
        finally:
            authority.close()
        stored = self.store.bundles.save(
            self.wanted.name, bundle, ca=self.source.directory_url, now=self.now()
        )
        self.store.orders.clear(self.wanted.name)
        return self._ready(stored)

    def _ready(self, stored: Stored) -> Ready:
        certificate = stored.bundle.certificate(self.wanted.name, self.roots())
        return Ready(Held(certificate=certificate, ca=stored.ca), stored.bundle)

    def _account(self) -> Account:
        known = self.store.accounts.load(self.source.directory_url, self.source.email)
        if known is not None:
            return known
        account = Account(key_pem=new_private_key(ACCOUNT_KEY))
        self.store.accounts.save(self.source.directory_url, self.source.email, account)
        return account

    def _register(self, authority: CertificateAuthority, account: Account) -> None:
        url = authority.register(self.source.email)
        self.store.accounts.save(
            self.source.directory_url, self.source.email, replace(account, url=url)
        )

    def _order(
        self, authority: CertificateAuthority, account: Account, progress: Progress
    ) -> tuple[PendingOrder, OrderResource]:
        """Return the order under way if it is for the same thing and alive, else a new one."""
        pending = self._pending()
        if pending.url is not None:
            order = authority.order(pending.url, pending.csr_pem)
            if order is not None and order.body.status != STATUS_INVALID:
                progress("taking up the order of an earlier run")
                return pending, order
        progress(f"ordering {', '.join(self.wanted.names)} from {self.source.ca}")
        try:
            order = authority.new_order(pending.csr_pem)
        except AccountUnknown:
            self._register(authority, account)
            order = authority.new_order(pending.csr_pem)
        pending = replace(pending, url=str(order.uri))
        self.store.orders.save(self.wanted.name, pending)
        return pending, order

    def _pending(self) -> PendingOrder:
        """Return the noted order if it fits what is wanted now; else note a new key and request."""
        noted = self.store.orders.load(self.wanted.name)
        if (
            noted is not None
            and noted.directory_url == self.source.directory_url
            and noted.names == self.wanted.names
            and noted.key_type == self.wanted.key_type
        ):
            return noted
        self.store.orders.clear(self.wanted.name)
        key = self._new_key()
        pending = PendingOrder(
            directory_url=self.source.directory_url,
            names=self.wanted.names,
            key_type=self.wanted.key_type,
            private_key_pem=key,
            csr_pem=make_csr(key, self.wanted.names),
        )
        self.store.orders.save(self.wanted.name, pending)
        return pending

    def _new_key(self) -> Secret:
        current = self.store.bundles.current(self.wanted.name) if self.wanted.reuse_key else None
        if current is not None and key_type(current.bundle.leaf) == self.wanted.key_type:
            return current.bundle.private_key_pem
        return new_private_key(self.wanted.key_type)

    def _finished(
        self, authority: CertificateAuthority, order: OrderResource, progress: Progress
    ) -> str:
        if order.body.status == STATUS_PENDING:
            self._validate(authority, order, progress)
            order = authority.order(str(order.uri), order.csr_pem) or order
        progress("waiting for the CA to issue")
        return authority.finish(order, self.now() + CA_TIMEOUT)

    def _validate(
        self, authority: CertificateAuthority, order: OrderResource, progress: Progress
    ) -> None:
        """Publish the challenges, wait until they are served, have them looked at, remove them."""
        challenges = authority.challenges(order)
        try:
            self._challenges.publish([(one.name, one.value) for one in challenges], progress)
            progress("waiting for the CA to validate")
            for challenge in challenges:
                authority.answer(challenge)
            authority.wait_until_valid(order, self.now() + CA_TIMEOUT)
        finally:
            for line in self._challenges.remove():
                progress(line)

    @property
    def _challenges(self) -> Challenges:
        return Challenges(
            certificate=self.wanted.name,
            journal=self.store.orders,
            provider=self.provider,
            nameservers=self.nameservers,
            timeout=self.propagation_timeout,
        )
