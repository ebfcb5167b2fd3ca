"""What the checks ask for a host that gets no certificate."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from distributor import inventory
from distributor.checking.online import check_online
from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError, Unreachable
from distributor.model.hosts import AcmeSource, Endpoint, Host
from distributor.model.inside import Inside
from distributor.model.web import Front, PlainAnswer
from distributor.targets.contract import Target

SOURCE_ONLY = """\
[certificates.ddns]
source = "diskstation"
from = "attic"
description = "Synology DDNS"

[hosts.attic]
kind = "diskstation"
via = "api"
user = "certs"
password = { env = "PASSWORD" }
address = "192.0.2.11"
server_name = "attic.synology.example"
deliver = []
"""


class Away:
    """Tools for which no host answers, and which note whose addresses they are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        return tuple(Served(endpoint=one, error=Unreachable("off", hint="on")) for one in endpoints)

    def target(self, host: Host, _certificates: Mapping[str, Certificate]) -> Target:
        raise Unreachable(f"{host.name} is off", hint="switch it on")

    def reach_ca(self, source: AcmeSource) -> None:
        raise AssertionError(f"there is no CA: {source}")

    def rehearse(
        self, certificate: str, _progress: Callable[[str], None]
    ) -> Mapping[str, DistributorError]:
        raise AssertionError(f"there is no zone: {certificate}")

    def addresses(self, name: str, certificate: str) -> tuple[str, ...]:
        self.asked.append((name, certificate))
        return ("192.0.2.11",)

    def front(self, host: Host, _certificates: Mapping[str, Certificate], name: str) -> Front:
        raise AssertionError(f"{host.name} is off: {name}")

    def plain(self, _host: Host) -> PlainAnswer | None:
        return None

    def inside(self, host: Host, _paths: Sequence[str], _commands: Sequence[str]) -> Inside:
        raise AssertionError(f"{host.name} is not reached by SSH")


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ("", [("192.0.2.11", "ddns"), ("attic.synology.example", "ddns")]),
        ("endpoints = []\n", []),
    ],
)
def test_a_host_that_only_gives_a_certificate_is_asked_for_as_its_endpoints_are(
    more: str, asked: list[tuple[str, str]]
) -> None:
    tools = Away()
    found = inventory.parse(SOURCE_ONLY + more, path=Path("/srv/inventory.toml"), private=False)

    remarks = check_online(found, {}, tools, lambda _what, _text: None, threading.Event())

    assert tools.asked == asked
    assert {one.about.split(",")[0] for one in remarks} == {"host attic"}
    assert not any("IndexError" in one.message for one in remarks)
    assert "unreachable" in {one.name for one in remarks}
