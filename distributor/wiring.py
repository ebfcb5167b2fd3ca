"""Which words of the inventory mean which classes: the composition root."""

import platform
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from distributor.access import (
    Logins,
    host_key_trust_for,
    interruptible_sleep,
    pin_of,
    secret,
    trust_for,
    utc_now,
)
from distributor.clients.acme_directory import require_ca
from distributor.clients.acme_renewal_info import renewal_info
from distributor.clients.certificate_authority import CertificateAuthority, ExternalAccountKey
from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.nameservers import Nameservers
from distributor.clients.shell import Shell
from distributor.clients.tls import load_roots, probe, served_chain
from distributor.clients.web import front, plain_answer
from distributor.dns_providers.contract import DnsProvider
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.model.bundle import Certificate, fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError
from distributor.model.holds import Hold
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    DiskstationSource,
    DnsSettings,
    Endpoint,
    FilesSource,
    Host,
    Inventory,
    SocketAddress,
    SshAccess,
    WantedCertificate,
)
from distributor.model.renewal_window import RenewalInfo
from distributor.model.secret import Secret
from distributor.model.snapshot import Snapshot
from distributor.model.web import Front, PlainAnswer
from distributor.obtaining import Obtained
from distributor.sources.acme import Acme
from distributor.sources.acme_account import StoredAccount
from distributor.sources.acme_leftovers import remove_leftovers
from distributor.sources.contract import Source
from distributor.sources.diskstation import Diskstation
from distributor.sources.files import Files
from distributor.store import Publisher, Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_api import DiskstationApi
from distributor.targets.diskstation_ssh import DiskstationSsh
from distributor.targets.remote_lock import Controller
from distributor.targets.router_api import RouterApi
from distributor.targets.router_ssh import RouterSsh
from distributor.targets.ssh_files import SshFiles

Step = Callable[[str, str], None]


def _rfc2136(settings: DnsSettings, store: Store) -> DnsProvider:
    own = settings.settings
    return Rfc2136(own, lambda: secret(own.key, store))


DNS_PROVIDERS: Final[Mapping[str, Callable[[DnsSettings, Store], DnsProvider]]] = {
    "rfc2136": _rfc2136
}


Certificates = Mapping[str, Certificate]


def _diskstation_api(host: Host, held: Certificates, store: Store, logins: Logins) -> Target:
    access = _api_access(host)
    trust = trust_for(host, access, store, held.values())
    return DiskstationApi(
        host, lambda: logins.dsm(host, access, trust), store.bundles.by_leaf, utc_now
    )


def _router_api(host: Host, held: Certificates, store: Store, logins: Logins) -> Target:
    access = _api_access(host)
    trust = trust_for(host, access, store, held.values())
    return RouterApi(host, lambda: logins.srm(host, access, trust), store.bundles.by_leaf, utc_now)


def _diskstation_ssh(host: Host, _held: Certificates, store: Store, logins: Logins) -> Target:
    return DiskstationSsh(
        host,
        _ssh_access(host),
        _shell(host, store, logins),
        store.bundles.by_leaf,
        utc_now,
        controller=_controller(store),
    )


def _router_ssh(host: Host, _held: Certificates, store: Store, logins: Logins) -> Target:
    return RouterSsh(host, _shell(host, store, logins), utc_now, controller=_controller(store))


def _files_ssh(host: Host, _held: Certificates, store: Store, logins: Logins) -> Target:
    return SshFiles(host, _shell(host, store, logins), utc_now, controller=_controller(store))


MakeTarget = Callable[[Host, Certificates, Store, Logins], Target]
"""Makes a driver that believes a host by what it was pinned to, or by the certificates it holds."""
TARGETS: Final[Mapping[tuple[str, str], MakeTarget]] = {
    ("diskstation", "api"): _diskstation_api,
    ("diskstation", "ssh"): _diskstation_ssh,
    ("router", "api"): _router_api,
    ("router", "ssh"): _router_ssh,
    ("files", "ssh"): _files_ssh,
}
"""Drivers by kind and way; each must run the laws of `targets.contract`."""


def _shell(host: Host, store: Store, logins: Logins) -> Callable[[], AbstractContextManager[Shell]]:
    """Return what signs in by SSH; raises Untrusted when no host key is known."""
    access = _ssh_access(host)
    trust = host_key_trust_for(host, access, store)
    return lambda: logins.ssh(host, access, trust)


def _controller(store: Store) -> Callable[[], Controller]:
    """Return what tells this installation from others that work on the same hosts, when asked."""
    return lambda: Controller(store.installation.id(), platform.node())


@dataclass(frozen=True, slots=True)
class Workshop:
    """Makes everything that a run works with, for one inventory and one state folder."""

    inventory: Inventory
    store: Store
    stop: threading.Event
    logins: Logins = field(init=False)
    known_names: dict[str | None, Nameservers] = field(init=False, default_factory=dict)
    """By NAME of a [dns.NAME]: what was looked up once is known for the run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "logins", Logins(self.store))

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
        return self._files(wanted, wanted.source)

    def check_tools(self) -> "CheckTools":
        """Return what `checking.online` looks with."""
        return CheckTools(self)

    def tools(self, obtained: Mapping[str, Obtained], step: Step) -> "HostTools":
        """Return the tools for hosts, once it is known what they are to get."""
        return HostTools(self.store, obtained, step, self.logins)

    def _diskstation(self, wanted: WantedCertificate, source: DiskstationSource) -> Source:
        host = self.inventory.hosts[source.host]
        access = _api_access(host)

        def connect() -> DsmSession:
            stored = self.store.bundles.current(wanted.name)
            held = [stored.bundle.certificate(wanted.name)] if stored is not None else []
            trust = trust_for(host, access, self.store, held)
            return self.logins.dsm(host, access, trust)

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

    def accounts(self) -> tuple[StoredAccount, ...]:
        """Return the accounts with ACME CAs that the inventory's certificates use, each once."""
        found = {
            (account.source.directory_url, account.email): account
            for name, wanted in self.inventory.certificates.items()
            if isinstance(wanted.source, AcmeSource)
            for account in self.acme(name).accounts()
        }
        return tuple(found.values())

    def _external_account(self, source: AcmeSource) -> ExternalAccountKey | None:
        if source.eab is None:
            return None
        return ExternalAccountKey(source.eab.kid, secret(source.eab.hmac, self.store))

    def _files(self, wanted: WantedCertificate, source: FilesSource) -> Source:
        reference = source.passphrase
        return Files(
            wanted=wanted,
            source=source,
            store=self.store,
            passphrase=(lambda: secret(reference, self.store)) if reference is not None else None,
            roots=lambda: _roots(wanted.ca_bundle),
            now=utc_now,
        )

    def acme(self, name: str) -> Acme:
        """Return the source of a certificate that comes from an ACME CA."""
        wanted = self.inventory.certificates[name]
        if not isinstance(wanted.source, AcmeSource):
            raise TypeError(f"{name} comes from no ACME CA")
        return self._acme(wanted, wanted.source)

    def nameservers(self, dns: DnsSettings | None) -> Nameservers:
        """Return who is asked about names: as the inventory says, else the system's resolvers."""
        made = Nameservers(
            resolvers=dns.resolvers if dns is not None else (),
            nameservers=dns.nameservers if dns is not None else (),
            doh=dns.doh if dns is not None else (),
            sleep=interruptible_sleep(self.stop),
            now=utc_now,
        )
        return self.known_names.setdefault(dns.name if dns is not None else None, made)

    def remove_leftovers(self) -> Iterator[tuple[str, str]]:
        """Remove what orders left of certificates that come from no ACME CA (any more).

        Gives name and line for each thing that stays. The caller holds the run lock.
        """
        wanted = {
            name
            for name, certificate in self.inventory.certificates.items()
            if isinstance(certificate.source, AcmeSource)
        }
        return remove_leftovers(self.store.orders, wanted, self._provider_where)

    def _provider_where(self, published: Publisher) -> DnsProvider | None:
        """Return the provider of a [dns.NAME] that leads where values were published."""
        leading = {
            name: dns
            for name, dns in self.inventory.dns.items()
            if _publisher(dns).is_where(published)
        }
        dns = leading.get(published.dns) or next(iter(leading.values()), None)
        return DNS_PROVIDERS[dns.provider](dns, self.store) if dns is not None else None

    def _acme(self, wanted: WantedCertificate, source: AcmeSource) -> Acme:
        dns = self.inventory.dns[source.dns]
        sleep = interruptible_sleep(self.stop)

        def connect(source: AcmeSource, key: Secret) -> CertificateAuthority:
            return CertificateAuthority(
                source.directory_url,
                key,
                ca_bundle=source.ca_bundle,
                sleep=sleep,
                patient_sleep=time.sleep,
                now=utc_now,
            )

        return Acme(
            wanted=wanted,
            source=source,
            store=self.store,
            connect=connect,
            ask_window=_ask_window,
            external_account=self._external_account,
            publisher=_publisher(dns),
            provider=DNS_PROVIDERS[dns.provider](dns, self.store),
            find_provider=self._provider_where,
            nameservers=self.nameservers(dns),
            propagation_timeout=dns.propagation_timeout,
            roots=lambda: _roots(wanted.ca_bundle),
            now=utc_now,
        )


def _publisher(dns: DnsSettings) -> Publisher:
    return Publisher(dns.name, dns.provider, dns.settings.place)


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
        return TARGETS[(host.kind, host.via)](host, certificates, self.store, self.logins)

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
        """Pin what the host's own port serves now, if that differs from what is pinned.

        A host by SSH is known by its host key, which no delivery changes.
        """
        if isinstance(host.access, SshAccess):
            return
        access = _api_access(host)
        leaf = served_chain(
            SocketAddress(host.address, access.port), access.server_name, legacy=access.legacy_tls
        )[0]
        mine = (self.obtained[name].certificate for name in host.certificates)
        certificates = [certificate for certificate in mine if certificate is not None]
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
        # The inventory refuses it where only the Web API will do.
        raise TypeError(f"{host.name} is not reached by its Web API")
    return host.access


def _ssh_access(host: Host) -> SshAccess:
    if not isinstance(host.access, SshAccess):
        raise TypeError(f"{host.name} is not reached by SSH")
    return host.access


@dataclass(frozen=True, slots=True)
class CheckTools:
    """What looking at CAs, zones and hosts needs from outside (`checking.online.Tools`)."""

    workshop: Workshop
    plain_ports: Mapping[int, int] = field(default_factory=lambda: {5001: 5000, 8001: 8000})
    """The plain HTTP port beside each HTTPS port of a device as it comes."""

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        """Shake hands with every endpoint, at the same time."""
        return self._hosts.probe(endpoints)

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        """Return the driver of a host."""
        return self._hosts.target(host, certificates)

    def reach_ca(self, source: AcmeSource) -> None:
        """Read the CA's directory, and compare what it offers with what would be ordered."""
        require_ca(
            source.directory_url,
            ca_bundle=source.ca_bundle,
            profile=source.profile,
            is_bound=source.eab is not None,
        )

    def rehearse(
        self, certificate: str, progress: Callable[[str], None]
    ) -> Mapping[str, DistributorError]:
        """Publish and remove a TXT value for each name of a certificate."""
        return self.workshop.acme(certificate).rehearse(progress)

    def addresses(self, name: str, certificate: str) -> tuple[str, ...]:
        """Return the addresses of a name, by the resolvers that its certificate's zone has."""
        source = self.workshop.inventory.certificates[certificate].source
        dns = self.workshop.inventory.dns[source.dns] if isinstance(source, AcmeSource) else None
        return self.workshop.nameservers(dns).addresses(name)

    def front(self, host: Host, certificates: Mapping[str, Certificate], name: str) -> Front:
        """Ask the pinned HTTPS port of a host for `name`, and look at its clock."""
        access = _api_access(host)
        trust = trust_for(host, access, self.workshop.store, certificates.values())
        address = SocketAddress(host.address, access.port)
        with PinnedHttp(address, trust, access.server_name, legacy=access.legacy_tls) as http:
            return front(http, SocketAddress(name, access.port), utc_now)

    def plain(self, host: Host) -> PlainAnswer | None:
        """Ask the plain HTTP port of a device, where its HTTPS port is the usual one."""
        access = host.access
        port = self.plain_ports.get(access.port) if isinstance(access, ApiAccess) else None
        return plain_answer(SocketAddress(host.address, port)) if port is not None else None

    @property
    def _hosts(self) -> HostTools:
        return self.workshop.tools({}, lambda _host, _text: None)


def _ask_window(source: AcmeSource, leaf: x509.Certificate) -> RenewalInfo | None:
    return renewal_info(source.directory_url, leaf, ca_bundle=source.ca_bundle, now=utc_now())


@cache
def _roots(path: Path | None) -> Collection[x509.Certificate]:
    return load_roots(path)
