"""The reference target keeps every law, also for what nobody thought of."""

from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from distributor.model.errors import DistributorError
from distributor.model.hosts import Delivery
from distributor.model.plan import diff
from tests.contract.memory_rig import MemoryRig, memory_rig
from tests.contract.scenarios import DSM, NEW, OLD, PROXY, SERVICES, STRANGERS, Scenario, ours
from tests.contract.target_laws import Rig, TargetLaws


class TestMemoryTarget(TargetLaws):
    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        return memory_rig(scenario, folder)


MOVABLE = [name for name in SERVICES if name != "QuickConnect"]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """An entry of ours with any description and use, or none, and anything asked for it."""
    used = draw(st.lists(st.sampled_from(MOVABLE), unique=True))
    description = draw(st.text(max_size=12))
    has = draw(st.sampled_from([OLD, NEW, None]))
    asked: list[Literal["keep", "all"] | tuple[str, ...]] = [
        "keep",
        "all",
        tuple(draw(st.lists(st.sampled_from(MOVABLE), unique=True))),
    ]
    entry = ours(
        has or OLD, description=description, services=tuple(used), is_default=draw(st.booleans())
    )
    return Scenario(
        name="any",
        placed=(entry, *STRANGERS) if has else STRANGERS,
        deliveries=(
            Delivery(
                certificate="wild",
                id="known1" if has else None,
                default=draw(st.booleans()),
                services=draw(st.sampled_from(asked)),
            ),
        ),
        proved=draw(st.sampled_from([{}, {DSM: "wild"}, {DSM: "wild", PROXY: "wild"}])),
    )


@settings(max_examples=60, deadline=None)
@given(scenarios(), st.integers(1, 9), st.sampled_from(["before", "after"]))
def test_any_apply_is_whole_or_can_be_undone(
    scenario: Scenario, nth: int, when: Literal["before", "after"]
) -> None:
    with TemporaryDirectory() as folder:
        rig = MemoryRig(scenario, Path(folder))
        before, state = rig.raw(), rig.inspect()
        plan = rig.plan(state)
        with rig.target().open() as session:
            kept = rig.keep(session, plan)
            rig.cut(nth, when, "writes")
            try:
                session.apply(plan, scenario.bundles)
            except DistributorError:
                assert rig.heal()
                assert not plan.is_noop
            else:
                assert diff(rig.inspect(), rig.target().desired(rig.certificates)) == ()
                assert plan.is_noop == (rig.raw() == before)
        rig.heal()
        with rig.target().open() as session:
            session.rollback(kept)
        assert rig.raw() == before
        assert rig.inspect() == state
