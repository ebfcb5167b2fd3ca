"""Nothing secret is ever where another account of the box could read it: every system call is read.

A look at files from time to time would miss a file that others can read for a millisecond.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from distributor.model.errors import DeviceRefused, DistributorError
from tests.contract.scenarios import OLD, SCENARIOS, Scenario
from tests.contract.ssh_boxes import REPLACED, BoxOf, scenario_for, shared_boxes
from tests.contract.ssh_diskstation_box import OWN
from tests.contract.ssh_diskstation_rig import Login, Method, SshDiskstationRig
from tests.contract.watch import key_lines
from tests.e2e import ssh_box_tree as tree
from tests.e2e.ssh_box_tree import Release

CALLS: Final = ("execve", "openat", "open", "creat", "write", "umask", "fork", "vfork", "clone")
DSM_S_OWN: Final = (
    tree.LAYER,
    "/usr/syno/etc/packages/VPNCenter/",
    "/run/",
    "/opt/box/",
    "/etc/nginx/",
    "/var/log/",
    "/dev/",
    "/proc/",
)
"""Where programs of the box itself, and the rig's, write what they like."""
_LINE: Final = re.compile(r"(\d+) +(.*)")
_UNFINISHED: Final = " <unfinished ...>"
_RESUMED: Final = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_MADE: Final = re.compile(
    r'open(?:at)?\((?:[^,]*, )?"([^"]*)", [^,]*O_CREAT[^,]*, (0[0-7]*)\) = \d'
)
_WRITTEN: Final = re.compile(r'write\(\d+<([^>]*)>, (".*")')


@dataclass
class Trace:
    """What strace saw, one call after the other."""

    lines: list[tuple[int, str]] = field(default_factory=list)

    @property
    def executed(self) -> list[str]:
        return [call for _, call in self.lines if call.startswith("execve(")]

    @property
    def written(self) -> list[tuple[str, str]]:
        """Each write: where to, and what."""
        found = (_WRITTEN.match(call) for _, call in self.lines)
        return [(one[1], one[2]) for one in found if one is not None]

    def created(self) -> Iterator[tuple[str, int]]:
        """Each file that was made, with the mode that it had from its first moment on."""
        masks: dict[int, int] = {}
        for pid, call in self.lines:
            child = re.match(r"(?:v?fork|clone)\(.*\) = (\d+)", call)
            mask = re.match(r"umask\((\d+)\)", call)
            made = _MADE.match(call)
            if child is not None:
                masks[int(child[1])] = masks.get(pid, 0o022)
            elif mask is not None:
                masks[pid] = int(mask[1], 8)
            elif made is not None:
                yield made[1], int(made[2], 8) & ~masks.get(pid, 0o022)


def read_trace(log: Path) -> Trace:
    """Join the calls that were interrupted by those of other processes."""
    trace, begun = Trace(), dict[int, str]()
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        pid, call = int(found[1]), found[2]
        resumed = _RESUMED.match(call)
        if call.endswith(_UNFINISHED):
            begun[pid] = call.removesuffix(_UNFINISHED)
        elif resumed is not None:
            trace.lines.append((pid, begun.pop(pid, f"{resumed[1]}(") + resumed[2]))
        else:
            trace.lines.append((pid, call))
    return trace


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


def is_file(path: str) -> bool:
    """Whether it is a file that our scripts may have made."""
    return path.startswith("/") and not path.startswith(DSM_S_OWN)


@pytest.mark.parametrize(
    ("release", "method", "login", "scenario"),
    [
        ("dsm62", "files", "password", REPLACED),
        ("dsm72", "files", "silent", REPLACED),
        ("dsm73", "synowebapi", "password", SCENARIOS[0]),
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
    target = rig.target()
    with rig.box.traced(*CALLS) as log:
        _, kept = rig.apply(target)
        with target.open() as session:
            session.rollback(kept)
    trace, secrets = read_trace(log), secrets_of(rig)
    assert len(trace.executed) > 50
    for call in trace.executed:
        _require_none(secrets, call)
    made = [(path, mode) for path, mode in trace.created() if is_file(path)]
    assert [path for path, _ in made if path.startswith(OWN)]
    for path, mode in made:
        assert mode & 0o077 == 0, f"{path} was made with mode {mode:o}"
    carried = [path for path, text in trace.written if any(one in text for one in secrets)]
    assert carried
    for path in filter(is_file, carried):
        assert path.startswith(OWN) or ".distribute-" in path, path
    for password in rig.secrets():
        assert not [path for path, text in trace.written if password in text and is_file(path)]


@pytest.mark.parametrize("method", ["files", "synowebapi"])
def test_no_content_stays_behind_after_a_failure(
    box_of: BoxOf, tmp_path: Path, method: Method
) -> None:
    rig = rig_of(box_of, "dsm73", REPLACED, tmp_path, method=method, login="root")
    rig.box.fault("synowebapi-fails" if method == "synowebapi" else "gen-all-fails")
    with pytest.raises(DistributorError):
        rig.apply()
    left = {path for path in rig.box.files(OWN) if "/copies" not in path}
    assert left <= {OWN, f"{OWN}/work"}
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
