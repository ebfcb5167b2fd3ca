"""A rig around a virtual DiskStation that is reached by SSH: a real sshd, sudo and web server."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from distributor.access import Logins
from distributor.clients.tls import probe
from distributor.model.bundle import Bundle, fingerprint
from distributor.model.endpoints import Served
from distributor.model.host_keys import HostKeyTrust, KnownKeys, host_key_trust_of
from distributor.model.hosts import Endpoint, Host, PlainSecret, SocketAddress, SshAccess
from distributor.model.secret import Secret
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.targets.diskstation_ssh import DiskstationSsh
from distributor.targets.remote_lock import Controller
from tests.certs import NOW
from tests.contract import ssh_diskstation_meddling as meddling
from tests.contract.cut_shell import CutShell, Cutter
from tests.contract.scenarios import FTPS, PROXY, Scenario, is_exhaustive
from tests.contract.ssh_diskstation_box import PORTS, SERVICES, DiskstationBox
from tests.contract.target_laws import Counted, Raw, RawEntry, Rig, When, news
from tests.e2e import ssh_box_tree as tree

Method = Literal["files", "synowebapi"]
Login = Literal["password", "silent", "root"]
_STEP = {"writes": 20, "requests": 30}
"""In part: how many writes or commands lie between two cuts."""
_CHANGING = ("method=import", "method=set", "method=delete")


@dataclass(frozen=True, slots=True)
class RawBox(Raw):
    """What a box holds: also every byte, mode and owner below the folders of certificates."""

    files: Mapping[str, str] = field(default_factory=dict)
    served: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)

    def with_since(self, applied: Raw, since: Raw) -> Raw:
        more = Raw.with_since(self, applied, since)
        assert isinstance(more, RawBox)
        assert isinstance(applied, RawBox)
        assert isinstance(since, RawBox)
        return replace(
            more,
            files={**self.files, **news(applied.files, since.files)},
            served={**self.served, **news(applied.served, since.served)},
        )


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
            entries={
                known: self._entry(f"{tree.ARCHIVE}/{known}", told["desc"])
                for known, told in info.items()
            }
            | {path: self._entry(path, path) for path in self._unnamed()},
            bindings={
                f"{service['subscriber']}/{service['service']}": known
                for known, told in info.items()
                for service in told["services"]
            },
            default=default,
            files={path: str(facts) for path, facts in files.items()}
            | (_info_by_entry(info) if self._is_by_dsm else {}),
            served={name: self.box.shows(name) for name in PORTS},
        )

    @property
    def writes(self) -> int:
        asked = sum("method=list" in call.argv for call in self.box.calls())
        return self.box.trapped("mv") + len(self.box.calls()) - asked

    def hide(self, entry_id: str) -> None:
        is_file = entry_id in self._unnamed()
        folder = entry_id if is_file else f"{tree.ARCHIVE}/{entry_id}"
        for name in ("cert.pem", "privkey.pem") if is_file else ("cert.pem",):
            path = f"{folder}/{name}"
            self.box.place(tree.Item(path=path, content=b"\0no PEM\n", mode=0o400))

    def along(self, entry_ids: Collection[str]) -> Iterable[str]:
        return [
            service.directory
            for entry in self.box.entries
            if entry.id in entry_ids
            for service in entry.services
            if not service.in_info
        ]

    def _unnamed(self) -> Iterable[str]:
        """Folders that INFO gives to nobody, where they count."""
        return () if self._is_by_dsm else self.along([one.id for one in self.box.entries])

    def meddle(self, service: str | None) -> None:
        meddling.bring(self.box, "since1", "somebody's", self.scenario.stranger)
        if service is not None:
            meddling.bind(self.box, service, "since1", self.scenario.stranger)

    def replace(self, entry_id: str, bundle: Bundle) -> None:
        if entry_id not in self._unnamed():  # those are replaced by what they belong to
            meddling.replace(self.box, entry_id, bundle)

    @property
    def proved_ids(self) -> frozenset[str]:
        return frozenset(SERVICES[name].key for name in self.scenario.proved)

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
            address=SocketAddress("127.0.0.1", self.box.ports[PORTS[name]]),
            certificate=certificate,
            starttls="ftp" if name == FTPS else None,
            server_name=PROXY if name == PROXY else None,
            # Which rule of the reverse proxy answers is known by the name alone.
            service=None if name == PROXY else name,
        )

    def _entry(self, folder: str, description: str) -> RawEntry:
        leaf, *chain = x509.load_pem_x509_certificates(self.box.read(f"{folder}/fullchain.pem"))
        return RawEntry(
            description=description,
            leaf=fingerprint(leaf),
            chain=tuple(map(fingerprint, chain)),
            key=sha256(self.box.read(f"{folder}/privkey.pem")).hexdigest(),
        )


def _info_by_entry(info: dict[str, Any]) -> dict[str, str]:
    """INFO as DSM may write it anew; who uses an entry is among the bindings."""
    told = {tree.INFO: ""}
    for known, entry in info.items():
        facts = {name: value for name, value in entry.items() if name != "services"}
        told[f"{tree.INFO}: {known}"] = json.dumps(facts, sort_keys=True)
        for service in entry["services"]:
            key = f"{service['subscriber']}/{service['service']}"
            told[f"{tree.INFO}: {key}"] = json.dumps(service, sort_keys=True)
    return told


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
