"""A rig around a virtual DiskStation of the lab."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.tls import probe
from distributor.lab.accounts import Login
from distributor.lab.box_state import DRIVE as DRIVE_SERVICE
from distributor.lab.box_state import DSM_DESKTOP, QUICKCONNECT, reverse_proxy
from distributor.lab.box_state import FTPS as FTPS_SERVICE
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import Fault, Knobs, Profile
from distributor.lab.material import Material
from distributor.model.bundle import fingerprint
from distributor.model.endpoints import Served
from distributor.model.hosts import ApiAccess, Endpoint, Host, PlainSecret, SocketAddress
from distributor.model.secret import Secret
from distributor.model.trust import Trust
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_api import DiskstationApi
from tests.certs import NOW
from tests.contract.scenarios import DSM, PROXY, Scenario
from tests.contract.target_laws import Counted, Raw, RawEntry, Rig, When

QUICK = Knobs(restart_delay=0.002, restart_seconds=0.008)
SERVICES = (DSM_DESKTOP, FTPS_SERVICE, DRIVE_SERVICE, reverse_proxy(PROXY), QUICKCONNECT)
PATIENCE = 5.0


@cache
def _factory() -> Material:
    return factory_certificate("attic")


def short_sleep(seconds: float) -> None:
    """Wait as the product does, but no longer than a restart of these boxes needs."""
    time.sleep(min(seconds, 0.005))


class DiskstationRig(Rig):
    def __init__(self, box: DiskStation, scenario: Scenario, folder: Path) -> None:
        self.box = box
        self.scenario = scenario
        self.store = Store(folder)
        self.host = self._host()
        self._hidden: set[str] = set()
        self._armed: tuple[int, Counted] = (0, "writes")
        self._sessions: set[str] = set()
        self._listen_to_logins()

    def target(self) -> Target:
        return DiskstationApi(
            self.host, self.connect, self.store.bundles.by_leaf, lambda: datetime.now(UTC)
        )

    def connect(self) -> DsmSession:
        shown = [self.box.factory_certificate.leaf]
        shown += [one.bundle.leaf for one in self.scenario.placed]
        shown += [one.leaf for one in self.scenario.bundles.values()]
        trust = Trust(host=self.host.name, leaves=frozenset(map(fingerprint, shown)))
        http = PinnedHttp(SocketAddress("127.0.0.1", self.box.port), trust, None)
        return DsmSession(
            http,
            ADMIN.name,
            lambda: Secret(ADMIN.password),
            sleep=short_sleep,
            patience=PATIENCE,
        )

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

    @property
    def writes(self) -> int:
        return self.box.writes

    def hide(self, entry_id: str) -> None:
        self._hidden.add(entry_id)

    def cut(self, nth: int, when: When, counted: Counted) -> None:
        last = self.box._counted[counted] + nth
        self._armed = (last, counted)
        self.box.knobs = replace(self.box.knobs, faults=(Fault(last, when, counted),))

    def heal(self) -> bool:
        last, counted = self._armed
        self.box.knobs = replace(self.box.knobs, faults=())
        return self.box._counted[counted] >= last

    def stop(self) -> None:
        self.box.stop()

    def secrets(self) -> Iterable[str]:
        return {ADMIN.password, *self._sessions}

    def urls(self) -> Iterable[str]:
        assert not self.box.credentials_in_urls
        return (seen.target for seen in self.box.requests)

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
        password = PlainSecret(Secret(ADMIN.password))
        return Host(
            name="attic",
            kind="diskstation",
            via="api",
            address="127.0.0.1",
            access=ApiAccess(port=box.port, user=ADMIN.name, password=password),
            deliveries=self.scenario.deliveries,
            endpoints=endpoints,
        )

    def _listen_to_logins(self) -> None:
        log_in: Callable[..., Login] = self.box._accounts.login

        def noted(*arguments: Any) -> Login:
            login = log_in(*arguments)
            self._sessions |= {login.session.sid, login.session.token}
            return login

        self.box._accounts.login = noted  # type: ignore[method-assign,assignment]  # to know its secrets


@contextmanager
def diskstation_rig(
    scenario: Scenario, folder: Path, profile: Profile, knobs: Knobs = QUICK
) -> Iterator[DiskstationRig]:
    """Give a box that holds what the scenario says; `knobs` work from its first request on."""
    box = DiskStation("attic", profile=profile, services=SERVICES, knobs=knobs, factory=_factory())
    store = Store(folder)
    for one in scenario.placed:
        bundle = one.bundle
        box.import_entry(
            bundle.leaf_pem,
            bundle.private_key_pem.reveal().encode(),
            bundle.chain_pem if one.has_chain else None,
            desc=one.description,
            entry_id=one.id,
            default=one.is_default,
        )
        for service in one.services:
            box.bind(service, one.id)
        if one.is_stored:
            store.bundles.save("wild", bundle, ca="", now=NOW)
    with box:
        yield DiskstationRig(box, scenario, folder)
