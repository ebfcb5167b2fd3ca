"""Boxes by SSH that the tests of a module share, put back for each of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from distributor import delivery
from tests.contract.delivering import Bench
from tests.contract.scenarios import DSM, FTPS, STRANGERS, Scenario, ours, scenario_with_rsa
from tests.contract.ssh_diskstation_box import DiskstationBox, diskstation_box
from tests.contract.ssh_diskstation_rig import SshDiskstationRig
from tests.e2e.ssh_box_tree import Release

BoxOf = Callable[[Release], DiskstationBox]
MakeRig = Callable[..., SshDiskstationRig]
REPLACED = Scenario(
    name="one entry replaced that DSM's pages and FTPS use",
    placed=(*STRANGERS, ours(services=(DSM, FTPS))),
    proved={DSM: "wild", FTPS: "wild"},
)


@contextmanager
def shared_boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxOf]:
    """Give a box of each release that is asked for."""
    with ExitStack() as running:

        @cache
        def box(release: Release) -> DiskstationBox:
            folder = tmp_path_factory.mktemp("box")
            return running.enter_context(diskstation_box(folder, release))

        yield box


def rigs(box_of: BoxOf, folder: Path) -> MakeRig:
    """Return what gives a rig around the box of a release, put back to a scenario."""
    numbers = count(1)

    def rig(
        release: Release = "dsm72", scenario: Scenario = REPLACED, **more: Any
    ) -> SshDiskstationRig:
        words = {"method": "files", "login": "password"} | more
        placed = scenario_for(release, scenario)
        box = box_of(release)
        box.place_scenario(placed)
        return SshDiskstationRig(box, placed, folder / f"{next(numbers)}", **words)

    return rig


def scenario_for(release: Release, scenario: Scenario = REPLACED) -> Scenario:
    """Return a scenario with keys that the release takes."""
    return scenario_with_rsa(scenario) if release == "dsm62" else scenario


def bench(rig: SshDiskstationRig, monkeypatch: pytest.MonkeyPatch, **at: Any) -> Bench:
    """Return a run's work around a rig that does not wait long for what never comes."""
    monkeypatch.setattr(delivery, "SERVED_SECONDS", 1.5)
    return Bench(rig, at={step.replace("_", " "): act for step, act in at.items()})
