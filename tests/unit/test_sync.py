"""The story as a whole, on devices in memory: nothing that happens with one ends the others."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from distributor.delivery import Visit
from distributor.model.errors import (
    CaUnreachable,
    DistributorError,
    RollbackFailed,
    StalePlan,
    Unreachable,
)
from distributor.model.hosts import Delivery, Host, Rollout, SocketAddress
from distributor.model.report import Outcome, Report
from distributor.model.reviewed import Reviewed
from distributor.obtaining import Obtained
from distributor.sources.contract import Progress as Say
from distributor.sources.contract import Ready
from distributor.sync import Run, run
from tests.certs import NOW
from tests.unit.bench import Bench, Clock, cut_at, from_the_shop, host
from tests.unit.sources import FORECAST, FakeSource, ready

THREE = ("attic", "cellar", "garage")


@dataclass
class Heard:
    """What the run told."""

    lines: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def certificate(self, name: str, text: str) -> None:
        self.lines.append(f"{name}: {text}")

    def ended(self, outcome: Outcome) -> None:
        self.ends.append(outcome.host)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = Clock()
    monkeypatch.setattr("distributor.delivery.monotonic", clock)
    return Bench({name: from_the_shop() for name in THREE}, clock=clock)


def told(
    bench: Bench,
    *,
    source: FakeSource | None = None,
    sources: Mapping[str, FakeSource] | None = None,
    hosts: tuple[Host, ...] | None = None,
    stop: threading.Event | None = None,
    heard: Heard | None = None,
    **more: Any,
) -> Report:
    found: dict[str, Obtained] = {}

    def tools(obtained: Mapping[str, Obtained]) -> Bench:
        found.update(obtained)
        return bench

    order = Run(
        sources=sources or {"home": source or FakeSource(has=ready())},
        hosts=hosts or tuple(host(name) for name in THREE),
        rollout=more.pop("rollout", Rollout(parallel=1)),
        accepted={name: frozenset({"untrusted-issuer"}) for name in THREE},
        **more,
    )
    return run(order, tools, heard or Heard(), stop or threading.Event(), lambda: NOW)


def statuses(report: Report) -> dict[str, str]:
    return {outcome.host: outcome.status for outcome in report.hosts}


def test_all_hosts_are_changed_and_told_of(bench: Bench) -> None:
    heard = Heard()

    report = told(bench, heard=heard)

    assert statuses(report) == dict.fromkeys(THREE, "changed")
    assert sorted(heard.ends) == sorted(THREE)
    assert (report.exit_code, report.started) == (0, NOW)
    assert bench.open_sessions == 0


def test_a_dry_run_writes_nothing_and_keeps_nothing(bench: Bench) -> None:
    report = told(bench, dry_run=True, source=FakeSource(reason="none yet"))

    assert statuses(report) == dict.fromkeys(THREE, "planned")
    assert all(device.writes == 0 for device in bench.devices.values())
    assert (bench.kept, bench.remembered, bench.open_sessions) == ([], [], 0)
    assert report.certificates[0].certificate == FORECAST


def test_one_dead_host_leaves_the_others_served(bench: Bench) -> None:
    bench.errors = {SocketAddress("attic", 5001): Unreachable("off")}

    report = told(bench)

    assert statuses(report) == {"attic": "failed", "cellar": "changed", "garage": "changed"}
    assert report.exit_code == 1


def test_an_unknown_error_while_looking_ends_one_host_and_is_not_shown(bench: Bench) -> None:
    del bench.devices["cellar"]

    report = told(bench)

    assert statuses(report) == {"attic": "changed", "cellar": "failed", "garage": "changed"}
    error = report.hosts[1].error
    assert error is not None
    assert type(error) is DistributorError
    assert error.message == "an error that distribute does not know (KeyError)"
    assert error.hint == "run again with -vv and report it"


def unknown_at_write(*numbers: int) -> Callable[[str, str], None]:
    seen = 0

    def on_call(kind: str, when: str) -> None:
        nonlocal seen
        seen += (kind, when) == ("write", "before")
        if (kind, when) == ("write", "before") and seen in numbers:
            raise ZeroDivisionError

    return on_call


def test_an_unknown_error_while_changing_has_the_host_put_back(bench: Bench) -> None:
    device = bench.devices["attic"]
    entries, bindings = dict(device.entries), dict(device.bindings)
    device.on_call = unknown_at_write(2)

    report = told(bench)

    assert statuses(report) == {"attic": "rolled_back", "cellar": "skipped", "garage": "skipped"}
    assert (device.entries, device.bindings) == (entries, bindings)
    error = report.hosts[0].error
    assert error is not None
    assert "ZeroDivisionError" in error.message
    assert bench.open_sessions == 0


def test_an_unknown_error_while_putting_back_is_told_as_broken(bench: Bench) -> None:
    bench.devices["attic"].on_call = unknown_at_write(2, 3, 4, 5)

    report = told(bench)

    assert statuses(report)["attic"] == "broken"
    assert report.exit_code == 5


def test_an_unknown_error_while_obtaining_ends_one_certificate(bench: Bench) -> None:
    sources = {"home": FakeSource(has=ready()), "mail": FakeSource(broken=ZeroDivisionError())}
    mail = host("cellar", deliveries=(Delivery(certificate="mail"),), endpoints=())

    report = told(bench, sources=sources, hosts=(host("attic"), mail))

    assert [one.status for one in report.certificates] == ["current", "failed"]
    assert statuses(report) == {"attic": "changed", "cellar": "failed"}
    assert report.exit_code == 3


def test_hosts_without_a_certificate_to_bring_are_not_asked(bench: Bench) -> None:
    report = told(bench, source=FakeSource(reason="none yet", new=CaUnreachable("down")))

    assert statuses(report) == dict.fromkeys(THREE, "failed")
    assert report.exit_code == 3
    assert bench.opened == 0


def test_a_certificate_that_is_not_as_reviewed_refuses_its_hosts(bench: Bench) -> None:
    reviewed = Reviewed(digests=dict.fromkeys(THREE, "0"), certificates={})

    report = told(bench, reviewed=reviewed)

    assert statuses(report) == dict.fromkeys(THREE, "refused")
    assert all(isinstance(outcome.error, StalePlan) for outcome in report.hosts)
    assert "'home' is not the one that was reviewed" in str(report.hosts[0].error)
    assert bench.opened == 0


def test_a_host_that_was_not_reviewed_is_refused_and_not_asked(bench: Bench) -> None:
    report = told(bench, reviewed=Reviewed(digests={"attic": "0"}, certificates={}))

    assert statuses(report) == dict.fromkeys(THREE, "refused")
    assert "the plan says nothing of cellar" in str(report.hosts[1].error)
    assert "the plan says nothing" not in str(report.hosts[0].error)
    assert bench.opened == 0


def test_a_listener_that_fails_decides_nothing(bench: Bench) -> None:
    class Deaf(Heard):
        def ended(self, outcome: Outcome) -> None:
            super().ended(outcome)
            raise BrokenPipeError

    bench.errors = {SocketAddress("attic", 5001): Unreachable("off")}
    heard = Deaf()

    report = told(bench, heard=heard)

    assert statuses(report) == {"attic": "failed", "cellar": "changed", "garage": "changed"}
    assert sorted(heard.ends) == sorted(THREE)
    assert bench.open_sessions == 0


def test_a_delivery_that_ends_in_an_error_of_its_own_is_never_told_as_nothing_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.sync.deliver", _breaks_off)

    report = told(bench)

    assert statuses(report) == {"attic": "broken", "cellar": "skipped", "garage": "skipped"}
    assert report.exit_code == 5
    error = report.hosts[0].error
    assert isinstance(error, RollbackFailed)
    assert "(ZeroDivisionError)" in error.message
    assert "how it left the host is not known" in error.message
    assert report.hosts[0].plan is not None


def _breaks_off(visit: Visit, *_: object) -> Outcome:
    visit.close()
    raise ZeroDivisionError


def test_a_skipped_host_that_cannot_be_signed_out_of_ends_nothing(bench: Bench) -> None:
    bench.devices["attic"].on_call = cut_at(1)
    closed: list[str] = []

    def sign_out_fails(visit: Visit) -> None:
        visit.closing.close()
        closed.append(visit.host.name)
        raise OSError("the line is dead")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Visit, "close", sign_out_fails)
        report = told(bench)

    assert statuses(report)["cellar"] == statuses(report)["garage"] == "skipped"
    assert sorted(closed)[-2:] == ["cellar", "garage"]
    assert bench.open_sessions == 0


def test_a_canary_that_fails_skips_the_rest_and_signs_out(bench: Bench) -> None:
    bench.devices["attic"].on_call = cut_at(1)

    report = told(bench)

    assert statuses(report) == {"attic": "rolled_back", "cellar": "skipped", "garage": "skipped"}
    assert report.hosts[1].warnings == ("the canary attic did not take the change",)
    assert report.hosts[1].plan is not None
    assert bench.open_sessions == 0
    assert bench.devices["cellar"].writes == 0


def test_a_run_that_is_stopped_before_it_looks_asks_nobody(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()

    report = told(bench, stop=stop)

    assert statuses(report) == dict.fromkeys(THREE, "skipped")
    assert report.exit_code == 130
    assert bench.opened == 0


def test_a_run_that_is_stopped_ends_the_host_at_hand_only(bench: Bench) -> None:
    stop = threading.Event()

    def on_call(kind: str, when: str) -> None:
        if (kind, when) == ("write", "before"):
            stop.set()

    bench.devices["attic"].on_call = on_call

    report = told(bench, stop=stop)

    assert statuses(report) == {"attic": "changed", "cellar": "skipped", "garage": "skipped"}
    assert report.hosts[1].warnings == ("the run was interrupted",)
    assert report.exit_code == 130
    assert bench.open_sessions == 0


def test_the_certificate_is_renewed_before_any_host_is_asked(bench: Bench) -> None:
    opened: list[int] = []

    class Noting(FakeSource):
        def renew(self, progress: Say, *, is_asked_for: bool = False) -> Ready:
            opened.append(bench.opened)
            return super().renew(progress, is_asked_for=is_asked_for)

    report = told(bench, source=Noting(reason="none yet"))

    assert opened == [0]
    assert report.certificates[0].status == "renewed"
    assert statuses(report) == dict.fromkeys(THREE, "changed")


def test_the_reports_order_is_the_inventorys_whoever_ends_first(bench: Bench) -> None:
    report = told(bench, rollout=Rollout(canary="garage", parallel=2))

    assert [outcome.host for outcome in report.hosts] == list(THREE)
