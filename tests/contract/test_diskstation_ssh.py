"""The SSH driver of a DiskStation keeps every law, on boxes with a real sshd, sudo and nginx.

Each way and release goes through a part of the scenarios, and of the faults, or through all of
them with DISTRIBUTE_EXHAUSTIVE=1.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import pytest

from distributor.model.state import (
    CHAIN,
    ISSUED_BY,
    KEY,
    LEAF,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
)
from tests.contract.scenarios import (
    DSM_CASES,
    DSM_FILES_CASES,
    Cases,
    Scenario,
    in_part,
    with_rsa,
)
from tests.contract.ssh_boxes import BoxOf, shared_boxes
from tests.contract.ssh_diskstation_rig import Login, Method, ssh_diskstation_rig
from tests.contract.target_laws import Rig, TargetLaws
from tests.e2e.ssh_box_tree import Release

_boxes: list[BoxOf] = []


@pytest.fixture(scope="module", autouse=True)
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One box of each release, put back for each test."""
    with shared_boxes(tmp_path_factory) as box:
        _boxes.append(box)
        yield
        _boxes.pop()


class DiskstationSshLaws(TargetLaws):
    """What the classes below have in common; the certificate's facts are all read from its file."""

    unseen = frozenset({LEAF, CHAIN, KEY, NAMES, NOT_BEFORE, NOT_AFTER, ISSUED_BY})
    release: ClassVar[Release]
    method: ClassVar[Method] = "files"
    login: ClassVar[Login]

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        box = _boxes[-1](self.release)
        return ssh_diskstation_rig(box, scenario, folder, method=self.method, login=self.login)


class TestDiskstationSsh62(DiskstationSshLaws):
    covers = ("diskstation", "ssh")
    cases: ClassVar[Cases] = in_part(with_rsa(DSM_FILES_CASES), "ssh62", number=1, faulty=1)
    release = "dsm62"
    login = "password"


class TestDiskstationSsh72(DiskstationSshLaws):
    covers = ("diskstation", "ssh")
    cases: ClassVar[Cases] = in_part(DSM_FILES_CASES, "ssh72", number=2, faulty=1)
    release = "dsm72"
    login = "silent"


class TestDiskstationSsh73(DiskstationSshLaws):
    covers = ("diskstation", "ssh")
    cases: ClassVar[Cases] = in_part(DSM_FILES_CASES, "ssh73", number=1, faulty=1)
    release = "dsm73"
    login = "root"


class TestDiskstationSynowebapi(DiskstationSshLaws):
    covers = ("diskstation", "ssh")
    cases: ClassVar[Cases] = in_part(DSM_CASES, "synowebapi", number=2, faulty=1)
    release = "dsm73"
    method = "synowebapi"
    login = "password"
