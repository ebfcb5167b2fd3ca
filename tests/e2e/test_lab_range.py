"""A range holds boxes of different releases, and an inventory that names them."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from distributor.lab.knobs import DSM62, DSM72, DSM74, SRM12, SRM13
from distributor.lab.range import ROUTER, Range
from tests.integration.lab.issued import fingerprint
from tests.integration.lab.plain_client import served


def inventory_of(lab: Range) -> dict[str, Any]:
    return tomllib.loads(lab.inventory.read_text(encoding="utf-8"))


def test_five_diskstations_of_which_one_is_old_and_a_router(tmp_path: Path) -> None:
    profiles = (DSM72, DSM72, DSM74, DSM72, DSM62, SRM13)
    said: list[str] = []
    with Range(tmp_path / "lab", profiles=profiles, note=said.append) as lab:
        hosts = inventory_of(lab)["hosts"]
        assert tuple(box.profile for box in lab.boxes.values()) == profiles
        assert list(hosts) == list(lab.boxes)
        assert [hosts[name]["kind"] for name in lab.boxes] == ["diskstation"] * 5 + ["router"]
        router = lab.boxes[ROUTER]
        (endpoint,) = hosts[ROUTER]["endpoints"]
        assert hosts[ROUTER]["port"] == router.port
        assert endpoint["address"] == f"127.0.0.1:{router.port}"
        assert served(router.port) == [fingerprint(router.factory_certificate.leaf)]
        assert f"router {ROUTER} (srm13) at https://127.0.0.1:{router.port}" in said
        assert (lab.folder / hosts[ROUTER]["password"]["file"]).stat().st_mode & 0o077 == 0


def test_without_profiles_it_is_diskstations_alike(tmp_path: Path) -> None:
    with Range(tmp_path / "lab", boxes=2) as lab:
        hosts = inventory_of(lab)["hosts"]
        assert list(hosts) == list(lab.boxes) == ["attic", "cellar"]
        assert {box.profile for box in lab.boxes.values()} == {DSM72}
        box = lab.boxes["attic"]
        assert hosts["attic"]["endpoints"] == [
            {"address": f"127.0.0.1:{box.port}", "server_name": "attic.example.test"},
            {
                "address": f"127.0.0.1:{box.service_ports['FTPS']}",
                "server_name": "attic.example.test",
                "service": "FTPS",
            },
        ]


def test_a_range_of_none_of_too_many_or_of_two_routers_is_a_mistake(tmp_path: Path) -> None:
    for profiles in ((), (DSM72,) * 9):
        with pytest.raises(ValueError, match="1 to 8 boxes"):
            Range(tmp_path, profiles=profiles)
    with pytest.raises(ValueError, match="one router"):
        Range(tmp_path, profiles=(SRM12, SRM13))
