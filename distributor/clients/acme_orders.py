"""Orders of an ACME account: what is asked for, and which earlier order will still do."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import requests
from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from josepy import json_util

from distributor.clients.acme_errors import CA_FAULTS, SERVER_FAULT, TOO_MANY_REQUESTS, Problem
from distributor.clients.acme_network import links
from distributor.model.errors import OrderFailed
from distributor.model.secret import Secret
from distributor.model.text import printable

log = logging.getLogger(__name__)

MOST_PAGES: Final = 20
MOST_ORDERS: Final = 60
"""Looked at in a list of orders: each costs a request, and an old account may have hundreds."""

_USABLE: Final = frozenset({"pending", "ready"})
_NO_REPLACEMENT: Final = frozenset({"alreadyReplaced", "conflict", "malformed", "unauthorized"})
_OF_THE_ACCOUNT: Final = frozenset({"accountDoesNotExist", "userActionRequired"})
_OF_THE_MOMENT: Final = frozenset({408, TOO_MANY_REQUESTS})
_NOT_FOUND: Final = frozenset({404, 410})
_CONFLICT: Final = 409


class NewOrder(messages.NewOrder):
    """The library's request, with the `replaces` of RFC 9773 section 5."""

    replaces: str | None = json_util.field("replaces", omitempty=True)


def make_csr(private_key_pem: Secret, names: Sequence[str]) -> bytes:
    """Return a PEM request for `names`; the first is the common name if it is short enough.

    It asks for no extended key usage: Google refuses requests with clientAuth (acme-dns facts).
    """
    key: Any = load_pem_private_key(private_key_pem.reveal().encode("ascii"), password=None)
    longest = 64  # RFC 5280, ub-common-name
    subject = (
        [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= longest else []
    )
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def request(csr_pem: bytes, profile: str | None, replaces: str | None) -> NewOrder:
    """Return the newOrder request for the DNS names of a certificate request."""
    wanted = x509.load_pem_x509_csr(csr_pem).extensions
    names = wanted.get_extension_for_class(x509.SubjectAlternativeName).value
    return NewOrder(
        identifiers=[
            messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name)
            for name in names.get_values_for_type(x509.DNSName)
        ],
        profile=profile,
        replaces=replaces,
    )


def understood(document: Any, *, is_new: bool = False) -> messages.Order:
    """Return an order from its JSON; one without a status raises one of `acme_errors.FOREIGN`.

    So does a new one that does not say where it goes on.
    """
    order: messages.Order = messages.Order.from_json(document)
    leads_on = (order.authorizations, order.finalize) if is_new else ()
    if not all((order.status, *leads_on)):
        raise ValueError("no order")
    return order


def require_profile(profile: str, offered: Mapping[str, str], ca: str) -> None:
    """Return when the CA advertises `profile`; else raise OrderFailed with those it has."""
    if profile not in offered:
        has = f"only {', '.join(sorted(offered))}" if offered else "none at all"
        raise OrderFailed(
            f"{ca} does not offer the profile {printable(profile)}: it has {has}",
            hint="correct `profile`, or leave it out for the CA's default",
            step="order",
        )


def require_ordered(profile: str, order: messages.Order) -> None:
    """Return unless the order is for another profile than the one that was asked for.

    A CA has to name the profile in the order (draft-ietf-acme-profiles section 4). One that names
    none is taken at its word, since it advertises the profile: acme2certifier 0.46.3 applies it and
    leaves it out. Another name is another certificate, and that is refused.
    """
    if order.profile and order.profile != profile:
        raise OrderFailed(
            f"the CA ordered for the profile {printable(order.profile)} instead of "
            f"{printable(profile)}",
            hint="correct `profile`, or leave it out for the CA's default",
            step="order",
        )
    if not order.profile:
        log.warning("event=profile-not-confirmed wanted=%s", printable(profile))


def refuses_replacement(problem: Problem) -> bool:
    """Tell whether an order may have been refused for its `replaces` alone.

    alreadyReplaced (409), an issuer or serial number that the CA does not know, no shared name,
    another account (acme-dns facts 3.1). Rate limits and the CA's own faults are none of these.
    """
    if problem.status >= SERVER_FAULT:
        return False
    return problem.status in {*_NOT_FOUND, _CONFLICT} or problem.type in _NO_REPLACEMENT


def is_gone(problem: Problem) -> bool:
    """Tell whether an order is not to be had any more, or never was this account's.

    Any refusal of the question alone says so (CAs differ in its type: acme2certifier 0.46.3 has
    orderNotReady), but none that is of the account, or of the moment.
    """
    if problem.status >= SERVER_FAULT or problem.status in _OF_THE_MOMENT:
        return False
    return problem.type not in CA_FAULTS | _OF_THE_ACCOUNT


def listed(url: str, fetch: Callable[[str], requests.Response]) -> Iterator[str]:
    """Give the orders of an account's list, page by page, in the CA's order (RFC 8555 7.1.2.1)."""
    page: str | None = url
    for _ in range(MOST_PAGES):
        if page is None:
            return
        response = fetch(page)
        for order in response.json()["orders"]:
            yield str(order)
        page = next(iter(links(response, "next")), None)
    if page is not None:
        log.warning("event=list-of-orders-too-long pages=%d", MOST_PAGES)


def first_usable(
    orders: Iterator[str],
    fetch: Callable[[str], requests.Response],
    *,
    names: Sequence[str],
    profile: str | None,
    besides: Collection[str],
    now: datetime,
) -> str | None:
    """Return the first of `orders` that will do for exactly these names, None when none does."""
    known = set(besides)
    most = len(known) + MOST_ORDERS
    for url in orders:
        if url in known:
            continue
        if len(known) == most:
            log.warning("event=too-many-orders looked_at=%d", MOST_ORDERS)
            return None
        known.add(url)
        try:
            order = fetch(url).json()
        except Problem as problem:
            if not is_gone(problem):
                raise
            continue
        if is_usable(order, names=names, profile=profile, now=now):
            return url
    return None


def is_usable(order: Any, *, names: Sequence[str], profile: str | None, now: datetime) -> bool:
    """Tell whether an order of this account still leads to a certificate for `names`.

    Pending and ready only: one that is processing or valid has been given a request, and so a key,
    that whoever asks here does not hold. Exactly these names, DNS names only, the same profile, and
    not expired.
    """
    if not isinstance(order, dict) or str(order.get("status")) not in _USABLE:
        return False
    identifiers = order.get("identifiers")
    wanted = {("dns", name.lower()) for name in names}
    if not isinstance(identifiers, list) or {_identifier(one) for one in identifiers} != wanted:
        return False
    return (order.get("profile") or None) == profile and not _is_over(order.get("expires"), now)


def _identifier(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        return "", ""
    return str(value.get("type")), str(value.get("value")).lower()


def _is_over(expires: Any, now: datetime) -> bool:
    """Tell whether an order's time is over; one without a time that can be read is not."""
    try:
        when = datetime.fromisoformat(str(expires))
    except ValueError:
        return False
    return when.tzinfo is not None and when <= now
