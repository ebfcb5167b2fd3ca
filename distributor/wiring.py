"""Which words of the inventory mean which classes: the composition root."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from distributor.clients.certificate_authority import CertificateAuthority
from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.nameservers import Nameservers
from distributor.clients.otp import OneTimeCodes
from distributor.clients.secrets import fetch
from distributor.clients.srm import SrmSession
from distributor.clients.tls import load_roots, probe, served_chain, verified_leaf
from distributor.clients.web_api import Account
from distributor.dns_providers.contract import DnsProvider
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.model.bundle import Certificate, fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import AuthRefused, Interrupted
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    DnsSettings,
    Endpoint,
    Host,
    Inventory,
    SocketAddress,
    WantedCertificate,
)
from distributor.model.secret import DeviceToken, Secret
from distributor.model.snapshot import Snapshot
from distributor.model.state import LEAF
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.model.trust import PinnedLeaf, Trust, trust_of
from distributor.obtaining import Obtained
from distributor.protocol.dsm_codes import LOGIN_REASONS
from distributor.sources.acme import Acme
from distributor.sources.contract import Source
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_api import DiskstationApi
from distributor.targets.router_api import RouterApi

Step = Callable[[str, str], None]


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


def interruptible_sleep(stop: threading.Event) -> Callable[[float], None]:
    """Return a sleep that raises Interrupted as soon as `stop` is set."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise Interrupted("the run was interrupted", hint="run it again", step="issue")

    return sleep


def _rfc2136(settings: DnsSettings) -> DnsProvider:
    own = settings.settings
    return Rfc2136(own, lambda: fetch(own.key))


DNS_PROVIDERS: Final[Mapping[str, Callable[[DnsSettings], DnsProvider]]] = {"rfc2136": _rfc2136}


@dataclass(frozen=True, slots=True)
class HostKeeper:
    """What is remembered of the logins to one host (`web_api.Keeper`)."""

    host: str
    store: Store

    def refusal(self, user: str, password: Secret) -> AuthRefused | None:
        """Return the error that these words met within the last day, or None."""
        found = self.store.refusals.find(self.host, user, password, utc_now())
        if found is None:
            return None
        meaning, _ = LOGIN_REASONS.get(found.code, (f"code {found.code}", ""))
        return AuthRefused(
            f"login as '{printable(user)}' not tried: it was refused at {rfc3339(found.when)} "
            f"({meaning})",
            hint=f"correct it, then: distribute trust {self.host}. The same words are tried again "
            "after a day",
            step="login",
            code=found.code,
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


def account_of(
    host: Host, access: ApiAccess, store: Store, code: Callable[[], Secret] | None = None
) -> Account:
    """Return who signs in to a host; `code` gives a one-time code where a person is asked."""
    otp = access.otp
    if code is None and otp is not None:
        code = OneTimeCodes(lambda: fetch(otp), sleep=time.sleep, now=utc_now)
    return Account(
        user=access.user,
        password=lambda: fetch(access.password),
        keeper=HostKeeper(host.name, store),
        one_time_code=code,
    )


def _http(host: Host, access: ApiAccess, trust: Trust) -> PinnedHttp:
    address = SocketAddress(host.address, access.port)
    return PinnedHttp(address, trust, access.server_name)


def _diskstation_api(host: Host, access: ApiAccess, trust: Trust, store: Store) -> Target:
    def connect() -> DsmSession:
        http = _http(host, access, trust)
        return DsmSession(http, account_of(host, access, store), sleep=time.sleep)

    return DiskstationApi(host, connect, store.bundles.by_leaf, utc_now)


def _router_api(host: Host, access: ApiAccess, trust: Trust, store: Store) -> Target:
    def connect() -> SrmSession:
        http = _http(host, access, trust)
        return SrmSession(http, account_of(host, access, store), sleep=time.sleep)

    return RouterApi(host, connect, store.bundles.by_leaf, utc_now)


TARGETS: Final[Mapping[tuple[str, str], Callable[[Host, ApiAccess, Trust, Store], Target]]] = {
    ("diskstation", "api"): _diskstation_api,
    ("router", "api"): _router_api,
}
"""Drivers by kind and way; each must run the laws of `targets.contract`."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Makes everything that a run works with, for one inventory and one state folder."""

    inventory: Inventory
    store: Store
    stop: threading.Event

    def sources(self, hosts: Sequence[Host]) -> dict[str, Source]:
        """Return the sources of the certificates that `hosts` use, in the inventory's order."""
        used = {name for host in hosts for name in host.certificates}
        return {name: self.source(name) for name in self.inventory.certificates if name in used}

    def source(self, name: str) -> Source:
        """Return the source of one certificate."""
        wanted = self.inventory.certificates[name]
        if not isinstance(wanted.source, AcmeSource):
            # The inventory refuses what is not built before anything gets here.
            raise TypeError(f"no source for {type(wanted.source).__name__}")
        return self._acme(wanted, wanted.source)

    def tools(self, obtained: Mapping[str, Obtained], step: Step) -> "HostTools":
        """Return the tools for hosts, once it is known what they are to get."""
        return HostTools(self.store, obtained, step)

    def _acme(self, wanted: WantedCertificate, source: AcmeSource) -> Source:
        dns = self.inventory.dns[source.dns]
        sleep = interruptible_sleep(self.stop)

        def connect(source: AcmeSource, key: Secret) -> CertificateAuthority:
            return CertificateAuthority(
                source.directory_url, key, ca_bundle=source.ca_bundle, sleep=sleep, now=utc_now
            )

        return Acme(
            wanted=wanted,
            source=source,
            store=self.store,
            connect=connect,
            provider=DNS_PROVIDERS[dns.provider](dns),
            nameservers=Nameservers(
                resolvers=dns.resolvers, nameservers=dns.nameservers, sleep=sleep, now=utc_now
            ),
            propagation_timeout=dns.propagation_timeout,
            roots=lambda: _roots(wanted.ca_bundle),
            now=utc_now,
        )


@dataclass(frozen=True, slots=True)
class HostTools:
    """What work on a host needs from outside (`delivery.Tools`)."""

    store: Store
    obtained: Mapping[str, Obtained]
    step: Step

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        """Shake hands with every endpoint, at the same time."""
        if not endpoints:
            return ()
        with ThreadPoolExecutor(max_workers=len(endpoints)) as pool:
            return tuple(pool.map(probe, endpoints))

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        """Return the driver of a host."""
        access = host.access
        if not isinstance(access, ApiAccess):
            # The inventory refuses what is not built before anything gets here.
            raise TypeError(f"no driver for {type(access).__name__}")
        trust = trust_for(host, access, self.store, certificates.values())
        return TARGETS[(host.kind, host.via)](host, access, trust, self.store)

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot to disk."""
        self.store.snapshots.save(snapshot)

    def remember(self, host: Host) -> None:
        """Pin what the host's own port serves now, if that differs from what is pinned."""
        access = host.access
        if not isinstance(access, ApiAccess) or access.tls_pin is not None:
            return
        leaf = served_chain(SocketAddress(host.address, access.port), access.server_name)[0]
        certificates = [one.certificate for one in self.obtained.values() if one.certificate]
        trust_for(host, access, self.store, certificates).check(leaf, utc_now())
        pinned = self.store.trust.pinned(host.name)
        if pinned is None or pinned.leaf != fingerprint(leaf):
            self.store.trust.pin(host.name, pin_of(leaf, by="delivery"))

    def sleep(self, seconds: float) -> None:
        """Wait; work on a host comes to its end even when the run is to stop."""
        time.sleep(seconds)


def trust_for(
    host: Host, access: ApiAccess, store: Store, certificates: Collection[Certificate]
) -> Trust:
    """Return whom to believe that it is `host`; raises Untrusted when there is no basis.

    On top of the basis stand the leaves that this delivery may bring: the new one, and those that
    the host had before its last change.
    """
    pinned = store.trust.pinned(host.name)
    verified = None
    if access.tls_pin is None and pinned is None and access.server_name is not None:
        address = SocketAddress(host.address, access.port)
        verified = verified_leaf(address, access.server_name, None)
    return trust_of(
        host.name,
        tls_pin=access.tls_pin,
        pinned=pinned,
        verified_leaf=verified,
        during_delivery={one.leaf for one in certificates} | _rollback_leaves(host, store),
    )


def pin_of(leaf: x509.Certificate, *, by: str) -> PinnedLeaf:
    """Return the line of trust.toml for a leaf."""
    return PinnedLeaf(
        leaf=fingerprint(leaf), not_after=leaf.not_valid_after_utc, since=utc_now(), by=by
    )


def _rollback_leaves(host: Host, store: Store) -> set[str]:
    last = store.snapshots.last(host.name)
    if last is None:
        return set()
    facts = last.before.facts.values()
    return {leaf for known in facts if isinstance(leaf := known.get(LEAF), str)}


@cache
def _roots(path: Path | None) -> Collection[x509.Certificate]:
    return load_roots(path)
