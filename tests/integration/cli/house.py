"""Virtual boxes with their inventory and state folder, and the command line run against them."""

import hashlib
import io
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from distributor.cli.main import main
from distributor.inventory import load
from distributor.lab.accounts import Account
from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import Knobs
from distributor.model.bundle import Bundle, assemble
from distributor.model.hosts import ApiAccess, SocketAddress
from distributor.store import Store
from tests.certs import Authority, hierarchy, pem

ZONE = "example.test"
NAMES = ("attic", "cellar", "garage", "office", "studio")
USER = "certs"
SHADOW = "DSM Desktop Service"
QUICK = Knobs(restart_delay=0.01, restart_seconds=0.05)
CHILD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)

    def host(self, name: str) -> Any:
        return next(one for one in self.report["hosts"] if one["name"] == name)

    def statuses(self) -> dict[str, str]:
        return {one["name"]: one["status"] for one in self.report["hosts"]}

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass(kw_only=True)
class House:
    """A folder with an inventory, a state folder, and running boxes by name."""

    folder: Path
    boxes: dict[str, DiskStation]
    directory_url: str
    ca_bundle: Path
    """Root of the CA's own HTTPS."""
    root: Path
    """Root that issued chains end at."""
    nameserver: str
    key_name: str = "acme-key"
    key_type: str = "ec256"
    passwords: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """What children get besides the bare minimum."""

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def store(self) -> Store:
        return Store(self.state)

    @property
    def options(self) -> tuple[str, ...]:
        return ("-i", str(self.inventory), "--state", str(self.state))

    @property
    def writes(self) -> dict[str, int]:
        return {name: box.writes for name, box in self.boxes.items()}

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.touch(mode=mode)
        path.write_text(text, encoding="utf-8")
        return path

    def write_inventory(self, order: Sequence[str] = ()) -> None:
        names = order or tuple(self.boxes)
        text = "\n".join([*self._head(), *(line for name in names for line in self._host(name))])
        self.write("inventory.toml", text)

    def rewrite(self, old: str, new: str) -> None:
        """Replace a text that the inventory has exactly once."""
        text = self.inventory.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        self.inventory.write_text(text.replace(old, new), encoding="utf-8")

    def add_to_host(self, name: str, line: str) -> None:
        self.rewrite(f"[hosts.{name}]\n", f"[hosts.{name}]\n{line}\n")

    def run(self, *arguments: str, stdin: str | None = None) -> Ran:
        """Run a command in this process."""
        return run(*self.options, *arguments, stdin=stdin)

    def child(self, *arguments: str, **more: Any) -> Ran:
        """Run a command as a child and wait for it."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            env=self.child_environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            check=False,
            **more,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "distributor", *self.options, *arguments]

    def child_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            **self.environment,
        }

    def keep(self, bundle: Bundle) -> str:
        """Put a bundle into the store as the current `home`; return its leaf's fingerprint."""
        self.store.bundles.save("home", bundle, ca=self.directory_url, now=datetime.now(UTC))
        return bundle.certificate("home").leaf

    def forget_failures(self) -> None:
        """Let the next run try at once what failed, as one would much later."""
        (self.state / "ledger.json").unlink()

    def pin(self, *names: str) -> None:
        """Pin what boxes serve now, as a person with the `trust` command would."""
        done = self.run("-q", "trust", *(names or self.boxes), "--yes")
        assert done.code == 0, done.said

    def all_serve(self, leaf: str) -> bool:
        return all(serves(box, leaf, self.root) for box in self.boxes.values())

    def files(self) -> dict[str, str]:
        """Every file of the state folder with a hash of its content."""
        return {
            str(path.relative_to(self.state)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.state.rglob("*"))
            if path.is_file()
        }

    def _head(self) -> list[str]:
        return [
            "[acme]",
            f'ca = "{self.directory_url}"',
            'email = "admin@example.test"',
            "agree_tos = true",
            f"ca_bundle = '{self.ca_bundle}'",
            "",
            "[dns.home]",
            'provider = "rfc2136"',
            f'server = "{self.nameserver}"',
            f'key_name = "{self.key_name}"',
            'key_algorithm = "hmac-sha256"',
            'key = { file = "tsig.key" }',
            f'nameservers = ["{self.nameserver}"]',
            f'resolvers = ["{self.nameserver}"]',
            'propagation_timeout = "20s"',
            "",
            "[certificates.home]",
            'source = "acme"',
            f'names = ["{ZONE}", "*.{ZONE}"]',
            'dns = "home"',
            f'key_type = "{self.key_type}"',
            f"ca_bundle = '{self.root}'",
            "",
            "[defaults]",
            f'user = "{USER}"',
            'certificate = "home"',
            "",
            "[rollout]",
            "parallel = 8",
            "",
        ]

    def _host(self, name: str) -> list[str]:
        box, full = self.boxes[name], f"{name}.{ZONE}"
        ftps = f"{box.address}:{box.service_ports['FTPS']}"
        return [
            f"[hosts.{name}]",
            'kind = "diskstation"',
            'via = "api"',
            f'address = "{box.address}"',
            f"port = {box.port}",
            f'password = {{ file = "{name}.password" }}',
            'tags = ["lab"]',
            "endpoints = [",
            f'  {{ address = "{box.address}:{box.port}", server_name = "{full}" }},',
            f'  {{ address = "{ftps}", server_name = "{full}", service = "FTPS" }},',
            "]",
            "",
        ]


def run(*arguments: str, stdin: str | None = None) -> Ran:
    """Run a command in this process: its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(stdin or ""))
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(list(arguments))
    assert isinstance(ended.value.code, int)
    return Ran(ended.value.code, out.getvalue(), err.getvalue())


@contextmanager
def opened_boxes(
    names: Sequence[str],
    knobs: Mapping[str, Knobs],
    accounts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[dict[str, tuple[DiskStation, str]]]:
    """Give (box, password) by name; the boxes are as they come from the shop.

    `accounts` has what is special about the account of a box.
    """
    special = accounts or {}
    with ExitStack() as running:
        opened = {}
        for name in names:
            password = f"pass of {name} & more"
            account = Account(USER, password, **special.get(name, {}))
            box = DiskStation(name, accounts=[account], knobs=knobs.get(name, QUICK))
            opened[name] = (running.enter_context(box), password)
        yield opened


def stored_bundle(issuer: Authority, names: Sequence[str] = (ZONE, f"*.{ZONE}")) -> Bundle:
    issued = issuer.issue(names)
    return assemble(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
    )


def new_issuer(folder: Path) -> tuple[Authority, Path]:
    """Return a CA with one intermediate, and the file of its root."""
    issuer = hierarchy(1)
    path = folder / "root.pem"
    path.write_bytes(pem(issuer.root))
    return issuer, path


def serves(box: DiskStation, leaf: str, root: Path) -> bool:
    """Tell whether DSM's port and FTPS serve `leaf`, each with a chain that verifies."""
    ports = (box.port, box.service_ports["FTPS"])
    return all(
        verified_leaf(box.address, port, f"{box.name}.{ZONE}", root) == leaf for port in ports
    )


def verified_leaf(address: str, port: int, name: str, root: Path) -> str | None:
    """Return the fingerprint of a leaf that the standard library verifies; None if it does not.

    The root file has no intermediate: it verifies only when the server sends that.
    """
    context = ssl.create_default_context(cafile=root)
    try:
        with (
            socket.create_connection((address, port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError:
        return None
    assert der is not None
    return "sha256:" + hashlib.sha256(der).hexdigest()


def shown_leaf(box: DiskStation, port: int | None = None) -> str:
    """Return the fingerprint of whatever a port of a box serves, verified or not."""
    der = ssl.get_server_certificate((box.address, port or box.port))
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(der)).hexdigest()


def access_of(house: House, name: str) -> tuple[SocketAddress, ApiAccess]:
    host = load(house.inventory).hosts[name]
    assert isinstance(host.access, ApiAccess)
    return SocketAddress(host.address, host.access.port), host.access
