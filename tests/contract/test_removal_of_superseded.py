"""Superseded entries go last, alone, and only as planned; the same for every kind of host."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from distributor.lab.knobs import DSM72, DSM74
from distributor.model.bundle import Bundle
from distributor.model.endpoints import all_serve
from distributor.model.errors import ApplyFailed, DistributorError
from distributor.model.plan import Plan, make_plan
from tests.certs import DAY
from tests.contract.diskstation_rig import DiskstationRig, diskstation_rig
from tests.contract.memory_rig import memory_rig
from tests.contract.scenarios import FTPS, NEW, OLD, STRANGERS, Scenario, issue, ours
from tests.contract.target_laws import Rig

MakeRig = Callable[[Scenario, Path], AbstractContextManager[Rig]]
KINDS: dict[str, MakeRig] = {
    "memory": memory_rig,
    "dsm72": lambda scenario, folder: diskstation_rig(scenario, folder, DSM72),
    "dsm74": lambda scenario, folder: diskstation_rig(scenario, folder, DSM74),
}
OLDEST = issue("example.test", "*.example.test", lasts=3 * DAY)
OF_SOMEBODY = issue("example.test", "*.example.test", lasts=4 * DAY)
SCENARIO = Scenario(
    name="leftovers",
    placed=(
        *STRANGERS,
        ours(),
        ours(OLD, id="left01", description="left", services=()),
        ours(OLDEST, id="left02", description="left too", services=()),
        ours(OLDEST, id="used01", description="in use", services=(FTPS,)),
        ours(OF_SOMEBODY, id="theirs", description="same names, not from our store", services=()),
    ),
)
LEFT = {"left01", "left02"}


def planned(rig: Rig) -> Plan:
    def versions(*bundles: Bundle) -> Any:
        return {"wild": [one.certificate("wild") for one in bundles]}

    wanted = rig.certificates
    return make_plan(
        rig.host.name,
        rig.inspect(),
        rig.target().desired(wanted),
        tuple(wanted.values()),
        versions=versions(OLDEST, OLD, NEW),
    )


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with KINDS[request.param](SCENARIO, tmp_path / "state") as rig:
        yield rig


def test_leftovers_go_and_nothing_else(rig: Rig) -> None:
    before = rig.raw()
    plan = planned(rig)
    assert {one.address.id for one in plan.removals} == LEFT
    with rig.target().open() as session:
        session.snapshot(plan)
        session.apply(plan, SCENARIO.bundles)
        assert rig.raw().entries.keys() == before.entries.keys(), "apply removed something"
        session.remove(plan)
    after = rig.raw()
    assert before.entries.keys() - after.entries.keys() == LEFT
    assert (after.bindings, after.default) == (before.bindings, before.default)
    assert {k: v for k, v in after.entries.items() if k != "known1"} == {
        k: v for k, v in before.entries.items() if k not in {"known1", *LEFT}
    }
    assert all_serve(rig.served(), rig.certificates)
    assert planned(rig).is_noop


def test_removing_twice_writes_once(rig: Rig) -> None:
    plan = planned(rig)
    with rig.target().open() as session:
        session.remove(plan)
        writes = rig.writes
        session.remove(plan)
    assert rig.writes == writes


def test_a_plan_without_removals_removes_nothing(rig: Rig) -> None:
    before = rig.raw()
    with rig.target().open() as session:
        session.remove(rig.plan(rig.inspect()))
    assert rig.raw() == before
    assert rig.writes == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_connection_leaves_them_or_removes_them_whole(rig: Rig, when: Any) -> None:
    before, plan = rig.raw(), planned(rig)
    with rig.target().open() as session:
        rig.cut(1, when, "writes")
        with suppress(DistributorError):
            session.remove(plan)
        rig.heal()
    after = rig.raw()
    assert before.entries.keys() - after.entries.keys() <= LEFT
    assert {k: v for k, v in before.entries.items() if k not in LEFT} == {
        k: v for k, v in after.entries.items() if k not in LEFT
    }
    assert after.bindings == before.bindings


@pytest.fixture
def box(tmp_path: Path) -> Any:
    with diskstation_rig(SCENARIO, tmp_path / "state", DSM72) as rig:
        yield rig


def take_into_use(rig: DiskstationRig) -> None:
    rig.box.bind(FTPS, "left02")


def make_default(rig: DiskstationRig) -> None:
    put(rig, OLDEST, default=True)


def replace_content(rig: DiskstationRig) -> None:
    put(rig, OF_SOMEBODY)


def put(rig: DiskstationRig, bundle: Bundle, *, default: bool = False) -> None:
    rig.box.import_entry(
        bundle.leaf_pem,
        bundle.private_key_pem.reveal().encode(),
        bundle.chain_pem,
        desc="left too",
        entry_id="left02",
        default=default,
    )


@pytest.mark.parametrize("change", [take_into_use, make_default, replace_content])
def test_what_changed_since_it_was_planned_stays(
    box: DiskstationRig, change: Callable[[DiskstationRig], None]
) -> None:
    plan = planned(box)
    change(box)
    before, writes = box.raw(), box.writes
    with box.target().open() as session, pytest.raises(ApplyFailed, match="by now") as caught:
        session.remove(plan)
    assert caught.value.hint
    assert (box.raw(), box.writes) == (before, writes)
