"""An ACME CA (RFC 8555) and one account with it, by the acme library's messages and network.

Every authorization's status is looked at (the library passes an invalid one that carries no error),
Retry-After is obeyed within reason, and an order's URL is known before anything else is asked about
it (acme-dns facts 1.2).
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import requests
from acme import challenges, messages
from cryptography import x509

from distributor.clients import acme_chains, acme_errors, acme_orders
from distributor.clients.acme_account import AcmeAccount
from distributor.clients.acme_errors import Problem, retry_after
from distributor.clients.acme_external_account import ExternalAccountKey
from distributor.clients.acme_orders import make_csr
from distributor.clients.acme_renewal_info import certificate_id
from distributor.model.errors import (
    AuthorizationFailed,
    CaUnreachable,
    IssuanceError,
    OrderFailed,
)
from distributor.model.text import printable

__all__ = [
    "STATUS_INVALID",
    "STATUS_PENDING",
    "STATUS_READY",
    "CertificateAuthority",
    "Challenge",
    "ExternalAccountKey",
    "OrderResource",
    "make_csr",
]

log = logging.getLogger(__name__)

OrderResource = messages.OrderResource
STATUS_PENDING: Final = messages.STATUS_PENDING
STATUS_READY: Final = messages.STATUS_READY
STATUS_INVALID: Final = messages.STATUS_INVALID
STATUS_EXPIRED: Final = messages.Status("expired")
"""Of authorizations (RFC 8555 section 7.1.6); made, it is known to the library, which lacks it."""
_LOOKED_AT: Final = frozenset({"processing", "valid", "invalid"})
"""Of challenges (RFC 8555 section 7.1.6)."""

SHORTEST_POLL: Final = timedelta(seconds=1)
"""Between two looks at what the CA works on, also where it names no wait, or none at all."""
LONGEST_POLL: Final = timedelta(seconds=60)
"""Between two looks, whatever the CA asks for.

ZeroSSL sends a day while it issues within seconds (acme.sh#6221); who obeyed would never be done.
"""
ISSUE_SECONDS: Final = 0.25
"""From the request to the first look at the order: no CA issues in no time."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A TXT value that has to stand at a name before the CA looks."""

    name: str
    """Such as `_acme-challenge.example.com`, without final dot."""
    value: str
    body: messages.ChallengeBody


class CertificateAuthority(AcmeAccount):
    """One CA and one account with it: from an order to its certificate, and back to revocation."""

    def new_order(
        self,
        csr_pem: bytes,
        *,
        profile: str | None = None,
        replaces: x509.Certificate | None = None,
    ) -> OrderResource:
        """Order a certificate for the names of the request; its authorizations are not asked for.

        A profile that the CA does not advertise is refused before any order is made. `replaces` is
        told to a CA that has renewal information (RFC 9773 section 5), and left out in a
        second try when the CA refuses the order for it.
        """
        with self._translated("order"):
            directory = self._directory
            if profile is not None:
                acme_orders.require_profile(profile, directory.facts.profiles, self._url)
            predecessor = self._predecessor(replaces)
            wanted = acme_orders.request(csr_pem, profile, predecessor)
            try:
                response = self._post(directory.new_order, wanted)
            except Problem as problem:
                if predecessor is None or not acme_orders.refuses_replacement(problem):
                    raise
                log.warning(
                    "event=ordered-without-replaces status=%d type=%s reason=%s",
                    problem.status,
                    printable(problem.type),
                    problem.words,
                )
                response = self._post(directory.new_order, wanted.update(replaces=None))
            body = acme_orders.understood(response.json(), is_new=True)
            if profile is not None:
                acme_orders.require_ordered(profile, body)
            url = response.headers["Location"]
            return OrderResource(body=body, uri=url, authorizations=[], csr_pem=csr_pem)

    def open_order(
        self,
        names: Sequence[str],
        *,
        profile: str | None = None,
        besides: Collection[str] = (),
    ) -> str | None:
        """Return the URL of an order of this account for exactly `names` that can still be used.

        It is looked for in the account's list of orders (RFC 8555 section 7.1.2.1), as far as that
        is reasonable; None when there is none, or the CA has no such list, as Let's Encrypt.
        `besides` are orders that belong to other certificates. An order that has been given its
        request already is of no use: its key is not known to be ours.
        """
        with self._translated("order"):
            try:
                url = self._fetch(self._account).json().get("orders")
                if not url:
                    return None
                return acme_orders.first_usable(
                    acme_orders.listed(str(url), self._fetch),
                    self._fetch,
                    names=names,
                    profile=profile,
                    besides=besides,
                    now=self._now(),
                )
            except Problem as problem:
                if not acme_orders.is_gone(problem):
                    raise
                log.debug("event=no-list-of-orders status=%d", problem.status)
                return None

    def order(self, url: str, csr_pem: bytes) -> OrderResource | None:
        """Return an order made earlier, as it stands now; None when the CA no longer knows it."""
        with self._translated("order"):
            try:
                body = acme_orders.understood(self._fetch(url).json())
                authorizations = [self._authorization(one)[0] for one in body.authorizations or ()]
            except Problem as problem:
                if not acme_orders.is_gone(problem):
                    raise
                return None
            return OrderResource(body=body, uri=url, authorizations=authorizations, csr_pem=csr_pem)

    def challenges(self, order: OrderResource) -> tuple[Challenge, ...]:
        """Return what has to be published; authorizations that are valid already need nothing."""
        with self._translated("authorization"):
            found = [self._authorization(url)[0] for url in order.body.authorizations]
            return tuple(
                self._challenge(one.body)
                for one in found
                if one.body.status != messages.STATUS_VALID
            )

    def answer(self, challenge: Challenge) -> None:
        """Tell the CA that it may look; one that it looks at already is left alone.

        So is one of an earlier run that it comes to look at, or decides, just now.
        """
        if challenge.body.status != messages.STATUS_PENDING:
            return
        url = challenge.body.uri
        with self._translated("authorization"):
            try:
                self._post(url, challenge.body.chall.response(self._signer.key))
            except Problem as problem:
                if not self._is_looked_at(url):
                    raise
                log.info("event=answered-before status=%d reason=%s", problem.status, problem.words)

    def wait_until_valid(self, order: OrderResource, deadline: datetime) -> None:
        """Wait until every authorization of the order is valid.

        Raises AuthorizationFailed, with the CA's reason where it gives one, as soon as one is
        anything but pending or valid.
        """
        with self._translated("authorization"):
            for url in order.body.authorizations:
                known, response = self._authorization(url)
                while known.body.status == messages.STATUS_PENDING:
                    self._pause(response.headers.get("Retry-After"), deadline, "authorization")
                    known, response = self._authorization(url)
                if known.body.status != messages.STATUS_VALID:
                    raise _not_valid(known.body)

    def finish(
        self, order: OrderResource, deadline: datetime, preferred_chain: str | None = None
    ) -> str:
        """Send the request of a ready order, and return the issued PEM chain, leaf first.

        An order that has its request is waited for. Of several chains the one whose topmost
        certificate was issued by the common name `preferred_chain` is taken.
        """
        with self._translated("finalize"):
            body, response, is_sent = order.body, None, False
            while body.status != messages.STATUS_VALID or body.certificate is None:
                if body.status == messages.STATUS_INVALID:
                    raise acme_errors.of_order(_document(body.error))
                if body.status == messages.STATUS_READY and not is_sent:
                    is_sent = self._finalize(body, order.csr_pem, deadline)
                elif response is not None:
                    self._pause(response.headers.get("Retry-After"), deadline, "finalize")
                response = self._fetch(str(order.uri))
                body = acme_orders.understood(response.json())
            issued = self._fetch(str(body.certificate))
            if preferred_chain is None:
                return issued.text
            return acme_chains.preferred(issued, preferred_chain, self._fetch)

    def revoke(self, leaf: x509.Certificate, reason: int) -> None:
        """Revoke a certificate of this account (RFC 8555 section 7.6; reasons: RFC 5280 5.3.1).

        One that is revoked already is left as it is, and the log says so.
        """
        with self._translated("revoke"):
            url = self._directory.revoke
            if url is None:
                raise OrderFailed(
                    f"{self._url} does not revoke by ACME",
                    hint="ask the CA how it revokes",
                    step="revoke",
                )
            try:
                self._post(url, messages.Revocation(certificate=leaf, reason=reason))
            except Problem as problem:
                if problem.type != "alreadyRevoked":
                    raise
                log.info("event=already-revoked serial=%x", leaf.serial_number)

    def _predecessor(self, replaces: x509.Certificate | None) -> str | None:
        """Return what `replaces` is told as, None where it is not to be told."""
        if replaces is None or self._directory.renewal_info is None:
            return None
        try:
            return certificate_id(replaces)
        except OrderFailed as error:
            log.warning("event=ordered-without-replaces reason=%s", error.message)
            return None

    def _finalize(self, body: messages.Order, csr_pem: bytes, deadline: datetime) -> bool:
        """Send the request; False when the CA is not ready for it after all, after a pause."""
        csr = x509.load_pem_x509_csr(csr_pem)
        try:
            self._post(body.finalize, messages.CertificateRequest(csr=csr))
        except Problem as problem:
            if problem.type != "orderNotReady":
                raise
            self._pause(problem.retry_after, deadline, "finalize")
            return False
        self._sleep(ISSUE_SECONDS)
        return True

    def _challenge(self, authorization: messages.Authorization) -> Challenge:
        name = authorization.identifier.value
        offered = [
            one for one in authorization.challenges if isinstance(one.chall, challenges.DNS01)
        ]
        if authorization.status != messages.STATUS_PENDING or not offered:
            raise AuthorizationFailed(
                f"the CA offers no DNS-01 challenge for {printable(name)} "
                f"(its authorization is {authorization.status.name})",
                hint="run again: a new order is made",
                step="authorization",
            )
        value = offered[0].chall.validation(self._signer.key)
        return Challenge(f"_acme-challenge.{name}", value, offered[0])

    def _is_looked_at(self, url: str) -> bool:
        try:
            return self._fetch(url).json().get("status") in _LOOKED_AT
        except Problem:
            return False  # what it refused first says more

    def _authorization(self, url: str) -> tuple[messages.AuthorizationResource, requests.Response]:
        response = self._fetch(url)
        body = messages.Authorization.from_json(response.json())
        return messages.AuthorizationResource(body=body, uri=url), response

    def _pause(self, wait: str | None, deadline: datetime, step: str) -> None:
        now = self._now()
        if now >= deadline:
            raise CaUnreachable(
                f"{self._url} did not come to a decision in time",
                hint="the next run takes the order up where it stands",
                step=step,
            )
        soonest = now + SHORTEST_POLL
        asked = max(retry_after(wait, now) or soonest, soonest)
        until = min(asked, now + LONGEST_POLL, deadline)
        self._sleep((until - now).total_seconds())


def _not_valid(authorization: messages.Authorization) -> IssuanceError:
    name = str(authorization.identifier.value)
    if authorization.wildcard:
        name = f"*.{name}"
    reasons = [one.error for one in authorization.challenges if one.error is not None]
    return acme_errors.of_authorization(
        name, authorization.status.name, _document(reasons[0] if reasons else None)
    )


def _document(error: messages.Error | None) -> dict[str, Any] | None:
    """Return the problem document that the library made an error of."""
    return None if error is None else error.to_json()
