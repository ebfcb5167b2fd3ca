"""The SSH driver for routers keeps every law: real sshd, real Apache, tools of BusyBox."""

import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest

from distributor.model.state import KEY
from distributor.targets.pem_facts import OF_CERTIFICATES
from tests.contract.router_ssh_rig import router_ssh_rig
from tests.contract.scenarios import (
    ROUTER_CASES,
    Scenario,
    for_files,
    is_exhaustive,
)
from tests.contract.target_laws import Rig, TargetLaws
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_tree import Item


@pytest.fixture(scope="module", autouse=True)
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with SshBox(tmp_path_factory.mktemp("router"), "srm13") as box:
        # BusyBox's own shell runs its own tools, which no trap could stand in for; dash does not.
        box.place(Item(path="/usr/bin/sh", link="/opt/box/host/bin/dash"))
        TestRouterSsh.box = box
        yield
        del TestRouterSsh.box


class TestRouterSsh(TargetLaws):
    covers = ("router", "ssh")
    cases = for_files(ROUTER_CASES, "router", 2)
    unseen = frozenset({*OF_CERTIFICATES, KEY})
    box: ClassVar[SshBox]

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return router_ssh_rig(self.box, scenario, folder)

    def places(self, seed: str) -> Iterable[int]:
        if is_exhaustive():
            return count(1)
        most = 14 if seed.startswith("walked") else 4
        return sorted(random.Random(seed).sample(range(1, most + 1), 2))  # noqa: S311 - the same part
