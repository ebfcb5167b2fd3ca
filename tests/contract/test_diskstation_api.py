"""The Web API driver keeps every law, on boxes of DSM 6.2 and of every DSM 7.

The oldest dialect and the most common one go through every scenario and every fault; the other
releases go through a part of them, or all with DISTRIBUTE_EXHAUSTIVE=1.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from distributor.lab.knobs import DSM62, DSM70, DSM72, DSM73, DSM74
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.scenarios import DSM_CASES, Scenario, in_part, with_rsa
from tests.contract.target_laws import Rig, TargetLaws


class TestDsm62(TargetLaws):
    covers = ("diskstation", "api")
    cases = with_rsa(DSM_CASES)

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM62)


class TestDsm70(TargetLaws):
    covers = ("diskstation", "api")
    cases = in_part(DSM_CASES, "dsm70")

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM70)


class TestDsm72(TargetLaws):
    covers = ("diskstation", "api")

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM72)


class TestDsm73(TargetLaws):
    covers = ("diskstation", "api")
    cases = in_part(DSM_CASES, "dsm73")

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM73)


class TestDsm74(TargetLaws):
    covers = ("diskstation", "api")
    cases = in_part(DSM_CASES, "dsm74")

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM74)
