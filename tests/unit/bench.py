"""Devices in memory with the tools to work on them, and a clock that only moves when one waits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributor.model.bundle import Bundle, Certificate, assemble
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError, Unreachable
from distributor.model.holds import Hold
from distributor.model.hosts import (
    ApiAccess,
    Delivery,
    Endpoint,
    Host,
    PlainSecret,
    SocketAddress,
)
from distributor.model.secret import Secret
from distributor.model.snapshot import Snapshot
from distributor.targets.contract import Session, Target
from tests.certs import DAY, NOW, hierarchy, self_signed
from tests.contract.memory_target import FACTORY, MemoryDevice, MemoryTarget

ISSUER = hierarchy(1)
NAMES = ("example.test", "*.example.test")
DSM, FTPS = "system/default", "smbftpd/ftpd"
SERVICES = {DSM: "DSM Desktop Service", FTPS: "FTPS"}
PORTS = {5001: DSM, 21: FTPS}
"""Which service answers at which port of every device."""


def issue(days: int = 90) -> Bundle:
    issued = ISSUER.issue(NAMES, not_after=NOW + days * DAY)
    return assemble(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
    )


def from_the_shop() -> MemoryDevice:
    own = self_signed(["synology"])
    bundle = assemble(certificate=own.certificate_pem, private_key=own.private_key_pem)
    return MemoryDevice(
        services=SERVICES,
        entries={FACTORY: ("", bundle)},
        bindings=dict.fromkeys(SERVICES, FACTORY),
    )


def host(name: str = "attic", **more: Any) -> Host:
    facts: dict[str, Any] = {
        "access": ApiAccess(port=5001, user="certs", password=PlainSecret(Secret("none"))),
        "deliveries": (Delivery(certificate="home"),),
        "endpoints": (
            Endpoint(address=SocketAddress(name, 5001), certificate="home"),
            Endpoint(address=SocketAddress(name, 21), certificate="home", service="FTPS"),
        ),
    }
    return Host(name=name, kind="diskstation", via="api", address=name, **(facts | more))


@dataclass
class Clock:
    """Stands still but for `sleep`."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """`delivery.Tools` over devices in memory."""

    devices: dict[str, MemoryDevice]
    clock: Clock = field(default_factory=Clock)
    errors: dict[SocketAddress, DistributorError] = field(default_factory=dict)
    """Endpoints that do not answer, and how."""
    stale: set[SocketAddress] = field(default_factory=set)
    """Endpoints that serve for ever what they served first."""
    keep_fails: DistributorError | None = None
    remember_fails: DistributorError | None = None
    kept: list[Snapshot] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)
    open_sessions: int = 0
    opened: int = 0
    on_open: Callable[[int], None] = lambda _count: None
    """Hears of each login, counted from 1, and may raise."""
    served_first: dict[SocketAddress, Certificate] = field(default_factory=dict)
    holds: dict[str, Hold | None] = field(default_factory=dict)
    being_undone: list[str] = field(default_factory=list)
    revoked: frozenset[str] = frozenset()
    compromised: frozenset[str] = frozenset()

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        return tuple(map(self._served, endpoints))

    def _served(self, endpoint: Endpoint) -> Served:
        error = self.errors.get(endpoint.address)
        if error is not None:
            assert isinstance(error, Unreachable)
            return Served(endpoint=endpoint, error=error)
        device = self.devices[endpoint.address.host]
        entry = device.bindings[PORTS[endpoint.address.port]]
        shown = device.entries[entry][1].certificate(endpoint.certificate)
        first = self.served_first.setdefault(endpoint.address, shown)
        return Served(
            endpoint=endpoint, certificate=first if endpoint.address in self.stale else shown
        )

    def target(self, host: Host, _certificates: Mapping[str, Certificate]) -> Target:
        return Counted(MemoryTarget(host, self.devices[host.name]), self)

    def keep(self, snapshot: Snapshot) -> None:
        if self.keep_fails is not None:
            raise self.keep_fails
        self.kept.append(snapshot)

    def versions(self, certificate: str) -> tuple[Certificate, ...]:  # noqa: ARG002 - no store is here
        return ()

    def snapshot(self, host: str) -> Snapshot | None:
        return next((one for one in reversed(self.kept) if one.host == host), None)

    def undoing(self, host: str) -> None:
        self.being_undone.append(host)

    def revoked_leaves(self) -> frozenset[str]:
        return self.revoked

    def compromised_keys(self) -> frozenset[str]:
        return self.compromised

    def hold(self, host: str) -> Hold | None:
        return self.holds.get(host)

    def put_hold(self, host: str, hold: Hold | None) -> None:
        self.holds[host] = hold

    def remember(self, host: Host) -> None:
        if self.remember_fails is not None:
            raise self.remember_fails
        self.remembered.append(host.name)

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds

    def step(self, host: str, text: str) -> None:
        self.steps.append((host, text))


@dataclass(frozen=True)
class Counted:
    """A target whose sessions are counted."""

    inner: MemoryTarget
    bench: Bench

    def desired(self, certificates: Mapping[str, Certificate]) -> Any:
        return self.inner.desired(certificates)

    @contextmanager
    def open(self) -> Iterator[Session]:
        self.bench.opened += 1
        self.bench.on_open(self.bench.opened)
        with self.inner.open() as session:
            self.bench.open_sessions += 1
            try:
                yield session
            finally:
                self.bench.open_sessions -= 1


def cut_at(nth: int, *, for_ever: bool = False) -> Callable[[str, str], None]:
    """Cut the n-th write of a device before it has its effect, and perhaps all that follow."""
    seen = 0

    def on_call(kind: str, when: str) -> None:
        nonlocal seen
        seen += kind == "write" and when == "before"
        if kind == "write" and when == "before" and (seen == nth or (for_ever and seen > nth)):
            raise Unreachable("cut on purpose", hint="on purpose", step="test")

    return on_call
