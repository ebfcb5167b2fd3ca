"""One host put back on another day, on devices in memory; and all of them if one fails."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from distributor.delivery import Visit, deliver, observe
from distributor.model.bundle import Bundle, fingerprint, spki_fingerprint
from distributor.model.errors import (
    Expired,
    Revoked,
    RollbackFailed,
    StalePlan,
    Unreachable,
    UnsafePlan,
)
from distributor.model.hosts import Delivery, Host, SocketAddress
from distributor.model.report import Outcome
from distributor.model.state import ABSENT
from distributor.rollback import WayBack, go_back, look_back
from tests.certs import DAY, NOW
from tests.contract.memory_target import FACTORY, MemoryDevice
from tests.unit.bench import DSM, FTPS, Bench, Clock, cut_at, from_the_shop, host, issue

OLD, NEW, STRANGER = issue(20), issue(90), issue(50)
LEAF = {"home": NEW.certificate("home")}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = Clock()
    monkeypatch.setattr("distributor.delivery.monotonic", clock)
    return Bench({"attic": from_the_shop()}, clock=clock)


@pytest.fixture
def device(bench: Bench) -> MemoryDevice:
    """A device that holds an old certificate of ours."""
    device = bench.devices["attic"]
    device.entries["home1"] = ("home", OLD)
    device.bindings = dict.fromkeys(device.bindings, "home1")
    return device


def bring(bench: Bench, bundle: Bundle = NEW, on: Host | None = None) -> Outcome:
    shown = replace(bundle.certificate("home"), trusted=True)
    found = observe(
        on or host(), {"home": shown}, bench, dry_run=False, accepted=frozenset(), reviewed=None
    )
    assert isinstance(found, Visit)
    return deliver(found, {"home": bundle}, bench)


def look(bench: Bench, on: Host | None = None) -> WayBack | Outcome:
    (kept,) = bench.kept
    return look_back(on or host(), LEAF, kept, bench, NOW)


def way(bench: Bench) -> WayBack:
    found = look(bench)
    assert isinstance(found, WayBack), found
    return found


def refused(bench: Bench) -> Outcome:
    found = look(bench)
    assert isinstance(found, Outcome)
    assert found.status == "refused"
    return found


def held_by(device: MemoryDevice) -> tuple[dict[str, tuple[str, Bundle]], dict[str, str], str]:
    return dict(device.entries), dict(device.bindings), device.default


def test_a_replaced_certificate_comes_back_and_is_proved(
    bench: Bench, device: MemoryDevice
) -> None:
    before = held_by(device)
    assert bring(bench).status == "changed"
    bench.remembered.clear()

    outcome = go_back(way(bench), bench)

    assert (outcome.status, outcome.proof, outcome.error) == ("rolled_back", "handshake", None)
    assert held_by(device) == before
    assert {one.certificate.leaf for one in outcome.endpoints if one.certificate} == {
        fingerprint(OLD.leaf)
    }
    assert [(one.name, one.leaf) for one in outcome.wanted] == [("home", fingerprint(OLD.leaf))]
    assert bench.remembered == ["attic"]
    assert bench.open_sessions == 0


def test_a_new_entry_goes_and_services_return_to_the_boxes_own(bench: Bench) -> None:
    before = held_by(bench.devices["attic"])
    bring(bench)

    found = way(bench)
    outcome = go_back(found, bench)

    assert outcome.status == "rolled_back"
    assert held_by(bench.devices["attic"]) == before
    assert outcome.plan is not None
    gone = [one for one in outcome.plan.changes if one.after is ABSENT]
    assert [str(one.address) for one in gone] == ["certificate 'home'"]


def test_looking_changes_nothing_and_marks_nothing(bench: Bench, device: MemoryDevice) -> None:
    bring(bench)
    writes = device.writes

    found = way(bench)

    assert found.outcome.status == "planned"
    assert (device.writes, bench.being_undone, bench.open_sessions) == (writes, [], 0)


def test_that_it_is_under_way_is_noted_before_the_first_write(
    bench: Bench, device: MemoryDevice
) -> None:
    bring(bench)
    found, noted = way(bench), list[bool]()
    device.on_call = lambda kind, _when: (
        noted.append(bench.being_undone == ["attic"]) if kind == "write" else None
    )

    go_back(found, bench)

    assert noted
    assert all(noted)


def test_looking_changing_and_proving_are_sessions_of_their_own(bench: Bench) -> None:
    bring(bench)
    opened = bench.opened

    go_back(way(bench), bench)

    assert bench.opened == opened + 3


def test_a_host_that_is_as_it_was_has_nothing_to_be_done(
    bench: Bench, device: MemoryDevice
) -> None:
    before = held_by(device)
    bring(bench)
    device.entries, device.bindings, device.default = before

    assert way(bench).outcome.status == "unchanged"


def test_what_a_killed_run_left_half_made_is_taken_back(bench: Bench) -> None:
    device = bench.devices["attic"]
    before = held_by(device)

    class Killed(BaseException):
        """As a process that ends."""

    def kill(kind: str, when: str) -> None:
        if (kind, when) == ("write", "after") and device.writes == 2:
            raise Killed

    device.on_call = kill
    with pytest.raises(Killed):
        bring(bench)
    device.on_call = lambda _kind, _when: None
    assert held_by(device) != before

    assert go_back(way(bench), bench).status == "rolled_back"
    assert held_by(device) == before


def test_what_somebody_did_since_stays(bench: Bench, device: MemoryDevice) -> None:
    bring(bench)
    device.entries["news1"] = ("news", STRANGER)
    device.bindings[FTPS] = "news1"

    outcome = go_back(way(bench), bench)

    assert outcome.status == "rolled_back"
    assert outcome.plan is not None
    assert "since then new, and left so: certificate 'news'" in outcome.plan.notes
    assert device.bindings == {DSM: "home1", FTPS: "news1"}
    assert device.entries["home1"][1] == OLD


def test_where_somebody_touched_the_same_thing_nothing_is_changed(
    bench: Bench, device: MemoryDevice
) -> None:
    bring(bench)
    device.entries["home1"] = ("home", STRANGER)
    writes = device.writes

    outcome = refused(bench)

    assert isinstance(outcome.error, StalePlan)
    assert (device.writes, bench.open_sessions) == (writes, 0)


def test_what_was_changed_while_somebody_looked_is_not_touched(
    bench: Bench, device: MemoryDevice
) -> None:
    bring(bench)
    found, writes = way(bench), device.writes
    device.bindings[FTPS] = FACTORY

    outcome = go_back(found, bench)

    assert (outcome.status, device.writes) == ("refused", writes)
    assert "was changed while you looked at it" in str(outcome.error)


def test_a_pair_that_is_nowhere_refuses_it_before_anything(
    bench: Bench, device: MemoryDevice
) -> None:
    bring(bench)
    bench.kept = [replace(bench.kept[0], pairs={})]

    assert isinstance(refused(bench).error, UnsafePlan)


def _revoked(bench: Bench) -> None:
    bench.revoked = frozenset({fingerprint(OLD.leaf)})


def _compromised(bench: Bench) -> None:
    bench.compromised = frozenset({spki_fingerprint(OLD.leaf)})


@pytest.mark.parametrize("forbid", [_revoked, _compromised])
def test_what_was_revoked_is_never_put_back(
    bench: Bench, device: MemoryDevice, forbid: Callable[[Bench], None]
) -> None:
    bring(bench)
    forbid(bench)
    writes = device.writes

    outcome = refused(bench)

    assert isinstance(outcome.error, Revoked)
    assert "attic" in str(outcome.error)
    assert device.writes == writes


def test_no_service_returns_to_an_entry_whose_leaf_was_revoked(bench: Bench) -> None:
    device = bench.devices["attic"]
    device.entries["other1"] = ("other", OLD)
    device.bindings = dict.fromkeys(device.bindings, "other1")
    own = host(deliveries=(Delivery(certificate="home", description="ours", services="all"),))
    device.entries["ours1"] = ("ours", STRANGER)
    assert bring(bench, on=own).status == "changed"
    bench.revoked = frozenset({fingerprint(OLD.leaf)})

    outcome = look(bench, own)

    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.error, Revoked)


def test_a_leaf_that_nobody_here_would_believe_any_more_is_not_put_back(
    bench: Bench, device: MemoryDevice
) -> None:
    bring(bench)
    (kept,) = bench.kept

    late = look_back(host(), LEAF, kept, bench, NOW + 50 * DAY)
    in_time = look_back(host(), LEAF, kept, bench, NOW + 45 * DAY)

    assert isinstance(late, Outcome)
    assert (late.status, type(late.error)) == ("refused", Expired)
    assert isinstance(in_time, WayBack)


def test_a_host_that_is_away_has_failed_and_nothing_was_changed(bench: Bench) -> None:
    bring(bench)
    bench.errors = {SocketAddress("attic", 5001): Unreachable("it is away")}

    outcome = look(bench)

    assert isinstance(outcome, Outcome)
    assert (outcome.status, str(outcome.error)) == ("failed", "it is away")


def test_a_host_that_goes_away_before_the_first_write_has_failed(bench: Bench) -> None:
    bring(bench)
    found, opened = way(bench), bench.opened

    def on_open(count: int) -> None:
        if count == opened + 1:
            raise Unreachable("it is away")

    bench.on_open = on_open

    assert go_back(found, bench).status == "failed"


def gone_at(device: MemoryDevice, bench: Bench) -> None:
    device.on_call = cut_at(1, for_ever=True)


def gone_before_it_is_proved(_device: MemoryDevice, bench: Bench) -> None:
    opened = bench.opened

    def on_open(count: int) -> None:
        if count == opened + 2:
            raise Unreachable("it is away")

    bench.on_open = on_open


def serves_on(_device: MemoryDevice, bench: Bench) -> None:
    bench.served_first = {
        SocketAddress("attic", port): NEW.certificate("home") for port in (5001, 21)
    }
    bench.stale = {SocketAddress("attic", 21)}


def unknown(device: MemoryDevice, _bench: Bench) -> None:
    def on_call(kind: str, _when: str) -> None:
        if kind == "write":
            raise ZeroDivisionError

    device.on_call = on_call


@pytest.mark.parametrize("spoil", [gone_at, gone_before_it_is_proved, serves_on, unknown])
def test_what_is_not_seen_to_be_as_it_was_is_broken(
    bench: Bench, device: MemoryDevice, spoil: Callable[[MemoryDevice, Bench], None]
) -> None:
    bring(bench)
    found = way(bench)
    bench.remembered.clear()
    spoil(device, bench)

    outcome = go_back(found, bench)

    assert outcome.status == "broken"
    assert isinstance(outcome.error, RollbackFailed)
    assert outcome.error.hint is not None
    for command in ("status --host attic", "rollback attic", "distribute --host attic"):
        assert command in outcome.error.hint
    assert bench.remembered == []
    assert bench.open_sessions == 0


def test_a_host_that_refuses_every_change_but_is_as_it_was_is_well(
    bench: Bench, device: MemoryDevice
) -> None:
    before = held_by(device)
    bring(bench)
    found = way(bench)

    def refuses_the_last(kind: str, when: str) -> None:
        if (kind, when) == ("write", "after") and held_by(device) == before:
            raise Unreachable("the answer is lost")

    device.on_call = refuses_the_last

    assert go_back(found, bench).status == "rolled_back"
