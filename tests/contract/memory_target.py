"""The reference target: a device that is a few dicts, and a driver that keeps every law of targets.

Whoever writes a driver can read here what is meant: `inspect` reads, `apply` does what the plan
says and no more, `rollback` sets back what the snapshot knows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from distributor.model.bundle import Bundle, Certificate
from distributor.model.choice import EVERY_SERVICE, SYSTEM_DEFAULT
from distributor.model.endpoints import Served
from distributor.model.errors import ApplyFailed, DeviceRefused
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Host
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import (
    BEHIND,
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    ISSUED_BY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    SAKE,
    SELF_SIGNED,
    TAKES,
    UNREADABLE,
    UPLOADED,
    Address,
    FactValue,
    State,
)
from distributor.model.times import rfc3339

FACTORY: Final = "factory"
"""Id of the entry that the device made itself."""


@dataclass(slots=True)
class MemoryDevice:
    """Entries by id, bindings by service id. `on_call` hears of each call and may cut it."""

    services: Mapping[str, str]
    """Display name of each service, by id."""
    entries: dict[str, tuple[str, Bundle]]
    """Description and content."""
    bindings: dict[str, str]
    default: str = FACTORY
    hidden: set[str] = field(default_factory=set)
    """Entries whose content cannot be read."""
    writes: int = 0
    on_call: Callable[[str, str], None] = lambda _kind, _when: None
    """Takes "read" or "write", and "before" or "after"; raises a HostError to cut the call."""
    made: int = 0

    @contextmanager
    def call(self, kind: str) -> Iterator[None]:
        """Do one call of the device's interface."""
        self.on_call(kind, "before")
        yield
        self.writes += kind == "write"
        self.on_call(kind, "after")


@dataclass(frozen=True, slots=True)
class MemoryTarget:
    """One such device as a host of the inventory."""

    host: Host
    device: MemoryDevice

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        facts: dict[Address, dict[str, FactValue]] = {}
        for delivery in self.host.deliveries:
            if (wanted := certificates.get(delivery.certificate)) is None:
                continue
            description = delivery.description or delivery.certificate
            entry = Address("certificate", description, delivery.id or "")
            facts[entry] = {SAKE: wanted.name, LEAF: wanted.leaf, NAMES: wanted.names}
            if wanted.not_after is not None:
                facts[entry] |= {CHAIN: wanted.chain, NOT_AFTER: rfc3339(wanted.not_after)}
                facts[entry][ISSUED_BY] = wanted.issued_by
            if delivery.services == "keep":
                facts[entry][TAKES] = (SYSTEM_DEFAULT,)
            listed = delivery.services if isinstance(delivery.services, tuple) else ()
            ends = [e for e in self.host.endpoints if e.certificate == wanted.name]
            facts[entry][BEHIND] = tuple(
                e.server_name for e in ends if e.server_name is not None and e.service is None
            )
            proved = (e.service for e in ends)
            every = (EVERY_SERVICE,) if delivery.services == "all" else ()
            for selector in every or dict.fromkeys((*listed, *(s for s in proved if s))):
                facts[Address("service", selector)] = {CERTIFICATE: entry}
            if delivery.default:
                facts[DEFAULT] = {CERTIFICATE: entry}
        return State(facts)

    @contextmanager
    def open(self) -> Iterator["MemorySession"]:
        with self.device.call("read"):
            session = MemorySession(self.host, self.device)
        yield session


@dataclass(frozen=True, slots=True)
class MemorySession:
    """One login."""

    host: Host
    device: MemoryDevice

    @property
    def traits(self) -> Traits:
        return Traits()

    def inspect(self, served: Sequence[Served]) -> State:  # noqa: ARG002 - this device tells its leaves itself
        device = self.device
        with device.call("read"):
            known = {i: Address("certificate", desc, i) for i, (desc, _) in device.entries.items()}
            facts = {known[i]: self._facts(i) for i in known}
            for service, entry in device.bindings.items():
                name = Address("service", device.services[service], service)
                facts[name] = {CERTIFICATE: known[entry]}
            facts[DEFAULT] = {CERTIFICATE: known[device.default]}
            return State(facts)

    def foresee(self, plan: Plan) -> Foresight:  # noqa: ARG002 - this device gives everything away
        with self.device.call("read"):
            return Foresight()

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:  # noqa: ARG002 - nothing is lost
        changed = {change.address for change in plan.changes}
        entries = {one for one in changed if one.kind == "certificate"}
        with self.device.call("read"):
            return Snapshot(
                host=plan.host,
                taken=datetime.now(UTC),
                before=plan.observed,
                creates=tuple(one for one in entries if not one.id),
                pairs={one: self.device.entries[one.id][1] for one in entries if one.id},
            )

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        ids: dict[Address, str] = {}
        for change in plan.changes:
            entry = change.address
            if entry.kind == "certificate" and entry not in ids:
                ids[entry] = self._put(entry, bundles[change.certificate])
        for change in plan.changes:
            if isinstance(change.after, Address):
                self._use(change.address, ids.get(change.after, change.after.id))

    def remove(self, plan: Plan) -> None:
        for removal in plan.removals:
            if removal.address.id not in self.device.entries:
                continue
            used = {*self.device.bindings.values(), self.device.default}
            held = self.device.entries[removal.address.id][1].certificate("")
            planned = plan.observed.get(removal.address, NOT_AFTER)
            assert held.not_after is not None
            if removal.address.id in used or rfc3339(held.not_after) != planned:
                raise ApplyFailed(f"{removal.address} is used or another", hint="look", step="x")
            with self.device.call("write"):
                del self.device.entries[removal.address.id]

    def rollback(self, snapshot: Snapshot) -> None:
        before = snapshot.before
        for entry, bundle in snapshot.pairs.items():
            self._put(entry, bundle)
        for address, facts in before.facts.items():
            if isinstance(used := facts.get(CERTIFICATE), Address):
                self._use(address, used.id)
        kept = {entry.id for entry in before.of_kind("certificate")}
        made = {entry.id for entry in snapshot.creates if entry.id}
        called = {entry.name for entry in snapshot.creates if not entry.id}
        for known, (description, _) in list(self.device.entries.items()):
            if known not in kept and (known in made or description in called):
                with self.device.call("write"):
                    del self.device.entries[known]

    def _facts(self, entry_id: str) -> dict[str, FactValue]:
        shown = self.device.entries[entry_id][1].certificate("")
        hidden = entry_id in self.device.hidden
        assert shown.not_before is not None
        assert shown.not_after is not None
        return {
            LEAF: UNREADABLE if hidden else shown.leaf,
            CHAIN: UNREADABLE if hidden else shown.chain,
            NAMES: shown.names,
            NOT_BEFORE: rfc3339(shown.not_before),
            NOT_AFTER: rfc3339(shown.not_after),
            ISSUED_BY: shown.issued_by,
            MANAGED_BY: SELF_SIGNED if entry_id == FACTORY else UPLOADED,
        }

    def _put(self, entry: Address, bundle: Bundle) -> str:
        with self.device.call("write"):
            if entry.id and entry.id not in self.device.entries:
                raise DeviceRefused(f"no {entry}", hint="look at the device", step="put")
            self.device.made += not entry.id
            known = entry.id or f"made{self.device.made}"
            self.device.entries[known] = (entry.name, bundle)
            return known

    def _use(self, address: Address, entry_id: str) -> None:
        is_default = address == DEFAULT
        now = self.device.default if is_default else self.device.bindings[address.id]
        if now == entry_id:
            return
        with self.device.call("write"):
            if is_default:
                self.device.default = entry_id
            else:
                self.device.bindings[address.id] = entry_id
