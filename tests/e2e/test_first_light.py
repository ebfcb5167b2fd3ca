"""First light: a wildcard from Pebble through BIND to five DiskStations as they come from the shop.

Each test may tamper with the boxes; the next run of the command makes them whole again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.rdatatype
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from distributor.lab.authority import Authority
from distributor.lab.diskstation import DiskStation
from distributor.lab.pebble import PebbleOptions
from tests.certs import hierarchy
from tests.e2e.servers import Bind, MakePebble, ask
from tests.integration.cli.house import (
    NAMES,
    ZONE,
    House,
    Ran,
    opened_boxes,
    serves,
    shown_leaf,
    verified_leaf,
)

CHALLENGE = f"_acme-challenge.{ZONE}"
NEW_ORDER = "/order-plz"
"""Where Pebble takes new orders; it logs every request."""


@dataclass(frozen=True)
class Light:
    """The range after first light, and what was seen on the way."""

    house: House
    bind: Bind
    authority: Authority
    before: Ran
    """The dry run before anything was obtained."""
    before_files: tuple[dict[str, str], dict[str, str]]
    before_writes: dict[str, int]
    before_serials: tuple[int, int]
    first: Ran

    @property
    def leaf(self) -> str:
        stored = self.house.store.bundles.current("home")
        assert stored is not None
        return stored.bundle.certificate("home").leaf

    def orders(self) -> int:
        return self.authority.log.read_text(encoding="utf-8").count(NEW_ORDER)

    def entry(self, name: str, *, ours: bool = True) -> str:
        entries: dict[str, dict[str, object]] = self.house.boxes[name].snapshot()["entries"]
        return next(known for known, one in entries.items() if (one["leaf"] == self.leaf) is ours)


def serial(bind: Bind) -> int:
    (answer,) = ask(bind.endpoint, ZONE, "SOA").answer
    assert answer.rdtype == dns.rdatatype.SOA
    return int(answer[0].serial)


@pytest.fixture(scope="module")
def light(
    tmp_path_factory: pytest.TempPathFactory, bind: Bind, pebble: Authority
) -> Iterator[Light]:
    folder = tmp_path_factory.mktemp("house")
    with opened_boxes(NAMES, {}) as boxes:
        house = House(
            folder=folder,
            boxes={name: box for name, (box, _) in boxes.items()},
            directory_url=pebble.directory_url,
            ca_bundle=pebble.ca_bundle,
            root=pebble.root,
            nameserver=f"{bind.address}:{bind.port}",
            key_name=bind.key_name,
            key_type="rsa2048",
        )
        house.write("tsig.key", bind.key_secret + "\n")
        for name, (_, password) in boxes.items():
            house.write(f"{name}.password", password + "\n")
        house.write_inventory()
        trusted = house.run("trust", *NAMES, "--yes")
        assert trusted.code == 0, trusted.said
        files, serial_before = house.files(), serial(bind)
        dry = house.run("--all", "--dry-run", "--json")
        seen = ((files, house.files()), house.writes, (serial_before, serial(bind)))
        first = house.run("--all", "--json")
        yield Light(house, bind, pebble, dry, *seen, first)


def test_the_dry_run_before_writes_nothing_anywhere(light: Light) -> None:
    assert light.before.code == 0
    assert light.before.statuses() == dict.fromkeys(NAMES, "planned")
    (certificate,) = light.before.report["certificates"]
    assert (certificate["status"], certificate["reason"]) == ("due", "none yet")
    assert certificate["leaf"] == "next:home"
    assert set(light.before_files[0]) == {"trust.toml", "run.lock", "tables.lock"}
    assert light.before_files[0] == light.before_files[1]
    assert set(light.before_writes.values()) == {0}
    assert light.before_serials[0] == light.before_serials[1]


def test_every_port_of_every_box_serves_the_new_leaf_with_its_chain(light: Light) -> None:
    assert light.first.code == 0, light.first.said
    assert light.first.statuses() == dict.fromkeys(NAMES, "changed")
    assert {one["proof"] for one in light.first.report["hosts"]} == {"handshake"}
    assert light.first.report["certificates"][0]["status"] == "renewed"
    assert light.house.all_serve(light.leaf)
    for box in light.house.boxes.values():
        apex = verified_leaf(box.address, box.port, ZONE, light.house.root)
        assert apex == light.leaf


def test_nothing_of_the_challenge_is_left_in_the_zone(light: Light) -> None:
    assert light.bind.txt(CHALLENGE) == set()
    assert not list((light.house.state / "orders").rglob("*.json"))


def test_a_box_holds_one_more_entry_and_keeps_its_own(light: Light) -> None:
    for box in light.house.boxes.values():
        entries = box.snapshot()["entries"]
        factory = f"sha256:{box.factory_certificate.leaf.fingerprint(hashes.SHA256()).hex()}"
        assert sorted(one["desc"] for one in entries.values()) == ["", "home"]
        assert {one["leaf"] for one in entries.values()} == {light.leaf, factory}


def test_the_second_run_changes_nothing_and_asks_the_ca_nothing(light: Light) -> None:
    writes, orders, zone = light.house.writes, light.orders(), serial(light.bind)
    assert orders >= 1, "Pebble does not log orders as this test reads them"

    ran = light.house.run("--all", "--json")

    assert ran.code == 0
    assert ran.report["summary"] == {"unchanged": 5}
    assert ran.report["certificates"][0]["status"] == "current"
    assert light.house.writes == writes
    assert light.orders() == orders
    assert serial(light.bind) == zone


def own_port_rebound(light: Light, box: DiskStation) -> tuple[str, str]:
    box.bind("system/default", light.entry(box.name, ours=False))
    return "service 'DSM Desktop Service'", "certificate"


def ftps_rebound(light: Light, box: DiskStation) -> tuple[str, str]:
    box.bind("FTPS", light.entry(box.name, ours=False))
    return "service 'FTPS'", "certificate"


def chain_removed(light: Light, box: DiskStation) -> tuple[str, str]:
    box.remove_chain(light.entry(box.name))
    return "certificate 'home'", "chain"


Tamper = Callable[[Light, DiskStation], tuple[str, str]]


@pytest.mark.parametrize("tamper", [own_port_rebound, ftps_rebound, chain_removed])
@pytest.mark.parametrize("name", ["attic", "studio"])
def test_a_box_that_was_tampered_with_is_shown_and_then_repaired(
    light: Light, tamper: Tamper, name: str
) -> None:
    house = light.house
    address, fact = tamper(light, house.boxes[name])
    writes, files = house.writes, house.files()
    assert not serves(house.boxes[name], light.leaf, house.root)

    dry = house.run("--all", "--dry-run", "--json")
    pending = house.run("--all", "--dry-run", "--exit-code")

    assert (dry.code, pending.code) == (0, 4)
    assert dry.statuses() == dict.fromkeys(NAMES, "unchanged") | {name: "planned"}
    assert [(one["address"], one["fact"]) for one in dry.host(name)["changes"]] == [(address, fact)]
    assert pending.out.count("planned ") == 1
    assert house.writes == writes
    assert house.files() == files

    ran = house.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert ran.statuses() == dict.fromkeys(NAMES, "unchanged") | {name: "changed"}
    assert house.all_serve(light.leaf)
    assert {one: count for one, count in house.writes.items() if one != name} == {
        one: count for one, count in writes.items() if one != name
    }


def test_a_leaf_that_nobody_pinned_is_not_repaired_until_a_person_says_so(light: Light) -> None:
    house, box = light.house, light.house.boxes["garage"]
    other = hierarchy(1).issue([ZONE, f"*.{ZONE}"])
    box.import_entry(
        other.certificate_pem,
        other.private_key_pem,
        other.chain_pem,
        desc="home",
        entry_id=light.entry("garage"),
    )
    writes, logins = house.writes, box.logins

    ran = house.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == dict.fromkeys(NAMES, "unchanged") | {"garage": "failed"}
    error = ran.host("garage")["error"]
    assert (error["kind"], error["step"]) == ("Untrusted", "trust")
    assert shown_leaf(box) in error["hint"]
    assert (house.writes, box.logins) == (writes, logins)

    assert house.run("trust", "garage", "--fingerprint", shown_leaf(box)).code == 0
    repaired = house.run("--all", "--json")

    assert repaired.code == 0, repaired.said
    assert repaired.host("garage")["status"] == "changed"
    assert house.all_serve(light.leaf)


def test_a_renewal_brings_a_new_leaf_to_every_box_in_place(light: Light) -> None:
    old = light.leaf
    entries = {name: light.entry(name) for name in NAMES}

    assert light.house.run("issue", "--renew-now").code == 0
    assert light.leaf != old
    ran = light.house.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert ran.statuses() == dict.fromkeys(NAMES, "changed")
    assert {name: light.entry(name) for name in NAMES} == entries
    assert light.house.all_serve(light.leaf)


def test_a_chain_of_three_intermediates_is_delivered_and_served_whole(
    tmp_path: Path, bind: Bind, make_pebble: MakePebble
) -> None:
    authority = make_pebble(dns=bind.endpoint, options=PebbleOptions(chain_length=3))
    with opened_boxes(["attic"], {}) as boxes:
        (box, password) = boxes["attic"]
        house = House(
            folder=tmp_path,
            boxes={"attic": box},
            directory_url=authority.directory_url,
            ca_bundle=authority.ca_bundle,
            root=authority.root,
            nameserver=f"{bind.address}:{bind.port}",
        )
        house.write("tsig.key", bind.key_secret)
        house.write("attic.password", password)
        house.write_inventory()
        house.pin()

        ran = house.run("--all", "--json")

        assert ran.code == 0, ran.said
        shown = house.run("show", "home", "--json").report["shown"][0]
        roles = [link["role"] for link in shown["chain"]["links"]]
        assert roles == ["leaf", "intermediate", "intermediate", "intermediate"]
        assert shown["chain"]["complete"] is True
        assert house.all_serve(shown["leaf"])
        seen = house.run("show", f"127.0.0.1:{box.port}", "--json").report["shown"][0]
        assert len(seen["chain"]["links"]) == 4


def test_what_is_stored_is_what_is_served(light: Light) -> None:
    version = (light.house.state / "certificates/home/current").read_text().strip()
    folder = light.house.state / "certificates/home" / version
    fullchain = x509.load_pem_x509_certificates((folder / "fullchain.pem").read_bytes())
    roots = x509.load_pem_x509_certificates(light.house.root.read_bytes())

    assert f"sha256:{fullchain[0].fingerprint(hashes.SHA256()).hex()}" == light.leaf
    assert len(fullchain) == 2
    assert fullchain[-1].issuer == roots[0].subject
    origin = json.loads((folder / "origin.json").read_text())
    assert origin["ca"] == light.authority.directory_url
