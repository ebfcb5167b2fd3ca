"""What the inventory wants of a DiskStation, whichever way it is reached."""

from collections.abc import Mapping

from distributor.model.bundle import Certificate
from distributor.model.choice import EVERY_SERVICE, SYSTEM_DEFAULT
from distributor.model.hosts import Delivery, Host
from distributor.model.state import (
    BEHIND,
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    ISSUED_BY,
    KEY,
    LEAF,
    NAMES,
    NOT_AFTER,
    SAKE,
    TAKES,
    Address,
    FactValue,
    State,
)
from distributor.model.times import rfc3339


def wanted_state(
    host: Host, certificates: Mapping[str, Certificate], *, with_keys: bool = False
) -> State:
    """Return entry, bindings and default of each delivery; `with_keys` where keys can be told."""
    facts: dict[Address, dict[str, FactValue]] = {}
    for delivery in host.deliveries:
        certificate = certificates.get(delivery.certificate)
        if certificate is None:
            continue
        entry = Address(
            "certificate", delivery.description or delivery.certificate, delivery.id or ""
        )
        facts[entry] = _entry_facts(certificate)
        if with_keys and certificate.key:
            facts[entry][KEY] = certificate.key
        if delivery.services == "keep":
            facts[entry][TAKES] = (SYSTEM_DEFAULT,)
        facts[entry][BEHIND] = _names_behind(host, delivery)
        for selector in _services(host, delivery):
            facts[Address("service", selector)] = {CERTIFICATE: entry}
        if delivery.default:
            facts[DEFAULT] = {CERTIFICATE: entry}
    return State(facts)


def _services(host: Host, delivery: Delivery) -> tuple[str, ...]:
    if delivery.services == "all":
        return (EVERY_SERVICE,)
    listed = () if delivery.services == "keep" else delivery.services
    behind = (
        endpoint.service
        for endpoint in host.endpoints
        if endpoint.service is not None and endpoint.certificate == delivery.certificate
    )
    return tuple(dict.fromkeys((*listed, *behind)))


def _names_behind(host: Host, delivery: Delivery) -> tuple[str, ...]:
    """Names of its endpoints that do not say which service answers there."""
    return tuple(
        endpoint.server_name
        for endpoint in host.endpoints
        if endpoint.certificate == delivery.certificate
        and endpoint.server_name is not None
        and endpoint.service is None
        and endpoint.starttls is None
    )


def _entry_facts(certificate: Certificate) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {
        SAKE: certificate.name,
        LEAF: certificate.leaf,
        NAMES: certificate.names,
    }
    if not certificate.is_forecast:
        facts[CHAIN] = certificate.chain
    if certificate.not_after is not None:
        facts |= {
            NOT_AFTER: rfc3339(certificate.not_after),
            ISSUED_BY: certificate.issued_by,
        }
    return facts
