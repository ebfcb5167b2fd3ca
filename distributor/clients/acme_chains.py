"""Which of the chains that a CA offers for one leaf is taken (RFC 8555 section 7.4.2)."""

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Final

import requests
from cryptography import x509
from cryptography.x509.oid import NameOID

from distributor.clients.acme_errors import Problem
from distributor.clients.acme_network import links
from distributor.model.text import printable

log = logging.getLogger(__name__)

MOST_ALTERNATES: Final = 10
"""Let's Encrypt offers two or three; each costs a request."""


def preferred(
    response: requests.Response, issuer: str, fetch: Callable[[str], requests.Response]
) -> str:
    """Return the PEM chain whose topmost certificate was issued by the common name `issuer`.

    The default chain, the one in `response`, where none is; then a warning names those offered.
    Within a chain nothing is moved: leaf first, then each certificate's issuer.
    """
    offered: list[str] = []
    for chain in itertools.chain((response.text,), _alternates(response, fetch)):
        name = topmost_issuer(chain)
        if name == issuer:
            return chain
        offered.append(name)
    log.warning(
        "event=preferred-chain-not-offered wanted=%r offered=%r taken=%r",
        printable(issuer),
        [printable(name) for name in offered],
        printable(offered[0]),
    )
    return response.text


def topmost_issuer(chain: str) -> str:
    """Return the common name of who issued the last certificate of a PEM chain.

    Empty where it has none; ValueError for what is no chain.
    """
    last = x509.load_pem_x509_certificates(chain.encode("utf-8"))[-1]
    names = last.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _alternates(
    response: requests.Response, fetch: Callable[[str], requests.Response]
) -> Iterator[str]:
    for url in links(response, "alternate")[:MOST_ALTERNATES]:
        try:
            yield fetch(url).text
        except Problem as problem:
            # The leaf is issued: a chain that cannot be had is no reason to go without.
            log.warning(
                "event=chain-not-to-be-had status=%d url=%s", problem.status, printable(url)
            )
