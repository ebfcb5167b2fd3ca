"""Which words of the inventory mean which classes: the composition root."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509

from distributor.access import (
    Logins,
    interruptible_sleep,
    secret,
    trust_for,
    utc_now,
)
from distributor.clients.acme_renewal_info import renewal_info
from distributor.clients.certificate_authority import CertificateAuthority, ExternalAccountKey
from distributor.clients.dsm import DsmSession
from distributor.clients.nameservers import Nameservers
from distributor.clients.tls import load_roots
from distributor.dns_providers.contract import DnsProvider
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.model.hosts import (
    AcmeSource,
    DiskstationSource,
    DnsSettings,
    FilesSource,
    Host,
    Inventory,
    WantedCertificate,
)
from distributor.model.renewal_window import RenewalInfo
from distributor.model.secret import Secret
from distributor.obtaining import Obtained
from distributor.sources.acme import Acme
from distributor.sources.acme_account import StoredAccount
from distributor.sources.acme_leftovers import remove_leftovers
from distributor.sources.contract import Source
from distributor.sources.diskstation import Diskstation
from distributor.sources.files import Files
from distributor.store import Publisher, Store
from distributor.wiring.targets import HostTools, Step, api_access, probe_all


def _rfc2136(settings: DnsSettings, store: Store) -> DnsProvider:
    own = settings.settings
    return Rfc2136(own, lambda: secret(own.key, store))


DNS_PROVIDERS: Final[Mapping[str, Callable[[DnsSettings, Store], DnsProvider]]] = {
    "rfc2136": _rfc2136
}


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

    def tools(self, obtained: Mapping[str, Obtained], step: Step) -> HostTools:
        """Return the tools for hosts, once it is known what they are to get."""
        return HostTools(self.store, obtained, step, self.logins)

    def _diskstation(self, wanted: WantedCertificate, source: DiskstationSource) -> Source:
        host = self.inventory.hosts[source.host]
        access = api_access(host)

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


def _ask_window(source: AcmeSource, leaf: x509.Certificate) -> RenewalInfo | None:
    return renewal_info(source.directory_url, leaf, ca_bundle=source.ca_bundle, now=utc_now())


@cache
def _roots(path: Path | None) -> Collection[x509.Certificate]:
    return load_roots(path)
