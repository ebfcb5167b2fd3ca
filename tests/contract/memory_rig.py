"""A rig around the reference device."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distributor.model.bundle import Bundle, spki_fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import Unreachable
from distributor.model.hosts import ApiAccess, Endpoint, Host, PlainSecret, SocketAddress
from distributor.model.secret import Secret
from distributor.store import Store
from distributor.targets.contract import Target
from tests.certs import self_signed
from tests.contract.memory_target import FACTORY, MemoryDevice, MemoryTarget
from tests.contract.scenarios import (
    DRIVE,
    DSM,
    FTPS,
    PROXY,
    QUICKCONNECT,
    Scenario,
    bundle_of,
)
from tests.contract.target_laws import Counted, Raw, RawEntry, Rig, When

_IDS = {
    DSM: "system/default",
    FTPS: "smbftpd/ftpd",
    DRIVE: "SynologyDrive/SynologyDrive",
    PROXY: "ReverseProxy/1",
    QUICKCONNECT: "system/quickconnect",
}
_OWN = bundle_of(self_signed(["synology"]))


class MemoryRig(Rig):
    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.store = Store(folder)
        self.device = MemoryDevice(
            services={known: name for name, known in _IDS.items()},
            entries={FACTORY: ("", _OWN)},
            bindings=dict.fromkeys(_IDS.values(), FACTORY),
        )
        for one in scenario.placed:
            bundle = (
                one.bundle
                if one.has_chain
                else one.bundle.__class__(
                    leaf=one.bundle.leaf, chain=(), private_key_pem=one.bundle.private_key_pem
                )
            )
            self.device.entries[one.id] = (one.description, bundle)
            self.device.bindings |= {_IDS[name]: one.id for name in one.services}
            if one.is_default:
                self.device.default = one.id
        self.host = Host(
            name="memory",
            kind="diskstation",
            via="api",
            address="127.0.0.1",
            access=ApiAccess(port=1, user="nobody", password=PlainSecret(Secret("none"))),
            deliveries=scenario.deliveries,
            endpoints=tuple(
                Endpoint(
                    address=SocketAddress("127.0.0.1", port),
                    certificate=name,
                    server_name=PROXY if service == PROXY else None,
                    service=None if service == PROXY else service,
                )
                for port, (service, name) in enumerate(scenario.proved.items(), start=1)
            ),
        )
        self._seen = self._nth = 0

    def target(self) -> Target:
        return MemoryTarget(self.host, self.device)

    def served(self) -> tuple[Served, ...]:
        device = self.device
        return tuple(
            Served(
                endpoint=one,
                certificate=device.entries[device.bindings[_IDS[one.service or PROXY]]][
                    1
                ].certificate(one.certificate),
            )
            for one in self.host.endpoints
        )

    def raw(self) -> Raw:
        return Raw(
            entries={
                known: RawEntry(
                    description,
                    bundle.certificate("").leaf,
                    bundle.certificate("").chain,
                    spki_fingerprint(bundle.leaf),
                )
                for known, (description, bundle) in self.device.entries.items()
            },
            bindings=dict(self.device.bindings),
            default=self.device.default,
        )

    @property
    def writes(self) -> int:
        return self.device.writes

    def hide(self, entry_id: str) -> None:
        self.device.hidden.add(entry_id)

    def meddle(self, service: str | None) -> None:
        self.device.entries["since1"] = ("somebody's", self.scenario.stranger)
        if service is not None:
            self.device.bindings[service] = "since1"

    @property
    def proved_ids(self) -> frozenset[str]:
        return frozenset(_IDS[name] for name in self.scenario.proved)

    def replace(self, entry_id: str, bundle: Bundle) -> None:
        self.device.entries[entry_id] = (self.device.entries[entry_id][0], bundle)

    def cut(self, nth: int, when: When, counted: Counted) -> None:
        self._seen, self._nth = 0, nth

        def on_call(kind: str, now: str) -> None:
            counts = counted == "requests" or kind == "write"
            if now == "before":
                self._seen += counts
            if counts and now == when and self._seen == nth:
                raise Unreachable("cut", hint="on purpose", step="test")

        self.device.on_call = on_call

    def heal(self) -> bool:
        self.device.on_call = lambda _kind, _when: None
        return self._seen >= self._nth

    def stop(self) -> None:
        def dead(_kind: str, _when: str) -> None:
            raise Unreachable("it is off", step="test")

        self.device.on_call = dead

    def secrets(self) -> Iterable[str]:
        return ()

    def urls(self) -> Iterable[str]:
        return ()


@contextmanager
def memory_rig(scenario: Scenario, folder: Path) -> Iterator[Rig]:
    yield MemoryRig(scenario, folder)
