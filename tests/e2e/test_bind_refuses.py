"""What BIND refuses is said in one clear error, and nothing is left in its zone."""

import base64
import os
from pathlib import Path

import pytest

from distributor.lab.authority import Authority
from tests.e2e.servers import Bind
from tests.integration.cli.house import ZONE, House

CHALLENGE = f"_acme-challenge.{ZONE}"


@pytest.fixture
def house(tmp_path: Path, bind: Bind, pebble: Authority) -> House:
    """No host: certificates are obtained only."""
    made = House(
        folder=tmp_path,
        boxes={},
        directory_url=pebble.directory_url,
        ca_bundle=pebble.ca_bundle,
        root=pebble.root,
        nameserver=f"{bind.address}:{bind.port}",
        key_name=bind.key_name,
    )
    made.write("tsig.key", bind.key_secret)
    made.write_inventory()
    return made


def refused(house: House, bind: Bind) -> dict[str, str]:
    """Require that nothing is obtained and nothing left; return the error."""
    ran = house.run("issue", "home", "--json")
    assert ran.code == 3
    assert bind.txt(CHALLENGE) == set()
    assert house.store.bundles.versions("home") == ()
    error: dict[str, str] = ran.report["certificates"][0]["error"]
    assert error["kind"] == "DnsRefused"
    return error


def test_a_name_that_the_key_may_not_write_is_named_with_what_to_allow(
    house: House, bind: Bind
) -> None:
    house.rewrite('"*.example.test"]', '"*.example.test", "a.b.example.test"]')

    error = refused(house, bind)

    assert "adding TXT at _acme-challenge.a.b.example.test" in error["message"]
    assert "REFUSED" in error["message"]
    assert "update-policy" in error["hint"]


def test_a_zone_that_the_nameserver_does_not_hold_is_named(house: House, bind: Bind) -> None:
    house.rewrite(f'names = ["{ZONE}", "*.{ZONE}"]', 'names = ["example.net"]')

    error = refused(house, bind)

    assert "_acme-challenge.example.net" in error["message"]


def test_a_key_with_another_secret_is_told_from_one_that_is_unknown(
    house: House, bind: Bind
) -> None:
    house.write("tsig.key", base64.b64encode(os.urandom(32)).decode())
    assert "does not accept the TSIG signature" in refused(house, bind)["message"]

    house.write("tsig.key", bind.key_secret)
    house.rewrite(f'key_name = "{bind.key_name}"', 'key_name = "stranger"')
    assert "does not know the TSIG key" in refused(house, bind)["message"]


def test_a_run_after_a_refused_one_issues_once_the_key_is_right(house: House, bind: Bind) -> None:
    house.write("tsig.key", base64.b64encode(os.urandom(32)).decode())
    refused(house, bind)
    house.write("tsig.key", bind.key_secret)

    ran = house.run("issue", "home")

    assert ran.code == 0, ran.said
    assert bind.txt(CHALLENGE) == set()
    assert not list((house.state / "orders").rglob("*.json"))
