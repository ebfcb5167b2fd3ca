"""The account with an ACME CA: registered once, found again when lost, given a new key.

Every key is on disk before the CA hears of it, and every answer is noted: a run that is cut in
between is taken up by asking the CA which key it knows.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from distributor.clients.certificate_authority import CertificateAuthority, ExternalAccountKey
from distributor.model.bundle import key_type_of
from distributor.model.errors import AccountUnknown, CaUnreachable, IssuanceError, OrderFailed
from distributor.model.hosts import AcmeSource, KeyType
from distributor.model.keys import new_private_key
from distributor.model.pem import private_key_from
from distributor.model.secret import Secret
from distributor.sources.contract import Progress
from distributor.store import Account, Accounts

log = logging.getLogger(__name__)

ACCOUNT_KEY: Final[KeyType] = "ec256"

Connect = Callable[[AcmeSource, Secret], CertificateAuthority]
"""Makes a client of a CA that signs with an account key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """The account of one contact with one CA."""

    source: AcmeSource
    accounts: Accounts
    connect: Connect
    external_account: Callable[[AcmeSource], ExternalAccountKey | None]
    """Fetches the external account that the inventory names, or None."""

    @property
    def ca(self) -> str:
        """The CA as the inventory names it."""
        return self.source.ca

    @property
    def email(self) -> str | None:
        """The contact."""
        return self.source.email

    @property
    def url(self) -> str | None:
        """The CA's URL of the account; None while none is registered."""
        known = self._known()
        return known.url if known is not None else None

    @property
    def key_type(self) -> str | None:
        """The type of its key in the inventory's words; None while there is none."""
        known = self._known()
        if known is None:
            return None
        return key_type_of(private_key_from(known.key_pem.reveal().encode(), "the account key"))

    def sign_in(self, progress: Progress) -> CertificateAuthority:
        """Return a client that signs as the account, which is registered when there is none.

        The caller closes it. Raises an IssuanceError, or SecretError for an external account whose
        key cannot be fetched.
        """
        known = self._known()
        account = known or self._new()
        if account.next_key_pem is not None:
            account = self._settled(account)
        authority = self.connect(self.source, account.key_pem)
        try:
            if account.url is not None:
                authority.use_account(account.url)
            else:
                # A run may have been cut after the CA registered the key and before that was noted;
                # an external account often binds only once.
                url = authority.find_account() if known is not None else None
                if url is not None:
                    self._note(account, url)
                else:
                    self.register(authority, progress)
        except BaseException:
            authority.close()
            raise
        return authority

    def register(self, authority: CertificateAuthority, progress: Progress) -> None:
        """Register the key that is noted, also again with a CA that lost the account."""
        account = self._known()
        if account is None:
            raise TypeError("an account is registered whose key is not on disk")
        progress(f"registering an account with {self.source.ca}")
        url = authority.register(self.source.email, self.external_account(self.source))
        self._note(account, url)

    def roll_over(self) -> None:
        """Give the account a new key (RFC 8555 section 7.3.5); its URL stays.

        Raises OrderFailed when no account is registered yet, and any IssuanceError of the CA's.
        """
        known = self._known()
        account = self._settled(known) if known is not None and known.next_key_pem else known
        if account is None or account.url is None:
            raise OrderFailed(
                f"no account is registered with {self.source.ca} yet",
                hint="obtain a certificate first: distribute issue",
                step="account",
            )
        new = new_private_key(ACCOUNT_KEY)
        self.accounts.note_next(*self._place, new)
        authority = self.connect(self.source, account.key_pem)
        try:
            authority.use_account(account.url)
            self.as_known(authority, lambda: authority.roll_over(new))
        except CaUnreachable:
            raise  # the answer may be what was lost: the next run asks which key the CA knows
        except IssuanceError:
            self.accounts.settle_next(*self._place, is_taken=False)
            raise
        finally:
            authority.close()
        self.accounts.settle_next(*self._place, is_taken=True)
        log.info("acme step=roll-over ca=%s", self.source.ca)

    def as_known(self, authority: CertificateAuthority, act: Callable[[], None]) -> None:
        """Do something as the account; where its URL is not known any more, by what the key finds.

        Raises OrderFailed when the CA has no account for the key.
        """
        try:
            act()
        except AccountUnknown as error:
            url, account = authority.find_account(), self._known()
            if url is None or account is None:
                raise OrderFailed(
                    f"{self.source.ca} has no account for our key any more",
                    hint="the next order registers a new one: distribute issue",
                    step="account",
                ) from error
            self._note(account, url)
            act()

    def _settled(self, account: Account) -> Account:
        """Ask the CA whether it took the next key, and keep the one of the two that it knows."""
        if account.next_key_pem is None:
            return account
        authority = self.connect(self.source, account.next_key_pem)
        try:
            is_taken = authority.find_account() is not None
        except OrderFailed:
            is_taken = False  # a CA that refuses the very question has not taken the key
        finally:
            authority.close()
        self.accounts.settle_next(*self._place, is_taken=is_taken)
        key = account.next_key_pem if is_taken else account.key_pem
        return replace(account, key_pem=key, next_key_pem=None)

    def _new(self) -> Account:
        account = Account(key_pem=new_private_key(ACCOUNT_KEY))
        self.accounts.save(*self._place, account)
        return account

    def _known(self) -> Account | None:
        return self.accounts.load(*self._place)

    def _note(self, account: Account, url: str) -> None:
        self.accounts.save(*self._place, replace(account, url=url))

    @property
    def _place(self) -> tuple[str, str | None]:
        return self.source.directory_url, self.source.email
