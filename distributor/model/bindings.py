"""Which services of a host use which certificate, and what proves it."""

from collections.abc import Sequence
from dataclasses import dataclass

from distributor.model.choice import services_behind
from distributor.model.endpoints import Served
from distributor.model.state import CERTIFICATE, LEAF, Address, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One service as its host reports it."""

    service: Address
    entry: Address | None
    """The certificate that it uses; None where the host does not tell."""
    leaf: str | None
    """Fingerprint of that certificate's leaf, where a handshake told it."""
    proved_by: tuple[Served, ...]
    """The endpoints behind which this service answers, and what each of them showed."""


def bindings(state: State, served: Sequence[Served]) -> tuple[Binding, ...]:
    """Return the bindings of `state`, in the order of the services' names.

    `served` is what the host's endpoints showed. An endpoint speaks for the service that it names,
    or that answers to its server name: the list of a host alone proves nothing.
    """
    found = {service: _behind(state, served, service) for service in state.of_kind("service")}
    return tuple(
        Binding(
            service=service,
            entry=entry if isinstance(entry := state.get(service, CERTIFICATE), Address) else None,
            leaf=_leaf(state, entry),
            proved_by=found[service],
        )
        for service in sorted(found)
    )


def _behind(state: State, served: Sequence[Served], service: Address) -> tuple[Served, ...]:
    return tuple(one for one in served if service in services_behind(state, one.endpoint))


def _leaf(state: State, entry: object) -> str | None:
    leaf = state.get(entry, LEAF) if isinstance(entry, Address) else None
    return leaf if isinstance(leaf, str) else None
