"""Deliveries by SSH, ended where a test says, as those of killing_deliveries.py."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from distributor.clients.shell import STAGED
from distributor.model.bundle import Bundle
from tests.contract.router_ssh_rig import CHAIN_FILE, KEY_FILE, LEAF_FILE, SSL
from tests.contract.scenarios import DSM, FTPS, STRANGERS, Placed, Scenario
from tests.contract.ssh_boxes import scenario_for
from tests.contract.ssh_diskstation_box import OWN, DiskstationBox, issued_of
from tests.e2e import ssh_box_tree as tree
from tests.e2e.killing_deliveries import ZONE, Site
from tests.e2e.proxy_house import APP, BASE, FULL, KEY, RELOAD, ProxyHouse
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_people import Person
from tests.e2e.ssh_box_root import Facts
from tests.e2e.ssh_box_tree import Item
from tests.integration.cli.house import verified_leaf

SERVED_SECONDS = 15.0
ENTRY = "known1"


@dataclass(kw_only=True)
class SshSite(Site):
    """A virtual box; a run that follows a killed one may find that one's last command at work."""

    box: SshBox

    @property
    def port(self) -> str:
        return f"{self.box.ports['ssh']}/ssh"

    @property
    def password(self) -> str:
        return self.person.password

    @property
    @abstractmethod
    def person(self) -> Person:
        """Who signs in."""

    @property
    @abstractmethod
    def own_folder(self) -> str:
        """Where a run keeps what is its own on the host."""

    @abstractmethod
    def wanted(self, bundle: Bundle) -> Mapping[str, bytes]:
        """What is to be in which file."""

    @abstractmethod
    def leaves(self) -> set[str | None]:
        """What its ports that are ours serve just now."""

    def login_lines(self, kind: str) -> list[str]:
        return [
            f'kind = "{kind}"',
            'via = "ssh"',
            'address = "127.0.0.1"',
            f"port = {self.box.ports['ssh']}",
            f'host_key = "{self.box.host_keys["ed25519"]}"',
            f'user = "{self.person.user}"',
            'password = { file = "password" }',
        ]

    def endpoint(self, port: str, more: str = "") -> str:
        return (
            f'  {{ address = "127.0.0.1:{self.box.ports[port]}", server_name = "{ZONE}"{more} }},'
        )

    def verified(self, port: str) -> str | None:
        root = self.certificates.root
        return verified_leaf("127.0.0.1", self.box.ports[port], ZONE, root)

    def served(self) -> set[str | None]:
        """Return what is served once workers that were told to end have ended."""
        deadline, in_a_row = time.monotonic() + SERVED_SECONDS, 0
        found = self.leaves()
        while in_a_row < 3 and time.monotonic() < deadline:
            in_a_row = in_a_row + 1 if found == {self.current} else 0
            time.sleep(0.02)
            found = self.leaves()
        return found

    def held(self) -> list[str]:
        stored = self.stored
        wrong = [
            f"{path} is not of the current certificate"
            for path, content in self.wanted(stored).items()
            if self.box.read(path).strip() != content.strip()
        ]
        mine = [path for path in self.box.files() if STAGED in path]
        locks = [f"{self.own_folder}/{name}" for name in ("lock", "work")]
        locks = [one for one in locks if one in self.box.files(self.own_folder)]
        return [*wrong, *(f"{path} stays on the host" for path in (*mine, *locks))]

    def effects(self) -> Any:
        self.rest()
        return [str(call) for call in self.box.calls() if is_change(str(call))], self.around()

    def around(self, keep: Callable[[str], bool] = lambda _path: True) -> dict[str, Facts]:
        """What its files are, but for what is a run's own and nobody else's."""
        return {
            path: facts
            for path, facts in self.box.files().items()
            if not path.startswith((self.own_folder, "/tmp")) and keep(path)  # noqa: S108 - the box's own
        }

    def rest(self) -> None:
        self.box.rest()

    def recover(self) -> None:
        """Wait for nothing."""


def is_change(call: str) -> bool:
    """Tell whether a call of Synology's programs does more than to ask."""
    return not any(word in call for word in ("get", "list", "status", "is-", "--show", "version"))


@dataclass(kw_only=True)
class DiskstationSite(SshSite):
    """A DiskStation whose certificates are replaced as files, or by its own `synowebapi`."""

    box: DiskstationBox
    method: Literal["files", "synowebapi"] = "files"

    @property
    def person(self) -> Person:
        return self.box.admin

    @property
    def own_folder(self) -> str:
        return OWN

    def host_lines(self) -> list[str]:
        return [
            *self.login_lines("diskstation"),
            f'method = "{self.method}"',
            'description = "home"',
            "endpoints = [",
            self.endpoint("dsm"),
            self.endpoint("ftps", ', starttls = "ftp", service = "FTPS"'),
            "]",
        ]

    def prepare(self) -> None:
        old = Placed(
            id=ENTRY, description="home", bundle=self.certificates.old, services=(DSM, FTPS)
        )
        scenario = Scenario(name="killed", placed=(*STRANGERS, old))
        self.box.place_scenario(scenario_for(self.box.release, scenario))

    def leaves(self) -> set[str | None]:
        ftps = self.box.served("ftps")
        return {self.verified("dsm"), ftps if ftps is None else f"sha256:{ftps}"}

    def wanted(self, bundle: Bundle) -> Mapping[str, bytes]:
        files = {
            "cert.pem": bundle.leaf_pem,
            "chain.pem": bundle.chain_pem,
            "fullchain.pem": bundle.fullchain_pem,
            "privkey.pem": bundle.private_key_pem.reveal().encode(),
        }
        folders = (f"{tree.ARCHIVE}/{ENTRY}", tree.DESKTOP.directory, tree.FTPS.directory)
        return {f"{folder}/{name}": text for folder in folders for name, text in files.items()}

    def untouched(self) -> Any:
        mine = (f"{tree.ARCHIVE}/{ENTRY}", tree.DESKTOP.directory, tree.FTPS.directory)
        changing = (*mine, tree.LAYER, *(one.directory for one in BESIDE))
        folders = ("/usr/syno/etc/certificate", "/usr/local/etc/certificate")
        return self.around(lambda p: p.startswith(folders) and not p.startswith(changing))


BESIDE = (tree.REPLICATION, tree.VHOST)
"""Services that go with DSM's own pages."""


@dataclass(kw_only=True)
class RouterSite(SshSite):
    """A router, whose one certificate lies in three files."""

    @property
    def person(self) -> Person:
        return self.box.root

    @property
    def own_folder(self) -> str:
        return f"{SSL}/.distribute"

    def host_lines(self) -> list[str]:
        return [*self.login_lines("router"), "endpoints = [", self.endpoint("dsm"), "]"]

    def prepare(self) -> None:
        self.box.rest()
        if self.own_folder in self.box.files(SSL):
            self.box.remove(self.own_folder)
        held = self.wanted(self.certificates.old)
        self.box.place(*(Item(path=path, content=held[path], mode=0o400) for path in held))
        self.box.restart_web()
        self.box.forget_calls()

    def leaves(self) -> set[str | None]:
        return {self.verified("dsm")}

    def wanted(self, bundle: Bundle) -> Mapping[str, bytes]:
        return {
            LEAF_FILE: bundle.leaf_pem,
            KEY_FILE: bundle.private_key_pem.reveal().encode(),
            CHAIN_FILE: bundle.chain_pem,
        }

    def untouched(self) -> Any:
        ours = (LEAF_FILE, KEY_FILE, CHAIN_FILE)
        return self.around(lambda path: path.startswith("/usr/syno") and path not in ours)


@dataclass(kw_only=True)
class ProxySite(Site):
    """A Linux host whose proxy reads PEM files, and is told to by a command."""

    proxy: ProxyHouse

    @property
    def port(self) -> str:
        return f"{self.proxy.sshd.port}/ssh"

    @property
    def password(self) -> str:
        return ""

    def host_lines(self) -> list[str]:
        place = f'{{ address = "127.0.0.1:{self.proxy.port}", server_name = "{APP}" }}'
        return [
            'kind = "files"',
            'via = "ssh"',
            'address = "127.0.0.1"',
            f"port = {self.proxy.sshd.port}",
            f'host_key = "{self.proxy.sshd.host_key_fingerprint}"',
            'user = "web"',
            f"identity = {{ file = '{self.proxy.folder / 'id_web'}' }}",
            f'fullchain = "{FULL}"',
            f'private_key = "{KEY}"',
            f'reload = "{RELOAD}"',
            f"endpoints = [{place}]",
        ]

    def prepare(self) -> None:
        self.proxy.begin(issued_of(self.certificates.old))

    def served(self) -> set[str | None]:
        if self.proxy.serves(self.current):
            return {self.current}
        root = self.certificates.root
        return {verified_leaf("127.0.0.1", self.proxy.port, APP, root)}

    def untouched(self) -> Any:
        """Rights of its files, and that no others are there."""
        return {path: rights for path, (rights, _) in self.proxy.files().items()}

    def held(self) -> list[str]:
        key = self.stored.private_key_pem.reveal()
        wanted = {FULL: self.stored.fullchain_pem.decode(), KEY: key}
        wrong = [path for path, text in wanted.items() if self.proxy.read(path) != text]
        found = self.proxy.sshd.as_root(f"find {BASE}/certs -name '*{STAGED}*' -o -name lock")
        return [f"{path} is not of the current certificate" for path in wrong] + found.split()

    def effects(self) -> Any:
        return self.proxy.reloads, self.proxy.files()

    def rest(self) -> None:
        """Do nothing: what is left running is a matter of milliseconds."""

    def recover(self) -> None:
        """Wait for nothing."""
