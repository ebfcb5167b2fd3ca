"""Boxes by SSH that are not as one would like them: two pairs, stale layers, owners, logins."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from distributor.lab.knobs import DSM72
from distributor.model.endpoints import all_serve
from distributor.model.errors import AuthRefused, ProtocolError, Unsupported
from distributor.model.report import Outcome
from distributor.render.text import plan_lines
from tests.certs import DAY
from tests.contract.delivering import Bench
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.lab_rig import QUICK
from tests.contract.scenarios import (
    DRIVE,
    DSM,
    FTPS,
    NEW,
    OLD,
    STRANGERS,
    Scenario,
    issue,
    ours,
    rsa_of,
)
from tests.contract.ssh_boxes import REPLACED, BoxOf, MakeRig, bench, rigs, shared_boxes
from tests.contract.ssh_diskstation_box import BESIDE_DSM, issued_of
from tests.contract.ssh_diskstation_rig import SshDiskstationRig
from tests.e2e import ssh_box_tree as tree
from tests.e2e.ssh_box_tree import Item, Release

WITH_DRIVE: Final = Scenario(
    name="one entry replaced that a package uses, too",
    placed=(*STRANGERS[1:], ours(services=(DSM, DRIVE))),
    proved={DSM: "wild", DRIVE: "wild"},
)
GEN_ALL: Final = "/usr/syno/bin/synow3tool --gen-all && /usr/syno/bin/synow3tool --nginx=reload"


@pytest.fixture(scope="module")
def box_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxOf]:
    with shared_boxes(tmp_path_factory) as boxes:
        yield boxes


@pytest.fixture
def make(box_of: BoxOf, tmp_path: Path) -> MakeRig:
    return rigs(box_of, tmp_path)


def require_new(rig: SshDiskstationRig, outcome: Outcome) -> None:
    assert outcome.status == "changed", outcome.error
    assert all_serve(rig.served(), rig.certificates)
    assert rig.plan(rig.inspect()).is_noop


def make_dual(rig: SshDiskstationRig) -> None:
    """Give the entry that is to be replaced an RSA and an ECC pair, wherever it lies."""
    (entry,) = (one for one in rig.box.entries if one.id == "known1")
    dual = replace(entry, pair=issued_of(rsa_of(OLD)), second=issued_of(OLD))
    copies = [one for one in entry.services if one.has_directory]
    places = {f"{tree.ARCHIVE}/known1": (0, 0o700)}
    places |= {one.directory: (tree.UIDS[one.owner], 0o755) for one in copies}
    for folder, (uid, mode) in places.items():
        rig.box.remove(folder)
        rig.box.place(*tree.pair_items(folder, dual, uid=uid, mode=mode))
    assert rig.box.run("/bin/sh", "-c", GEN_ALL).returncode == 0
    rig.box.forget_calls()
    rig.box.trap("mv", 0, "fail")


def test_two_pairs_are_refused_with_the_reason_and_the_way_that_works(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm73")
    make_dual(rig)
    before = rig.box.files("/usr/syno/etc", "/usr/local/etc")
    with pytest.raises(Unsupported, match="an RSA and an ECC pair, of which DSM alone") as caught:
        bench(rig, monkeypatch).run()
    assert 'method = "synowebapi"' in (caught.value.hint or "")
    assert rig.box.files("/usr/syno/etc", "/usr/local/etc") == before
    assert rig.writes == 0

    by_dsm = make("dsm73", method="synowebapi")
    make_dual(by_dsm)
    require_new(by_dsm, bench(by_dsm, monkeypatch).run())


def test_a_stale_layer_of_the_web_server_is_filled(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a script that copied files and reloaded, and left `--gen-all` out."""
    rig = make("dsm72", replace(REPLACED, proved={}))
    (entry,) = (one for one in rig.box.entries if one.id == "known1")
    brought = replace(entry, pair=issued_of(NEW))
    for service in entry.services:
        if service.has_directory:
            rig.box.place(*tree.pair_items(service.directory, brought, mode=0o755))
    rig.box.place(*tree.pair_items(f"{tree.ARCHIVE}/known1", brought))
    rig.box.run("/bin/sh", "-c", "/usr/syno/bin/synow3tool --nginx=reload")
    outcome = bench(rig, monkeypatch).run()
    assert outcome.plan is not None
    assert [one.fact for one in outcome.plan.changes] == ["leaf"]
    require_new(rig, outcome)
    new = NEW.certificate("")
    assert rig.raw().served[DSM] == (new.leaf, *new.chain)


@pytest.mark.parametrize("release", ["dsm62", "dsm72"])
def test_a_chain_that_is_missing_is_brought(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    rig = make(
        release,
        replace(REPLACED, placed=(*STRANGERS, ours(NEW, services=(DSM, FTPS), has_chain=False))),
    )
    outcome = bench(rig, monkeypatch).run()
    require_new(rig, outcome)
    chain = rig.box.files()[f"{tree.DESKTOP.directory}/chain.pem"]
    assert (chain.mode, chain.owner) == ("-r--------", "0:0")


@pytest.mark.parametrize("release", ["dsm62", "dsm72"])
def test_a_package_that_is_switched_off_is_left_alone(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, release: Release, box_of: BoxOf
) -> None:
    box = box_of(release)
    rig = make(release)
    beside = (*BESIDE_DSM, tree.CARDDAV, tree.WEBDAV, tree.VPN)
    box.place_scenario(rig.scenario, beside)
    states = {"CardDAVServer": "off", "WebDAVServer": "off", "VPNCenter": "off"}
    try:
        for name, state in states.items():
            box.place(Item(path=f"/opt/box/packages/{name}", content=f"{state}\n".encode()))
        require_new(rig, bench(rig, monkeypatch).run())
        for name in states:
            assert box.read(f"/opt/box/packages/{name}") == b"off\n"
        ran = [str(call) for call in box.calls()]
        assert not [one for one in ran if "CardDAVServer carddav" in one or "CertReload" in one]
        assert not [one for one in ran if "synopkg restart" in one]
        assert any("is_onoff CardDAVServer" in one for one in ran)
        # Their files are new all the same: they are read when somebody switches them on.
        for service in (tree.CARDDAV, tree.WEBDAV, tree.VPN):
            assert (
                box.read(f"{service.directory}/cert.pem") == rig.scenario.bundles["wild"].leaf_pem
            )
    finally:
        for name in states:
            state = tree.PACKAGES[name]
            box.place(Item(path=f"/opt/box/packages/{name}", content=f"{state}\n".encode()))


def test_a_package_that_is_on_is_told(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, box_of: BoxOf
) -> None:
    rig = make("dsm62")
    box_of("dsm62").place_scenario(rig.scenario, (*BESIDE_DSM, tree.CARDDAV, tree.VPN))
    require_new(rig, bench(rig, monkeypatch).run())
    ran = [str(call) for call in rig.box.calls()]
    assert {"CardDAVServer carddav", "CertReload.sh OpenVPN"} <= set(ran)


def test_a_service_that_has_no_folder_is_named_in_the_plan(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72")
    outcome = bench(rig, monkeypatch).run()
    require_new(rig, outcome)
    assert outcome.plan is not None
    assert [one for one in outcome.plan.notes if "snapshot_receiver has no files in" in one]


def test_a_group_of_a_domain_is_no_stumbling_block(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72", WITH_DRIVE)
    groups = rig.box.read("/etc/group")
    domain = rb"EXAMPLE\domain users:x:70001:" + b"\n"
    try:
        rig.box.place(Item(path="/etc/group", content=groups + domain, mode=0o644))
        folder = tree.DRIVE.directory
        assert rig.box.run("/bin/sh", "-c", f"chown 40101:70001 {folder}/*").returncode == 0
        # One that is looked at by itself, too: whether a hook may be run.
        hook = "/usr/syno/share/certificate.d/smbftpd"
        assert rig.box.run("/usr/bin/chown", "0:70001", hook).returncode == 0
        outcome = bench(rig, monkeypatch).run()
        require_new(rig, outcome)
        assert rig.box.files()[f"{folder}/privkey.pem"].owner == "40101:70001"
    finally:
        rig.box.run("/usr/bin/chown", "0:0", "/usr/syno/share/certificate.d/smbftpd")
        rig.box.place(Item(path="/etc/group", content=groups, mode=0o644))


@pytest.mark.parametrize(
    "told",
    [
        b'{"../x": {"desc": "", "services": []}}',
        b'{"$(reboot)": {"desc": "", "services": []}}',
        b'{"known1": {"desc": "", "services": [{"subscriber": "..", "service": "x"}]}}',
        b'{"known1": {"desc": "", "services": [{"subscriber": "a", "service": "b\\nc"}]}}',
    ],
)
def test_ids_and_paths_that_could_lead_elsewhere_are_refused(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, told: bytes
) -> None:
    rig = make("dsm72")
    rig.box.place(Item(path=tree.INFO, content=told, mode=0o600))
    files = rig.box.files()
    with pytest.raises(ProtocolError, match="INFO\\) is damaged"):
        bench(rig, monkeypatch).run()
    assert rig.box.files() == files
    assert rig.writes == 0


def test_an_id_that_begins_with_a_digit_is_an_id(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = replace(REPLACED, placed=(*STRANGERS, ours(id="8ec29f37", services=(DSM, FTPS))))
    rig = make("dsm62", scenario)
    decoys = {path: facts for path, facts in rig.raw().files.items() if "decoy" in path}
    require_new(rig, bench(rig, monkeypatch).run())
    after = rig.raw().files
    assert {path: after[path] for path in decoys} == decoys
    assert json.loads(rig.box.read(tree.INFO)).keys() >= {"8ec29f37", "decoyA"}


def test_a_tmp_from_which_nothing_runs_is_enough(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72")
    script = "printf '#!/bin/sh\n' >/tmp/x && chmod 755 /tmp/x && /tmp/x"
    assert b"Permission denied" in rig.box.run("/bin/sh", "-c", script).stderr
    require_new(rig, bench(rig, monkeypatch).run())


def test_a_home_that_everybody_may_write_refuses_the_key_and_not_the_password(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make("dsm72", login="silent")
    home = f"/var/services/homes/{rig.box.silent.user}"
    mode = rig.box.run("/usr/bin/stat", "-L", "-c", "%a", home).stdout.decode().strip()
    rig.box.run("/usr/bin/chmod", "777", home)
    try:
        with pytest.raises(AuthRefused):
            bench(rig, monkeypatch).run()
        assert rig.writes == 0
        by_password = make("dsm72", login="password")
        require_new(by_password, bench(by_password, monkeypatch).run())
    finally:
        rig.box.run("/usr/bin/chmod", mode, home)


def test_by_ssh_and_by_api_a_plan_reads_alike(
    make: MakeRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For an entry and bindings that stay: the same addresses, leaf, names and end."""
    before = issue("example.test", lasts=20 * DAY)
    scenario = replace(REPLACED, placed=(*STRANGERS, ours(before, services=(DSM, FTPS))))
    plans = [planned(bench(make("dsm72", scenario), monkeypatch))]
    with diskstation_rig(scenario, tmp_path / "lab", DSM72, QUICK) as rig:
        plans.append(planned(Bench(rig)))
    by_ssh, by_api = plans
    assert by_ssh == by_api
    assert [one.split()[0] for one in by_ssh] == ["~", "leaf", "names", "not_after"]


def planned(work: Bench) -> list[str]:
    """What a dry run shows of addresses, leaf, names and end."""
    outcome = work.dry_run()
    assert outcome.status == "planned", outcome.error
    assert outcome.plan is not None
    shown = [line.plain for line in plan_lines(outcome.plan)]
    wanted = ("+", "~", "-", "leaf", "names", "not_after")
    return [line for line in shown if line.split()[0] in wanted]
