"""What a Synology router is to hold, however it is reached: one certificate for everything."""

from collections.abc import Mapping
from typing import Final

from distributor.model.bundle import Certificate
from distributor.model.errors import Ambiguous
from distributor.model.hosts import Host
from distributor.model.state import SAKE, Address, State
from distributor.targets.pem_facts import facts_wanted

ENTRY: Final = Address("certificate", "server certificate")
"""The one thing there is; SRM gives it no name of its own."""


def the_certificate(host: Host, certificates: Mapping[str, Certificate]) -> Certificate | None:
    """Return the one certificate that is delivered to a router, if it is known yet.

    Raises Ambiguous for several: it could hold but one of them.
    """
    names = host.certificates
    if len(names) > 1:
        raise Ambiguous(
            f"{host.name} has one certificate, and is to get {' and '.join(names)}",
            hint="keep one delivery of this host",
            step="plan",
        )
    return certificates.get(names[0]) if names else None


def desired_state(host: Host, certificates: Mapping[str, Certificate]) -> State:
    """Return leaf and chain of that certificate; raises Ambiguous for several."""
    certificate = the_certificate(host, certificates)
    if certificate is None:
        return State({})
    return State({ENTRY: facts_wanted(certificate) | {SAKE: certificate.name}})
