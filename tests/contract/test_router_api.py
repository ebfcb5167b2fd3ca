"""The Web API driver for routers keeps every law, on both releases of SRM."""

from contextlib import AbstractContextManager
from pathlib import Path

from distributor.lab.knobs import SRM12, SRM13
from distributor.model.state import CHAIN, LEAF, NAMES, NOT_AFTER, NOT_BEFORE
from tests.contract.router_rig import router_rig
from tests.contract.scenarios import ROUTER_CASES, Scenario
from tests.contract.target_laws import Rig, TargetLaws

ONLY_SERVED = frozenset({LEAF, CHAIN, NAMES, NOT_BEFORE, NOT_AFTER})


class TestSrm12(TargetLaws):
    covers = ("router", "api")
    cases = ROUTER_CASES
    unseen = ONLY_SERVED

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return router_rig(scenario, folder, SRM12)


class TestSrm13(TargetLaws):
    covers = ("router", "api")
    cases = ROUTER_CASES
    unseen = ONLY_SERVED

    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return router_rig(scenario, folder, SRM13)
