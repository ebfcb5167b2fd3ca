"""The forum's six boxes: five DiskStations of five releases, and a router, each with a past."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributor.lab.accounts import Account
from distributor.lab.box_state import DRIVE, DSM_DESKTOP, FTPS
from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import DSM62, DSM70, DSM72, DSM73, DSM74, Profile
from tests.certs import hierarchy
from tests.integration.cli.house import QUICK, USER, House, shown_leaf, verified_leaf

DISKSTATIONS: Mapping[str, Profile] = {
    "attic": DSM73,
    "cellar": DSM62,
    "garage": DSM70,
    "office": DSM72,
    "studio": DSM74,
}
ROUTER = "router"
NAMES = (*DISKSTATIONS, ROUTER)
DECOY = "decoy1"


@dataclass(kw_only=True)
class SixBoxes(House):
    """Six boxes and one certificate `home`; Drive of every DiskStation has a decoy of its own."""

    zone: str
    source: tuple[str, ...] = ()
    """Lines about where the certificate comes from, instead of the CA's."""
    of_host: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further lines of a host."""
    decoys: dict[str, str] = field(default_factory=dict)
    """The leaf of each decoy, by box."""

    def prepare(self) -> None:
        """Write the inventory and the passwords, and place the decoys."""
        for name, password in self.passwords.items():
            self.write(f"{name}.password", password + "\n")
        self.write_inventory()
        self._place_decoys()

    def _place_decoys(self) -> None:
        """Give every DiskStation another certificate, which Drive uses."""
        for name in DISKSTATIONS:
            decoy = hierarchy(1).issue([f"drive.{name}.test"], key="rsa2048")
            box = self.boxes[name]
            box.import_entry(
                decoy.certificate_pem,
                decoy.private_key_pem,
                decoy.chain_pem,
                desc="a decoy",
                entry_id=DECOY,
            )
            box.bind(DRIVE.key, DECOY)
            self.decoys[name] = box.snapshot()["entries"][DECOY]["leaf"]

    def untouched(self) -> dict[str, Any]:
        """What no run may change, by DiskStation: all of the decoy, and where Drive is bound."""
        kept = {}
        for name in DISKSTATIONS:
            seen = self.boxes[name].snapshot()
            kept[name] = (seen["entries"][DECOY], seen["bindings"][DRIVE.key])
        return kept

    def drive_serves(self) -> dict[str, str]:
        """The leaf at Drive's port of every DiskStation."""
        boxes = {name: self.boxes[name] for name in DISKSTATIONS}
        return {
            name: shown_leaf(box, box.service_ports[DRIVE.display_name])
            for name, box in boxes.items()
        }

    @property
    def restarts(self) -> dict[str, int]:
        for box in self.boxes.values():
            box.wait_until_serving()
        return {name: box.restarts for name, box in self.boxes.items()}

    @property
    def effects(self) -> tuple[dict[str, int], dict[str, int]]:
        """Writes and restarts of every box so far."""
        return self.writes, self.restarts

    def served(self) -> dict[str, set[str | None]]:
        """What the ports that are ours serve; None where the chain does not verify."""
        return {
            name: {
                verified_leaf(box.address, port, f"{name}.{self.zone}", self.root)
                for port in self._ports(name)
            }
            for name, box in self.boxes.items()
        }

    def _ports(self, name: str) -> dict[int, str]:
        """Ports that are ours, each with what an endpoint says of its service."""
        box = self.boxes[name]
        ftps = box.service_ports.get(FTPS.display_name)
        said = {ftps: f', service = "{FTPS.display_name}"'} if ftps is not None else {}
        return {box.port: "", box.https_port: ""} | said

    def _head(self) -> list[str]:
        if not self.source:
            return super()._head()
        defaults = ["[defaults]", f'user = "{USER}"', 'certificate = "home"']
        return ["[certificates.home]", *self.source, f"ca_bundle = '{self.root}'", *defaults]

    def _host(self, name: str) -> list[str]:
        box, named = self.boxes[name], f'server_name = "{name}.{self.zone}"'
        kind = "router" if name == ROUTER else "diskstation"
        return [
            f"[hosts.{name}]",
            f'kind = "{kind}"',
            'via = "api"',
            f'address = "{box.address}"',
            f"port = {box.port}",
            f'password = {{ file = "{name}.password" }}',
            *self.of_host.get(name, ()),
            "endpoints = [",
            *(
                f'  {{ address = "{box.address}:{port}", {named}{service} }},'
                for port, service in self._ports(name).items()
            ),
            "]",
            "",
        ]


@contextmanager
def six_boxes(
    router: Profile, accounts: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[tuple[dict[str, DiskStation], dict[str, str]]]:
    """Give boxes and passwords by name; `accounts` has what is special about a box's account."""
    passwords = {name: f"pass & {secrets.token_hex(8)}" for name in NAMES}
    profiles = {**DISKSTATIONS, ROUTER: router}
    with ExitStack() as running:
        boxes = {}
        for name, profile in profiles.items():
            special = (accounts or {}).get(name, {})
            box = DiskStation(
                name,
                profile=profile,
                accounts=[Account(USER, passwords[name], **special)],
                services=None if name == ROUTER else (DSM_DESKTOP, FTPS, DRIVE),
                knobs=QUICK,
            )
            boxes[name] = running.enter_context(box)
        yield boxes, passwords
