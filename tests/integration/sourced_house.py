"""Three virtual boxes: attic obtains a certificate by itself, the others are to get it."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from distributor.cli.main import main
from distributor.lab.accounts import Account
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import Knobs
from distributor.model.bundle import Bundle, fingerprint
from tests.certs import DAY, NOW, Authority, hierarchy, pem
from tests.contract.scenarios import bundle_of

NAME = "wild.synology.test"
NAMES = (NAME, f"*.{NAME}")
PASSWORD = "correct horse & battery staple"
QUICK = Knobs(restart_delay=0.003, restart_seconds=0.015)
BOXES = ("attic", "cellar", "garage")
DECOY = "decoy1"


@dataclass(kw_only=True)
class House:
    """Attic obtains, the others get; the CA is one that the usual roots are patched to."""

    folder: Path
    boxes: dict[str, DiskStation]
    issuer: Authority
    on_attic: Bundle = field(init=False, repr=False)

    def renew_on_attic(self, *, since: timedelta = 1 * DAY) -> str:
        begins = NOW - since
        issued = self.issuer.issue(
            NAMES, not_before=begins, not_after=begins + 90 * DAY, key="rsa2048"
        )
        self.on_attic = bundle_of(issued)
        self.place("attic", self.on_attic, "ddns01", "Synology DDNS", renewable=True, default=True)
        self.boxes["attic"].bind("system/default", "ddns01")
        return fingerprint(self.on_attic.leaf)

    def place(self, box: str, bundle: Bundle, entry: str, description: str, **more: Any) -> None:
        key = bundle.private_key_pem.reveal().encode()
        self.boxes[box].import_entry(
            bundle.leaf_pem, key, bundle.chain_pem, desc=description, entry_id=entry, **more
        )

    def run(self, *arguments: str) -> tuple[int, Any, str]:
        """Run a command; return its exit code, its report if that is JSON, and all that it said."""
        out, err = io.StringIO(), io.StringIO()
        options = ("-i", str(self.folder / "inventory.toml"), "--state", str(self.folder / "state"))
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([*options, *arguments])
        code, printed = ended.value.code, out.getvalue()
        assert isinstance(code, int)
        report = json.loads(printed) if "--json" in arguments else None
        return code, report, printed + err.getvalue()

    def report(self, *arguments: str) -> tuple[int, Any, str]:
        """Run a command and read its report."""
        return self.run(*arguments, "--json")

    def write_inventory(self, root: Path, password: str = PASSWORD) -> None:
        (self.folder / "password").touch(mode=0o600)
        (self.folder / "password").write_text(password)
        lines = [
            "[certificates.ddns]",
            'source = "diskstation"',
            'from = "attic"',
            'description = "Synology DDNS"',
            f"ca_bundle = '{root}'",
            "[defaults]",
            'kind = "diskstation"',
            'via = "api"',
            'user = "certs"',
            'password = { file = "password" }',
            'certificate = "ddns"',
        ]
        for name, box in self.boxes.items():
            lines += [f"[hosts.{name}]", f'address = "{box.address}"', f"port = {box.port}"]
            lines += [f'server_name = "{NAME}"'] if name == "attic" else []
            lines += ["deliver = []"] if name == "attic" else []
        (self.folder / "inventory.toml").write_text("\n".join(lines) + "\n")

    def served(self) -> dict[str, str]:
        return {
            name: box.snapshot()["entries"][box.snapshot()["bindings"]["system/default"]]["leaf"]
            for name, box in self.boxes.items()
        }

    @property
    def writes(self) -> dict[str, int]:
        return {name: box.writes for name, box in self.boxes.items()}


@pytest.fixture(name="house")
def sourced_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    issuer, root = hierarchy(1), tmp_path / "root.pem"
    root.write_bytes(pem(issuer.root))
    monkeypatch.setattr("certifi.where", lambda: str(root))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with ExitStack() as running:
        account = Account("certs", PASSWORD)
        boxes = {
            name: running.enter_context(
                DiskStation(
                    name, knobs=QUICK, factory=factory_certificate(name), accounts=[account]
                )
            )
            for name in BOXES
        }
        house = House(folder=tmp_path, boxes=boxes, issuer=issuer)
        house.write_inventory(root)
        decoy = bundle_of(issuer.issue(["decoy.test"]))
        house.place("cellar", decoy, DECOY, "a decoy")
        boxes["cellar"].bind("FTPS", DECOY)
        code, _, said = house.run("trust", "cellar", "garage", "--yes")
        assert code == 0, said
        house.renew_on_attic(since=10 * DAY)
        yield house
