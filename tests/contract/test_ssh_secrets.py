"""A router and PEM files by SSH: at no moment could others read a key; every call is looked at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from distributor.checking.shells import commands
from tests.contract.router_ssh_rig import SSL, router_ssh_rig
from tests.contract.scenarios import FILES_SCENARIOS, ROUTER_SCENARIOS, FilesScenario
from tests.contract.ssh_files_rig import CERTS, Login, ssh_files_rig
from tests.contract.ssh_rig import SshRig
from tests.contract.system_calls import CALLS, Watch, read_calls
from tests.contract.watch import key_lines, require_private, watched
from tests.e2e.ssh_box import SshBox

ON_ROUTER = next(one for one in ROUTER_SCENARIOS if one.placed)
IN_FILES = next(one for one in FILES_SCENARIOS if one.there and one.paths.combined is None)
COMBINED = next(one for one in FILES_SCENARIOS if one.there and one.paths.combined is not None)
THEIRS = ("./reload", "/usr/syno/", "/usr/sbin/httpd", "/usr/sbin/nginx")
"""What the hosts run by themselves."""
OF_THE_RIG = {"basename", "chroot", "sh", "sshd", "sudo"}
"""What brings a command to run, and what counts how often `mv` does."""


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBox]:
    with SshBox(tmp_path_factory.mktemp("router"), "srm13") as box:
        yield box


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBox]:
    with SshBox(tmp_path_factory.mktemp("host"), "dsm72") as box:
        yield box


def followed(rig: SshRig, *, quickly: bool) -> Watch:
    """Deliver and put back; nothing secret was ever said, given as an argument, or open."""
    bundles = [*rig.scenario.bundles.values(), *(one.bundle for one in rig.scenario.placed)]
    secrets = key_lines(*bundles) | set(rig.secrets())
    keys = tuple(path for path in rig.held if b"PRIVATE KEY" in rig.box.read(path))
    target, there = rig.target(), rig.box.files()
    with watched() as said, rig.box.traced(*CALLS, quickly=quickly) as log:
        plan, kept = rig.apply(target)
        with target.open() as session:
            session.rollback(kept)
    assert plan.changes
    root = str(rig.box.folder / "root")
    watch = Watch(read_calls(log), secrets, root=root, theirs=THEIRS, keys=keys, there=there)
    assert watch.exposed == []
    for secret in rig.secrets():
        assert watch.holders_of(secret) == set()
    said.hear(plan, kept, target, rig.host)
    said.require_silence(secrets)
    require_private(rig.store.folder)
    return watch


def test_of_a_router_nobody_else_could_read_a_key(router: SshBox, tmp_path: Path) -> None:
    with router_ssh_rig(router, ON_ROUTER, tmp_path) as rig:
        watch = followed(rig, quickly=True)
    ours = f"{SSL}/.distribute/"
    assert any(path.startswith(f"{ours}.content.distribute-") for path in watch.secret_files)
    assert any(path.startswith(f"{ours}copies/") for path in watch.secret_files)
    assert any("/.server.key.distribute-" in path for path in watch.secret_files)


@pytest.mark.parametrize(
    ("login", "scenario"),
    [("owner", COMBINED), ("sudo", IN_FILES), ("root", IN_FILES)],
    ids=["one file of the account", "two files by sudo", "two files of root"],
)
def test_of_pem_files_nobody_else_could_read_a_key(
    host: SshBox, tmp_path: Path, login: Login, scenario: FilesScenario
) -> None:
    with ssh_files_rig(host, scenario, tmp_path, login) as rig:
        watch = followed(rig, quickly=login != "sudo")
    ours = f"{CERTS}/.distribute/"
    assert any(path.startswith(f"{ours}.content.distribute-") for path in watch.secret_files)
    assert any(path.startswith(f"{ours}copies/") for path in watch.secret_files)
    # What `check --online` looks for is all that a delivery runs.
    assert watch.programs - OF_THE_RIG <= set(commands(rig.host))
    assert {"cat", "chmod", "mv", "stat"} <= watch.programs
