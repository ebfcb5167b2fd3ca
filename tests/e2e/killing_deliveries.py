"""One delivery to one host at a time, ended where a test says, and how it left the host.

Moments are named as in killed_process.py.
"""

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from distributor.lab.box_state import DRIVE, DSM_DESKTOP, FTPS
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.model.bundle import Bundle, fingerprint, key_type
from distributor.model.snapshot import Snapshot
from distributor.store import Store
from tests.certs import Authority, hierarchy
from tests.e2e.killing import (
    KILLED,
    LAUNCHER,
    RUN_SECONDS,
    TELLING,
    Run,
    events_in,
    is_hidden,
)
from tests.integration.cli.conftest import NOBODY
from tests.integration.cli.house import Ran, run, verified_leaf

NAME = "attic"
ZONE = "example.test"
DECOY = "decoy1"
UNPINNED = "what it serves now could not be pinned"
"""Said where a host restarts once more when all is done; the next run pins it then."""
WELL = {"changed", "unchanged"}


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the host has, what it is to get, what comes after that, and the file of their root."""

    issuer: Authority
    old: Bundle
    new: Bundle
    newer: Bundle
    root: Path


@dataclass(kw_only=True)
class Site(ABC):
    """A host with an inventory and a state folder of its own, whose store holds the new bundle.

    Nobody answers where the CA would be: a run that ordered would say so in its trace.
    """

    folder: Path
    certificates: Certificates
    runs: list[Run] = field(default_factory=list)
    decoys: Any = None
    """What of the host no run may change, as it was first."""

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700)
        for name in ("tsig.key", "password"):
            self.write(name, f"{self.password}\n")
        self.write_inventory()
        self.store(self.certificates.new)
        self.prepare()
        self.decoys = self.untouched()

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def options(self) -> tuple[str, ...]:
        return ("-i", str(self.folder / "inventory.toml"), "--state", str(self.state))

    @property
    def current(self) -> str:
        """The leaf of what the store holds."""
        return fingerprint(self.stored.leaf)

    @property
    def stored(self) -> Bundle:
        """What the store holds."""
        found = Store(self.state).bundles.current("home")
        assert found is not None
        return found.bundle

    @property
    @abstractmethod
    def port(self) -> str:
        """Where commands come to it: `5001/https` or `22/ssh`."""

    @property
    @abstractmethod
    def password(self) -> str:
        """Of the account that signs in."""

    @abstractmethod
    def host_lines(self) -> list[str]:
        """What the inventory says of it."""

    @abstractmethod
    def prepare(self) -> None:
        """Do what a person does before the first run."""

    @abstractmethod
    def served(self) -> set[str | None]:
        """What its ports that are ours serve; None where the chain does not verify."""

    @abstractmethod
    def untouched(self) -> Any:
        """What no run may change."""

    @abstractmethod
    def held(self) -> list[str]:
        """What is wrong with what it holds, but for the decoys."""

    @abstractmethod
    def effects(self) -> Any:
        """All that was ever changed or restarted there."""

    @abstractmethod
    def rest(self) -> None:
        """Wait until what a killed run began there has ended."""

    @abstractmethod
    def recover(self) -> None:
        """Wait for what the next run could not cope with, if there is such a thing."""

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    def write_inventory(self) -> None:
        names = f'names = ["{ZONE}", "*.{ZONE}"]'
        head = f"""
[acme]
ca = "https://{NOBODY}/dir"
email = "admin@example.test"
agree_tos = true

[dns.home]
provider = "rfc2136"
server = "{NOBODY}"
key_name = "acme-key"
key = {{ file = "tsig.key" }}

[certificates.home]
source = "acme"
{names}
dns = "home"
key_type = "{key_type(self.certificates.new.leaf)}"
ca_bundle = '{self.certificates.root}'

[hosts.{NAME}]
certificate = "home"
"""
        self.write("inventory.toml", head + "\n".join(self.host_lines()) + "\n")

    def store(self, bundle: Bundle) -> None:
        """Make it the current certificate."""
        ca = f"https://{NOBODY}/dir"
        Store(self.state).bundles.save("home", bundle, ca=ca, now=datetime.now(UTC))

    def run(self, moment: str = "", words: tuple[str, ...] = ("--all",)) -> Run:
        """Run the command in a process of its own, killed at `moment` if one is given."""
        trace = self.folder / f"trace-{len(self.runs)}"
        head = [str(self.state), str(trace), str(-KILLED), moment, f"{self.port}={NAME}"]
        done = subprocess.run(
            [sys.executable, "-P", str(LAUNCHER), *head, *self.options, *words, "--json"],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder)},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            umask=0,
            check=False,
        )
        ended = Run(done.returncode, done.stdout, done.stderr, events_in(trace))
        self.runs.append(ended)
        return ended

    def killed_at(self, moment: str, words: tuple[str, ...] = ("--all",)) -> bool:
        """Run until `moment`; tell whether it was killed, and not done before that came.

        How often is asked while the host restarts depends on how fast it is.
        """
        ended = self.run(moment, words)
        if ended.code == KILLED:
            assert ended.moments[-1] == moment
            return True
        assert is_polled(moment), f"was not killed at {moment!r}: {ended}"
        return False

    def quietly(self, *words: str) -> Ran:
        """Run the command in this process."""
        return run(*self.options, *words, "--json")

    def files(self) -> dict[str, str]:
        """Every file of the state folder with a hash of its content."""
        return {
            str(path.relative_to(self.state)): sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.state.rglob("*"))
            if path.is_file()
        }

    def complaints(self, last: Run) -> list[str]:
        """What is wrong after the run that was to bring everything to its end."""
        if last.code != 0:
            return [f"it does not come to its end: {last}"]
        (told,) = json.loads(last.out)["hosts"]
        found = [] if told["status"] in WELL else [f"it ends {told['status']}"]
        if (served := self.served()) != {self.current}:
            found.append(f"it serves {served}")
        if self.untouched() != self.decoys:
            found.append(f"what is not ours was {self.decoys}, and is {self.untouched()}")
        return [*found, *self.held(), *self.litter(), *self._open_to_others()]

    def settled(self) -> list[str]:
        """Run once more, and return what that did although there was nothing to do."""
        before, effects = self.files(), self.effects()
        unpinned = {"trust.toml"} if UNPINNED in self.runs[-1].out else set()
        again = self.quietly("--all")
        found = []
        if again.code != 0 or again.statuses() != {NAME: "unchanged"}:
            found.append(f"a further run ends otherwise: {again.said}")
        if self.effects() != effects:
            found.append("a further run changes the host")
        if (after := self.files()) != before:
            changed = {name for name in before | after if before.get(name) != after.get(name)}
            found += [f"a further run changes {name}" for name in sorted(changed - unpinned)]
        return found

    def orders(self) -> list[str]:
        """What any run asked of a CA; the certificate is there, and not due."""
        return sorted({what for one in self.runs for what in TELLING & one.did()})

    def litter(self) -> list[str]:
        """What nobody will read any more: temporary files, and snapshots saved in part."""
        found = [f"{name} stays" for name in self.files() if is_hidden(name)]
        snapshots = self.state / "snapshots"
        cut = [one for one in snapshots.glob("*/*") if not (one / "snapshot.json").is_file()]
        return [*found, *(f"{one.relative_to(self.state)} stays in part" for one in cut)]

    def snapshot(self) -> Snapshot | None:
        return Store(self.state).snapshots.last(NAME)

    def _open_to_others(self) -> list[str]:
        return [
            f"others may read {path.relative_to(self.state)}"
            for path in [self.state, *self.state.rglob("*")]
            if path.stat().st_mode & 0o077
        ]


def is_polled(moment: str) -> bool:
    """Tell whether a run may end without such a moment: it depends on how fast others are.

    While a box restarts it is asked again, and what was lost on the way is sent again.
    """
    what, _, ordinal = moment.rpartition(" ")
    return int(ordinal) > 1 and f" {NAME} " in what and "command" not in what


@dataclass(kw_only=True)
class ApiSite(Site):
    """A virtual DiskStation or router of the lab by its Web API.

    Unless it is as from the shop, somebody uploaded a certificate that the store does not hold.
    """

    box: DiskStation
    has_past: bool

    @property
    def port(self) -> str:
        return f"{self.box.port}/https"

    @property
    def password(self) -> str:
        return ADMIN.password

    @property
    def is_router(self) -> bool:
        return self.box.profile.system == "srm"

    def host_lines(self) -> list[str]:
        kind = "router" if self.is_router else "diskstation"
        wanted = [] if self.is_router else ["default = true"]
        named = f'server_name = "{NAME}.{ZONE}"'
        ftps = (
            f'  {{ address = "{self.box.address}:{self._ports[-1]}", {named}, service = "FTPS" }}'
        )
        return [
            f'kind = "{kind}"',
            'via = "api"',
            f'address = "{self.box.address}"',
            f"port = {self.box.port}",
            f'user = "{ADMIN.name}"',
            'password = { file = "password" }',
            *wanted,
            "endpoints = [",
            f'  {{ address = "{self.box.address}:{self.box.port}", {named} }},',
            *([] if self.is_router else [ftps]),
            "]",
        ]

    def prepare(self) -> None:
        if self.has_past:
            old = self.certificates.old
            described = self.box.import_entry(
                old.leaf_pem,
                old.private_key_pem.reveal().encode(),
                old.chain_pem,
                desc="by hand",
            )
            if not self.is_router:
                self.box.bind(DSM_DESKTOP.key, described)
                self.box.bind(FTPS.key, described)
        if not self.is_router:
            decoy = hierarchy(1).issue(["drive.decoy.test"], key="rsa2048")
            self.box.import_entry(
                decoy.certificate_pem,
                decoy.private_key_pem,
                decoy.chain_pem,
                desc=DECOY,
                entry_id=DECOY,
            )
            self.box.bind(DRIVE.key, DECOY)
        pinned = self.quietly("-q", "trust", NAME, "--yes")
        assert pinned.code == 0, pinned.said

    def served(self) -> set[str | None]:
        self.rest()
        root = self.certificates.root
        return {
            verified_leaf(self.box.address, port, f"{NAME}.{ZONE}", root) for port in self._ports
        }

    def untouched(self) -> Any:
        if self.is_router:
            return None
        seen = self.box.snapshot()
        (own,) = [
            one
            for one in seen["entries"].values()
            if one["leaf"] == fingerprint(self.box.factory_certificate.leaf)
        ]
        return own, seen["entries"][DECOY], seen["bindings"][DRIVE.key]

    def held(self) -> list[str]:
        found: dict[str, list[str]] = {}
        for entry in self.box.snapshot()["entries"].values():
            found.setdefault(entry["desc"], []).append(entry["leaf"])
        ours = {} if self.is_router else {"by hand" if self.has_past else "home": [self.current]}
        others = {} if self.is_router else {"", DECOY}
        kept = {desc: leaves for desc, leaves in found.items() if desc not in others}
        return [] if self.is_router or kept == ours else [f"it holds {kept} instead of {ours}"]

    def effects(self) -> Any:
        self.rest()
        return self.box.writes, self.box.restarts

    def rest(self) -> None:
        self.box.wait_until_serving()

    def recover(self) -> None:
        """Wait for the web server: a host that restarts cannot be looked at."""
        self.rest()

    @property
    def _ports(self) -> list[int]:
        ftps = self.box.service_ports.get(FTPS.display_name)
        return [self.box.port, *([] if ftps is None else [ftps])]
