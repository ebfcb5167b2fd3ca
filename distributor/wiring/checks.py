"""What `check --online` looks with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from distributor.access import (
    host_key_trust_for,
    trust_for,
    utc_now,
)
from distributor.clients.acme_directory import require_ca
from distributor.clients.http import PinnedHttp
from distributor.clients.inside import look_inside
from distributor.clients.web import front, plain_answer
from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    Endpoint,
    Host,
    SocketAddress,
)
from distributor.model.inside import Inside
from distributor.model.web import Front, PlainAnswer
from distributor.targets.contract import Target
from distributor.wiring import Workshop
from distributor.wiring.targets import HostTools, api_access, shell_of, ssh_access, writes_as_root


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
        access = api_access(host)
        trust = trust_for(host, access, self.workshop.store, certificates.values())
        address = SocketAddress(host.address, access.port)
        with PinnedHttp(address, trust, access.server_name, legacy=access.legacy_tls) as http:
            return front(http, SocketAddress(name, access.port), utc_now)

    def plain(self, host: Host) -> PlainAnswer | None:
        """Ask the plain HTTP port of a device, where its HTTPS port is the usual one."""
        access = host.access
        port = self.plain_ports.get(access.port) if isinstance(access, ApiAccess) else None
        return plain_answer(SocketAddress(host.address, port)) if port is not None else None

    def inside(self, host: Host, paths: Sequence[str], commands: Sequence[str]) -> Inside:
        """Sign in by SSH and look around; for PEM files root is needed only to write them."""
        store = self.workshop.store
        trust = host_key_trust_for(host, ssh_access(host), store)
        with shell_of(host, store, self.workshop.logins)() as shell:
            return look_inside(
                shell,
                needs_root=lambda: writes_as_root(host, shell),
                paths=paths,
                commands=commands,
                believed_by=trust.basis,
                now=utc_now,
            )

    @property
    def _hosts(self) -> HostTools:
        return self.workshop.tools({}, lambda _host, _text: None)
