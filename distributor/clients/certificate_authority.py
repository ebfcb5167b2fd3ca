"""An ACME CA (RFC 8555), by the acme library, with what that leaves to its caller.

Every authorization's status is looked at (the library passes an invalid one that carries no error),
a bad nonce is tried again more than once, Retry-After is obeyed, and the problem document survives
(acme-dns facts 1.2).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import requests
from acme import challenges, client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy import jwa, jwk

from distributor.clients.acme_errors import FOREIGN, Problem, retry_after, translate
from distributor.model.errors import (
    AuthorizationFailed,
    CaUnreachable,
    IssuanceError,
    OrderFailed,
)
from distributor.model.secret import Secret
from distributor.model.text import printable

log = logging.getLogger(__name__)

# The library logs whole requests at debug level, the binding of an external account among them.
logging.getLogger("acme").setLevel(logging.WARNING)

OrderResource = messages.OrderResource
STATUS_PENDING: Final = messages.STATUS_PENDING
STATUS_INVALID: Final = messages.STATUS_INVALID

REQUEST_SECONDS: Final = 45
NONCE_TRIES: Final = 8
POLL_SECONDS: Final = 1.0
ISSUE_SECONDS: Final = 0.25
"""From the request to the first look at the order: no CA issues in no time."""
AGENT: Final = "distribute (wildcard-distribute)"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A TXT value that has to stand at a name before the CA looks."""

    name: str
    """Such as `_acme-challenge.example.com`, without final dot."""
    value: str
    body: messages.ChallengeBody


class CertificateAuthority:
    """One CA and one account with it.

    `sleep` waits (and may be interrupted by raising); `now` is the clock. Every method raises an
    IssuanceError and nothing else.
    """

    def __init__(
        self,
        directory_url: str,
        account_key: Secret,
        *,
        ca_bundle: Path | None,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self._url = directory_url
        self._sleep = sleep
        self._now = now
        key = load_pem_private_key(account_key.reveal().encode("ascii"), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            self._jwk: jwk.JWK = jwk.JWKEC(key=key)
            algorithm = jwa.ES256
        else:
            self._jwk = jwk.JWKRSA(key=key)
            algorithm = jwa.RS256
        self._net = _Network(
            self._jwk,
            alg=algorithm,
            verify_ssl=str(ca_bundle) if ca_bundle is not None else True,  # type: ignore[arg-type]  # goes to requests, which takes a path
            user_agent=AGENT,
            timeout=REQUEST_SECONDS,
        )
        self._client: client.ClientV2 | None = None

    def close(self) -> None:
        """Close the connections."""
        self._net.session.close()

    def use_account(self, url: str) -> None:
        """Sign as the account that the CA knows by `url`."""
        self._net.account = messages.RegistrationResource(uri=url, body=messages.Registration())

    def register(self, email: str | None) -> str:
        """Register the account key, or find the account it already has; return the account's URL.

        The caller has seen to it that the CA's terms are agreed to.
        """
        with self._translated():
            self._net.account = None
            wanted = messages.NewRegistration.from_data(email=email, terms_of_service_agreed=True)
            try:
                url = str(self._acme.new_account(wanted).uri)
            except errors.ConflictError as known:
                url = str(known.location)
            except Problem as problem:
                # RFC 8555 7.3.1 gives 200 for a key that is known; some CAs answer 409.
                if problem.status != 409 or not problem.location:  # noqa: PLR2004 - HTTP Conflict
                    raise
                url = problem.location
            self.use_account(url)
            return url

    def new_order(self, csr_pem: bytes) -> messages.OrderResource:
        """Order a certificate for the names of the request."""
        with self._translated():
            return self._acme.new_order(csr_pem)

    def order(self, url: str, csr_pem: bytes) -> messages.OrderResource | None:
        """Return an order made earlier, as it stands now; None when the CA no longer knows it."""
        with self._translated():
            try:
                body = messages.Order.from_json(self._get(url).json())
                authorizations = [self._authorization(one) for one in body.authorizations]
            except Problem as problem:
                if problem.status >= 500 or problem.type == "rateLimited":  # noqa: PLR2004 - the CA's fault
                    raise
                return None
            return messages.OrderResource(
                body=body, uri=url, authorizations=authorizations, csr_pem=csr_pem
            )

    def challenges(self, order: messages.OrderResource) -> tuple[Challenge, ...]:
        """Return what has to be published; authorizations that are valid already need nothing."""
        with self._translated():
            return tuple(
                self._challenge(authorization)
                for authorization in order.authorizations
                if authorization.body.status != messages.STATUS_VALID
            )

    def answer(self, challenge: Challenge) -> None:
        """Tell the CA that it may look; one that it looks at already is left alone."""
        if challenge.body.status != messages.STATUS_PENDING:
            return
        with self._translated():
            response = challenge.body.chall.response(self._jwk)
            self._acme.answer_challenge(challenge.body, response)

    def wait_until_valid(self, order: messages.OrderResource, deadline: datetime) -> None:
        """Wait until every authorization of the order is valid.

        Raises AuthorizationFailed, with the CA's reason where it gives one, as soon as one is
        anything but pending or valid.
        """
        for known in order.authorizations:
            with self._translated():
                authorization, response = self._acme.poll(known)
                while authorization.body.status == messages.STATUS_PENDING:
                    self._pause(response, deadline, "authorization")
                    authorization, response = self._acme.poll(known)
                if authorization.body.status != messages.STATUS_VALID:
                    raise _not_valid(authorization)

    def finish(self, order: messages.OrderResource, deadline: datetime) -> str:
        """Send the request of a ready order, and return the issued PEM chain, leaf first."""
        with self._translated():
            body, response, is_sent = order.body, None, False
            while body.status != messages.STATUS_VALID or body.certificate is None:
                if body.status == messages.STATUS_INVALID:
                    raise OrderFailed(
                        f"the CA gave the order up: {_reason(body.error)}",
                        hint="run again: a new order is made",
                        step="finalize",
                    )
                if body.status == messages.STATUS_READY and not is_sent:
                    self._acme.begin_finalization(order.update(body=body))
                    is_sent = True
                    self._sleep(ISSUE_SECONDS)
                elif response is not None:
                    self._pause(response, deadline, "finalize")
                response = self._get(str(order.uri))
                body = messages.Order.from_json(response.json())
            return self._get(str(body.certificate)).text

    @property
    def _acme(self) -> client.ClientV2:
        if self._client is None:
            directory = client.ClientV2.get_directory(self._url, self._net)
            self._client = client.ClientV2(directory, self._net)
        return self._client

    def _get(self, url: str) -> requests.Response:
        """POST-as-GET (RFC 8555 section 6.3)."""
        return self._net.post(url, None, new_nonce_url=self._acme.directory["newNonce"])

    def _challenge(self, authorization: messages.AuthorizationResource) -> Challenge:
        name = authorization.body.identifier.value
        offered = [
            one for one in authorization.body.challenges if isinstance(one.chall, challenges.DNS01)
        ]
        if authorization.body.status != messages.STATUS_PENDING or not offered:
            raise AuthorizationFailed(
                f"the CA offers no DNS-01 challenge for {printable(name)} "
                f"(its authorization is {authorization.body.status.name})",
                hint="run again: a new order is made",
                step="authorization",
            )
        value = offered[0].chall.validation(self._jwk)
        return Challenge(f"_acme-challenge.{name}", value, offered[0])

    def _authorization(self, url: str) -> messages.AuthorizationResource:
        body = messages.Authorization.from_json(self._get(url).json())
        return messages.AuthorizationResource(body=body, uri=url)

    def _pause(self, response: requests.Response, deadline: datetime, step: str) -> None:
        now = self._now()
        if now >= deadline:
            raise CaUnreachable(
                f"{self._url} did not come to a decision in time",
                hint="the next run takes the order up where it stands",
                step=step,
            )
        asked = retry_after(response.headers.get("Retry-After"), now)
        wanted = asked or now + timedelta(seconds=POLL_SECONDS)
        self._sleep(max(0.1, (min(wanted, deadline) - now).total_seconds()))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IssuanceError:
            raise
        except FOREIGN as error:
            raise translate(error, self._url) from error


class _Network(client.ClientNetwork):
    """The library's network, with nothing of an error answer lost."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a signed request; a nonce that the CA rejects is replaced, a few times over."""
        for _ in range(NONCE_TRIES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except Problem as problem:
                if problem.type != "badNonce":
                    raise
                log.debug("acme problem=badNonce")
        return self._post_once(*args, **kwargs)

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
            retry_after(response.headers.get("Retry-After"), datetime.now(UTC)),
            response.headers.get("Location", ""),
        )


def require_directory(url: str, ca_bundle: Path | None) -> None:
    """Return when the directory at `url` can be read over HTTPS that is trusted, and is ACME's.

    Raises IssuanceError with the reason. No account is needed, and nothing is asked for.
    """
    net = _Network(
        verify_ssl=str(ca_bundle) if ca_bundle is not None else True,  # type: ignore[arg-type]  # goes to requests, which takes a path
        user_agent=AGENT,
        timeout=REQUEST_SECONDS,
    )
    try:
        directory = client.ClientV2.get_directory(url, net)
        for resource in ("newNonce", "newAccount", "newOrder"):
            _ = directory[resource]
    except FOREIGN as error:
        raise translate(error, url) from error
    finally:
        net.session.close()


def make_csr(private_key_pem: Secret, names: Sequence[str]) -> bytes:
    """Return a PEM request for `names`; the first is the common name if it is short enough.

    It asks for no extended key usage: Google refuses requests with clientAuth (acme-dns facts).
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    key: Any = load_pem_private_key(private_key_pem.reveal().encode("ascii"), password=None)
    longest = 64  # RFC 5280, ub-common-name
    subject = (
        [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= longest else []
    )
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _not_valid(authorization: messages.AuthorizationResource) -> AuthorizationFailed:
    name = printable(authorization.body.identifier.value)
    if authorization.body.wildcard:
        name = f"*.{name}"
    reasons = [one.error for one in authorization.body.challenges if one.error is not None]
    return AuthorizationFailed(
        f"the CA could not validate {name} ({authorization.body.status.name}): "
        f"{_reason(reasons[0] if reasons else None)}",
        hint="look at the TXT record and the zone's nameservers, then run again",
        step="authorization",
    )


def _reason(error: Any) -> str:
    detail = getattr(error, "detail", None)
    return printable(detail) if detail else "it gives no reason"
