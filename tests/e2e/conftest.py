"""Real servers, one of each per test module, on free ports of loopback."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from distributor.lab.authority import Authority
from distributor.lab.pebble import PebbleOptions
from tests.e2e.servers import Bind, MakeBind, MakePebble, Zone
from tests.e2e.ssh_box import Knobs, SshBox
from tests.e2e.ssh_box_client import BoxOf, MakeBox
from tests.e2e.ssh_box_tree import Release


@pytest.fixture(scope="module")
def make_bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBind]:
    """Start further BINDs: `make_bind(Zone(...), ..., recursion=True)`."""
    with ExitStack() as running:

        def make(
            *zones: Zone, recursion: bool = True, forward_to: tuple[str, int] | None = None
        ) -> Bind:
            folder = tmp_path_factory.mktemp("bind")
            chosen = zones or (Zone("example.test"),)
            return running.enter_context(
                Bind(folder, zones=chosen, recursion=recursion, forward_to=forward_to)
            )

        yield make


@pytest.fixture(scope="module")
def bind(make_bind: MakeBind) -> Bind:
    """BIND with the zone example.test, where the key may write the challenge's TXT only."""
    return make_bind()


@pytest.fixture(scope="module")
def make_pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakePebble]:
    """Start further Pebbles: `make_pebble(dns=(host, port), options=PebbleOptions(...))`."""
    with ExitStack() as running:

        def make(
            *,
            dns: tuple[str, int],
            options: PebbleOptions | None = None,
            validity_seconds: int = 90 * 86_400,
        ) -> Authority:
            folder: Path = tmp_path_factory.mktemp("pebble")
            authority = Authority(
                engine="pebble",
                dns=dns,
                folder=folder,
                options=options,
                validity_seconds=validity_seconds,
            )
            return running.enter_context(authority)

        yield make


@pytest.fixture(scope="module")
def pebble(make_pebble: MakePebble, bind: Bind) -> Authority:
    """Pebble with its own defaults (5 % bad nonces, 50 % reused authorizations), asking BIND."""
    return make_pebble(dns=bind.endpoint)


@pytest.fixture
def make_ssh_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBox]:
    """Start boxes that are reached by SSH, one for this test each."""
    with ExitStack() as running:

        def make(release: Release, knobs: Knobs | None = None) -> SshBox:
            return running.enter_context(SshBox(tmp_path_factory.mktemp("box"), release, knobs))

        yield make


@pytest.fixture(scope="module")
def ssh_box_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxOf]:
    """One box of each release that is asked for, for tests that leave nothing behind."""
    with ExitStack() as running:

        @cache
        def box(release: Release) -> SshBox:
            return running.enter_context(SshBox(tmp_path_factory.mktemp("box"), release))

        yield box
