"""The Web API driver keeps every law, on boxes of both ends of DSM 7."""

from contextlib import AbstractContextManager
from pathlib import Path

from distributor.lab.knobs import DSM72, DSM74
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.scenarios import Scenario
from tests.contract.target_laws import Rig, TargetLaws


class TestDsm72(TargetLaws):
    covers = ("diskstation", "api")

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM72)


class TestDsm74(TargetLaws):
    covers = ("diskstation", "api")

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return diskstation_rig(scenario, folder, DSM74)
