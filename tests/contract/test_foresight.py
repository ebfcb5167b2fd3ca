"""Foreseeing changes nothing, and is right about what a snapshot will keep."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from distributor.clients.dsm import DsmSession
from distributor.lab.knobs import DSM72
from distributor.model.errors import DeviceRefused, UnsafePlan
from distributor.model.hazards import NOT_RESTORABLE
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.memory_rig import memory_rig
from tests.contract.scenarios import SCENARIOS, Scenario
from tests.contract.target_laws import Rig


def rig_of(kind: str, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
    if kind == "memory":
        return memory_rig(scenario, folder)
    return diskstation_rig(scenario, folder, DSM72)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
@pytest.mark.parametrize("kind", ["memory", "dsm72"])
def test_it_changes_nothing_and_finds_nothing_where_all_can_be_copied(
    tmp_path: Path, kind: str, scenario: Scenario
) -> None:
    with rig_of(kind, scenario, tmp_path / "state") as rig:
        before, served = rig.raw(), rig.served()
        with rig.target().open() as session:
            plan = rig.plan(session.inspect(served))
            first, second = session.foresee(plan), session.foresee(plan)
            kept = session.snapshot(plan)
        assert first == second
        assert first.hazards == ()
        assert (rig.raw(), rig.writes) == (before, 0)
        assert not list((tmp_path / "state").rglob("snapshot*"))
        if kind == "dsm72":
            copied = {one for one in kept.pairs if any(str(one) in note for note in first.notes)}
            in_store = {one for one, b in kept.pairs.items() if b in _stored(rig)}
            assert copied | in_store == set(kept.pairs)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_what_it_cannot_copy_is_a_hazard_exactly_where_a_snapshot_would_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    def refuse(_session: DsmSession, _entry: str) -> bytes:
        raise DeviceRefused("export: no", hint="none", step="export", code=105)

    monkeypatch.setattr(DsmSession, "export", refuse)
    with diskstation_rig(scenario, tmp_path / "state", DSM72) as rig:
        served = rig.served()
        with rig.target().open() as session:
            plan = rig.plan(session.inspect(served))
            seen = session.foresee(plan)
            assert {one.name for one in seen.hazards} <= {NOT_RESTORABLE}
            if not seen.hazards:
                session.snapshot(plan)
                return
            with pytest.raises(UnsafePlan):
                session.snapshot(plan)
            kept = session.snapshot(plan, may_lose=True)
            lost = {one.address for one in plan.changes if one.address.id} - kept.pairs.keys()
            assert lost
        assert rig.writes == 0


def _stored(rig: Rig) -> Any:
    return [one.bundle for one in rig.scenario.placed if one.is_stored]
