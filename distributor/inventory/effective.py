"""Hosts as they are once `[defaults]` has filled in what they leave open."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from distributor.inventory.locate import KeyPath
from distributor.inventory.names import certificate_name, ip
from distributor.inventory.schema import (
    AcmeTable,
    CertificateTable,
    DefaultsTable,
    DeliverTable,
    EndpointTable,
    EntryKeys,
    HostTable,
    IssuanceKeys,
    SharedHostKeys,
)
from distributor.inventory.shape import Shape
from distributor.inventory.values import directory_url
from distributor.model.bundle import covers
from distributor.model.hosts import Kind, SocketAddress, Via

PEM_KEYS: Final = ("fullchain", "leaf", "chain", "private_key", "combined")
"""Where a host of kind `files` wants what."""
ENTRY_KEYS: Final = ("id", "description", "default", "services", "remove_superseded")
"""What says in which entry a device keeps a certificate, and for what."""
OF_ITS_CA: Final = ("eab", "profile", "preferred_chain", "ca_bundle")
"""What means something to one CA alone."""

_DEVICES: Final[tuple[Kind, ...]] = ("diskstation", "router")
_KINDS: Final[Mapping[str, tuple[Kind, ...]]] = {
    **dict.fromkeys((*ENTRY_KEYS, "server_name"), _DEVICES),
    **dict.fromkeys(("method", "packages"), ("diskstation",)),
    **dict.fromkeys((*PEM_KEYS, "owner", "mode", "reload"), ("files",)),
}
"""Keys that belong to some kinds of host only."""
_VIAS: Final[Mapping[str, Via]] = {
    **dict.fromkeys(("otp", "tls", "tls_pin"), "api"),
    **dict.fromkeys(
        (
            "identity",
            "identity_passphrase",
            "host_key",
            "sudo_password",
            "proxy_jump",
            "method",
            "packages",
        ),
        "ssh",
    ),
}
"""Keys that belong to one way of reaching a host only."""
_DSM_PORT: Final = 5001
_ROUTER_PORT: Final = 8001
_SSH_PORT: Final = 22


@dataclass(frozen=True, slots=True)
class PlacedDelivery:
    """A delivery, and where its keys stand in the file."""

    table: DeliverTable
    path: KeyPath
    inherited: frozenset[str] = frozenset()

    def at(self, key: str) -> KeyPath:
        """Return the path of one of its keys."""
        return ("defaults", key) if key in self.inherited else (*self.path, key)

    @property
    def entry(self) -> tuple[str, str]:
        """What tells its entry from others on the host: the id, else the description."""
        if self.table.id is not None:
            return "id", self.table.id
        return "description", self.table.description or self.table.certificate or ""


@dataclass(frozen=True, slots=True)
class EffectiveHost:
    """One `[hosts.NAME]`, the defaults filled in."""

    name: str
    table: HostTable
    inherited: frozenset[str]
    """Keys that come from `[defaults]`."""

    def at(self, key: str) -> KeyPath:
        """Return the path of one of its keys in the file."""
        return ("defaults", key) if key in self.inherited else ("hosts", self.name, key)

    def deliveries(self) -> tuple[PlacedDelivery, ...]:
        """Return what it gets: its `deliver` tables, or the one that its own keys make."""
        path: KeyPath = ("hosts", self.name)
        if self.table.deliver is not None:
            return tuple(
                PlacedDelivery(table, (*path, "deliver", index))
                for index, table in enumerate(self.table.deliver)
            )
        if self.table.certificate is None:
            return ()
        keys = {key: getattr(self.table, key) for key in DeliverTable.model_fields}
        table = DeliverTable.model_construct(**keys)
        return (PlacedDelivery(table, path, self.inherited),)

    @property
    def https_port(self) -> int:
        """Port of a device's own user interface and Web API."""
        own = self.table.port if self.table.via == "api" else None
        return own or (_ROUTER_PORT if self.table.kind == "router" else _DSM_PORT)

    @property
    def login_port(self) -> int:
        """Port to log in at."""
        return self.https_port if self.table.via == "api" else self.table.port or _SSH_PORT


def effective_hosts(shape: Shape) -> dict[str, EffectiveHost]:
    """Return every host with the defaults that apply to it, in the file's order."""
    defaults = shape.tables.defaults or DefaultsTable()
    return {
        name: _filled(name, table, defaults, shape) for name, table in shape.tables.hosts.items()
    }


def misplaced(key: str, kind: Kind | None, via: Via | None) -> str | None:
    """Return what a key belongs to, as TOML, if that is not this kind or way; else None."""
    kinds = _KINDS.get(key)
    if kinds is not None and kind is not None and kind not in kinds:
        return " or ".join(f'kind = "{one}"' for one in kinds)
    needed = _VIAS.get(key)
    if needed is not None and via is not None and via != needed:
        return f'via = "{needed}"'
    return None


def endpoint_name(endpoint: EndpointTable) -> str | None:
    """Return the name that an endpoint is asked for; None where only an IP address is known."""
    if endpoint.server_name is not None or endpoint.address is None:
        return endpoint.server_name
    return None if ip(endpoint.address.host) else endpoint.address.host


def names_of(table: CertificateTable) -> tuple[str, ...]:
    """Return a certificate's names in their usual form; empty where the inventory does not tell."""
    with suppress(ValueError):
        return tuple(certificate_name(name) for name in table.names or ())
    return ()


def effective_issuance(table: CertificateTable, acme: AcmeTable | None) -> AcmeTable:
    """Return how a certificate is ordered: as if `[acme]` were for it alone.

    What `[acme]` says to its CA does not hold for a certificate that names another one.
    """
    shared = acme or AcmeTable()
    update: dict[str, object] = {
        key: getattr(table, key)
        for key in IssuanceKeys.model_fields
        if getattr(table, key) is not None
    }
    if is_elsewhere(table, acme):
        update = dict.fromkeys(OF_ITS_CA) | update
    return shared.model_copy(update=update)


def is_elsewhere(table: CertificateTable, acme: AcmeTable | None) -> bool:
    """Tell whether a certificate is ordered from another CA than the one that `[acme]` names."""
    if table.ca is None or acme is None or acme.ca is None:
        return False
    return directory_url(table.ca) != directory_url(acme.ca)


def chosen_certificate(
    name: str | None, delivered: Sequence[str], names: Mapping[str, Iterable[str]]
) -> str:
    """Return which of the delivered certificates an endpoint serves that names none itself.

    It is the first that covers its name; else the first whose names are not known before it is
    seen; else the first.
    """
    if name is not None:
        for one in delivered:
            if covers(names.get(one, ()), name):
                return one
        for one in delivered:
            if not names.get(one):
                return one
    return delivered[0]


def sourced(shape: Shape, host: str) -> tuple[str, ...]:
    """Return the certificates that come from a host."""
    return tuple(
        name
        for name, table in shape.tables.certificates.items()
        if table.source == "diskstation" and table.from_ == host
    )


def own_endpoint(host: EffectiveHost) -> EndpointTable:
    """Return the endpoint of a device for which the inventory lists none: its own HTTPS port."""
    return EndpointTable.model_construct(
        address=SocketAddress(host.table.address or "", host.https_port),
        server_name=host.table.server_name,
    )


def _filled(name: str, table: HostTable, defaults: DefaultsTable, shape: Shape) -> EffectiveHost:
    kind = table.kind if shape.given("hosts", name, "kind") else defaults.kind
    via = table.via if shape.given("hosts", name, "via") else defaults.via
    has_tables = shape.given("hosts", name, "deliver")
    update = {
        key: getattr(defaults, key)
        for key in SharedHostKeys.model_fields
        if getattr(defaults, key) is not None
        and not shape.given("hosts", name, key)
        and not (has_tables and key in EntryKeys.model_fields)
        and misplaced(key, kind, via) is None
    }
    return EffectiveHost(name, table.model_copy(update=update), frozenset(update))
