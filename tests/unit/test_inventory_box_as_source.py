"""A box that a certificate comes from: what the inventory may say of it, and what becomes of it."""

from pathlib import Path

import pytest

from distributor import inventory
from distributor.model.errors import InventoryError
from distributor.model.hosts import DiskstationSource, Inventory

FILE = Path("/srv/inventory/inventory.toml")
SOUND = """\
[certificates.ddns]
source = "diskstation"
from = "attic"
description = "Synology DDNS"

[defaults]
kind = "diskstation"
via = "api"
user = "certs"
password = { env = "PASSWORD" }
certificate = "ddns"

[hosts.attic]
address = "192.0.2.11"
server_name = "attic.synology.example"
deliver = []

[hosts.cellar]
address = "192.0.2.12"
"""


def read(text: str) -> Inventory:
    return inventory.parse(text, path=FILE, private=False)


def problems(text: str) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1
    return SOUND.replace(old, new)


def test_a_box_may_give_a_certificate_and_get_none() -> None:
    read_in = read(SOUND)
    attic, cellar = read_in.hosts["attic"], read_in.hosts["cellar"]
    assert attic.deliveries == ()
    assert attic.certificates == ()
    assert [one.certificate for one in attic.endpoints] == ["ddns"]
    assert cellar.certificates == ("ddns",)
    assert read_in.certificates["ddns"].source == DiskstationSource(
        host="attic", description="Synology DDNS"
    )


def test_a_box_that_only_gives_is_told_how_to_say_so() -> None:
    text = changed("deliver = []\n", "").replace('certificate = "ddns"\n', "")
    missing = "is missing: the NAME of a [certificates.NAME], here or in [defaults]"
    assert problems(text) == [
        f"line 12: hosts.attic.certificate: {missing}; deliver = [] if it only gives ddns",
        f"line 16: hosts.cellar.certificate: {missing}",
    ]


def test_only_such_a_box_may_get_none() -> None:
    text = changed('address = "192.0.2.12"\n', 'address = "192.0.2.12"\ndeliver = []\n')
    assert problems(text) == [
        "line 20: hosts.cellar.deliver: must hold at least one delivery",
    ]


def test_a_box_may_get_another_certificate_than_the_one_it_gives() -> None:
    text = changed("deliver = []", 'deliver = [{ certificate = "ddns", description = "copy" }]')
    assert read(text).hosts["attic"].certificates == ("ddns",)


def test_a_box_never_gets_the_entry_that_it_gives() -> None:
    text = changed(
        "deliver = []", 'deliver = [{ certificate = "ddns", description = "Synology DDNS" }]'
    )
    (problem,) = problems(text)
    assert "is the very entry of this host that the certificate comes from" in problem


def test_the_family_of_keys_may_be_said() -> None:
    text = changed('from = "attic"', 'from = "attic"\nkey_type = "ec256"')
    assert read(text).certificates["ddns"].key_type == "ec256"


def test_a_box_must_be_reached_by_its_web_api_to_give_one() -> None:
    text = changed(
        'server_name = "attic.synology.example"\n', 'via = "ssh"\nidentity = { env = "KEY" }\n'
    )
    assert any("from: must name a host of via" in problem for problem in problems(text))
