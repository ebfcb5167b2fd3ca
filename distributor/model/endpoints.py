"""What a TLS handshake on an endpoint showed."""

from collections.abc import Sequence
from dataclasses import dataclass

from distributor.model.bundle import Certificate
from distributor.model.errors import HostError
from distributor.model.hosts import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one endpoint served at one moment: a certificate, or the reason why none was seen."""

    endpoint: Endpoint
    certificate: Certificate | None = None
    """Leaf and chain exactly as the server sent them, unverified."""
    error: HostError | None = None

    def serves(self, wanted: Certificate) -> bool:
        """Tell whether it serves the wanted leaf with the wanted chain, link by link."""
        shown = self.certificate
        return shown is not None and shown.leaf == wanted.leaf and shown.chain == wanted.chain


def all_serve(served: Sequence[Served], wanted: dict[str, Certificate]) -> bool:
    """Tell whether every endpoint serves the certificate that `wanted` has for it."""
    return all(
        one.serves(wanted[one.endpoint.certificate])
        for one in served
        if one.endpoint.certificate in wanted
    )
