"""What a TLS handshake on an endpoint showed."""

from collections.abc import Sequence
from dataclasses import dataclass

from distributor.model.bundle import Certificate
from distributor.model.errors import HostError, VerifyFailed
from distributor.model.hosts import Endpoint
from distributor.model.text import printable


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one endpoint showed, in words that outlive the run and a change of the inventory."""

    address: str
    server_name: str | None
    starttls: str | None
    leaf: str
    chain: tuple[str, ...]

    def is_of(self, endpoint: Endpoint) -> bool:
        """Tell whether it was that place that showed it."""
        return (self.address, self.server_name, self.starttls) == _place(endpoint)

    def is_shown_by(self, served: Served) -> bool:
        """Tell whether the same leaf and chain are served there."""
        seen = served.certificate
        return seen is not None and (seen.leaf, seen.chain) == (self.leaf, self.chain)


def shown_by(served: Sequence[Served]) -> tuple[Shown, ...]:
    """Return what is to be remembered of handshakes; an endpoint without an answer has nothing."""
    return tuple(
        Shown(
            address=address,
            server_name=server_name,
            starttls=starttls,
            leaf=one.certificate.leaf,
            chain=one.certificate.chain,
        )
        for one in served
        if one.certificate is not None
        for address, server_name, starttls in [_place(one.endpoint)]
    )


def _place(endpoint: Endpoint) -> tuple[str, str | None, str | None]:
    return str(endpoint.address), endpoint.server_name, endpoint.starttls


def all_serve(served: Sequence[Served], wanted: dict[str, Certificate]) -> bool:
    """Tell whether every endpoint serves the certificate that `wanted` has for it."""
    return all(
        one.serves(wanted[one.endpoint.certificate])
        for one in served
        if one.endpoint.certificate in wanted
    )


def astray_error(astray: Sequence[Served]) -> VerifyFailed:
    """Return the error that says what the first of these serves instead, and what to do."""
    one = astray[0]
    more = f" (and {len(astray) - 1} more)" if len(astray) > 1 else ""
    if one.error is not None:
        return VerifyFailed(
            f"{one.endpoint} does not prove it: {one.error.message}{more}",
            hint=one.error.hint,
            step="handshake",
        )
    shown = one.certificate
    serves = (
        f"{shown.leaf} ({', '.join(map(printable, shown.names)) or 'no names'}), issued by "
        f"{printable(shown.issued_by)}"
        if shown is not None
        else "nothing"
    )
    return VerifyFailed(
        f"{one.endpoint} serves {serves}{more}",
        hint="which service of the box answers there? Name it as `service` of this endpoint",
        step="handshake",
    )
