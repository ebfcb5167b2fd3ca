"""Requests to an ACME CA, signed or not, with nothing of an error answer lost.

The acme library's network tries a bad nonce once more and drops status, headers and document of
most refusals (acme-dns facts 1.2); here a nonce is replaced several times over, and what only reads
is repeated when a connection breaks off. What makes something is never sent a second time.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
import urllib3
from acme import client, errors
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy import jwa, jwk

from distributor.clients.acme_errors import SERVER_FAULT, Problem
from distributor.clients.hurried import BoundedAdapter
from distributor.model.errors import OrderFailed
from distributor.model.secret import Secret

log = logging.getLogger(__name__)

# The library logs whole requests at debug level, the binding of an external account among them.
logging.getLogger("acme").setLevel(logging.WARNING)

REQUEST_SECONDS: Final = 45
ANSWER_LIMIT: Final = 1 << 20
"""Bytes. The largest honest answer, a page of an account's orders, has a tenth of it."""
NONCE_TRIES: Final = 8
READ_TRIES: Final = 3
AGENT: Final = "distribute (wildcard-distribute)"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Signer:
    """An account key as requests are signed with it; its repr shows the public part at most."""

    key: jwk.JWK
    algorithm: jwa.JWASignature


_CURVES: Final[dict[str, jwa.JWASignature]] = {
    "secp256r1": jwa.ES256,
    "secp384r1": jwa.ES384,
    "secp521r1": jwa.ES512,
}


def signer(key_pem: Secret) -> Signer:
    """Return how to sign with an account key: RSA, or EC on a curve of NIST.

    Raises OrderFailed for a key that ACME has no signature for.
    """
    key = load_pem_private_key(key_pem.reveal().encode("ascii"), password=None)
    if isinstance(key, rsa.RSAPrivateKey):
        return Signer(jwk.JWKRSA(key=key), jwa.RS256)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return Signer(jwk.JWKEC(key=key), _CURVES[key.curve.name])
    raise OrderFailed(
        "the account key is of a kind that ACME does not know",
        hint="use an RSA key, or an EC key on P-256 or P-384",
        step="account",
    )


class Network(client.ClientNetwork):
    """The library's network; what it raises is a Problem for every refusal.

    `sleep` waits between tries of what may be repeated.
    """

    def __init__(
        self, own: Signer | None, *, ca_bundle: Path | None, sleep: Callable[[float], None]
    ) -> None:
        super().__init__(
            own.key if own is not None else None,
            alg=own.algorithm if own is not None else jwa.RS256,
            verify_ssl=str(ca_bundle) if ca_bundle is not None else True,  # type: ignore[arg-type]  # goes to requests, which takes a path
            user_agent=AGENT,
            timeout=REQUEST_SECONDS,
        )
        self.session.mount("https://", BoundedAdapter(REQUEST_SECONDS, ANSWER_LIMIT))
        self._pause = sleep
        self._nonce_url = ""

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def use_nonces_of(self, url: str) -> None:
        """Get nonces for signed requests at `url`, the directory's newNonce."""
        self._nonce_url = url

    def sign_with(self, other: Signer) -> None:
        """Sign with another account key from now on."""
        self.key, self.alg = other.key, other.algorithm

    def read(self, url: str) -> requests.Response:
        """GET; repeated when the connection breaks off or the CA has a moment's trouble."""
        return self._patiently(lambda: self.get(url))

    def fetch(self, url: str) -> requests.Response:
        """POST-as-GET (RFC 8555 section 6.3); repeated as `read` is."""
        return self._patiently(lambda: self._signed(url, None))

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a signed request that makes or changes something, once.

        Only a nonce that the CA rejects has it sent again: then nothing was done (RFC 8555 6.5).
        """
        self._patiently(self._stock_nonce)
        return self._signed(*args, **kwargs)

    def _signed(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCE_TRIES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except Problem as problem:
                if problem.type != "badNonce":
                    raise
                log.debug("event=bad-nonce")
        return self._post_once(*args, **kwargs)

    def _stock_nonce(self) -> None:
        self._nonces.add(self._get_nonce(self._nonce_url))

    def _get_nonce(self, url: str, new_nonce_url: str | None = None) -> str:
        return super()._get_nonce(url, new_nonce_url or self._nonce_url)

    def _add_nonce(self, response: requests.Response) -> None:
        # An answer without a nonce that can be used is an answer: the next request gets one.
        with contextlib.suppress(errors.NonceError):
            super()._add_nonce(response)

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            stop=tenacity.stop_after_attempt(READ_TRIES),
            wait=tenacity.wait_exponential(multiplier=0.25),
            sleep=self._pause,
            reraise=True,
        )
        return attempts(ask)

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; over HTTPS alone (RFC 8555 section 6.1), wherever the CA points to."""
        _require_https(url)
        response = super()._send_request(method, url, *args, **kwargs)
        _require_https(response.url)  # that of the last one, where it sent us on
        return response

    @classmethod
    def _check_response(
        cls, response: requests.Response, content_type: str | None = None
    ) -> requests.Response:
        if response.ok:
            return super()._check_response(response, content_type)
        try:
            document = response.json()
        except ValueError:
            document = None
        raise Problem(
            response.status_code,
            document if isinstance(document, dict) else {},
            response.headers,
        )


def links(response: requests.Response, relation: str) -> list[str]:
    """Return the URLs of all Link headers of that relation, in order.

    `requests.Response.links` keeps one per relation, and a CA may offer several chains.
    """
    found = requests.utils.parse_header_links(response.headers.get("Link", ""))
    return [
        urljoin(response.url, link["url"])
        for link in found
        if link.get("rel") == relation and link.get("url")
    ]


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise ValueError("not HTTPS")


def _passes(error: BaseException) -> bool:
    """Tell whether the same question may well be answered a moment later.

    A CA that says when to come back is not asked before, nor one that cannot be reached at all.
    """
    if isinstance(error, Problem):
        is_busy = error.status >= SERVER_FAULT and error.type in ("", "serverInternal")
        return is_busy and error.retry_after is None
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return True
    return isinstance(error, requests.ConnectionError) and any(
        isinstance(cause, urllib3.exceptions.ProtocolError) for cause in error.args
    )
