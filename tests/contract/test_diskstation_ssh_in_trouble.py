"""What a run makes of a box by SSH on which something goes wrong: put back, or left as it was."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributor.delivery import new_outcome
from distributor.model.endpoints import all_serve
from distributor.model.errors import (
    AuthRefused,
    Busy,
    DistributorError,
    ProtocolError,
    StalePlan,
    Untrusted,
)
from distributor.model.report import Outcome
from tests.contract.scenarios import DRIVE, DSM, STRANGERS, Scenario, is_exhaustive, ours
from tests.contract.ssh_boxes import BoxOf, MakeRig, bench, rigs, shared_boxes
from tests.contract.ssh_diskstation_box import OWN
from tests.contract.ssh_diskstation_rig import SshDiskstationRig
from tests.e2e.ssh_box import Fault
from tests.e2e.ssh_box_tree import INFO, Item, Release
from tests.e2e.sudo_tries import TRIES, count_sudo

WITH_DRIVE = Scenario(
    name="one entry replaced that a package uses, too",
    placed=(STRANGERS[1], ours(services=(DSM, DRIVE))),
    proved={DSM: "wild", DRIVE: "wild"},
)


@pytest.fixture(scope="module")
def box_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxOf]:
    with shared_boxes(tmp_path_factory) as boxes:
        yield boxes


@pytest.fixture
def make(box_of: BoxOf, tmp_path: Path) -> MakeRig:
    return rigs(box_of, tmp_path)


def error_of(outcome: Outcome) -> DistributorError:
    assert outcome.error is not None
    return outcome.error


@pytest.mark.parametrize(
    ("release", "fault", "words"),
    [
        (
            "dsm72",
            "gen-all-fails",
            "synow3tool --gen-all ended with 255: .*Cannot sync certificate",
        ),
        ("dsm72", "hook-fails", "share/certificate.d/smbftpd ftpd ended with 1: no words"),
        ("dsm72", "reload-does-nothing", "serves sha256:"),
        ("dsm62", "nginx-not-enabled", "the web server is switched off"),
        ("dsm62", "deploy-error", "nginx.sh reload ended with 1"),
        ("dsm62", "default-mode", "serves sha256:"),  # its reload ends with 0, and says nothing
        ("dsm62", "reload-does-nothing", "serves sha256:"),
    ],
)
def test_a_reload_that_fails_or_does_nothing_is_named_and_all_is_put_back(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release, fault: Fault, words: str
) -> None:
    rig = make(release)
    before = rig.raw()
    rig.box.fault(fault)
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "rolled_back", outcome.error
    with pytest.raises(DistributorError, match=words):
        raise error_of(outcome)
    rig.box.no_fault(fault)
    assert rig.raw() == before
    assert rig.box.trapped("mv") > 0


def test_a_package_that_does_not_come_back_is_named(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72", WITH_DRIVE)
    before = rig.raw()
    rig.box.fault("package-restart-fails")
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "rolled_back", outcome.error
    assert "synopkg restart SynologyDrive ended with 1" in error_of(outcome).message
    assert rig.raw() == before


def test_a_web_server_that_fell_to_its_default_mode_comes_back_with_the_old_files(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72")
    before = rig.raw()
    rig.box.fault("default-mode")
    # DSM finds nothing wanting any more once the old files are there again.
    heal = lambda: rig.box.no_fault("default-mode")  # noqa: E731 - the step's act
    outcome = bench(rig, monkeypatch, putting_back=heal).run()
    assert outcome.status == "rolled_back", outcome.error
    assert "default mode, in which it serves no HTTPS at all" in error_of(outcome).message
    assert rig.raw() == before


def test_a_web_server_that_stays_in_its_default_mode_is_broken_and_called_so(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72")
    before = rig.raw()
    rig.box.fault("default-mode")
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "broken", outcome.error
    assert "default mode" in error_of(outcome).message
    assert rig.raw().files == before.files


def test_dsm_s_own_calls_that_fail_change_nothing(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm73", method="synowebapi")
    before = rig.raw()
    rig.box.fault("synowebapi-fails")
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "rolled_back", outcome.error
    assert "synowebapi SYNO.Core.Certificate.CRT list" in error_of(outcome).message
    assert "(code 100)" in error_of(outcome).message
    assert rig.raw() == before


def test_a_slow_box_is_waited_for(make: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make("dsm72")
    rig.box.fault("gen-all-takes", "3")
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "changed", outcome.error


def test_a_full_disk_leaves_everything_as_it_was(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72")
    before = rig.raw()
    act = bench(rig, monkeypatch, changing=lambda: rig.box.fill(leave=0))
    try:
        outcome = act.run()
    finally:
        rig.box.empty()
    assert outcome.status == "rolled_back", outcome.error
    assert "No space left on device" in error_of(outcome).message
    assert rig.raw() == before


@pytest.mark.parametrize("release", ["dsm62", "dsm72"])
def test_files_are_put_back_even_while_the_disk_is_full(make: MakeRig, release: Release) -> None:
    rig = make(release)
    before = rig.raw()
    target = rig.target()
    _, kept = rig.apply(target)
    rig.box.fill(leave=0)
    failure: DistributorError | None = None
    try:
        with target.open() as session:
            session.rollback(kept)
    except DistributorError as error:
        failure = error
    finally:
        rig.box.empty()
    assert rig.raw().files == before.files
    if failure is not None:  # the copies went back, but the web server's own had no room
        assert (release, failure.code) == ("dsm72", 255)
        assert "--gen-all ended with 255" in failure.message
        with target.open() as session:
            session.rollback(kept)
    assert rig.raw() == before


@pytest.mark.parametrize(
    ("release", "tool"),
    [
        *(("dsm62", one) for one in ("cat", "chmod", "chown", "cp", "mv", "mkdir", "ln", "stat")),
        *(("dsm72", one) for one in ("cat", "cp", "mv", "rm")),
    ],
)
def test_a_tool_that_fails_at_any_of_its_calls_leaves_nothing_half_made(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release, tool: str
) -> None:
    rig = make(release)
    before = rig.raw()
    rig.box.trap(tool, 0, "fail")
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "changed", outcome.error
    calls = rig.box.trapped(tool)
    every = range(1, calls + 1)
    for nth in every if is_exhaustive() else sorted({calls // 2, calls}.intersection(every)):
        rig.box.place_scenario(rig.scenario)
        rig.box.trap(tool, nth, "fail")
        try:
            outcome = bench(rig, monkeypatch).run()
        except DistributorError:
            outcome = new_outcome(rig.host, "failed")  # it could not even be looked at
        rig.box.trap(tool, 0, "fail")
        if outcome.status == "changed":
            # What the tool was called for did not matter, such as a lock that is free.
            assert all_serve(rig.served(), rig.certificates)
            assert rig.plan(rig.inspect()).is_noop
            continue
        assert outcome.status in {"failed", "rolled_back"}, f"{tool} {nth}: {outcome.error}"
        assert rig.raw() == before, f"{tool} {nth}"


@pytest.mark.parametrize("method", ["files", "synowebapi"])
def test_a_list_of_certificates_that_is_damaged_stops_everything(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    rig = make("dsm73", method=method)
    whole, before = rig.box.read(INFO), rig.raw()
    damaged = Item(path=INFO, content=whole[:-20], mode=0o600)
    rig.box.place(damaged)
    with pytest.raises(ProtocolError, match="INFO\\) is damaged"):
        bench(rig, monkeypatch).run()
    rig.box.place(Item(path=INFO, content=whole, mode=0o600))
    # Damaged between the look and the change: nothing is written, and it is seen to be as before.
    outcome = bench(
        rig,
        monkeypatch,
        changing=lambda: rig.box.place(damaged),
        putting_back=lambda: rig.box.place(Item(path=INFO, content=whole, mode=0o600)),
    ).run()
    assert outcome.status == "rolled_back", outcome.error
    assert isinstance(error_of(outcome), ProtocolError)
    assert rig.raw() == before
    assert rig.writes == 0


def test_a_box_on_which_somebody_works_meanwhile_is_left_alone(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72")
    info = rig.box.info()
    info["known1"]["services"].append(info["decoyA"]["services"].pop())
    changed = Item(path=INFO, content=json.dumps(info).encode(), mode=0o600)
    outcome = bench(rig, monkeypatch, changing=lambda: rig.box.place(changed)).run()
    assert outcome.status == "refused", outcome.error
    assert isinstance(error_of(outcome), StalePlan)
    assert "used by other services" in error_of(outcome).message
    assert rig.writes == 0


def test_another_controller_at_work_is_named_and_nothing_is_changed(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rig = make("dsm72")
    other = SshDiskstationRig(
        rig.box, rig.scenario, tmp_path / "other", method="files", login="silent"
    )
    act = bench(rig, monkeypatch)
    with other.target().open() as session:
        # The other one comes in between, and has not said yet that it is done.
        act.at["changing"] = lambda: session.apply(
            other.plan(session.inspect(())), other.scenario.bundles
        )
        outcome = act.run()
    assert outcome.status == "failed", outcome.error
    assert isinstance(error_of(outcome), Busy)
    assert "another controller has" in error_of(outcome).message
    assert "cellar by other" in error_of(outcome).message
    assert other.plan(other.inspect()).is_noop
    assert f"{OWN}/lock" not in rig.box.files(OWN)


def test_a_wrong_password_for_sudo_is_said_once_and_nothing_is_changed(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72", sudo_password="wrong")
    before, pam = rig.raw(), rig.box.read("/etc/pam.d/sudo")
    count_sudo(rig.box)
    try:
        for message in ("sudo refuses the password", "not tried: it was refused"):
            with pytest.raises(AuthRefused, match=message):
                bench(rig, monkeypatch).run()
        assert rig.box.read(TRIES) == b"tried\n"
    finally:
        rig.box.place(Item(path="/etc/pam.d/sudo", content=pam, mode=0o644))
    assert rig.raw() == before
    assert rig.writes == 0


def test_a_changed_host_key_is_refused(
    make: MakeRig, box_of: BoxOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm62")
    before = rig.raw()
    box_of("dsm62").change_host_keys()
    with pytest.raises(Untrusted, match="is not the one that is pinned"):
        bench(rig, monkeypatch).run()
    assert rig.raw() == before
    assert rig.writes == 0
