"""A rig around a virtual DiskStation of the lab."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from distributor.clients.dsm import DsmSession
from distributor.clients.tls import probe
from distributor.lab.box_state import DRIVE as DRIVE_SERVICE
from distributor.lab.box_state import DSM_DESKTOP, QUICKCONNECT, reverse_proxy
from distributor.lab.box_state import FTPS as FTPS_SERVICE
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import Knobs, Profile
from distributor.lab.material import Material
from distributor.model.bundle import Bundle
from distributor.model.endpoints import Served
from distributor.model.hosts import Endpoint, Host, SocketAddress
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_api import DiskstationApi
from tests.contract.lab_rig import QUICK, LabRig, bring, place, short_sleep
from tests.contract.scenarios import DSM, PROXY, Scenario
from tests.contract.target_laws import Raw, RawEntry

SERVICES = (DSM_DESKTOP, FTPS_SERVICE, DRIVE_SERVICE, reverse_proxy(PROXY), QUICKCONNECT)


@cache
def _factory() -> Material:
    return factory_certificate("attic")


class DiskstationRig(LabRig):
    def __init__(self, box: DiskStation, scenario: Scenario, folder: Path) -> None:
        super().__init__(box, scenario, folder)
        self.host = self._host()
        self._hidden: set[str] = set()

    def target(self) -> Target:
        return DiskstationApi(
            self.host, self.connect, self.store.bundles.by_leaf, lambda: datetime.now(UTC)
        )

    def connect(self) -> DsmSession:
        return DsmSession(self.http(), self.account(), sleep=short_sleep, patience=self.patience)

    def served(self) -> tuple[Served, ...]:
        self.box.wait_until_serving()
        bound = self.box.snapshot()["bindings"]
        ids = {one.display_name: one.key for one in SERVICES}
        return tuple(
            probe(one)
            for one in self.host.endpoints
            if bound[ids[one.service or PROXY]] not in self._hidden
        )

    def raw(self) -> Raw:
        held = self.box.snapshot()
        return Raw(
            entries={
                known: RawEntry(one["desc"], one["leaf"], tuple(one["chain"]), one["key"])
                for known, one in held["entries"].items()
            },
            bindings=held["bindings"],
            default=held["default"],
        )

    def hide(self, entry_id: str) -> None:
        self._hidden.add(entry_id)

    def meddle(self, service: str | None) -> None:
        bring(self.box, self.scenario.stranger, "somebody's", "since1")
        if service is not None:
            self.box.bind(service, "since1")

    def replace(self, entry_id: str, bundle: Bundle) -> None:
        known = self.box.snapshot()["entries"][entry_id]
        bring(self.box, bundle, known["desc"], entry_id)

    @property
    def proved_ids(self) -> frozenset[str]:
        ids = {one.display_name: one.key for one in SERVICES}
        return frozenset(ids[name] for name in self.scenario.proved)

    def _host(self) -> Host:
        box, ports = self.box, self.box.service_ports
        endpoints = tuple(
            Endpoint(
                address=SocketAddress(
                    "127.0.0.1",
                    box.port if name == DSM else ports.get(name, box.https_port),
                ),
                certificate=certificate,
                server_name=PROXY if name == PROXY else None,
                # Which rule of the reverse proxy answers is known by the name alone.
                service=None if name == PROXY else name,
            )
            for name, certificate in self.scenario.proved.items()
        )
        return Host(
            name="attic",
            kind="diskstation",
            via="api",
            address="127.0.0.1",
            access=self.access,
            deliveries=self.scenario.deliveries,
            endpoints=endpoints,
        )


@contextmanager
def diskstation_rig(
    scenario: Scenario, folder: Path, profile: Profile, knobs: Knobs = QUICK
) -> Iterator[DiskstationRig]:
    """Give a box that holds what the scenario says; `knobs` work from its first request on."""
    box = DiskStation("attic", profile=profile, services=SERVICES, knobs=knobs, factory=_factory())
    place(box, Store(folder), scenario)
    with box:
        yield DiskstationRig(box, scenario, folder)
