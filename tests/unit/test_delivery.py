"""One host from the first handshake to its outcome, on devices in memory."""

from dataclasses import replace

import pytest

from distributor.delivery import SERVED_SECONDS, Visit, deliver, observe
from distributor.model.bundle import Bundle
from distributor.model.errors import (
    RollbackFailed,
    StalePlan,
    StateError,
    Unreachable,
    UnsafePlan,
    VerifyFailed,
)
from distributor.model.hosts import Endpoint, Host, SocketAddress
from distributor.model.report import Outcome
from distributor.model.reviewed import Reviewed
from tests.contract.memory_target import MemoryDevice
from tests.unit.bench import DSM, FTPS, Bench, Clock, cut_at, from_the_shop, host, issue

NEW = issue()
OLD = issue(days=20)
AWAY = Unreachable("it is away", step="connect")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = Clock()
    monkeypatch.setattr("distributor.delivery.monotonic", clock)
    return Bench({"attic": from_the_shop()}, clock=clock)


@pytest.fixture
def device(bench: Bench) -> MemoryDevice:
    return bench.devices["attic"]


def seen(
    bench: Bench,
    on: Host | None = None,
    *,
    bundle: Bundle = NEW,
    dry_run: bool = False,
    accepted: frozenset[str] = frozenset(),
    trusted: bool = True,
    reviewed: Reviewed | None = None,
) -> Visit | Outcome:
    certificate = replace(bundle.certificate("home"), trusted=trusted)
    return observe(
        on or host(),
        {"home": certificate},
        bench,
        dry_run=dry_run,
        accepted=accepted,
        reviewed=reviewed,
    )


def visit(bench: Bench, on: Host | None = None) -> Visit:
    found = seen(bench, on)
    assert isinstance(found, Visit)
    return found


def brought(bench: Bench, on: Host | None = None) -> Outcome:
    return deliver(visit(bench, on), {"home": NEW}, bench)


def serves_new(device: MemoryDevice) -> bool:
    return all(device.entries[used][1] == NEW for used in device.bindings.values())


def test_a_host_from_the_shop_is_changed_and_proved(bench: Bench, device: MemoryDevice) -> None:
    outcome = brought(bench)

    assert (outcome.status, outcome.proof) == ("changed", "handshake")
    assert serves_new(device)
    assert {one.certificate.leaf for one in outcome.endpoints if one.certificate} == {
        NEW.certificate("home").leaf
    }
    assert bench.remembered == ["attic"]
    assert len(bench.kept) == 1
    assert bench.open_sessions == 0


def test_the_steps_are_told_in_order(bench: Bench) -> None:
    brought(bench)

    assert [text for _, text in bench.steps] == [
        *("handshakes", "signing in", "looking", "waiting for its turn"),
        *("keeping what is there", "changing", "proving"),
    ]


def test_a_second_look_finds_nothing_to_do(bench: Bench, device: MemoryDevice) -> None:
    brought(bench)
    writes = device.writes

    outcome = seen(bench)

    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.proof) == ("unchanged", "handshake")
    assert device.writes == writes
    assert bench.open_sessions == 0


def test_a_dry_run_ends_with_the_plan(bench: Bench, device: MemoryDevice) -> None:
    outcome = seen(bench, dry_run=True)

    assert isinstance(outcome, Outcome)
    assert outcome.status == "planned"
    assert outcome.plan is not None
    assert {str(change.address) for change in outcome.plan.changes} == {
        *("certificate 'home'", "service 'DSM Desktop Service'", "service 'FTPS'")
    }
    assert (device.writes, bench.open_sessions, bench.remembered, bench.kept) == (0, 0, [], [])


def test_a_dry_run_of_what_is_right_moves_no_pin(bench: Bench) -> None:
    brought(bench)
    bench.remembered.clear()

    outcome = seen(bench, dry_run=True)

    assert isinstance(outcome, Outcome)
    assert outcome.status == "unchanged"
    assert bench.remembered == []


def test_a_hazard_is_refused_with_the_word_that_accepts_it(
    bench: Bench, device: MemoryDevice
) -> None:
    outcome = seen(bench, trusted=False)

    assert isinstance(outcome, Outcome)
    assert outcome.status == "refused"
    assert isinstance(outcome.error, UnsafePlan)
    assert outcome.error.hint is not None
    assert "--accept attic:untrusted-issuer" in outcome.error.hint
    assert (device.writes, bench.open_sessions) == (0, 0)


def test_a_hazard_accepted_by_the_run_or_the_inventory_goes_on(bench: Bench) -> None:
    by_run = seen(bench, trusted=False, accepted=frozenset({"untrusted-issuer"}))
    assert isinstance(by_run, Visit)
    assert [one.name for one in by_run.outcome.hazards] == ["untrusted-issuer"]
    by_run.close()

    by_host = seen(bench, host(accept=frozenset({"untrusted-issuer"})), trusted=False)
    assert isinstance(by_host, Visit)
    by_host.close()
    assert isinstance(seen(bench, trusted=False, accepted=frozenset({"fewer-names"})), Outcome)


def test_a_host_that_is_down_is_not_asked_again_by_login(bench: Bench) -> None:
    bench.errors = {SocketAddress("attic", 5001): AWAY}

    with pytest.raises(Unreachable, match="it is away"):
        seen(bench)

    assert bench.opened == 0


def test_an_endpoint_that_is_away_before_leaves_the_host_unchanged(
    bench: Bench, device: MemoryDevice
) -> None:
    bench.errors = {SocketAddress("attic", 21): AWAY}

    outcome = seen(bench)

    assert isinstance(outcome, Outcome)
    assert outcome.status == "failed"
    assert isinstance(outcome.error, VerifyFailed)
    assert "attic:21 shows no certificate" in outcome.error.message
    assert (device.writes, bench.kept, bench.open_sessions) == (0, [], 0)


def test_a_snapshot_that_cannot_be_kept_leaves_the_host_unchanged(
    bench: Bench, device: MemoryDevice
) -> None:
    bench.keep_fails = StateError("no space")

    outcome = brought(bench)

    assert outcome.status == "failed"
    assert outcome.error is bench.keep_fails
    assert (device.writes, bench.open_sessions) == (0, 0)


def test_what_cannot_be_undone_is_refused_before_the_first_write(
    bench: Bench, device: MemoryDevice
) -> None:
    bench.keep_fails = UnsafePlan("it cannot be undone", hazards=("not-restorable",))

    outcome = brought(bench)

    assert (outcome.status, device.writes) == ("refused", 0)


def test_a_pin_that_cannot_be_moved_is_a_warning(bench: Bench) -> None:
    bench.remember_fails = StateError("no space")

    outcome = brought(bench)

    assert outcome.status == "changed"
    assert outcome.is_well
    assert outcome.warnings == ("what it serves now could not be pinned: no space",)


def test_an_unknown_error_after_the_proof_is_a_warning(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remember(_host: Host) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bench, "remember", remember)

    outcome = brought(bench)

    assert outcome.status == "changed"
    assert "ZeroDivisionError" in outcome.warnings[0]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_write_that_fails_has_the_host_put_back(
    bench: Bench, device: MemoryDevice, nth: int
) -> None:
    entries, bindings = dict(device.entries), dict(device.bindings)
    device.on_call = cut_at(nth)

    outcome = brought(bench)

    assert outcome.status == "rolled_back"
    assert isinstance(outcome.error, Unreachable), "the cause, not the remedy"
    assert (device.entries, device.bindings) == (entries, bindings)
    assert bench.opened == 2, "put back on a fresh connection"
    assert bench.open_sessions == 0
    assert bench.remembered == ["attic"]


def test_a_host_that_cannot_be_put_back_is_broken(bench: Bench, device: MemoryDevice) -> None:
    device.on_call = cut_at(2, for_ever=True)

    outcome = brought(bench)

    assert outcome.status == "broken"
    assert isinstance(outcome.error, RollbackFailed)
    assert outcome.error.message == ("cut on purpose; then putting it back failed: cut on purpose")
    assert outcome.error.hint is not None
    assert "snapshots/attic" in outcome.error.hint
    assert bench.remembered == []


def test_a_host_that_nobody_can_sign_in_to_any_more_is_broken(
    bench: Bench, device: MemoryDevice
) -> None:
    device.on_call = cut_at(2)

    def on_open(count: int) -> None:
        if count == 2:
            raise AWAY

    bench.on_open = on_open

    assert brought(bench).status == "broken"


def test_a_host_that_is_put_back_but_looks_otherwise_is_broken(
    bench: Bench, device: MemoryDevice
) -> None:
    device.on_call = cut_at(3)

    def on_open(count: int) -> None:
        if count == 2:
            device.entries["stranger"] = ("somebody's", OLD)

    bench.on_open = on_open

    outcome = brought(bench)

    assert outcome.status == "broken"
    assert outcome.error is not None
    assert "it is not as it was before" in outcome.error.message


def test_an_endpoint_that_serves_something_else_has_the_host_put_back(
    bench: Bench, device: MemoryDevice
) -> None:
    bindings = dict(device.bindings)
    bench.stale = {SocketAddress("attic", 21)}

    outcome = brought(bench)

    assert outcome.status == "rolled_back"
    assert isinstance(outcome.error, VerifyFailed)
    assert "attic:21 serves sha256:" in outcome.error.message
    assert device.bindings == bindings
    assert bench.clock.now >= SERVED_SECONDS, "it was given its time"


def test_an_endpoint_that_is_late_is_waited_for(bench: Bench) -> None:
    late = SocketAddress("attic", 21)
    found = visit(bench)
    real = bench.sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if bench.clock.now > 30:
            bench.stale.discard(late)

    bench.stale = {late}
    bench.sleep = sleep  # type: ignore[method-assign]  # time passes, and the service with it

    outcome = deliver(found, {"home": NEW}, bench)

    assert outcome.status == "changed"
    assert 30 < bench.clock.now < SERVED_SECONDS
    assert outcome.seconds == bench.clock.now


def test_a_right_host_with_an_endpoint_that_serves_something_else_has_failed(
    bench: Bench,
) -> None:
    brought(bench)
    bench.served_first[SocketAddress("attic", 21)] = OLD.certificate("home")
    bench.stale = {SocketAddress("attic", 21)}

    outcome = seen(bench)

    assert isinstance(outcome, Outcome)
    assert outcome.status == "failed"
    assert isinstance(outcome.error, VerifyFailed)
    assert outcome.error.hint is not None
    assert "`service`" in outcome.error.hint


def test_a_host_without_endpoints_is_proved_by_what_it_holds_with_a_warning(bench: Bench) -> None:
    outcome = brought(bench, host(endpoints=()))

    assert (outcome.status, outcome.proof) == ("changed", "files")
    assert outcome.warnings == (
        "no endpoint proves what it serves, only what its files hold: add `endpoints`",
    )

    again = seen(bench, host(endpoints=()))
    assert isinstance(again, Outcome)
    assert (again.status, again.proof) == ("unchanged", "files")
    assert again.warnings == outcome.warnings


def test_a_host_without_endpoints_that_hides_its_leaf_is_proved_by_dates(
    bench: Bench, device: MemoryDevice
) -> None:
    brought(bench, host(endpoints=()))
    device.hidden |= set(device.entries)

    again = seen(bench, host(endpoints=()))

    assert isinstance(again, Outcome)
    assert (again.status, again.proof, again.warnings) == ("unchanged", "dates", ())


def test_services_that_no_endpoint_proves_are_listed(bench: Bench) -> None:
    only_ftps = (Endpoint(address=SocketAddress("attic", 21), certificate="home", service="FTPS"),)

    outcome = brought(bench, host(endpoints=only_ftps))

    assert outcome.plan is not None
    assert outcome.plan.unproved == ("DSM Desktop Service",)


def test_a_reviewed_plan_is_applied_only_to_a_host_that_is_as_it_was(
    bench: Bench, device: MemoryDevice
) -> None:
    planned = seen(bench, dry_run=True)
    assert isinstance(planned, Outcome)
    assert planned.plan is not None
    certificate = replace(NEW.certificate("home"), trusted=True)
    reviewed = Reviewed(digests={"attic": planned.plan.digest}, certificates={"home": certificate})
    same = seen(bench, reviewed=reviewed)
    assert isinstance(same, Visit)
    same.close()
    device.bindings[FTPS] = device.bindings[DSM] = "moved"
    device.entries["moved"] = ("moved", OLD)

    with pytest.raises(StalePlan, match="attic is not as it was"):
        seen(bench, reviewed=reviewed)

    assert bench.open_sessions == 0
