"""A fleet of devices in memory over many nights: what befalls it, and what each run must not do.

The devices, the CA and the zone are virtual; the state folder lies on the disk, and whom to believe
that it is a host is judged as in a run. Nothing is patched but time and, for a full disk, how a
file is written.
"""

import errno
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

from distributor.access import trust_for
from distributor.model.bundle import Bundle, Certificate, assemble
from distributor.model.endpoints import Served
from distributor.model.errors import DeviceRefused, DistributorError, Unreachable
from distributor.model.holds import Hold
from distributor.model.hosts import (
    ApiAccess,
    Delivery,
    Endpoint,
    Host,
    PlainSecret,
    Rollout,
    SocketAddress,
)
from distributor.model.report import Outcome, Report
from distributor.model.secret import Secret
from distributor.model.snapshot import Snapshot
from distributor.model.trust import PinnedLeaf
from distributor.obtaining import Obtained
from distributor.store import Store, files
from distributor.sync import Run, run
from distributor.targets.contract import Session, Target
from tests.certs import Issued, self_signed
from tests.contract.memory_target import FACTORY, MemoryDevice, MemoryTarget
from tests.simulation.clock import Clock
from tests.simulation.virtual_authority import Issued as IssuedByCa
from tests.simulation.virtual_authority import Killed, issuer
from tests.simulation.world import NAMES, World

HOSTS = ("attic", "cellar", "garage", "office", "studio")
DSM, FTPS, DRIVE = "system/default", "smbftpd/ftpd", "SynologyDrive/SynologyDrive"
SERVICES = {DSM: "DSM Desktop Service", FTPS: "FTPS", DRIVE: "Synology Drive Server"}
PORTS = {5001: DSM, 21: FTPS}
DECOY = "decoy1"
PINNED_FROM = datetime.fromisoformat("2020-01-01T00:00:00+00:00")

How = Literal["off", "cut", "cut after", "gone", "refused", "nothing", "unknown"]
"""What befalls a device from its n-th write on: `off` from the first look on; `cut` and `cut after`
the one write, before or after its effect; `gone` from then on; `refused` that write and all that
follow; `nothing` says success of it and does nothing; `unknown` is a mistake of ours."""
HOW: tuple[How, ...] = ("off", "cut", "cut after", "gone", "refused", "nothing", "unknown")


@dataclass(frozen=True)
class Fault:
    how: How
    nth: int


@dataclass(frozen=True)
class Night:
    """What happens in one night; the defaults are a quiet one."""

    faults: Mapping[str, Fault] = field(default_factory=dict)
    killed_at: int = 0
    """The process ends at this step of all that it does outside of itself."""
    disk_full_at: int = 0
    """No file can be written from this one on."""
    skew: timedelta = timedelta(0)
    """By how much the controller's clock is wrong."""
    meddled: Mapping[str, str] = field(default_factory=dict)
    """What somebody does on a host before."""
    quick: bool = False
    parallel: int = 1
    canary: str | None = None


class Device(MemoryDevice):
    """A device of the fleet, which may be in trouble."""

    fault: Fault | None = None
    seen: int = 0

    def trouble(self, fault: Fault | None) -> None:
        self.fault, self.seen = fault, 0

    def state(self) -> tuple[Any, ...]:
        """All that it holds."""
        return dict(self.entries), dict(self.bindings), self.default

    @property
    def is_off(self) -> bool:
        fault = self.fault
        if fault is None:
            return False
        return fault.how == "off" or (fault.how == "gone" and self.seen >= fault.nth)

    @contextmanager
    def call(self, kind: str) -> Iterator[None]:
        fault = self.fault
        if fault is not None:
            self.seen += kind == "write"
            self._before(fault, kind)
        before = self.state()
        with super().call(kind):
            yield
        if fault is not None and kind == "write" and self.seen == fault.nth:
            if fault.how == "nothing":
                self.entries, self.bindings, self.default = before
            if fault.how == "cut after":
                raise Unreachable("cut after it was done", step="test")

    def _before(self, fault: Fault, kind: str) -> None:
        if self.is_off:
            raise Unreachable("it is off", step="test")
        is_it = kind == "write" and self.seen == fault.nth
        if is_it and fault.how == "cut":
            raise Unreachable("cut before it was done", step="test")
        if is_it and fault.how == "unknown":
            raise ZeroDivisionError
        if kind == "write" and self.seen >= fault.nth and fault.how == "refused":
            raise DeviceRefused("no", hint="look", step="test", code=117)


@dataclass
class Steps:
    """Counts what the process does outside of itself, and ends it at one step."""

    goal: int = 0
    done: int = 0
    is_dead: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, what: str) -> None:
        with self.lock:
            self.done += 1
            self.is_dead = self.is_dead or self.done == self.goal
            if self.is_dead:
                raise Killed(what)


@dataclass
class Fleet:
    """Hosts, a world to obtain certificates in, and a state folder."""

    world: World
    devices: dict[str, Device]
    random: Random
    complaints: list[str] = field(default_factory=list)
    due: int = 0
    """Orders that were due: the nights on which a certificate came to be due."""
    kills: int = 0
    ends: dict[str, str] = field(default_factory=dict)
    """How each host ended in the last run that came to its end."""
    told: list[str] = field(default_factory=list)
    """What each run said, for a reader of a failure."""
    seen: set[str] = field(default_factory=set)
    """Every end that any host had."""
    was_due: bool = False

    @property
    def clock(self) -> Clock:
        return self.world.clock

    def store(self) -> Store:
        return Store(self.world.folder)

    def host(self, name: str) -> Host:
        return Host(
            name=name,
            kind="diskstation",
            via="api",
            address=name,
            access=ApiAccess(port=5001, user="certs", password=PlainSecret(Secret("none"))),
            deliveries=(Delivery(certificate="home", default=name == HOSTS[0]),),
            endpoints=(
                Endpoint(address=SocketAddress(name, 5001), certificate="home", service=DSM),
                Endpoint(address=SocketAddress(name, 21), certificate="home", service="FTPS"),
            ),
        )

    def pin(self) -> None:
        """Do what a person does first: pin what every host serves."""
        for name, device in self.devices.items():
            self.store().trust.pin(name, self.pinned(device, PINNED_FROM, by="trust"))

    @staticmethod
    def pinned(device: Device, since: datetime, *, by: str) -> PinnedLeaf:
        leaf = device.entries[device.bindings[DSM]][1].certificate("home")
        assert leaf.not_after is not None
        return PinnedLeaf(leaf=leaf.leaf, not_after=leaf.not_after, since=since, by=by)

    def current(self) -> str | None:
        """The leaf of what the store holds."""
        stored = self.store().bundles.current("home")
        return stored.bundle.certificate("home").leaf if stored is not None else None

    def served(self, name: str) -> set[str]:
        device = self.devices[name]
        return {
            device.entries[device.bindings[service]][1].certificate("home").leaf
            for service in PORTS.values()
        }

    def night(self, at: datetime, night: Night, named: frozenset[str] = frozenset()) -> None:
        """Run once, and note what is wrong afterwards."""
        self.clock.time = max(at, self.clock.time)
        for name, deed in night.meddled.items():
            meddle(self, name, deed)
        for name, device in self.devices.items():
            device.trouble(night.faults.get(name))
        before = {name: device.state() for name, device in self.devices.items()}
        orders, held = self.world.orders, self.world.held()
        shown = self.clock.now() + night.skew
        was_due = self._is_due(held, shown)
        report = self._run(night, named)
        is_due = was_due or self._is_due(held, self.clock.now() + night.skew)
        self.due += is_due and not self.was_due
        new = self.world.held()
        self.was_due = is_due and new is held
        made = self.world.orders - orders
        if made > is_due:
            self._complain(at, f"{made} orders though {'one was' if is_due else 'none was'} due")
        if report is not None:
            self.ends = {one.host: one.status for one in report.hosts}
            self.told += _words(at, report)
            self.seen |= set(self.ends.values())
            for one in report.hosts:
                self._look_at(at, one, before[one.host], self.current())
        for name, device in self.devices.items():
            self._look_at_decoy(at, name, device)

    def _is_due(self, held: IssuedByCa | None, shown: datetime) -> bool:
        """Tell whether a certificate is due by the controller's clock."""
        if held is None or self.world.is_due(held, shown):
            return True
        ca = self.world.ca_of(held)
        return ca.has_ari and ca.window(held, self.clock.now())[0] <= shown

    def _run(self, night: Night, named: frozenset[str]) -> Report | None:
        """Return the report, or None where the run was killed."""
        steps = Steps(night.killed_at)
        store = self.store()

        def now() -> datetime:
            return self.clock.now() + night.skew

        source = replace(self.world.source(), store=store, now=now)
        for ca in self.world.cas:
            ca.on_request = steps.step
        for device in self.devices.values():
            device.on_call = lambda kind, when: (
                steps.step("device") if kind == "write" or when == "before" else None
            )
        order = Run(
            sources={"home": source},
            hosts=[self.host(name) for name in self.devices],
            rollout=Rollout(parallel=night.parallel, canary=night.canary),
            accepted=dict.fromkeys(self.devices, frozenset({"untrusted-issuer"})),
            quick=night.quick,
            named=named,
        )

        def tools(obtained: Mapping[str, Obtained]) -> Tools:
            return Tools(self, store, obtained, now)

        try:
            with writing(steps, night.disk_full_at), store.lock():
                report = run(order, tools, Deaf(), threading.Event(), now)
                store.snapshots.prune(now())
                store.prune(now())
                return report
        except Killed:
            self.kills += 1
            return None

    def _look_at(self, at: datetime, one: Outcome, before: object, current: str | None) -> None:
        """Hold what is said of a host against what it is."""
        is_as_before = self.devices[one.host].state() == before
        if one.status in {"changed", "unchanged"} and self.served(one.host) != {current}:
            self._complain(at, f"{one.host} ends {one.status} and does not serve what is current")
        is_untouched = one.status not in {"changed", "broken"}
        if is_untouched and not is_as_before:
            self._complain(at, f"{one.host} ends {one.status} and is not as it was")

    def _look_at_decoy(self, at: datetime, name: str, device: Device) -> None:
        if device.bindings[DRIVE] != DECOY or device.entries[DECOY] != ("a decoy", decoy()):
            self._complain(at, f"{name}: what is not ours was changed")

    def _complain(self, at: datetime, what: str) -> None:
        self.complaints.append(f"{at:%m-%d}: {what}")


def _words(at: datetime, report: Report) -> list[str]:
    ends: list[tuple[str, str, DistributorError | None]] = [
        (one.name, one.status, one.error) for one in report.certificates
    ]
    ends += [(one.host, one.status, one.error) for one in report.hosts]
    return [f"{at:%m-%d} {name} {status} {error or ''}" for name, status, error in ends]


class Deaf:
    """Hears nothing."""

    def certificate(self, name: str, text: str) -> None:
        """Take a line."""

    def ended(self, outcome: Outcome) -> None:
        """Take an outcome."""


@dataclass(frozen=True)
class Tools:
    """`delivery.Tools` over the fleet's devices and a state folder on the disk."""

    fleet: Fleet
    store: Store
    obtained: Mapping[str, Obtained]
    now: Callable[[], datetime]

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        return tuple(map(self._served, endpoints))

    def _served(self, endpoint: Endpoint) -> Served:
        device = self.fleet.devices[endpoint.address.host]
        if device.is_off:
            return Served(endpoint=endpoint, error=Unreachable("it is off", step="handshake"))
        entry = device.bindings[PORTS[endpoint.address.port]]
        shown = device.entries[entry][1].certificate(endpoint.certificate)
        return Served(endpoint=endpoint, certificate=shown)

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        return Pinned(host, self.fleet.devices[host.name], self, tuple(certificates.values()))

    def versions(self, certificate: str) -> tuple[Certificate, ...]:
        return self.store.bundles.certificates(certificate)

    def keep(self, snapshot: Snapshot) -> None:
        self.store.snapshots.save(replace(snapshot, taken=self.now()))

    def snapshot(self, host: str) -> Snapshot | None:
        return self.store.snapshots.last(host)

    def undoing(self, host: str) -> None:
        self.store.snapshots.mark(host, undoing=True)

    def revoked_leaves(self) -> frozenset[str]:
        return self.store.bundles.revoked_leaves()

    def compromised_keys(self) -> frozenset[str]:
        return self.store.bundles.compromised_keys()

    def hold(self, host: str) -> Hold | None:
        return self.store.holds.of(host)

    def put_hold(self, host: str, hold: Hold | None) -> None:
        self.store.holds.put(host, hold)

    def remember(self, host: Host) -> None:
        device = self.fleet.devices[host.name]
        if device.is_off:
            raise Unreachable("it is off", step="remember")
        pin = Fleet.pinned(device, self.now(), by="delivery")
        known = self.store.trust.pinned(host.name)
        if known is None or known.leaf != pin.leaf:
            self.store.trust.pin(host.name, pin)
        self.store.snapshots.mark(host.name, undoing=False)

    def sleep(self, seconds: float) -> None:
        self.fleet.clock.pass_by(timedelta(seconds=seconds))

    def step(self, host: str, text: str) -> None:
        """Hear nothing."""


@dataclass(frozen=True)
class Pinned:
    """A device that is signed in to only if it is believed to be the host."""

    host: Host
    device: Device
    tools: Tools
    certificates: tuple[Certificate, ...]

    def desired(self, certificates: Mapping[str, Certificate]) -> Any:
        return MemoryTarget(self.host, self.device).desired(certificates)

    @contextmanager
    def open(self) -> Iterator[Session]:
        access = self.host.access
        assert isinstance(access, ApiAccess)
        trust = trust_for(self.host, access, self.tools.store, self.certificates)
        trust.check(self.device.entries[self.device.bindings[DSM]][1].leaf, self.tools.now())
        with MemoryTarget(self.host, self.device).open() as session:
            yield session


@contextmanager
def writing(steps: Steps, disk_full_at: int) -> Iterator[None]:
    """Let every file that is written be a step, and the disk be full at times."""
    create, written = files.create, 0

    def watched(path: Path, content: bytes) -> None:
        nonlocal written
        steps.step("file")
        written += 1
        if disk_full_at and written >= disk_full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        create(path, content)

    files.create = watched
    try:
        yield
    finally:
        files.create = create


_MADE: dict[str, Bundle] = {}


def _kept(name: str, make: Callable[[], Issued]) -> Bundle:
    if name not in _MADE:
        issued = make()
        _MADE[name] = assemble(
            certificate=issued.certificate_pem,
            chain=issued.chain_pem,
            private_key=issued.private_key_pem,
        )
    return _MADE[name]


def factory() -> Bundle:
    return _kept("factory", lambda: self_signed(["synology"]))


def decoy() -> Bundle:
    return _kept("decoy", lambda: self_signed(["drive.decoy.test"]))


def by_hand() -> Bundle:
    """What somebody uploads: with our names, and issued before anything of ours."""
    start = PINNED_FROM + timedelta(days=30)
    return _kept(
        "by hand",
        lambda: issuer().issue(NAMES, not_before=start, not_after=start + timedelta(days=3650)),
    )


def new_device() -> Device:
    return Device(
        services=SERVICES,
        entries={FACTORY: ("", factory()), DECOY: ("a decoy", decoy())},
        bindings={DSM: FACTORY, FTPS: FACTORY, DRIVE: DECOY},
    )


MEDDLING = ("moves FTPS back", "moves both back", "removes ours", "replaces ours")


def meddle(fleet: Fleet, name: str, deed: str) -> None:
    """Do what a person does at the box itself, who then pins what it serves."""
    device = fleet.devices[name]
    ours = [known for known, (described, _) in device.entries.items() if described == "home"]
    if deed == "replaces ours":
        device.entries |= dict.fromkeys(ours, ("home", by_hand()))
    else:
        device.bindings[FTPS] = FACTORY
    if deed in {"moves both back", "removes ours"}:
        device.bindings[DSM] = FACTORY
    if deed == "removes ours":
        device.default = FACTORY
        for known in ours:
            del device.entries[known]
    fleet.store().trust.pin(name, fleet.pinned(device, fleet.clock.now(), by="trust"))
