"""A rig around a virtual device of the lab, whatever its kind."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributor.access import HostKeeper
from distributor.clients.http import PinnedHttp
from distributor.clients.web_api import Account
from distributor.lab.accounts import Login
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.knobs import Fault, Knobs
from distributor.model.bundle import Bundle, fingerprint
from distributor.model.hosts import ApiAccess, PlainSecret, SocketAddress
from distributor.model.secret import Secret
from distributor.model.trust import Trust
from distributor.store import Store
from tests.certs import NOW
from tests.contract.scenarios import Scenario
from tests.contract.target_laws import Counted, Rig, When

QUICK = Knobs(restart_delay=0.002, restart_seconds=0.008)
PATIENCE = 5.0


def short_sleep(seconds: float) -> None:
    """Wait as the product does, but no longer than a restart of these boxes needs."""
    time.sleep(min(seconds, 0.005))


class LabRig(Rig):
    """What boxes of the lab have in common; a kind adds its host, its driver and its state."""

    patience = PATIENCE
    """Seconds that a restart may take until the box counts as gone."""

    def __init__(self, box: DiskStation, scenario: Scenario, folder: Path) -> None:
        self.box = box
        self.scenario = scenario
        self.store = Store(folder)
        self._armed: tuple[int, Counted] = (0, "writes")
        self._sessions: set[str] = set()
        self._listen_to_logins()

    @property
    def access(self) -> ApiAccess:
        password = PlainSecret(Secret(ADMIN.password))
        return ApiAccess(port=self.box.port, user=ADMIN.name, password=password)

    def http(self) -> PinnedHttp:
        """Connections to the box, whatever it may serve in this scenario."""
        shown = [self.box.factory_certificate.leaf]
        shown += [one.bundle.leaf for one in self.scenario.placed]
        shown += [one.leaf for one in self.scenario.bundles.values()]
        shown.append(self.scenario.stranger.leaf)
        trust = Trust(host=self.host.name, leaves=frozenset(map(fingerprint, shown)))
        return PinnedHttp(SocketAddress("127.0.0.1", self.box.port), trust, None)

    def account(self) -> Account:
        return Account(
            user=ADMIN.name,
            password=lambda: Secret(ADMIN.password),
            keeper=HostKeeper(self.host.name, self.store),
        )

    @property
    def writes(self) -> int:
        return self.box.writes

    def cut(self, nth: int, when: When, counted: Counted) -> None:
        self.fault(nth, when, counted)

    def fault(self, nth: int, how: Any, counted: Counted) -> None:
        """Let the n-th write or request from now on go wrong, in any way that the lab knows."""
        last = self.box.counted[counted] + nth
        self._armed = (last, counted)
        self.box.knobs = replace(self.box.knobs, faults=(Fault(last, how, counted),))

    def heal(self) -> bool:
        last, counted = self._armed
        self.box.knobs = replace(self.box.knobs, faults=())
        return self.box.counted[counted] >= last

    def stop(self) -> None:
        self.box.stop()

    def secrets(self) -> Iterable[str]:
        return {ADMIN.password, *self._sessions}

    def urls(self) -> Iterable[str]:
        assert not self.box.credentials_in_urls
        return (seen.target for seen in self.box.requests)

    def _listen_to_logins(self) -> None:
        log_in: Callable[..., Login] = self.box._accounts.login

        def noted(*arguments: Any) -> Login:
            login = log_in(*arguments)
            self._sessions |= {login.session.sid, login.session.token, login.device_id} - {""}
            return login

        self.box._accounts.login = noted  # type: ignore[method-assign,assignment]  # to know its secrets


def place(box: DiskStation, store: Store, scenario: Scenario) -> None:
    """Put on a box, and into the store, what the scenario says is there before we come."""
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


def bring(box: DiskStation, bundle: Bundle, description: str, entry_id: str) -> None:
    """Put an entry on a running box, or replace it, as somebody else does."""
    key = bundle.private_key_pem.reveal().encode()
    box.import_entry(bundle.leaf_pem, key, bundle.chain_pem, desc=description, entry_id=entry_id)
