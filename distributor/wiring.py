"""Which words of the inventory mean which classes: the composition root."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from distributor.clients.certificate_authority import CertificateAuthority
from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.nameservers import Nameservers
from distributor.clients.secrets import fetch
from distributor.clients.tls import load_roots, probe, served_chain, verified_leaf
from distributor.dns_providers.contract import DnsProvider
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.model.bundle import Certificate, fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import AuthRefused, Interrupted
from distributor.model.holds import Hold
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    DiskstationSource,
    DnsSettings,
    Endpoint,
    Host,
    Inventory,
    SocketAddress,
    WantedCertificate,
)
from distributor.model.secret import Secret
from distributor.model.snapshot import Snapshot
from distributor.model.state import LEAF
from distributor.model.trust import PinnedLeaf, Trust, trust_of
from distributor.obtaining import Obtained
from distributor.sources.acme import Acme
from distributor.sources.contract import Source
from distributor.sources.diskstation import Diskstation
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_api import DiskstationApi

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


class Logins:
    """Makes sessions for one run; a host that refused a login is not asked again in it."""

    def __init__(self) -> None:
        self._refused: dict[str, AuthRefused] = {}

    def connect(self, host: Host, access: ApiAccess, trust: Trust) -> DsmSession:
        """Return a session that is not signed in yet: the one way in for targets and sources.

        Raises AuthRefused when the host refused a login before.
        """
        if (known := self._refused.get(host.name)) is not None:
            raise AuthRefused(known.message, hint=known.hint, step=known.step, code=known.code)

        def remember(error: AuthRefused) -> None:
            self._refused[host.name] = error

        http = PinnedHttp(SocketAddress(host.address, access.port), trust, access.server_name)
        return DsmSession(
            http,
            access.user,
            lambda: fetch(access.password),
            sleep=time.sleep,
            when_refused=remember,
        )


def _diskstation_api(
    host: Host, access: ApiAccess, trust: Trust, store: Store, logins: Logins
) -> Target:
    return DiskstationApi(
        host, lambda: logins.connect(host, access, trust), store.bundles.by_leaf, utc_now
    )


MakeTarget = Callable[[Host, ApiAccess, Trust, Store, Logins], Target]
TARGETS: Final[Mapping[tuple[str, str], MakeTarget]] = {("diskstation", "api"): _diskstation_api}
"""Drivers by kind and way; each must run the laws of `targets.contract`."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Makes everything that a run works with, for one inventory and one state folder."""

    inventory: Inventory
    store: Store
    stop: threading.Event
    logins: Logins = field(default_factory=Logins)

    def sources(self, hosts: Sequence[Host]) -> dict[str, Source]:
        """Return the sources of the certificates that `hosts` use, in the inventory's order."""
        used = {name for host in hosts for name in host.certificates}
        return {name: self.source(name) for name in self.inventory.certificates if name in used}

    def source(self, name: str) -> Source:
        """Return the source of one certificate."""
        wanted = self.inventory.certificates[name]
        if isinstance(wanted.source, AcmeSource):
            return self._acme(wanted, wanted.source)
        if isinstance(wanted.source, DiskstationSource):
            return self._diskstation(wanted, wanted.source)
        # The inventory refuses what is not built before anything gets here.
        raise TypeError(f"no source for {type(wanted.source).__name__}")

    def tools(self, obtained: Mapping[str, Obtained], step: Step) -> "HostTools":
        """Return the tools for hosts, once it is known what they are to get."""
        return HostTools(self.store, obtained, step, self.logins)

    def _diskstation(self, wanted: WantedCertificate, source: DiskstationSource) -> Source:
        host = self.inventory.hosts[source.host]
        access = _api_access(host)

        def connect() -> DsmSession:
            stored = self.store.bundles.current(wanted.name)
            held = [stored.bundle.certificate(wanted.name)] if stored is not None else []
            return self.logins.connect(host, access, trust_for(host, access, self.store, held))

        return Diskstation(
            wanted=wanted,
            source=source,
            host=host,
            store=self.store,
            connect=connect,
            probe=probe_all,
            roots=lambda: _roots(wanted.ca_bundle),
            now=utc_now,
        )

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
    logins: Logins

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        """Shake hands with every endpoint, at the same time."""
        return probe_all(endpoints)

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        """Return the driver of a host."""
        access = _api_access(host)
        trust = trust_for(host, access, self.store, certificates.values())
        return TARGETS[(host.kind, host.via)](host, access, trust, self.store, self.logins)

    def versions(self, certificate: str) -> tuple[Certificate, ...]:
        """Return what may be shown of all versions of a certificate that the store holds."""
        return self.store.bundles.certificates(certificate)

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot to disk."""
        self.store.snapshots.save(snapshot)

    def hold(self, host: str) -> Hold | None:
        """Return what is remembered of a host that did not take what it was to get."""
        return self.store.holds.of(host)

    def put_hold(self, host: str, hold: Hold | None) -> None:
        """Remember that, or forget it for None."""
        self.store.holds.put(host, hold)

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


def probe_all(endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
    """Shake hands with every endpoint, at the same time."""
    if not endpoints:
        return ()
    with ThreadPoolExecutor(max_workers=len(endpoints)) as pool:
        return tuple(pool.map(probe, endpoints))


def _api_access(host: Host) -> ApiAccess:
    if not isinstance(host.access, ApiAccess):
        # The inventory refuses what is not built before anything gets here.
        raise TypeError(f"no driver for {type(host.access).__name__}")
    return host.access


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
