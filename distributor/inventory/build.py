"""An inventory without problems, made into the values that the rest of the program works with."""

from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from distributor.inventory.effective import (
    EffectiveHost,
    PlacedDelivery,
    chosen_certificate,
    effective_hosts,
    effective_issuance,
    endpoint_name,
    names_of,
    own_endpoint,
    sourced,
)
from distributor.inventory.fields import SecretTable
from distributor.inventory.schema import (
    AcmeTable,
    CertificateTable,
    DnsTable,
    EabTable,
    EndpointTable,
    FallbackTable,
    HostTable,
    NotifyTable,
    RolloutTable,
)
from distributor.inventory.shape import Shape
from distributor.inventory.values import directory_url
from distributor.model.choice import SYSTEM_DEFAULT
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    CommandSecret,
    Delivery,
    DiskstationSource,
    DnsSettings,
    Endpoint,
    EnvSecret,
    ExternalAccount,
    FileSecret,
    FilesSource,
    Host,
    Inventory,
    KeyringSecret,
    Notify,
    PemPaths,
    PlainSecret,
    Rfc2136Settings,
    Rollout,
    SecretRef,
    SshAccess,
    WantedCertificate,
)

_PROPAGATION_TIMEOUT: Final = timedelta(minutes=5)

T = TypeVar("T")


def build(shape: Shape, path: Path) -> Inventory:
    """Return the inventory that a shape says, in which `check` has found nothing.

    Paths in it are made relative to the folder of `path`.
    """
    tables = shape.tables
    maker = _Maker(path.parent)
    names = {name: names_of(table) for name, table in tables.certificates.items()}
    return Inventory(
        path=path,
        certificates={
            name: maker.certificate(name, table, tables.acme)
            for name, table in tables.certificates.items()
        },
        dns={name: maker.dns(name, table) for name, table in tables.dns.items()},
        hosts={
            name: maker.host(host, names, sourced(shape, name))
            for name, host in effective_hosts(shape).items()
        },
        rollout=_rollout(tables.rollout or RolloutTable()),
        notify=maker.notify(tables.notify) if tables.notify else None,
    )


def _set(value: T | None) -> T:
    """Return a value that `check` has made sure of."""
    if value is None:
        raise TypeError("the inventory was not checked: a required value is missing")
    return value


def _rollout(table: RolloutTable) -> Rollout:
    usual = Rollout()
    return Rollout(
        canary=table.canary,
        parallel=table.parallel or usual.parallel,
        max_failures=table.max_failures or usual.max_failures,
    )


class _Maker:
    """Makes values whose paths are relative to one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def certificate(
        self, name: str, table: CertificateTable, acme: AcmeTable | None
    ) -> WantedCertificate:
        return WantedCertificate(
            name=name,
            source=self._source(table, acme),
            names=names_of(table),
            key_type=table.key_type or "rsa2048",
            renew_before=table.renew if isinstance(table.renew, timedelta) else None,
            reuse_key=bool(table.reuse_key),
            ca_bundle=self._path(table.ca_bundle),
        )

    def dns(self, name: str, table: DnsTable) -> DnsSettings:
        return DnsSettings(
            name=name,
            provider=_set(table.provider),
            settings=Rfc2136Settings(
                server=_set(table.server),
                key_name=_set(table.key_name),
                key_algorithm=table.key_algorithm or "hmac-sha256",
                key=self._secret(_set(table.key)),
            ),
            nameservers=tuple(table.nameservers or ()),
            resolvers=tuple(table.resolvers or ()),
            doh=tuple(table.doh or ()),
            propagation_timeout=table.propagation_timeout or _PROPAGATION_TIMEOUT,
        )

    def host(
        self, host: EffectiveHost, names: dict[str, tuple[str, ...]], own: tuple[str, ...]
    ) -> Host:
        table = host.table
        deliveries = tuple(_delivery(one) for one in host.deliveries())
        # A host that gets nothing serves the certificate that comes from it.
        delivered = [one.certificate for one in deliveries] or list(own)
        written = [own_endpoint(host)] if table.endpoints is None else table.endpoints
        return Host(
            name=host.name,
            kind=_set(table.kind),
            via=_set(table.via),
            address=_set(table.address),
            access=self._api(host) if table.via == "api" else self._ssh(host),
            deliveries=deliveries,
            endpoints=tuple(_endpoint(one, host, delivered, names) for one in written),
            tags=tuple(table.tags or ()),
            accept=frozenset(table.accept or ()),
            files=_pem_paths(table) if table.kind == "files" else None,
        )

    def notify(self, table: NotifyTable) -> Notify:
        return Notify(
            urls=tuple(self._secret(url) for url in table.urls or ()),
            on=Notify().on if table.on is None else tuple(table.on),
            ping=self._maybe_secret(table.ping),
        )

    def _source(
        self, table: CertificateTable, acme: AcmeTable | None
    ) -> AcmeSource | DiskstationSource | FilesSource:
        if table.source == "diskstation":
            return DiskstationSource(
                host=_set(table.from_), id=table.id, description=table.description
            )
        if table.source == "files":
            return FilesSource(
                certificate=self._path(table.certificate),
                chain=self._path(table.chain),
                private_key=self._path(table.private_key),
                archive=self._path(table.archive),
                pkcs12=self._path(table.pkcs12),
                passphrase=self._maybe_secret(table.passphrase),
            )
        keys = effective_issuance(table, acme)
        others = tuple(self._acme(one, keys, _set(table.dns)) for one in keys.fallback or ())
        return self._acme(keys, keys, _set(table.dns), others)

    def _acme(
        self,
        ca: FallbackTable | AcmeTable,
        keys: AcmeTable,
        dns: str,
        fallback: tuple[AcmeSource, ...] = (),
    ) -> AcmeSource:
        name = _set(ca.ca)
        return AcmeSource(
            ca=name,
            directory_url=directory_url(name),
            email=keys.email,
            agree_tos=_set(keys.agree_tos),
            dns=dns,
            eab=self._binding(ca.eab) if ca.eab else None,
            profile=ca.profile,
            preferred_chain=ca.preferred_chain,
            ca_bundle=self._path(ca.ca_bundle),
            fallback=fallback,
        )

    def _binding(self, table: EabTable) -> ExternalAccount:
        return ExternalAccount(kid=_set(table.kid), hmac=self._secret(_set(table.hmac)))

    def _api(self, host: EffectiveHost) -> ApiAccess:
        table = host.table
        return ApiAccess(
            port=host.login_port,
            user=_set(table.user),
            password=self._secret(_set(table.password)),
            server_name=endpoint_name(own_endpoint(host)),
            legacy_tls=table.tls == "legacy",
            otp=self._maybe_secret(table.otp),
            tls_pin=table.tls_pin,
        )

    def _ssh(self, host: EffectiveHost) -> SshAccess:
        table = host.table
        return SshAccess(
            port=host.login_port,
            user=_set(table.user),
            password=self._maybe_secret(table.password),
            identity=self._maybe_secret(table.identity),
            identity_passphrase=self._maybe_secret(table.identity_passphrase),
            host_key=table.host_key,
            sudo_password=self._maybe_secret(table.sudo_password),
            proxy_jump=table.proxy_jump,
            method=table.method or "files",
            packages=table.packages or "restart",
        )

    def _maybe_secret(self, table: SecretTable | None) -> SecretRef | None:
        return self._secret(table) if table else None

    def _secret(self, table: SecretTable) -> SecretRef:
        if table.env is not None:
            return EnvSecret(table.env)
        if table.file is not None:
            return FileSecret(self._folder / table.file)
        if table.keyring is not None:
            return KeyringSecret(table.keyring)
        if table.command is not None:
            return CommandSecret(tuple(table.command))
        return PlainSecret(_set(table.plain))

    def _path(self, path: Path | None) -> Path | None:
        return self._folder / path if path else None


def _delivery(placed: PlacedDelivery) -> Delivery:
    table = placed.table
    return Delivery(
        certificate=_set(table.certificate),
        id=table.id,
        description=table.description,
        default=bool(table.default),
        services=table.services or "keep",
        remove_superseded=bool(table.remove_superseded),
    )


def _endpoint(
    table: EndpointTable,
    host: EffectiveHost,
    delivered: list[str],
    names: dict[str, tuple[str, ...]],
) -> Endpoint:
    address = _set(table.address)
    name = endpoint_name(table)
    is_own = host.table.kind == "diskstation" and address.port == host.https_port
    return Endpoint(
        address=address,
        certificate=table.certificate or chosen_certificate(name, delivered, names),
        server_name=name,
        starttls=table.starttls,
        legacy_tls=host.table.tls == "legacy",
        service=table.service or (SYSTEM_DEFAULT if is_own else None),
    )


def _pem_paths(table: HostTable) -> PemPaths:
    return PemPaths(
        fullchain=table.fullchain,
        leaf=table.leaf,
        chain=table.chain,
        private_key=table.private_key,
        combined=table.combined,
        owner=table.owner,
        mode=table.mode,
        reload=table.reload,
    )
