"""The driver for PEM files keeps every law: real sshd, real nginx, as root, by sudo and without."""

import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest

from distributor.model.state import KEY
from distributor.targets.pem_facts import OF_CERTIFICATES
from tests.contract.scenarios import FILES_CASES, FilesScenario, Scenario, for_files, is_exhaustive
from tests.contract.ssh_files_rig import Login, ssh_files_rig
from tests.contract.target_laws import Rig, TargetLaws
from tests.e2e.ssh_box import Knobs, SshBox
from tests.e2e.ssh_box_tree import Item


class FilesLaws(TargetLaws):
    unseen = frozenset({*OF_CERTIFICATES, KEY})
    login: ClassVar[Login]
    box: ClassVar[SshBox]

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        assert isinstance(scenario, FilesScenario)
        return ssh_files_rig(self.box, scenario, folder, self.login)

    def places(self, seed: str) -> Iterable[int]:
        if is_exhaustive():
            return count(1)
        most = 14 if seed.startswith("walked") else 2
        return sorted(random.Random(seed).sample(range(1, most + 1), 2))  # noqa: S311 - the same part


@pytest.fixture(scope="module", autouse=True)
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        SshBox(tmp_path_factory.mktemp("host"), "dsm72") as box,
        SshBox(tmp_path_factory.mktemp("host"), "dsm62", Knobs(busybox=True)) as old,
    ):
        # BusyBox's own shell runs its own tools, which no trap could stand in for; dash does not.
        old.place(Item(path="/usr/bin/sh", link="/opt/box/host/bin/dash"))
        FilesLaws.box = box
        TestSshFilesBySudoWithBusybox.box = old
        yield


class TestSshFilesOfTheAccount(FilesLaws):
    """Whoever owns the files brings them without root, which he could not become."""

    covers = ("files", "ssh")
    login = "owner"
    cases = for_files(FILES_CASES, "account", 2)


class TestSshFilesBySudoWithBusybox(FilesLaws):
    covers = ("files", "ssh")
    login = "sudo"
    cases = for_files(FILES_CASES, "busybox", 1)


class TestSshFilesAsRoot(FilesLaws):
    covers = ("files", "ssh")
    login = "root"
    cases = for_files(FILES_CASES, "root", 1)
