"""What the schema cannot tell about hosts: what is missing, contradicts, or leads nowhere."""

from collections.abc import Iterator, Mapping
from typing import Final

from distributor.inventory.effective import (
    ENTRY_KEYS,
    PEM_KEYS,
    EffectiveHost,
    PlacedDelivery,
    chosen_certificate,
    effective_hosts,
    endpoint_name,
    misplaced,
    names_of,
    sourced,
)
from distributor.inventory.locate import KeyPath
from distributor.inventory.schema import EndpointTable, HostTable
from distributor.inventory.shape import Finding, Shape, value_at
from distributor.inventory.values import did_you_mean
from distributor.model.bundle import covers
from distributor.model.text import printable

_REQUIRED: Final[Mapping[str, str]] = {
    "kind": '"diskstation", "router" or "files"',
    "via": '"api" or "ssh"',
    "address": "the host's name or IP address",
    "user": "the account to log in with, here or in [defaults]",
}


def check_hosts(shape: Shape) -> Iterator[Finding]:
    """Find everything that is wrong with `[hosts]` and with what `[defaults]` gives them."""
    names = {name: names_of(table) for name, table in shape.tables.certificates.items()}
    written: dict[tuple[object, ...], str] = {}
    for host in effective_hosts(shape).values():
        yield from _keys(shape, host)
        if host.table.kind == "files":
            yield from _pem_files(shape, host)
            yield from _written_twice(host, written)
        deliveries = host.deliveries()
        yield from _deliveries(shape, host, deliveries)
        yield from _entries(shape, host, deliveries)
        yield from _endpoints(shape, host, deliveries, names)


def _keys(shape: Shape, host: EffectiveHost) -> Iterator[Finding]:
    kind, via = host.table.kind, host.table.via
    for key, what in _REQUIRED.items():
        if not shape.given(*host.at(key)):
            yield Finding(host.at(key), f"is missing: {what}")
    if via == "api" and kind != "files" and not shape.given(*host.at("password")):
        yield Finding(
            host.at("password"), 'is missing: via = "api" needs one, such as { env = "NAME" }'
        )
    if shape.given(*host.at("identity_passphrase")) and not shape.given(*host.at("identity")):
        yield Finding(host.at("identity_passphrase"), "belongs to identity, which is missing")
    if kind == "files" and via == "api":
        yield Finding(host.at("via"), 'must be "ssh": kind = "files" is reached by no other way')
    for key in HostTable.model_fields:
        owner = misplaced(key, kind, None) or misplaced(key, None, via)
        if owner and shape.given("hosts", host.name, key):
            yield Finding(("hosts", host.name, key), f"belongs to {owner}")


def _pem_files(shape: Shape, host: EffectiveHost) -> Iterator[Finding]:
    if not any(shape.given("hosts", host.name, key) for key in PEM_KEYS):
        yield Finding(host.at("fullchain"), f"is missing: at least one of {', '.join(PEM_KEYS)}")
    if not shape.given("hosts", host.name, "endpoints"):
        yield Finding(
            host.at("endpoints"),
            "is missing: the ports that prove the delivery, or [] if there is none",
        )


def _written_twice(
    host: EffectiveHost, written: dict[tuple[object, ...], str]
) -> Iterator[Finding]:
    """Find paths that are to hold two things; `written` has those of the hosts before."""
    table = host.table
    for key in PEM_KEYS:
        path = getattr(table, key)
        if path is None:
            continue
        place = f"hosts.{host.name}.{key}"
        other = written.setdefault((table.address, host.login_port, path), place)
        if other != place:
            yield Finding(host.at(key), f"is the same file as {printable(other)}")
    holds_key = table.private_key is not None or table.combined is not None
    if holds_key and table.mode is not None and not table.mode.endswith("0"):
        yield Finding(
            host.at("mode"),
            "gives rights on the private key to everybody on the host: its last digit must be 0",
        )


def _deliveries(
    shape: Shape, host: EffectiveHost, deliveries: tuple[PlacedDelivery, ...]
) -> Iterator[Finding]:
    path: KeyPath = ("hosts", host.name)
    if shape.given(*path, "deliver"):
        for key in ("certificate", *ENTRY_KEYS):
            if shape.given(*path, key):
                yield Finding((*path, key), "contradicts deliver: write it in one of its tables")
    elif not shape.given(*host.at("certificate")):
        gives = sourced(shape, host.name)
        cure = f"; deliver = [] if it only gives {', '.join(gives)}" if gives else ""
        yield Finding(
            host.at("certificate"),
            f"is missing: the NAME of a [certificates.NAME], here or in [defaults]{cure}",
        )
    if host.table.deliver == [] and not sourced(shape, host.name):
        yield Finding((*path, "deliver"), "must hold at least one delivery")
    for delivery in deliveries:
        yield from _delivery(shape, host, delivery)


def _delivery(shape: Shape, host: EffectiveHost, delivery: PlacedDelivery) -> Iterator[Finding]:
    name, known = delivery.table.certificate, shape.tables.certificates
    place = delivery.at("certificate")
    if not shape.given(*place):
        yield Finding(place, "is missing: the NAME of a [certificates.NAME]")
    elif name is not None and name not in known:
        yield Finding(place, f"there is no certificate of this name{did_you_mean(name, known)}")
    for key in ENTRY_KEYS if host.table.deliver is not None else ():
        owner = misplaced(key, host.table.kind, None)
        if owner and shape.given(*delivery.path, key):
            yield Finding(delivery.at(key), f"belongs to {owner}")


def _entries(
    shape: Shape, host: EffectiveHost, deliveries: tuple[PlacedDelivery, ...]
) -> Iterator[Finding]:
    """Find contradictions about the entries of one device."""
    if host.table.kind == "files":
        for delivery in deliveries[1:]:
            yield Finding(delivery.path, "is a second certificate for the same files")
        return
    if host.table.kind == "router":
        for delivery in deliveries[1:]:
            yield Finding(delivery.path, "is a second certificate for a router, which holds one")
        return
    entries: dict[tuple[str, str], PlacedDelivery] = {}
    default: PlacedDelivery | None = None
    for delivery in deliveries:
        kind, value = delivery.entry
        if not value:
            continue
        first = entries.setdefault(delivery.entry, delivery)
        place = delivery.at(kind) if shape.given(*delivery.at(kind)) else delivery.path
        if first is not delivery:
            yield Finding(
                place,
                f'goes to the entry with the {kind} "{printable(value)}", as '
                f"deliver[{first.path[-1]}] does: give each its own id or description",
            )
        if _is_own_entry(shape, host, delivery):
            yield Finding(place, "is the very entry of this host that the certificate comes from")
        if delivery.table.default and default is not None:
            yield Finding(
                delivery.at("default"),
                f"is a second default: deliver[{default.path[-1]}] has it already",
            )
        default = default or (delivery if delivery.table.default else None)


def _is_own_entry(shape: Shape, host: EffectiveHost, delivery: PlacedDelivery) -> bool:
    source = shape.tables.certificates.get(delivery.table.certificate or "")
    if source is None or source.source != "diskstation" or source.from_ != host.name:
        return False
    return delivery.entry in {("id", source.id), ("description", source.description)}


def _endpoints(
    shape: Shape,
    host: EffectiveHost,
    deliveries: tuple[PlacedDelivery, ...],
    names: Mapping[str, tuple[str, ...]],
) -> Iterator[Finding]:
    delivered = [one.table.certificate for one in deliveries if one.table.certificate in names]
    seen: dict[tuple[object, object], int] = {}
    for index, endpoint in enumerate(host.table.endpoints or ()):
        path: KeyPath = ("hosts", host.name, "endpoints", index)
        if endpoint.address is None:
            written = value_at(shape.document, path)
            if isinstance(written, dict) and "address" not in written:
                yield Finding((*path, "address"), 'is missing: "name:port"')
            continue
        key = (endpoint.address, endpoint_name(endpoint))
        if key in seen:
            yield Finding((*path, "address"), f"is the same endpoint as endpoints[{seen[key]}]")
        seen.setdefault(key, index)
        yield from _coverage(path, endpoint, [one for one in delivered if one], names)


def _coverage(
    path: KeyPath,
    endpoint: EndpointTable,
    delivered: list[str],
    names: Mapping[str, tuple[str, ...]],
) -> Iterator[Finding]:
    """Find out whether the certificate is valid for the name that the endpoint is asked for."""
    named = endpoint.certificate
    if named is not None and named not in names:
        yield Finding(
            (*path, "certificate"),
            f"there is no certificate of this name{did_you_mean(named, names)}",
        )
        return
    if named is not None and delivered and named not in delivered:
        yield Finding((*path, "certificate"), "is not delivered to this host")
    name = endpoint_name(endpoint)
    if name is None or not (named or delivered):
        return
    certificate = named or chosen_certificate(name, delivered, names)
    if names[certificate] and not covers(names[certificate], name):
        key = "server_name" if endpoint.server_name is not None else "address"
        who = (
            f'"{printable(certificate)}"'
            if named or len(delivered) == 1
            else "any delivered certificate"
        )
        yield Finding((*path, key), f'"{name}" is not among the names of {who}')
