"""A rig around a virtual router of the lab: one certificate, which serves everything."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from distributor.clients.srm import SrmSession
from distributor.clients.tls import probe
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import Knobs, Profile
from distributor.lab.material import Material
from distributor.model.bundle import Bundle
from distributor.model.endpoints import Served
from distributor.model.hosts import Endpoint, Host, SocketAddress
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.router_api import RouterApi
from distributor.targets.router_facts import ENTRY
from tests.contract.lab_rig import QUICK, LabRig, bring, place, short_sleep
from tests.contract.scenarios import OWN_PORT, Scenario
from tests.contract.target_laws import Raw, RawEntry


@cache
def _factory() -> Material:
    return factory_certificate("gate", is_router=True)


class RouterRig(LabRig):
    def __init__(self, box: DiskStation, scenario: Scenario, folder: Path) -> None:
        super().__init__(box, scenario, folder)
        self.host = Host(
            name="gate",
            kind="router",
            via="api",
            address="127.0.0.1",
            access=self.access,
            deliveries=scenario.deliveries,
            endpoints=tuple(
                Endpoint(
                    address=SocketAddress(
                        "127.0.0.1", box.port if name == OWN_PORT else box.https_port
                    ),
                    certificate=certificate,
                )
                for name, certificate in scenario.proved.items()
            ),
        )
        self._is_hidden = False

    def target(self) -> Target:
        return RouterApi(
            self.host, self.connect, self.store.bundles.by_leaf, lambda: datetime.now(UTC)
        )

    def connect(self) -> SrmSession:
        return SrmSession(self.http(), self.account(), sleep=short_sleep, patience=self.patience)

    def served(self) -> tuple[Served, ...]:
        self.box.wait_until_serving()
        return () if self._is_hidden else tuple(map(probe, self.host.endpoints))

    def raw(self) -> Raw:
        (held,) = self.box.snapshot()["entries"].values()
        entry = RawEntry(ENTRY.name, held["leaf"], tuple(held["chain"]), held["key"])
        return Raw(entries={ENTRY.id: entry}, bindings={}, default=None)

    def hide(self, entry_id: str) -> None:
        assert entry_id == ENTRY.id
        self._is_hidden = True

    def meddle(self, service: str | None) -> None:
        assert service is None, "it has no services"

    def replace(self, entry_id: str, bundle: Bundle) -> None:
        assert entry_id == ENTRY.id
        bring(self.box, bundle, ENTRY.name, "")

    @property
    def proved_ids(self) -> frozenset[str]:
        return frozenset()


@contextmanager
def router_rig(
    scenario: Scenario, folder: Path, profile: Profile, knobs: Knobs = QUICK
) -> Iterator[RouterRig]:
    """Give a router that holds what the scenario says; `knobs` work from its first request on."""
    box = DiskStation("gate", profile=profile, knobs=knobs, factory=_factory())
    place(box, Store(folder), scenario)
    with box:
        yield RouterRig(box, scenario, folder)
