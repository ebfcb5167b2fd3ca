"""A run that is cut off anywhere: put back by itself, or brought to its end by the next one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from distributor.model.endpoints import all_serve
from distributor.model.errors import DistributorError
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.plan import diff
from distributor.model.state import LEAF, RELOAD_OWED
from distributor.protocol.dsm_survey import OWED
from tests.contract.scenarios import DSM, FTPS, PROXY, STRANGERS, Scenario, is_exhaustive, ours
from tests.contract.ssh_boxes import REPLACED, BoxOf, MakeRig, bench, rigs, shared_boxes
from tests.contract.ssh_diskstation_rig import SshDiskstationRig
from tests.contract.target_laws import When
from tests.e2e import ssh_box_tree as tree
from tests.e2e.ssh_box_tree import Release

EVERY = 1 if is_exhaustive() else 15
"""How many commands lie between two cuts."""
UNPROVED = replace(REPLACED, name="one entry replaced that no endpoint proves", proved={})
CERTIFICATES = ("/usr/syno/etc/certificate", "/usr/local/etc/certificate")
FOLDERS = ("/usr/syno/etc", "/usr/local/etc/certificate")

each_release = pytest.mark.parametrize("release", ["dsm62", "dsm72"])


@pytest.fixture(scope="module")
def box_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxOf]:
    with shared_boxes(tmp_path_factory) as boxes:
        yield boxes


@pytest.fixture
def make(box_of: BoxOf, tmp_path: Path) -> MakeRig:
    return rigs(box_of, tmp_path)


def reloads(command: Sequence[str]) -> bool:
    """Whether it is one of those that tell what serves the files, or asks what has to be told."""
    words = ("certificate.d/", "--gen-all", "--status", "synopkg", "--nginx=reload")
    return any(one in word for word in command for one in words if word.startswith("/usr/"))


def require_new(rig: SshDiskstationRig) -> None:
    """All of it is new: files, what is served, and nothing is left to do or to tell."""
    new = rig.scenario.bundles["wild"].certificate("wild")
    assert diff(rig.inspect(), rig.target().desired(rig.certificates)) == ()
    assert all_serve(rig.served(), rig.certificates)
    shown = rig.raw().served
    for name in (DSM, FTPS):
        assert shown[name] == (new.leaf, *new.chain)
    assert rig.box.run("/bin/ls", OWED).stdout == b""


@each_release
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_cut_at_any_command_ends_well(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release, when: When
) -> None:
    ends: list[str] = []
    for nth in count(1 if when == "before" else 1 + EVERY // 2, EVERY):
        rig = make(release)
        before, state = rig.raw(), rig.inspect()
        strike: Callable[[], None] = lambda nth=nth, rig=rig: rig.cutter.arm(  # type: ignore[misc]  # noqa: E731 - the step's act
            nth, when, lambda _: True
        )
        outcome = bench(rig, monkeypatch, changing=strike).run()
        was_cut = rig.cutter.disarm()
        ends.append(outcome.status)
        if outcome.status == "changed":
            require_new(rig)
        else:
            assert outcome.status in {"failed", "rolled_back"}, (nth, outcome.error)
            assert rig.raw() == before, nth
            assert rig.inspect() == state, nth
        if not was_cut:
            break
    assert ends[-1] == "changed"
    assert "rolled_back" in ends


@each_release
def test_a_run_that_is_killed_before_the_reload_is_brought_to_its_end_by_the_next(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    rig = make(release, UNPROVED)
    old = rig.raw()
    rig.cutter.arm(1, "before", reloads)
    with pytest.raises(DistributorError):
        rig.apply()
    assert rig.cutter.disarm()
    torn = rig.raw()
    assert torn.served == old.served
    assert torn.entries["known1"] != old.entries["known1"]
    entry = rig.inspect().of_kind("certificate")[-1]
    (change,) = rig.plan(rig.inspect()).changes
    assert (change.address, change.fact) == (entry, LEAF)
    assert RELOAD_OWED in change.before  # type: ignore[operator]  # a tuple, or the assert fails
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "changed", outcome.error
    assert outcome.plan is not None
    assert any("cut off before it told" in note for note in outcome.plan.notes)
    require_new(rig)
    assert bench(rig, monkeypatch).run().status == "unchanged"


@each_release
def test_what_heals_and_fails_leaves_it_owed(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    rig = make(release, UNPROVED)
    rig.cutter.arm(1, "before", reloads)
    with pytest.raises(DistributorError):
        rig.apply()
    rig.cutter.disarm()
    cut_off = rig.raw()
    fault = "deploy-error" if release == "dsm62" else "gen-all-fails"
    rig.box.fault(fault)  # type: ignore[arg-type]  # both are faults
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "rolled_back", outcome.error
    assert rig.raw().files == cut_off.files
    rig.box.no_fault(fault)  # type: ignore[arg-type]  # both are faults
    assert bench(rig, monkeypatch).run().status == "changed"
    require_new(rig)


def test_a_torn_pair_that_silenced_the_web_server_is_repaired(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm62")
    new = rig.scenario.bundles["wild"]
    key = new.private_key_pem.reveal().encode()
    rig.box.place(tree.Item(path=f"{tree.DESKTOP.directory}/privkey.pem", content=key, mode=0o400))
    rig.box.run("/bin/sh", "-c", ". /opt/box/lib.sh; to_default_mode; nginx_stop; nginx_start")
    assert rig.box.shows(DSM) is None
    rig.box.run("/bin/sh", "-c", ". /opt/box/lib.sh; to_normal_mode")  # as its own start does
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "changed", outcome.error
    require_new(rig)


@each_release
def test_a_port_of_no_known_service_that_was_not_told_is_told(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    """Also the one of a custom domain, whose name INFO need not tell."""
    scenario = Scenario(
        name="an entry that a custom domain uses",
        placed=(*STRANGERS, ours(services=(DSM, FTPS, PROXY))),
        proved={},
    )
    rig = make(release, scenario)
    rig.host = replace(
        rig.host,
        endpoints=(
            Endpoint(
                address=SocketAddress("127.0.0.1", rig.box.ports["dsm"]),
                certificate="wild",
                server_name="nas.example.test",
            ),
        ),
    )
    # Somebody put the right files there, and told nobody.
    with suppress(DistributorError):
        rig.cutter.arm(1, "before", reloads)
        rig.apply()
    assert rig.cutter.disarm()
    rig.box.remove(OWED)
    assert rig.box.shows(DSM) is not None
    outcome = bench(rig, monkeypatch).run()
    assert outcome.status == "changed", outcome.error
    require_new(rig)


@each_release
def test_a_second_run_writes_and_reloads_nothing(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    rig = make(release)
    assert bench(rig, monkeypatch).run().status == "changed"
    require_new(rig)
    rig.box.forget_calls()
    files, stamps = rig.box.files(*FOLDERS), rig.box.stamps(*FOLDERS)
    assert bench(rig, monkeypatch).run().status == "unchanged"
    assert rig.box.calls() == []
    assert rig.box.stamps(*FOLDERS) == stamps
    assert rig.box.files(*FOLDERS) == files


@each_release
def test_what_dsm_keeps_of_its_own_is_never_written(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    rig = make(release)
    own = [f"{tree.ARCHIVE}/{name}" for name in ("INFO", "DEFAULT", "SERVICES")]
    before, stamps = rig.raw().files, rig.box.stamps(*CERTIFICATES)
    assert bench(rig, monkeypatch).run().status == "changed"
    after, now = rig.raw().files, rig.box.stamps(*CERTIFICATES)
    assert {one: now.get(one) for one in own} == {one: stamps.get(one) for one in own}
    assert own[0] in stamps
    replaced = {path.rpartition("/")[0] for path in after if after[path] != before.get(path)}
    mine = {
        f"{tree.ARCHIVE}/known1",
        *(one.directory for one in (tree.DESKTOP, tree.FTPS, tree.VHOST)),
    }
    assert replaced == mine
    beyond = {path for path in stamps if not path.startswith(tuple(mine))}
    assert {one: now.get(one) for one in beyond} == {one: stamps[one] for one in beyond}


def test_modes_and_owners_are_as_before(make: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make(
        "dsm72",
        Scenario(name="a package's", placed=(ours(services=(DSM, "Synology Drive Server")),)),
    )
    facts = rig.box.files(*CERTIFICATES)
    assert bench(rig, monkeypatch).run().status == "changed"
    drive = tree.DRIVE.directory
    now = rig.box.files(*CERTIFICATES)
    for path in (one for one in facts if one.startswith((drive, tree.ARCHIVE))):
        assert (now[path].mode, now[path].owner) == (facts[path].mode, facts[path].owner)
    key = f"{drive}/privkey.pem"
    assert now[key].owner == "40101:40101"
    assert now[key].content != facts[key].content
