"""A rig around a virtual DiskStation that is reached by SSH: a real sshd, sudo and web server."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from distributor.access import Logins
from distributor.clients.tls import probe
from distributor.model.bundle import fingerprint
from distributor.model.endpoints import Served
from distributor.model.host_keys import HostKeyTrust, KnownKeys, host_key_trust_of
from distributor.model.hosts import Endpoint, Host, PlainSecret, SocketAddress, SshAccess
from distributor.model.secret import Secret
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_ssh import DiskstationSsh
from distributor.targets.remote_lock import Controller
from tests.certs import NOW
from tests.contract.cut_shell import CutShell, Cutter
from tests.contract.scenarios import DRIVE, DSM, FTPS, PROXY, Scenario, is_exhaustive
from tests.contract.ssh_diskstation_box import DiskstationBox
from tests.contract.target_laws import Counted, Raw, RawEntry, Rig, When
from tests.e2e import ssh_box_tree as tree

Method = Literal["files", "synowebapi"]
Login = Literal["password", "silent", "root"]
_PORTS = {DSM: "dsm", FTPS: "ftps", DRIVE: "drive", PROXY: "https"}
_STEP = {"writes": 8, "requests": 12}
"""In part: how many writes or commands lie between two cuts."""
_CHANGING = ("method=import", "method=set", "method=delete")


@dataclass(frozen=True, slots=True)
class RawBox(Raw):
    """What a box holds: also every byte, mode and owner below the folders of certificates."""

    files: Mapping[str, str] = field(default_factory=dict)
    served: Mapping[str, str | None] = field(default_factory=dict)


class SshDiskstationRig(Rig):
    def __init__(
        self,
        box: DiskstationBox,
        scenario: Scenario,
        folder: Path,
        *,
        method: Method,
        login: Login,
        packages: Literal["restart", "keep"] = "restart",
        sudo_password: str | None = None,
    ) -> None:
        self.box = box
        self.scenario = scenario
        self.store = Store(folder)
        self.cutter = Cutter(box)
        self._host_key = box.host_keys["ed25519"]
        self._is_by_dsm = method == "synowebapi"
        self._step = 1
        self._armed: tuple[int, Counted] = (0, "requests")
        person = {"password": box.admin, "silent": box.silent, "root": box.root}[login]
        key = None if person.key_file is None else person.key_file.read_text()
        self.access = SshAccess(
            port=box.ports["ssh"],
            user=person.user,
            password=_plain(person.password if login == "password" else None),
            identity=_plain(None if login == "password" else key),
            sudo_password=_plain(sudo_password),
            method=method,
            packages=packages,
        )
        self.host = Host(
            name="cellar",
            kind="diskstation",
            via="ssh",
            address="127.0.0.1",
            access=self.access,
            deliveries=scenario.deliveries,
            endpoints=tuple(self._endpoint(*one) for one in scenario.proved.items()),
        )
        for one in scenario.placed:
            if one.is_stored:
                self.store.bundles.save("wild", one.bundle, ca="", now=NOW)

    def target(self) -> Target:
        return DiskstationSsh(
            self.host,
            self.access,
            self.connect,
            self.store.bundles.by_leaf,
            lambda: datetime.now(UTC),
            controller=lambda: Controller(self.store.installation.id(), self.store.folder.name),
        )

    def connect(self) -> CutShell:
        session = Logins(self.store).ssh(self.host, self.access, self.trust)
        return CutShell(session, self.cutter)

    @property
    def trust(self) -> HostKeyTrust:
        return host_key_trust_of("cellar", host_key=self._host_key, pinned=None, known=KnownKeys())

    def served(self) -> tuple[Served, ...]:
        self.box.come_to_rest()
        self.box.settle()
        return tuple(map(probe, self.host.endpoints))

    def raw(self) -> RawBox:
        self.box.come_to_rest()
        self.box.settle()
        info = self.box.info()
        default = self.box.read(f"{tree.ARCHIVE}/DEFAULT").decode().strip()
        files = self.box.files("/usr/syno/etc/certificate", "/usr/local/etc/certificate")
        return RawBox(
            entries={known: self._entry(known, told["desc"]) for known, told in info.items()},
            bindings={
                f"{service['subscriber']}/{service['service']}": known
                for known, told in info.items()
                for service in told["services"]
            },
            default=default,
            files={path: str(facts) for path, facts in files.items()}
            | ({tree.INFO: _sorted(info)} if self._is_by_dsm else {}),
            served={name: self.box.served(port) for name, port in _PORTS.items()},
        )

    @property
    def writes(self) -> int:
        return self.box.trapped("mv") + len(self.box.calls())

    def hide(self, entry_id: str) -> None:
        path = f"{tree.ARCHIVE}/{entry_id}/cert.pem"
        self.box.place(tree.Item(path=path, content=b"\0no certificate\n", mode=0o400))

    def cut(self, nth: int, when: When, counted: Counted) -> None:
        at = 1 + (nth - 1) * (1 if is_exhaustive() else _STEP[counted])
        self._armed = (at, counted)
        if counted == "writes" and not self._is_by_dsm:
            self.box.trap("mv", at, "die" if when == "before" else "cut")
        else:
            self.cutter.arm(at, when, _changes if counted == "writes" else lambda _: True)

    def heal(self) -> bool:
        at, counted = self._armed
        was_cut = self.cutter.disarm()
        if counted == "writes" and not self._is_by_dsm:
            was_cut = self.box.trapped("mv") >= at
            self.box.trap("mv", 0, "fail")
        return was_cut

    def stop(self) -> None:
        self.box.stop_sshd()

    def secrets(self) -> Iterable[str]:
        return {self.box.admin.password, self.box.silent.password, self.box.root.password}

    def urls(self) -> Iterable[str]:
        return (*self.cutter.commands, *map(str, self.box.calls()))

    def _endpoint(self, name: str, certificate: str) -> Endpoint:
        return Endpoint(
            address=SocketAddress("127.0.0.1", self.box.ports[_PORTS[name]]),
            certificate=certificate,
            starttls="ftp" if name == FTPS else None,
            server_name=PROXY if name == PROXY else None,
            # Which rule of the reverse proxy answers is known by the name alone.
            service=None if name == PROXY else name,
        )

    def _entry(self, known: str, description: str) -> RawEntry:
        folder = f"{tree.ARCHIVE}/{known}"
        leaf, *chain = x509.load_pem_x509_certificates(self.box.read(f"{folder}/fullchain.pem"))
        return RawEntry(
            description=description,
            leaf=fingerprint(leaf),
            chain=tuple(map(fingerprint, chain)),
            key=sha256(self.box.read(f"{folder}/privkey.pem")).hexdigest(),
        )


def _sorted(info: dict[str, Any]) -> str:
    """INFO as DSM may write it anew: services in any order."""
    for entry in info.values():
        entry["services"].sort(key=lambda one: (one["subscriber"], one["service"]))
    return json.dumps(info, sort_keys=True)


def _changes(command: Sequence[str]) -> bool:
    return any(word in _CHANGING for word in command)


def _plain(text: str | None) -> PlainSecret | None:
    return None if text is None else PlainSecret(Secret(text))


@contextmanager
def ssh_diskstation_rig(
    box: DiskstationBox,
    scenario: Scenario,
    folder: Path,
    *,
    method: Method = "files",
    login: Login = "password",
) -> Iterator[SshDiskstationRig]:
    """Give a box, put back to what the scenario says."""
    box.place_scenario(scenario)
    yield SshDiskstationRig(box, scenario, folder, method=method, login=login)
