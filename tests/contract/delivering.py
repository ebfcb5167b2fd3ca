"""One host's work as a run does it, around a rig."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from distributor.clients.tls import probe
from distributor.delivery import Visit, deliver, observe
from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.holds import Hold
from distributor.model.hosts import Delivery, Endpoint, Host
from distributor.model.report import Outcome
from distributor.model.snapshot import Snapshot
from distributor.targets.contract import Target
from tests.contract.scenarios import DSM, FTPS, STRANGERS, Scenario, ours
from tests.contract.target_laws import Rig

WORK = Scenario(
    name="one entry replaced, a service moved, made default",
    placed=(*STRANGERS, ours()),
    deliveries=(Delivery(certificate="wild", services=(FTPS,), default=True),),
    proved={DSM: "wild", FTPS: "wild"},
)
ACCEPTED = frozenset({"untrusted-issuer", "fewer-names"})


@dataclass
class Bench:
    """`delivery.Tools` around one rig."""

    rig: Rig
    steps: list[str] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)
    at: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What a test does when the work comes to a step."""

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        return tuple(probe(one) for one in endpoints)

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:  # noqa: ARG002 - the rig's host
        return self.rig.target()

    def keep(self, snapshot: Snapshot) -> None:
        self.rig.store.snapshots.save(snapshot)

    def versions(self, certificate: str) -> tuple[Certificate, ...]:
        return self.rig.store.bundles.certificates(certificate)

    def hold(self, host: str) -> Hold | None:
        return self.rig.store.holds.of(host)

    def put_hold(self, host: str, hold: Hold | None) -> None:
        self.rig.store.holds.put(host, hold)

    def remember(self, host: Host) -> None:
        self.remembered.append(host.name)

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))

    def step(self, host: str, text: str) -> None:
        self.steps.append(f"{host}: {text}")
        self.at.get(text, lambda: None)()

    def run(self) -> Outcome:
        """One host's work, as a run does it."""
        found = self._observe(dry_run=False)
        if isinstance(found, Visit):
            return deliver(found, self.rig.scenario.bundles, self)
        return found

    def dry_run(self) -> Outcome:
        """What a dry run makes of it."""
        found = self._observe(dry_run=True)
        assert isinstance(found, Outcome)
        return found

    def _observe(self, *, dry_run: bool) -> Visit | Outcome:
        return observe(
            self.rig.host,
            self.rig.certificates,
            self,
            dry_run=dry_run,
            accepted=ACCEPTED,
            reviewed=None,
        )
