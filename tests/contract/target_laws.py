"""The laws of `targets.contract` as tests. A kind runs them by giving a rig for its device."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import pytest

from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served, all_serve
from distributor.model.errors import Ambiguous, DistributorError, StalePlan
from distributor.model.hosts import Host
from distributor.model.plan import Plan, diff, make_plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import CERTIFICATE, CHAIN, DEFAULT, LEAF, UNREADABLE, Address, State
from distributor.model.undoing import is_as, to_be_undone, undo
from distributor.store import Store
from distributor.targets.contract import Session, Target
from tests.contract.scenarios import DSM_CASES, Cases, Scenario
from tests.contract.watch import Watch, key_lines, require_private, watched

When = Literal["before", "after"]
Counted = Literal["writes", "requests"]
T = TypeVar("T")
_REST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RawEntry:
    description: str
    leaf: str
    chain: tuple[str, ...]
    key: str
    more: object = None
    """What else there is to it, such as owners and modes of files."""


@dataclass(frozen=True, slots=True)
class Raw:
    """What the device holds, seen past its driver: entries and bindings by id; files by path."""

    entries: Mapping[str, RawEntry]
    bindings: Mapping[str, str]
    default: str | None
    """None for a device that has no such choice."""
    others: Mapping[str, object] = field(default_factory=dict)
    """Files around those of the entries, which nobody may touch."""

    def with_since(self, applied: "Raw", since: "Raw") -> "Raw":
        """Return this, with what became different between two later moments."""
        return replace(
            self,
            entries={**self.entries, **news(applied.entries, since.entries)},
            bindings={**self.bindings, **news(applied.bindings, since.bindings)},
        )


def news(then: Mapping[str, T], now: Mapping[str, T]) -> dict[str, T]:
    """Return what is new or different."""
    return {name: value for name, value in now.items() if then.get(name) != value}


class Rig(ABC):
    """One device under test, and everything that the laws want to know of it."""

    host: Host
    store: Store
    scenario: Scenario

    @abstractmethod
    def target(self) -> Target:
        """A driver of its own: nothing is carried over from an earlier one."""

    @abstractmethod
    def served(self) -> tuple[Served, ...]:
        """What the endpoints show, once the device is at rest."""

    @abstractmethod
    def raw(self) -> Raw:
        """What it holds."""

    @property
    @abstractmethod
    def writes(self) -> int:
        """How many changes the device made."""

    @abstractmethod
    def hide(self, entry_id: str) -> None:
        """Let the content of an entry be unreadable from now on."""

    def along(self, entry_ids: Collection[str]) -> Iterable[str]:  # noqa: ARG002 - mostly none
        """What changes with these entries, as the plan's notes say, without an address there."""
        return ()

    @abstractmethod
    def meddle(self, service: str | None) -> None:
        """Let somebody bring a certificate of theirs, and use it for a service, by its id.

        Nothing happens on a device that holds but one certificate.
        """

    @abstractmethod
    def replace(self, entry_id: str, bundle: Bundle) -> None:
        """Let somebody bring another content to an entry."""

    @abstractmethod
    def cut(self, nth: int, when: When, counted: Counted) -> None:
        """Cut the connection at the n-th write or request from now on."""

    @abstractmethod
    def heal(self) -> bool:
        """Let it work again; tell whether it was cut."""

    @abstractmethod
    def stop(self) -> None:
        """End the device."""

    @abstractmethod
    def secrets(self) -> Iterable[str]:
        """What nobody may see: passwords, sessions, tokens."""

    @abstractmethod
    def urls(self) -> Iterable[str]:
        """What the device saw as URLs."""

    @property
    @abstractmethod
    def proved_ids(self) -> frozenset[str]:
        """Ids of the services that endpoints show."""

    @property
    def certificates(self) -> dict[str, Certificate]:
        return {name: one.certificate(name) for name, one in self.scenario.bundles.items()}

    def inspect(self) -> State:
        served = self.served()
        with self.target().open() as session:
            return session.inspect(served)

    def plan(self, observed: State) -> Plan:
        wanted = self.certificates
        return make_plan(
            self.host.name, observed, self.target().desired(wanted), tuple(wanted.values())
        )

    def keep(self, session: Session, plan: Plan) -> Snapshot:
        """Take a snapshot, and return it as another process would find it on the disk."""
        self.store.snapshots.save(to_be_undone(session.snapshot(plan), plan, self.served()))
        kept = self.store.snapshots.last(self.host.name)
        assert kept is not None
        return kept

    def apply(self, target: Target | None = None) -> tuple[Plan, Snapshot]:
        """Look, plan, keep and apply, in one session."""
        served = self.served()
        with (target or self.target()).open() as session:
            plan = self.plan(session.inspect(served))
            kept = self.keep(session, plan)
            session.apply(plan, self.scenario.bundles)
        return plan, kept


class TargetLaws(ABC):
    """Each kind's class of tests: it says which, and makes rigs."""

    covers: ClassVar[tuple[str, str] | None] = None
    """Kind and way, as `wiring.targets.TARGETS` has them; None for the reference."""
    cases: ClassVar[Cases] = DSM_CASES
    unseen: ClassVar[frozenset[str]] = frozenset({LEAF, CHAIN})
    """Facts of a certificate that only a handshake tells."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each law with the cases of the class."""
        for name, scenarios in {
            "scenario": self.cases.scenarios,
            "faulty": self.cases.faulty,
        }.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, scenarios, ids=str)

    @abstractmethod
    def rig(self, scenario: Scenario, folder: Path) -> AbstractContextManager[Rig]:
        """Give a device as the scenario says, and end it."""

    def places(self, _seed: str) -> Iterable[int]:
        """Which writes or requests meet a fault, counted from one; it ends at the first too many.

        `_seed` is for a class that takes a part of them.
        """
        return count(1)

    @pytest.fixture
    def watch(self) -> Any:
        with watched() as watch:
            yield watch

    @pytest.fixture
    def make(self, watch: Watch, tmp_path: Path) -> Callable[..., AbstractContextManager[Rig]]:
        """Make rigs whose every word, URL and file is searched for secrets at the end: law 7."""
        number = 0

        @contextmanager
        def make(scenario: Scenario) -> Any:
            nonlocal number
            number += 1
            folder = tmp_path / str(number)
            with self.rig(scenario, folder) as rig:
                yield rig
                placed = (one.bundle for one in scenario.placed)
                secrets = key_lines(*scenario.bundles.values(), *placed) | set(rig.secrets())
                watch.hear(*rig.urls())
                watch.require_silence(secrets)
                require_private(folder)

        return make

    def test_inspecting_changes_nothing_and_twice_gives_the_same(
        self, make: Any, scenario: Scenario
    ) -> None:
        with make(scenario) as rig:
            raw, served = rig.raw(), rig.served()
            with rig.target().open() as session:
                first, second = session.inspect(served), session.inspect(served)
            assert first == second == rig.inspect()
            assert rig.raw() == raw
            assert rig.writes == 0

    def test_what_is_told_is_all_there_is_and_true(self, make: Any, scenario: Scenario) -> None:
        with make(scenario) as rig:
            raw, state = rig.raw(), rig.inspect()
            entries = (*state.of_kind("certificate"), *state.of_kind("file"))
            assert {_known(one): one.name for one in entries} == {
                known: entry.description for known, entry in raw.entries.items()
            }
            for one in entries:
                entry = raw.entries[_known(one)]
                assert (state.get(one, LEAF) or "") in {UNREADABLE, entry.leaf}
                assert (state.get(one, CHAIN) or ()) in {UNREADABLE, entry.chain}
            assert {s.id: _used(state, s) for s in state.of_kind("service")} == raw.bindings
            assert _used(state, DEFAULT) == raw.default

    def test_desired_works_with_nothing_running(self, make: Any, scenario: Scenario) -> None:
        with make(scenario) as rig:
            running = rig.target().desired(rig.certificates)
            rig.stop()
            assert rig.target().desired(rig.certificates) == running
            assert set(_sakes(running)) == set(scenario.bundles)

    def test_a_snapshot_changes_nothing(self, make: Any, scenario: Scenario, watch: Watch) -> None:
        with make(scenario) as rig:
            raw, served = rig.raw(), rig.served()
            with rig.target().open() as session:
                plan = rig.plan(session.inspect(served))
                snapshot = session.snapshot(plan)
                watch.hear(plan, snapshot, session)
            assert snapshot.before == plan.observed
            assert rig.raw() == raw
            assert rig.writes == 0

    def test_after_apply_nothing_is_left_to_do(
        self, make: Any, scenario: Scenario, watch: Watch
    ) -> None:
        with make(scenario) as rig:
            plan, _ = rig.apply()
            watch.hear(plan, rig.target())
            assert not plan.is_noop
            assert all_serve(rig.served(), rig.certificates)
            state = rig.inspect()
            assert diff(state, rig.target().desired(rig.certificates)) == ()
            raw, writes = rig.raw(), rig.writes
            again = rig.plan(state)
            assert again.is_noop
            with rig.target().open() as session:
                session.apply(again, scenario.bundles)
            assert (rig.raw(), rig.writes) == (raw, writes)

    def test_nothing_outside_the_plan_changes(self, make: Any, scenario: Scenario) -> None:
        with make(scenario) as rig:
            before = rig.raw()
            plan, _ = rig.apply()
            after = rig.raw()
            changed = {change.address for change in plan.changes}
            brought = {_known(one) for one in changed if one.kind in {"certificate", "file"}}
            brought.update(rig.along(brought))
            moved = {one.id for one in changed if one.kind == "service"}
            for known, entry in before.entries.items():
                assert after.entries[known].description == entry.description
                assert known in brought or after.entries[known] == entry
            assert len(after.entries) - len(before.entries) == scenario.makes
            assert after.others == before.others
            assert {k: v for k, v in after.bindings.items() if k not in moved} == {
                k: v for k, v in before.bindings.items() if k not in moved
            }
            assert DEFAULT in changed or after.default == before.default

    def test_a_rollback_undoes_all_of_it(self, make: Any, scenario: Scenario) -> None:
        with make(scenario) as rig:
            before, state, target = rig.raw(), rig.inspect(), rig.target()
            _, kept = rig.apply(target)
            assert rig.raw() != before
            _roll_back(rig, kept, target)  # at once: the device may still be restarting
            _require_restored(rig, before, state)

    def test_another_process_can_undo_it_later(self, make: Any, scenario: Scenario) -> None:
        with make(scenario) as rig:
            before, state = rig.raw(), rig.inspect()
            rig.apply()
            rig.served()  # once it is at rest
            kept = Store(rig.store.folder).snapshots.last(rig.host.name)
            assert kept is not None
            _roll_back(rig, kept)
            _require_restored(rig, before, state)

    def test_another_process_takes_back_what_it_sees_and_no_more(
        self, make: Any, scenario: Scenario
    ) -> None:
        """As `rollback HOST` does it: what came since stays."""
        with make(scenario) as rig:
            before, state = rig.raw(), rig.inspect()
            rig.apply()
            rig.served()  # once it is at rest
            applied = rig.raw()
            free = (k for k, used in applied.bindings.items() if before.bindings[k] == used)
            rig.meddle(next((k for k in free if k not in rig.proved_ids), None))
            since = rig.raw()
            _take_back(rig)
            _require_restored(rig, before.with_since(applied, since), None)
            if since == applied:
                assert rig.inspect() == state
            writes = rig.writes
            _take_back(rig)
            assert rig.writes == writes, "what is as it was is left alone"

    def test_what_somebody_replaced_since_is_not_taken_back(
        self, make: Any, scenario: Scenario
    ) -> None:
        with make(scenario) as rig:
            before = rig.raw()
            rig.apply()
            rig.served()  # once it is at rest
            brought = [
                known
                for known, entry in rig.raw().entries.items()
                if before.entries.get(known) != entry
            ]
            for known in brought:
                rig.replace(known, rig.scenario.stranger)
            raw, writes = rig.raw(), rig.writes
            if brought:
                with pytest.raises(StalePlan, match="holds something else by now"):
                    _take_back(rig)
            else:
                _take_back(rig)
            if brought:
                assert rig.raw() == raw
                assert rig.writes == writes

    def test_what_was_made_up_to_a_fault_at_every_write_is_taken_back_by_another_process(
        self, make: Any, faulty: Scenario
    ) -> None:
        nth, was_cut = 0, True
        while was_cut:
            nth += 1
            with make(faulty) as rig:
                before, state = rig.raw(), rig.inspect()
                rig.cut(nth, "after", "writes")  # a cut before it leaves what the last one left
                with suppress(DistributorError):
                    rig.apply()
                was_cut = rig.heal()
                rig.served()  # once it is at rest
                _take_back(rig)
                _require_restored(rig, before, state)
        assert nth > 1

    def test_a_rollback_without_any_change_changes_nothing(
        self, make: Any, scenario: Scenario
    ) -> None:
        with make(scenario) as rig:
            before, served, state = rig.raw(), rig.served(), rig.inspect()
            with rig.target().open() as session:
                kept = rig.keep(session, rig.plan(session.inspect(served)))
            _roll_back(rig, kept)
            _require_restored(rig, before, state)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_fault_at_every_write_can_be_undone(
        self, make: Any, faulty: Scenario, watch: Watch, when: When
    ) -> None:
        scenario, struck = faulty, 0
        for nth in self.places(f"{faulty} {when}"):
            with make(scenario) as rig:
                before, served, state = rig.raw(), rig.served(), rig.inspect()
                target = rig.target()
                with target.open() as session:
                    plan = rig.plan(session.inspect(served))
                    kept = rig.keep(session, plan)
                    rig.cut(nth, when, "writes")
                    try:
                        session.apply(plan, scenario.bundles)
                    except DistributorError as error:
                        watch.hear(error)
                    else:
                        # What the driver says it did, it did: a lost answer is no excuse.
                        _require_applied(rig)
                    was_cut = rig.heal()
                _roll_back(rig, kept, target)
                _require_restored(rig, before, state)
            if not was_cut:
                break
            struck += 1
        assert struck

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_connection_cut_at_every_step_can_be_undone(
        self, make: Any, watch: Watch, when: When
    ) -> None:
        scenario, struck = self.cases.walked, 0
        for nth in self.places(f"walked {when}"):
            with make(scenario) as rig:
                before, served, state = rig.raw(), rig.served(), rig.inspect()
                target, kept = rig.target(), None
                rig.cut(nth, when, "requests")
                try:
                    with target.open() as session:
                        plan = rig.plan(session.inspect(served))
                        kept = rig.keep(session, plan)
                        session.apply(plan, scenario.bundles)
                except DistributorError as error:
                    watch.hear(error)
                was_cut = rig.heal()
                if kept is not None:
                    _roll_back(rig, kept, target)
                _require_restored(rig, before, state)
            if not was_cut:
                break
            struck += 1
        assert struck

    def test_what_cannot_be_read_is_unreadable_and_never_absent(
        self, make: Any, scenario: Scenario
    ) -> None:
        with make(scenario) as rig:
            state = rig.inspect()
            for known in rig.raw().entries:
                rig.hide(known)
            hidden = rig.inspect()
            assert set(hidden.facts) == set(state.facts)
            for address, facts in state.facts.items():
                holds = address.kind in {"certificate", "file"}
                secret = self.unseen & facts.keys() if holds else frozenset[str]()
                assert hidden.facts[address] == {
                    **facts,
                    **dict.fromkeys(secret, UNREADABLE),
                }

    def test_what_could_mean_two_things_is_ambiguous(self, make: Any) -> None:
        with make(self.cases.ambiguous) as rig:
            with pytest.raises(Ambiguous, match=self.cases.ambiguous_words):
                rig.plan(rig.inspect())
            assert rig.writes == 0

    def test_two_endpoints_are_proved_apart(self, make: Any) -> None:
        with make(self.cases.apart) as rig:
            rig.apply()
            assert all_serve(rig.served(), rig.certificates)
            assert rig.plan(rig.inspect()).is_noop


def _used(state: State, address: Address) -> str | None:
    used = state.get(address, CERTIFICATE)
    assert used is None or isinstance(used, Address)
    return None if used is None else used.id


def _sakes(state: State) -> Iterable[object]:
    entries = (*state.of_kind("certificate"), *state.of_kind("file"))
    return (state.get(one, "for") for one in entries)


def _known(address: Address) -> str:
    """What `Raw.entries` has an entry or file by."""
    return address.name if address.kind == "file" else address.id


def _roll_back(rig: Rig, kept: Snapshot, target: Target | None = None) -> None:
    with (target or rig.target()).open() as session:
        session.rollback(kept)


def _require_applied(rig: Rig) -> None:
    assert all_serve(rig.served(), rig.certificates)
    with rig.target().open() as session:
        state = session.inspect(rig.served())
    assert diff(state, rig.target().desired(rig.certificates)) == ()


def _require_restored(rig: Rig, before: Raw, state: State | None) -> None:
    deadline = time.monotonic() + _REST_SECONDS
    while rig.raw() != before and time.monotonic() < deadline:
        time.sleep(0.1)  # its programs read their files in their own time
    assert rig.raw() == before
    assert state is None or rig.inspect() == state


def _take_back(rig: Rig) -> None:
    """Do what a process does that finds nothing but the snapshot on the disk."""
    kept = Store(rig.store.folder).snapshots.last(rig.host.name)
    assert kept is not None
    served = rig.served()
    with rig.target().open() as session:
        undoing = undo(kept, session.inspect(served), served)
        if undoing.plan.is_noop:
            return
        session.rollback(undoing.snapshot)
    served = rig.served()
    with rig.target().open() as session:
        assert is_as(undoing.snapshot.before, session.inspect(served))
    shown = {one for one in undoing.snapshot.shown for s in served if one.is_of(s.endpoint)}
    assert all(one.is_shown_by(s) for one in shown for s in served if one.is_of(s.endpoint))
