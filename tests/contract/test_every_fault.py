"""A fault at every request of a delivery, on every dialect, by observe and deliver.

Each ends with the new leaf served, with the box as it was, or with the box untouched; `broken` is
said only of a box that is gone. DSM 6.2 and 7.2 and SRM 1.3 meet every fault at every request, DSM
7.2 also while it is put back. The others meet each at some, or at all with DISTRIBUTE_EXHAUSTIVE=1.
"""

import random
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from distributor import delivery
from distributor.lab.knobs import (
    DSM62,
    DSM70,
    DSM72,
    DSM73,
    DSM74,
    SRM12,
    SRM13,
    Fault,
    Knobs,
    Profile,
)
from distributor.model.endpoints import all_serve
from distributor.model.errors import DistributorError
from distributor.model.plan import diff
from tests.contract.delivering import WORK, Bench
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.lab_rig import QUICK, LabRig
from tests.contract.router_rig import router_rig
from tests.contract.scenarios import (
    ROUTER_SCENARIOS,
    Scenario,
    is_exhaustive,
    scenario_with_rsa,
)
from tests.contract.watch import Watch, key_lines, require_private, watched

PROFILES = [DSM62, DSM70, DSM72, DSM73, DSM74, SRM12, SRM13]
IN_FULL = {DSM62, DSM72, SRM13}
BACK_IN_FULL = {DSM72}
HOW = ["before", "after", "page", "session", "slow", "nothing", "gone"]
KNOBS = replace(QUICK, slow_seconds=0.05)

every_release = pytest.mark.parametrize("profile", PROFILES, ids=lambda one: one.name)


@dataclass
class Lab:
    """Makes boxes of one release that all have the same work before them."""

    profile: Profile
    folder: Path
    watch: Watch

    @property
    def is_router(self) -> bool:
        return self.profile.system == "srm"

    @property
    def work(self) -> Scenario:
        if self.is_router:
            return scenario_with_rsa(ROUTER_SCENARIOS[1])
        return scenario_with_rsa(WORK) if self.profile is DSM62 else WORK

    def rig(self, name: str, knobs: Knobs) -> AbstractContextManager[LabRig]:
        self.watch.said.clear()  # it was searched when the last rig had done its work
        make = router_rig if self.is_router else diskstation_rig
        return make(self.work, self.folder / name, self.profile, knobs)

    def places(self, seed: str, in_full: Collection[Profile]) -> Iterable[int]:
        """Which requests, counted from one; without end where it is all of them."""
        if self.profile in in_full or is_exhaustive():
            return count(1)
        most = 9 if self.is_router else 16
        return sorted(random.Random(seed).sample(range(1, most), 2))  # noqa: S311 - the same part

    def require_signed_out(self, rig: LabRig) -> None:
        """Every session that we know of was ended; a login whose answer was lost gave none."""
        known = sum("step=login result=ok" in line for line in self.watch.said)
        assert rig.box.sessions_open <= rig.box.logins - known

    def search(self, rig: LabRig, *things: object) -> None:
        """Look for secrets in all that was said, sent and written."""
        self.watch.hear(*things, *rig.urls())
        placed = (one.bundle for one in self.work.placed)
        keys = key_lines(*self.work.bundles.values(), *placed)
        self.watch.require_silence(keys | set(rig.secrets()))
        require_private(self.folder)


@pytest.fixture
def lab(profile: Profile, tmp_path: Path) -> Iterator[Lab]:
    with watched() as watch:
        yield Lab(profile, tmp_path, watch)


def run(
    rig: LabRig,
    monkeypatch: pytest.MonkeyPatch,
    proves_within: float,
    when_putting_back: Callable[[], None] = lambda: None,
) -> tuple[str, Any]:
    """One run: its status, and what it said. Only the wait for a proof is cut short."""
    monkeypatch.setattr(delivery, "SERVED_SECONDS", proves_within)

    def put_back() -> None:
        monkeypatch.setattr(delivery, "SERVED_SECONDS", 20)
        when_putting_back()

    bench = Bench(rig)
    bench.at["putting back"] = put_back
    try:
        outcome = bench.run()
    except DistributorError as error:
        return "failed", error
    return outcome.status, outcome


def require_new(rig: LabRig) -> None:
    assert all_serve(rig.served(), rig.certificates)
    assert diff(rig.inspect(), rig.target().desired(rig.certificates)) == ()


@every_release
@pytest.mark.parametrize("how", HOW)
def test_a_fault_at_every_request_ends_well(
    lab: Lab, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: set[str] = set()
    for nth in lab.places(f"{lab.profile.name} {how}", IN_FULL):
        with lab.rig(f"{how}{nth}", KNOBS) as rig:
            before, state = rig.raw(), rig.inspect()
            rig.patience = 0.3 if how == "gone" else 5.0
            rig.fault(nth, how, "requests")
            status, said = run(rig, monkeypatch, 0.5 if how in {"nothing", "gone"} else 20)
            was_struck = rig.heal()
            if how == "gone" and was_struck:
                rig.box._ports.vanish()  # returns once all of it is gone, not only the first port
            ends.add(status)
            lab.search(rig, said)
            allowed = {"changed"} if how in {"session", "slow"} else {"changed", "failed"}
            allowed |= {"rolled_back"} if how in {"before", "after", "page", "nothing"} else set()
            allowed |= {"broken"} if how == "gone" else set()
            assert status in allowed, (nth, said)
            if status in {"failed", "rolled_back"}:
                assert rig.raw() == before
            if status == "failed":
                assert rig.writes == 0
            if how == "gone" and was_struck:
                continue
            if status == "changed":
                require_new(rig)
            else:
                assert rig.inspect() == state
            lab.require_signed_out(rig)
            if not was_struck:
                break
    assert ends


def promised(rig: LabRig) -> Knobs:
    """Let the box promise its last change and not make it, so that all must be put back."""
    if rig.box.profile.system == "srm":
        last = rig.box.counted["writes"] + 1
        return replace(rig.box.knobs, faults=(Fault(last, "nothing", "writes"),))
    return replace(rig.box.knobs, binding_not_moved=True)


@every_release
@pytest.mark.parametrize("how", ["before", "after", "page", "session", "slow"])
def test_a_fault_at_every_request_of_putting_back_ends_well(
    lab: Lab, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nth in lab.places(f"{lab.profile.name} back {how}", BACK_IN_FULL):
        with lab.rig(f"{how}{nth}", KNOBS) as rig:
            before, state = rig.raw(), rig.inspect()
            rig.box.knobs = promised(rig)
            strike = partial(rig.fault, nth, how, "requests")
            status, said = run(rig, monkeypatch, 0.5, strike)
            was_struck = rig.heal()
            lab.search(rig, said)
            assert status == "rolled_back", (nth, said)
            assert rig.raw() == before
            assert rig.inspect() == state
            lab.require_signed_out(rig)
            if not was_struck:
                break
