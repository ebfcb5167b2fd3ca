"""One certificate at one ACME CA: an order taken up or made, and brought to its end.

Each thing is on disk before it is used: key and request before the order, the order's URL before
its challenges, every TXT value before it is published. A run that was cut is taken up where it
stands; of an order whose URL it did not come to note, the CA's own list tells.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from distributor.clients.certificate_authority import (
    STATUS_INVALID,
    STATUS_PENDING,
    STATUS_READY,
    CertificateAuthority,
    OrderResource,
    make_csr,
)
from distributor.dns_providers.challenges import Challenges
from distributor.model.bundle import fingerprint, key_type, prove
from distributor.model.errors import (
    AccountUnknown,
    AuthorizationFailed,
    BundleError,
    CaUnreachable,
    DistributorError,
    NotYetValid,
    OrderFailed,
)
from distributor.model.hosts import AcmeSource, WantedCertificate
from distributor.model.keys import new_private_key
from distributor.model.secret import Secret
from distributor.sources.acme_account import StoredAccount
from distributor.sources.acme_guard import Guard
from distributor.sources.contract import Progress
from distributor.store import PendingOrder, Store, Stored

log = logging.getLogger(__name__)

CA_TIMEOUT: Final = timedelta(minutes=5)
"""How long the CA may take to validate, and again to issue; the order is kept when it is late."""
_OPEN: Final = (STATUS_PENDING, STATUS_READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeOrder:
    """What it takes to get one certificate from one CA."""

    wanted: WantedCertificate
    ca: AcmeSource
    account: StoredAccount
    store: Store
    challenges: Challenges
    guard: Guard
    now: Callable[[], datetime]

    def obtain(self, progress: Progress) -> Stored:
        """Take up the order under way or make a new one, bring it to its end, and store it."""
        authority = self.account.sign_in(progress)
        try:
            pending, order = self._order(authority, progress)
            try:
                fullchain = self._finished(authority, order, progress)
                self.guard.issued(str(order.uri))
                bundle = prove(
                    certificate=fullchain.encode("utf-8"),
                    private_key=pending.private_key_pem.reveal().encode("ascii"),
                    names=self.wanted.names,
                    now=self.now(),
                )
            except NotYetValid:
                raise  # a clock is wrong: what was issued is taken once it is right
            except (AuthorizationFailed, OrderFailed, BundleError):
                # This order cannot come to a good end any more: the next run makes a new one.
                self.store.orders.clear(self.wanted.name, self.ca.directory_url)
                raise
        finally:
            authority.close()
        # Orders at other CAs were for what is obtained now: taken up later, they would bring a
        # certificate that is older than what it replaces.
        self.store.orders.keep_only(self.wanted.name, {self.ca.directory_url})
        stored = self.store.bundles.save(
            self.wanted.name,
            bundle,
            ca=self.ca.directory_url,
            profile=self.ca.profile,
            order=str(order.uri),
            ordered=self.wanted.names,
            now=self.now(),
        )
        self.store.orders.clear(self.wanted.name, self.ca.directory_url)
        return stored

    def _order(
        self, authority: CertificateAuthority, progress: Progress
    ) -> tuple[PendingOrder, OrderResource]:
        """Return the order under way if it can still be used, else a new one."""
        noted = self._noted()
        order = self._taken_up(authority, noted) if noted is not None else None
        if noted is not None and self._is_usable(noted):
            pending = replace(noted, url=None)
        else:
            pending = self._fresh()
        if order is not None:
            progress("taking up the order of an earlier run")
            pending = replace(pending, is_asked=True, url=str(order.uri))
            self.store.orders.save(self.wanted.name, pending)
            return pending, order.update(csr_pem=pending.csr_pem)
        return self._new(authority, pending, progress)

    def _is_usable(self, noted: PendingOrder) -> bool:
        """Tell whether a certificate for the key of a noted order would be what is wanted now."""
        return noted.key_type == self.wanted.key_type and not self.store.bundles.is_compromised(
            noted.private_key_pem
        )

    def _noted(self) -> PendingOrder | None:
        """Return the order under way if it is for what is wanted now, whatever its key type."""
        noted = self.store.orders.load(self.wanted.name, self.ca.directory_url)
        if noted is None or (noted.names, noted.profile) != (self.wanted.names, self.ca.profile):
            return None
        return noted

    def _taken_up(
        self, authority: CertificateAuthority, noted: PendingOrder
    ) -> OrderResource | None:
        """Return a noted order as it stands at the CA; None when it can no longer be used."""
        if not noted.is_asked:
            return None
        # Until its URL was noted, nothing was requested for an order: any key will do.
        is_ours = noted.url is not None and self._is_usable(noted)
        try:
            url = noted.url or authority.open_order(
                self.wanted.names,
                profile=self.ca.profile,
                besides=self.store.orders.urls(besides=self.wanted.name),
            )
            order = authority.order(url, noted.csr_pem) if url is not None else None
        except AccountUnknown:
            return None
        if order is None or order.body.status == STATUS_INVALID:
            return None
        return order if is_ours or order.body.status in _OPEN else None

    def _new(
        self, authority: CertificateAuthority, pending: PendingOrder, progress: Progress
    ) -> tuple[PendingOrder, OrderResource]:
        current = self.store.bundles.current(self.wanted.name)
        is_heir = current is not None and current.ca == self.ca.directory_url
        replaces = current.bundle.leaf if current is not None and is_heir else None
        self.guard.admit_order(replaces=self._is_in_window(replaces))
        pending = replace(pending, is_asked=True)
        self.store.orders.save(self.wanted.name, pending)
        progress(f"ordering {', '.join(self.wanted.names)} from {self.ca.ca}")

        def place() -> OrderResource:
            return authority.new_order(pending.csr_pem, profile=self.ca.profile, replaces=replaces)

        try:
            order = place()
        except AccountUnknown:
            self.account.register(authority, progress)
            order = place()
        pending = replace(pending, url=str(order.uri))
        self.store.orders.save(self.wanted.name, pending)
        return pending, order

    def _is_in_window(self, leaf: x509.Certificate | None) -> bool:
        """Tell whether the CA's window for its successor is open: its limits do not count then."""
        if leaf is None:
            return False
        info = self.store.windows.find(self.wanted.name, fingerprint(leaf))
        return info is not None and info.start <= self.now() < info.end

    def _fresh(self) -> PendingOrder:
        key = self._new_key()
        return PendingOrder(
            directory_url=self.ca.directory_url,
            names=self.wanted.names,
            key_type=self.wanted.key_type,
            private_key_pem=key,
            csr_pem=make_csr(key, self.wanted.names),
            profile=self.ca.profile,
        )

    def _new_key(self) -> Secret:
        current = self.store.bundles.current(self.wanted.name) if self.wanted.reuse_key else None
        if current is not None and key_type(current.bundle.leaf) == self.wanted.key_type:
            key = current.bundle.private_key_pem
            if not self.store.bundles.is_compromised(key):
                return key
        return new_private_key(self.wanted.key_type)

    def _finished(
        self, authority: CertificateAuthority, order: OrderResource, progress: Progress
    ) -> str:
        if order.body.status == STATUS_PENDING:
            self._validate(authority, order, progress)
            order = authority.order(str(order.uri), order.csr_pem) or order
        progress("waiting for the CA to issue")
        return authority.finish(order, self.now() + CA_TIMEOUT, self.ca.preferred_chain)

    def _validate(
        self, authority: CertificateAuthority, order: OrderResource, progress: Progress
    ) -> None:
        """Publish the challenges, wait until they are served, have them looked at, remove them.

        From the first answer to the CA's decision a stop has to wait: without its values the CA
        would refuse what it is looking at. When the CA does not decide in time, they stay.
        """
        challenges = authority.challenges(order)
        with self._undoing(progress):
            self.challenges.publish([(one.name, one.value) for one in challenges], progress)
        with authority.uninterrupted():
            with self._undoing(progress):
                progress("waiting for the CA to validate")
                for challenge in challenges:
                    authority.answer(challenge)
                authority.wait_until_valid(order, self.now() + CA_TIMEOUT)
            for line in self.challenges.remove():
                progress(line)

    @contextmanager
    def _undoing(self, progress: Progress) -> Iterator[None]:
        """Remove the values when the block fails, unless the CA may still look at them."""
        try:
            yield
        except CaUnreachable:
            progress("the TXT stay until the next run, for the CA may be looking")
            raise
        except Exception as error:
            left = self.challenges.remove()
            if left and isinstance(error, DistributorError):
                more = f", and {len(left) - 1} more" if len(left) > 1 else ""
                error.message = f"{error.message}; {left[0]}{more}"
            raise
