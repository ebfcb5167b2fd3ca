"""Nothing secret is ever where another account of the box could read it: every system call is read.

A look at files from time to time would miss a file that others can read for a millisecond.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from distributor.model.errors import DeviceRefused, DistributorError
from tests.contract.scenarios import OLD, SCENARIOS, Scenario
from tests.contract.ssh_boxes import REPLACED, BoxOf, scenario_for, shared_boxes
from tests.contract.ssh_diskstation_box import OWN
from tests.contract.ssh_diskstation_rig import Login, Method, SshDiskstationRig
from tests.contract.system_calls import CALLS, Watch, read_calls
from tests.contract.watch import key_lines, watched
from tests.e2e.ssh_box_tree import Release

DSM_S_OWN: Final = (
    *("/usr/syno/bin/", "/usr/syno/sbin/", "/usr/syno/etc/rc.sysv/", "/usr/syno/share/"),
    *("/usr/libexec/", "/usr/local/libexec/", "/usr/local/share/", "/var/packages/"),
)
"""Where the programs of the box itself are, which write what they like."""


@pytest.fixture(scope="module")
def box_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxOf]:
    with shared_boxes(tmp_path_factory) as boxes:
        yield boxes


def rig_of(
    box_of: BoxOf,
    release: Release,
    scenario: Scenario,
    folder: Path,
    *,
    method: Method,
    login: Login,
) -> SshDiskstationRig:
    placed = scenario_for(release, scenario)
    box = box_of(release)
    box.place_scenario(placed)
    return SshDiskstationRig(box, placed, folder, method=method, login=login)


def secrets_of(rig: SshDiskstationRig) -> set[str]:
    bundles = (*rig.scenario.bundles.values(), *(one.bundle for one in rig.scenario.placed))
    return key_lines(*bundles) | set(rig.secrets())


@pytest.mark.parametrize(
    ("release", "method", "login", "scenario"),
    [
        ("dsm62", "files", "password", REPLACED),
        ("dsm72", "files", "root", REPLACED),
        ("dsm73", "synowebapi", "root", SCENARIOS[0]),
    ],
)
def test_no_secret_is_in_an_argument_the_environment_or_a_file_of_others(
    box_of: BoxOf,
    tmp_path: Path,
    release: Release,
    method: Method,
    login: Login,
    scenario: Scenario,
) -> None:
    rig = rig_of(box_of, release, scenario, tmp_path, method=method, login=login)
    target, there = rig.target(), rig.box.files()
    with watched() as said, rig.box.traced(*CALLS, quickly=login == "root") as log:
        _, kept = rig.apply(target)
        with target.open() as session:
            session.rollback(kept)
    watch = require_closed(rig, log, there)
    said.require_silence(secrets_of(rig))
    assert len(watch.programs) > 10
    ours = {path for path in watch.secret_files if path.startswith(f"{OWN}/")}
    assert any(".distribute-" in path for path in ours)
    if method == "files":
        assert any(f"{OWN}/copies/" in path for path in watch.secret_files)
        assert any("/.privkey.pem.distribute-" in path for path in watch.secret_files)
    else:
        assert any("/.key_tmp.distribute-" in path for path in ours)
    if login == "password":
        assert "sudo" in watch.programs


def require_closed(rig: SshDiskstationRig, log: Path, there: Collection[str]) -> Watch:
    """Nobody but root could read anything secret at any moment of what was traced."""
    root = str(rig.box.folder / "root")
    watch = Watch(read_calls(log), secrets_of(rig), root=root, theirs=DSM_S_OWN, there=there)
    assert watch.exposed == []
    for password in rig.secrets():
        assert watch.holders_of(password) == set()
    return watch


def test_nor_when_the_controller_s_own_copies_are_brought_back(
    box_of: BoxOf, tmp_path: Path
) -> None:
    rig = rig_of(box_of, "dsm72", REPLACED, tmp_path, method="files", login="root")
    target = rig.target()
    _, kept = rig.apply(target)
    rig.box.remove(f"{OWN}/copies")
    there = rig.box.files()
    with rig.box.traced(*CALLS, quickly=True) as log, target.open() as session:
        session.rollback(kept)
    watch = require_closed(rig, log, there)
    assert any("/.privkey.pem.distribute-" in path for path in watch.secret_files)


@pytest.mark.parametrize("method", ["files", "synowebapi"])
def test_no_content_stays_behind_after_a_failure(
    box_of: BoxOf, tmp_path: Path, method: Method
) -> None:
    rig = rig_of(box_of, "dsm73", REPLACED, tmp_path, method=method, login="root")
    rig.box.fault("synowebapi-fails" if method == "synowebapi" else "gen-all-fails")
    with pytest.raises(DistributorError):
        rig.apply()
    left = {path for path in rig.box.files(OWN) if "/copies" not in path}
    notes = {path for path in left if path.startswith(f"{OWN}/owed/")}
    assert left <= {OWN, f"{OWN}/work", f"{OWN}/owed", *notes}
    assert all(rig.box.read(note) == b"" for note in notes)  # that a reload is owed
    _require_private(rig)


def test_a_key_that_dsm_refuses_does_not_stay_for_it_to_read(box_of: BoxOf, tmp_path: Path) -> None:
    rig = rig_of(box_of, "dsm73", SCENARIOS[0], tmp_path, method="synowebapi", login="root")
    with rig.target().open() as session:
        plan = rig.plan(session.inspect(()))
        # Key and leaf of two pairs, so that DSM reads the files and then says no.
        torn = replace(rig.scenario.bundles["wild"], private_key_pem=OLD.private_key_pem)
        with pytest.raises(DeviceRefused, match=r"import: .*\(code 5514\)"):
            session.apply(plan, {"wild": torn})
    assert not [path for path in rig.box.files(OWN) if "_tmp" in path]


def test_what_is_kept_on_the_box_is_root_s_alone(box_of: BoxOf, tmp_path: Path) -> None:
    rig = rig_of(box_of, "dsm72", REPLACED, tmp_path, method="files", login="password")
    rig.apply()
    _require_private(rig)
    for log in ("sshd", "nginx", "ftpd"):
        _require_none(secrets_of(rig), rig.box.log(log))


def _require_private(rig: SshDiskstationRig) -> None:
    """Root's own folder keeps everybody else out; what is below keeps the modes that it had."""
    facts = rig.box.files(OWN)
    assert (facts[OWN].mode, facts[OWN].owner) == ("drwx------", "0:0")
    for path, one in facts.items():
        assert not one.mode.startswith("d") or one.mode == "drwx------", path


def _require_none(secrets: Iterable[str], text: str) -> None:
    assert not [secret for secret in secrets if secret in text]
