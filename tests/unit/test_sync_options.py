"""Options of the story: `--all-or-nothing` and `--quick`, on devices in memory."""

import threading

from distributor.model.errors import AllOrNothing, Unreachable
from distributor.model.hosts import SocketAddress
from tests.contract.memory_target import FACTORY
from tests.unit.bench import Bench, cut_at, host, issue
from tests.unit.sources import FakeSource, ready
from tests.unit.test_sync import THREE, Heard, bench, statuses, told

__all__ = ["bench"]

HAS = ready()


# -- all or nothing -------------------------------------------------------------------------------


def states_of(bench: Bench) -> dict[str, tuple[object, ...]]:
    return {
        name: (dict(one.entries), dict(one.bindings), one.default)
        for name, one in bench.devices.items()
    }


def test_all_or_nothing_puts_back_who_was_changed_and_says_why(bench: Bench) -> None:
    before = states_of(bench)
    bench.devices["garage"].on_call = cut_at(2)
    heard = Heard()

    report = told(bench, all_or_nothing=True, heard=heard)

    assert statuses(report) == dict.fromkeys(THREE, "rolled_back")
    assert states_of(bench) == before
    errors = [one.error for one in report.hosts]
    assert [type(error) for error in errors] == [AllOrNothing, AllOrNothing, Unreachable]
    assert "all or nothing: garage is rolled_back" in str(errors[0])
    assert report.exit_code == 1
    assert heard.ends == ["attic", "cellar", "garage", "attic", "cellar"]
    assert bench.open_sessions == 0


def test_who_was_put_back_for_others_is_not_held_for_it(bench: Bench) -> None:
    bench.devices["garage"].on_call = cut_at(2)

    told(bench, all_or_nothing=True)

    assert {name for name, hold in bench.holds.items() if hold is not None} == {"garage"}


def test_without_it_the_changed_ones_stay(bench: Bench) -> None:
    bench.devices["garage"].on_call = cut_at(2)

    report = told(bench)

    assert statuses(report) == {"attic": "changed", "cellar": "changed", "garage": "rolled_back"}


def test_all_or_nothing_begins_nowhere_if_it_cannot_begin_everywhere(bench: Bench) -> None:
    bench.errors = {SocketAddress("cellar", 5001): Unreachable("off")}

    report = told(bench, all_or_nothing=True)

    assert statuses(report) == {"attic": "skipped", "cellar": "failed", "garage": "skipped"}
    assert report.hosts[0].warnings == ("all or nothing: cellar is failed",)
    assert all(device.writes == 0 for device in bench.devices.values())
    assert bench.open_sessions == 0


def test_all_or_nothing_of_hosts_that_all_take_it_is_like_any_run(bench: Bench) -> None:
    report = told(bench, all_or_nothing=True, source=FakeSource(has=HAS))
    again = told(bench, all_or_nothing=True, source=FakeSource(has=HAS))

    assert statuses(report) == dict.fromkeys(THREE, "changed")
    assert statuses(again) == dict.fromkeys(THREE, "unchanged")
    assert report.exit_code == again.exit_code == 0


def test_who_stops_an_all_or_nothing_run_gets_nothing(bench: Bench) -> None:
    before, stop = states_of(bench), threading.Event()
    bench.devices["attic"].on_call = lambda kind, _when: stop.set() if kind == "write" else None

    report = told(bench, all_or_nothing=True, stop=stop)

    assert statuses(report) == {"attic": "rolled_back", "cellar": "skipped", "garage": "skipped"}
    assert states_of(bench) == before
    assert report.exit_code == 130


def test_a_host_that_cannot_be_put_back_for_others_keeps_the_change_and_says_so(
    bench: Bench,
) -> None:
    bench.devices["garage"].on_call = cut_at(2)
    bench.revoked = frozenset(
        device.entries[FACTORY][1].certificate("").leaf for device in bench.devices.values()
    )

    report = told(bench, all_or_nothing=True)

    assert statuses(report) == {"attic": "changed", "cellar": "changed", "garage": "rolled_back"}
    assert "it was not put back all the same" in report.hosts[0].warnings[-1]
    assert "was revoked" in report.hosts[0].warnings[-1]
    assert report.exit_code == 1


def test_a_host_that_breaks_while_it_is_put_back_for_others_is_broken(bench: Bench) -> None:
    bench.devices["garage"].on_call = cut_at(2)
    attic = bench.devices["attic"]

    def on_call(kind: str, when: str) -> None:
        if (kind, when) == ("write", "before") and bench.being_undone:
            raise Unreachable("cut on purpose")

    attic.on_call = on_call

    report = told(bench, all_or_nothing=True)

    assert statuses(report) == {"attic": "broken", "cellar": "rolled_back", "garage": "rolled_back"}
    assert report.exit_code == 5


# -- quick ----------------------------------------------------------------------------------------


def test_quick_signs_in_only_where_an_endpoint_differs(bench: Bench) -> None:
    source = FakeSource(has=HAS)
    told(bench, source=source)
    bench.devices["cellar"].entries["made1"] = ("home", issue(20))
    opened = bench.opened
    bench.remembered.clear()

    report = told(bench, source=source, quick=True)

    assert statuses(report) == {"attic": "unchanged", "cellar": "changed", "garage": "unchanged"}
    assert bench.opened == opened + 1
    assert report.hosts[0].proof == "handshake"
    assert all(one.serves(HAS.held.certificate) for one in report.hosts[0].endpoints)
    assert sorted(bench.remembered) == sorted(THREE)


def test_quick_signs_in_where_no_endpoint_can_prove_a_certificate(bench: Bench) -> None:
    source, bare = FakeSource(has=HAS), host("attic", endpoints=())
    told(bench, source=source, hosts=(bare,))
    opened = bench.opened

    assert statuses(told(bench, source=source, hosts=(bare,), quick=True)) == {"attic": "unchanged"}
    assert bench.opened == opened + 1


def test_quick_of_a_dry_run_moves_no_pin(bench: Bench) -> None:
    source = FakeSource(has=HAS)
    told(bench, source=source)
    bench.remembered.clear()

    report = told(bench, source=source, quick=True, dry_run=True)

    assert statuses(report) == dict.fromkeys(THREE, "unchanged")
    assert bench.remembered == []
