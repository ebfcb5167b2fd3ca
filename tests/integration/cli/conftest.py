"""A house of virtual boxes whose store holds a certificate already; and one with CA and DNS."""

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distributor.lab.authority import Authority
from distributor.lab.knobs import Knobs
from distributor.lab.nameserver import Nameserver
from distributor.lab.pebble import PebbleOptions
from tests.certs import Authority as Issuer
from tests.integration.cli.house import (
    NAMES,
    ZONE,
    House,
    new_issuer,
    opened_boxes,
    stored_bundle,
)

MakeHouse = Callable[..., House]
NOBODY = "127.0.0.1:9"
"""Where nothing listens: port 9 is for `discard`, which nobody runs."""


@dataclass(frozen=True)
class World:
    """A nameserver and a CA that asks it."""

    nameserver: Nameserver
    authority: Authority
    secret: str


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Issuer, Path]:
    """A CA that exists as a key only, and the file of its root."""
    return new_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def make_house(tmp_path: Path, issuer: tuple[Issuer, Path]) -> Iterator[MakeHouse]:
    """Start boxes: `make_house("attic", …, knobs={…}, stored=False)`.

    No CA and no nameserver is there; unless told otherwise the store holds a certificate, and the
    boxes are pinned.
    """
    with ExitStack() as running:

        def make(
            *names: str,
            knobs: Mapping[str, Knobs] | None = None,
            accounts: Mapping[str, Mapping[str, Any]] | None = None,
            stored: bool = True,
            pinned: bool = True,
        ) -> House:
            boxes = running.enter_context(opened_boxes(names or ("attic",), knobs or {}, accounts))
            house = House(
                folder=tmp_path,
                boxes={name: box for name, (box, _) in boxes.items()},
                passwords={name: password for name, (_, password) in boxes.items()},
                directory_url=f"https://{NOBODY}/dir",
                ca_bundle=issuer[1],
                root=issuer[1],
                nameserver=NOBODY,
            )
            _write_secrets(house, base64.b64encode(os.urandom(32)).decode())
            house.write_inventory()
            if stored:
                house.keep(stored_bundle(issuer[0]))
            if pinned:
                house.pin()
            return house

        yield make


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    """One box."""
    return make_house("attic")


@pytest.fixture
def five(make_house: MakeHouse) -> House:
    """Five boxes."""
    return make_house(*NAMES)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One nameserver and one Pebble for all tests that obtain certificates."""
    secret = base64.b64encode(os.urandom(32)).decode()
    with (
        Nameserver([ZONE], key_name="acme-key", key_secret=secret) as nameserver,
        Authority(
            dns=nameserver.address,
            folder=tmp_path_factory.mktemp("ca"),
            engine="pebble",
            # Else half of the later orders need no DNS, whatever a test did to it.
            options=PebbleOptions(authorization_reuse_percent=0),
        ) as authority,
    ):
        yield World(nameserver, authority, secret)


@contextmanager
def issuing_house(folder: Path, world: World, *names: str, pinned: bool = True) -> Iterator[House]:
    """Give boxes with an empty store, and with a CA and a nameserver to obtain from."""
    with opened_boxes(names or ("attic",), {}) as boxes:
        host, port = world.nameserver.address
        house = House(
            folder=folder,
            boxes={name: box for name, (box, _) in boxes.items()},
            passwords={name: password for name, (_, password) in boxes.items()},
            directory_url=world.authority.directory_url,
            ca_bundle=world.authority.ca_bundle,
            root=world.authority.root,
            nameserver=f"{host}:{port}",
        )
        _write_secrets(house, world.secret)
        house.write_inventory()
        if pinned:
            house.pin()
        yield house


@pytest.fixture
def issuing(tmp_path: Path, world: World) -> Iterator[House]:
    """One box, CA and nameserver; nothing is obtained yet."""
    with issuing_house(tmp_path, world) as house:
        yield house


@pytest.fixture
def late(issuing: House, world: World) -> Iterator[Nameserver]:
    """A nameserver of the house's own that takes updates and serves them after a minute."""
    with Nameserver([ZONE], key_name="acme-key", key_secret=world.secret) as nameserver:
        nameserver.lag = 60.0
        host, port = nameserver.address
        issuing.nameserver = f"{host}:{port}"
        issuing.write_inventory()
        yield nameserver


def _write_secrets(house: House, key: str) -> None:
    house.write("tsig.key", key + "\n")
    for name, password in house.passwords.items():
        house.write(f"{name}.password", password + "\n")
