"""Who signs in to a host, and whom to believe that it is the host: by TLS or by SSH."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.keyring import NamedSecrets
from distributor.clients.known_hosts import known_host_keys
from distributor.clients.otp import OneTimeCodes
from distributor.clients.secrets import fetch
from distributor.clients.srm import SrmSession
from distributor.clients.tls import verified_leaf
from distributor.clients.web_api import Account
from distributor.model.bundle import Certificate, fingerprint
from distributor.model.errors import AuthRefused, Interrupted
from distributor.model.host_keys import HostKeyTrust, host_key_trust_of, jump_trust_of
from distributor.model.hosts import ApiAccess, Host, SecretRef, SocketAddress, SshAccess
from distributor.model.secret import DeviceToken, Secret
from distributor.model.state import LEAF
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.model.trust import PinnedLeaf, Trust, own_leaf, trust_of
from distributor.protocol.dsm_codes import LOGIN_REASONS
from distributor.store import Store

if TYPE_CHECKING:
    from distributor.clients.ssh import Jump, SshSession


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


def interruptible_sleep(stop: threading.Event) -> Callable[[float], None]:
    """Return a sleep that raises Interrupted as soon as `stop` is set."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise Interrupted("the run was interrupted", hint="run it again", step="issue")

    return sleep


def secret(reference: SecretRef, store: Store) -> Secret:
    """Return the secret of a reference; raises SecretError."""
    return fetch(reference, NamedSecrets(store.secrets).get)


@dataclass(frozen=True, slots=True)
class HostKeeper:
    """What is remembered of the logins to one host (`web_api.Keeper`, `ssh_login.Refusals`)."""

    host: str
    store: Store

    def refusal(self, user: str, password: Secret) -> AuthRefused | None:
        """Return the error that these words met within the last day, or None."""
        found = self.store.refusals.find(self.host, user, password, utc_now())
        if found is None:
            return None
        # SSH has no codes: what is noted without one is a password.
        unknown = f"code {found.code}" if found.code else "the password is wrong"
        meaning, _ = LOGIN_REASONS.get(found.code, (unknown, ""))
        return AuthRefused(
            f"login as '{printable(user)}' not tried: it was refused at {rfc3339(found.when)} "
            f"({meaning})",
            hint=f"correct it, then: distribute trust {self.host}. The same words are tried again "
            "after a day",
            step="login",
            code=found.code or None,
        )

    def note_refusal(self, user: str, password: Secret, error: AuthRefused) -> None:
        """Remember that the host refused these words."""
        self.store.refusals.note(self.host, user, password, error.code or 0, utc_now())

    def token(self, user: str) -> DeviceToken | None:
        """Return the device token of this user, or None."""
        return self.store.devices.find(self.host, user)

    def keep_token(self, user: str, token: DeviceToken) -> None:
        """Keep a device token for later logins."""
        self.store.devices.keep(self.host, user, token)


class Logins:
    """The one way in to devices, for targets and sources of one run.

    A host's one-time codes come from one place, so that none is sent twice.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._codes: dict[str, OneTimeCodes] = {}
        self._lock = threading.Lock()

    def dsm(self, host: Host, access: ApiAccess, trust: Trust) -> DsmSession:
        """Return a session with a DiskStation that is not signed in yet."""
        return DsmSession(_http(host, access, trust), self.account(host, access), sleep=time.sleep)

    def srm(self, host: Host, access: ApiAccess, trust: Trust) -> SrmSession:
        """Return a session with a router that is not signed in yet."""
        return SrmSession(_http(host, access, trust), self.account(host, access), sleep=time.sleep)

    def ssh(self, host: Host, access: SshAccess, trust: HostKeyTrust) -> "SshSession":
        """Return a session with a host by SSH that is not signed in yet."""
        # paramiko is loaded only where there is something to reach by SSH.
        from distributor.clients.ssh import SshSession
        from distributor.clients.ssh_login import SshAccount

        account = SshAccount(
            user=access.user,
            refusals=HostKeeper(host.name, self._store),
            password=self._source(access.password),
            identity=self._source(access.identity),
            passphrase=self._source(access.identity_passphrase),
            sudo_password=self._source(access.sudo_password),
        )
        address = SocketAddress(host.address, access.port)
        return SshSession(address, account, trust, sleep=time.sleep, jump=self.jump(host, access))

    def jump(self, host: Host, access: SshAccess) -> "Jump | None":
        """Return the server to go through to a host, if any; raises Untrusted for an unknown one.

        There the host's own key logs in, or the agent's: a password is for one host alone.
        """
        through = access.proxy_jump
        if through is None:
            return None
        from distributor.clients.ssh import Jump
        from distributor.clients.ssh_login import SshAccount

        account = SshAccount(
            user=through.user,
            refusals=HostKeeper(host.name, self._store),
            identity=self._source(access.identity),
            passphrase=self._source(access.identity_passphrase),
        )
        trust = jump_trust_of(str(through), known_host_keys(through.address))
        return Jump(address=through.address, account=account, trust=trust)

    def account(
        self, host: Host, access: ApiAccess, ask: Callable[[], Secret] | None = None
    ) -> Account:
        """Return who signs in; `ask` gives a one-time code where the inventory has no way to it."""
        return Account(
            user=access.user,
            password=lambda: secret(access.password, self._store),
            keeper=HostKeeper(host.name, self._store),
            one_time_code=self._code_of(host.name, access.otp) or ask,
        )

    def enrol(self, host: Host, access: ApiAccess, trust: Trust, ask: Callable[[], Secret]) -> None:
        """Sign in and out once, with a one-time code if the account wants one.

        That comes from the host's TOTP secret, or from `ask` where the inventory has none.
        What the host refused before is forgotten first: a person has seen to it. Raises what a
        login raises.
        """
        self._store.refusals.forget(host.name)
        kind = SrmSession if host.kind == "router" else DsmSession
        session = kind(
            _http(host, access, trust), self.account(host, access, ask), sleep=time.sleep
        )
        try:
            session.sign_in()
        finally:
            session.close()

    def _source(self, reference: SecretRef | None) -> Callable[[], Secret] | None:
        return None if reference is None else partial(secret, reference, self._store)

    def _code_of(self, host: str, otp: SecretRef | None) -> OneTimeCodes | None:
        if otp is None:
            return None
        with self._lock:
            return self._codes.setdefault(
                host,
                OneTimeCodes(lambda: secret(otp, self._store), sleep=time.sleep, now=utc_now),
            )


def trust_for(
    host: Host, access: ApiAccess, store: Store, certificates: Collection[Certificate]
) -> Trust:
    """Return whom to believe that it is `host`; raises Untrusted when there is no basis.

    On top of the basis stand the leaves that this delivery may bring: the new one, and those that a
    cut or undone change brought or brings back; and the leaf that a person pinned for this host,
    which is its own even after a delivery. Only the usual roots vouch for a host that is not
    pinned: a certificate's `ca_bundle` says where a delivered chain is to end, which for a CA to
    rehearse with may be a root whose key everybody has; it never says whom to send a password.
    """
    pinned = store.trust.pinned(host.name) if access.tls_pin is None else None
    verified = None
    if access.tls_pin is None and pinned is None and access.server_name is not None:
        address = SocketAddress(host.address, access.port)
        verified = verified_leaf(address, access.server_name, None, legacy=access.legacy_tls)
    return trust_of(
        host.name,
        tls_pin=access.tls_pin,
        pinned=pinned,
        verified_leaf=verified,
        during_delivery={one.leaf for one in certificates} | _earlier_leaves(host, access, store),
        revoked=store.bundles.revoked_leaves(),
    )


def host_key_trust_for(host: Host, access: SshAccess, store: Store) -> HostKeyTrust:
    """Return which SSH host keys `host` may show; raises Untrusted when there is no basis."""
    return host_key_trust_of(
        host.name,
        host_key=access.host_key,
        pinned=store.trust.host_key(host.name),
        known=known_host_keys(SocketAddress(host.address, access.port)),
    )


def pin_of(leaf: x509.Certificate, *, by: str) -> PinnedLeaf:
    """Return the line of trust.toml for a leaf."""
    return PinnedLeaf(
        leaf=fingerprint(leaf), not_after=leaf.not_valid_after_utc, since=utc_now(), by=by
    )


def _earlier_leaves(host: Host, access: ApiAccess, store: Store) -> set[str]:
    """Return what the host may serve again: by a person's word, by a rollback, or by a cut change.

    The leaf before the last change, and what that was to bring, count until a delivery was proved
    after it, and again while it is being put back. At other times they would let in whoever has an
    old key.
    """
    person = store.trust.by_person(host.name) if access.tls_pin is None else None
    leaves = {person.leaf} if person is not None else set()
    last, proved = store.snapshots.last(host.name), store.trust.pinned(host.name)
    if last is not None and (proved is None or last.taken > proved.since or last.undoing):
        before = own_leaf(last.before)
        leaves |= {before} if before is not None else set()
        brought = (facts.get(LEAF) for facts in last.after.facts.values())
        leaves |= {leaf for leaf in brought if isinstance(leaf, str)}
    return leaves


def _http(host: Host, access: ApiAccess, trust: Trust) -> PinnedHttp:
    address = SocketAddress(host.address, access.port)
    return PinnedHttp(address, trust, access.server_name, legacy=access.legacy_tls)
