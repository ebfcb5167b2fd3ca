"""One account with an ACME CA (RFC 8555): how it is made and found, and what it signs."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from acme import jws, messages

from distributor.clients import acme_external_account
from distributor.clients.acme_directory import Directory, read_directory
from distributor.clients.acme_errors import FOREIGN, Problem, translate
from distributor.clients.acme_external_account import ExternalAccountKey
from distributor.clients.acme_network import Network, signer
from distributor.model.errors import AccountUnknown, IssuanceError, OrderFailed
from distributor.model.secret import Secret


class AcmeAccount:
    """An account key, and the account that a CA has for it.

    `sleep` waits (and may be interrupted by raising), `patient_sleep` where nothing may cut a wait
    short; without one it is `sleep`. `now` is the clock. Every method raises an
    IssuanceError and nothing else: AccountUnknown when the CA does not know the account,
    CaUnreachable and RateLimited for the CA's own failures.
    """

    def __init__(
        self,
        directory_url: str,
        account_key: Secret,
        *,
        ca_bundle: Path | None,
        sleep: Callable[[float], None],
        patient_sleep: Callable[[float], None] | None = None,
        now: Callable[[], datetime],
    ) -> None:
        self._url = directory_url
        self._interruptible = sleep
        self._patient = patient_sleep or sleep
        self._is_patient = False
        self._now = now
        self._signer = signer(account_key)
        self._network = Network(self._signer, ca_bundle=ca_bundle, sleep=self._sleep)
        self._known: Directory | None = None

    def close(self) -> None:
        """Close the connections."""
        self._network.close()

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Let no stop cut a wait in the block short; it is heeded at its good end."""
        self._is_patient = True
        try:
            yield
        finally:
            self._is_patient = False
        self._sleep(0)

    def use_account(self, url: str) -> None:
        """Sign as the account that the CA knows by `url`."""
        # An empty body: with what the CA answered in it, the library cannot serialise accounts
        # that are bound to an external one (acme-dns facts 1.2, trap 8).
        self._network.account = messages.RegistrationResource(uri=url, body=messages.Registration())

    def register(
        self, email: str | None, external_account: ExternalAccountKey | None = None
    ) -> str:
        """Register the account key, or find the account it already has; return the account's URL.

        The caller has seen to it that the CA's terms are agreed to. Where an external account comes
        into it, an existing account is looked for first: what binds to it may be good for one use.
        """
        with self._translated("account"):
            directory = self._directory
            is_required = directory.facts.external_account_required
            if external_account is not None or is_required:
                known = self.find_account()
                if known is not None:
                    return known
            if external_account is None and is_required:
                raise acme_external_account.required(self._url)
            wanted = messages.NewRegistration.from_data(
                email=email,
                terms_of_service_agreed=True,
                external_account_binding=None
                if external_account is None
                else acme_external_account.binding(
                    external_account, self._signer, directory.new_account
                ),
            )
            try:
                url = self._account_of(wanted)
            except Problem as problem:
                if external_account is None or not acme_external_account.is_refused(problem):
                    raise
                raise acme_external_account.refusal(
                    problem, self._url, external_account, email
                ) from problem
            self.use_account(url)
            return url

    def find_account(self) -> str | None:
        """Return the URL of the account that the CA has for the key, and sign as it from now on.

        None when the CA does not know the key. No account is made (RFC 8555 section 7.3.1).
        """
        with self._translated("account"):
            try:
                url = self._account_of(messages.NewRegistration(only_return_existing=True))
            except Problem as problem:
                # ZeroSSL answers a request that makes no account as if it would make one
                # (publishlab/node-acme-client#42): what it has is not to be learnt there.
                if problem.type in {"accountDoesNotExist", "externalAccountRequired"}:
                    return None
                raise
            self.use_account(url)
            return url

    def roll_over(self, new_key: Secret) -> None:
        """Give the account another key (RFC 8555 section 7.3.5) and sign with it from now on.

        The account keeps its URL. Challenge values depend on the key: an order whose values are
        published is brought to its end first. When the answer is lost, `find_account` with the new
        key tells whether the change was made.
        """
        with self._translated("account"):
            url = self._directory.key_change
            if url is None:
                raise OrderFailed(
                    f"{self._url} does not let an account change its key",
                    hint="register a new account instead",
                    step="account",
                )
            new = signer(new_key)
            change = {"account": self._account, "oldKey": self._signer.key.public_key().to_json()}
            signed = jws.JWS.sign(
                json.dumps(change).encode("ascii"), new.key, new.algorithm, nonce=None, url=url
            )
            self._post(url, signed)
            self._signer = new
            self._network.sign_with(new)

    @property
    def _directory(self) -> Directory:
        if self._known is None:
            self._known = read_directory(self._network, self._url)
            self._network.use_nonces_of(self._known.new_nonce)
        return self._known

    @property
    def _account(self) -> str:
        account = self._network.account
        if account is None:
            raise AccountUnknown(
                f"there is no account with {self._url} yet",
                hint="run again: it is registered",
                step="account",
            )
        return str(account.uri)

    def _post(self, url: str, body: Any) -> requests.Response:
        """Send a signed request that does something: once."""
        _ = self._directory
        return self._network.post(url, body)

    def _fetch(self, url: str) -> requests.Response:
        _ = self._directory
        return self._network.fetch(url)

    def _account_of(self, wanted: messages.NewRegistration) -> str:
        """Send an account request, signed by the key itself, and return the account's URL."""
        url = self._directory.new_account
        before, self._network.account = self._network.account, None
        try:
            return str(self._post(url, wanted).headers["Location"])
        except Problem as problem:
            # RFC 8555 7.3.1 gives 200 for a key that is known; some CAs answer 409.
            if problem.status != 409 or not problem.location:  # noqa: PLR2004 - HTTP Conflict
                raise
            return problem.location
        finally:
            self._network.account = before

    @contextmanager
    def _translated(self, step: str) -> Iterator[None]:
        try:
            yield
        except IssuanceError:
            raise
        except FOREIGN as error:
            raise translate(error, self._url, self._now(), step) from error

    def _sleep(self, seconds: float) -> None:
        (self._patient if self._is_patient else self._interruptible)(seconds)
