"""Hosts looked at and left as they are: handshakes, one login each, what they hold."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError
from distributor.model.hosts import Endpoint, Host
from distributor.model.state import State
from distributor.targets.contract import Target
from distributor.unexpected import known_errors

AT_ONCE: Final = 32
"""Hosts read at once: a dead one costs its own time-out and nobody else's."""


class Tools(Protocol):
    """What reading a host needs from outside; `wiring` gives it."""

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        """Shake hands with every endpoint."""

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        """Return the driver of a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one host showed: its state, or the error that kept us from seeing it."""

    host: Host
    served: tuple[Served, ...]
    state: State | None = None
    error: DistributorError | None = None


def read_all(
    hosts: Sequence[Host],
    certificates: Mapping[str, Certificate],
    tools: Tools,
) -> tuple[Reading, ...]:
    """Read every host, many at once; one that fails is a reading too. Changes nothing.

    `certificates` is what the store holds, by name: a host that serves it already is believed.
    """

    def look(host: Host) -> Reading:
        own = {name: certificates[name] for name in host.certificates if name in certificates}
        return read(host, own, tools)

    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="read") as pool:
        return tuple(pool.map(look, hosts))


def read(host: Host, certificates: Mapping[str, Certificate], tools: Tools) -> Reading:
    """Shake hands, sign in, look, sign out."""
    served = tools.probe(host.endpoints)
    try:
        with (
            known_errors(f"host={host.name}"),
            tools.target(host, certificates).open() as session,
        ):
            state = session.inspect(served)
    except DistributorError as error:
        return Reading(host=host, served=served, error=error)
    return Reading(host=host, served=served, state=state)
