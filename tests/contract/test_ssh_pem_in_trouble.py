"""What a run makes of PEM files on a host, and of a router, on which something goes wrong.

Real sshd, sudo, nginx and Apache. Each trouble ends with the new leaf proved, with everything put
back as it was, or with nothing done; and the next run, once the trouble is over, brings it.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest

from distributor import delivery
from distributor.delivery import new_outcome
from distributor.model.endpoints import all_serve
from distributor.model.errors import AuthRefused, Busy, DistributorError, Untrusted, VerifyFailed
from distributor.model.hosts import PlainSecret, SshAccess
from distributor.model.report import Outcome
from distributor.model.secret import Secret
from distributor.targets import pem_set, remote_lock
from tests.contract.delivering import Bench
from tests.contract.router_ssh_rig import KEY_FILE, LEAF_FILE, SSL, router_ssh_rig
from tests.contract.scenarios import (
    CHAIN_MADE,
    FILES_SCENARIOS,
    ROUTER_CASES,
    FilesScenario,
    is_exhaustive,
)
from tests.contract.ssh_files_rig import BASE, CERTS, SshFilesRig, ssh_files_rig
from tests.contract.ssh_rig import OURS, SshRig
from tests.contract.watch import Watch, key_lines, require_private, watched
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_tree import Item

Kind = Literal["files", "router"]
KINDS: tuple[Kind, ...] = ("files", "router")
PAIR = next(one for one in FILES_SCENARIOS if one.name == "fullchain and key are replaced")
ONE = next(
    one for one in ROUTER_CASES.scenarios if one.name == "an imported certificate is replaced"
)
RESTART = "/usr/syno/sbin/synoservicecfg"
ASKED = "/opt/box/asked"


@dataclass
class Boxes:
    """A host with the tools of a DiskStation, and a router, for all tests of this module."""

    host: SshBox
    router: SshBox

    def rig(
        self, kind: Kind, folder: Path, scenario: FilesScenario = PAIR
    ) -> AbstractContextManager[SshRig]:
        if kind == "router":
            return router_ssh_rig(self.router, ONE, folder)
        return ssh_files_rig(self.host, scenario, folder, "sudo")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with (
        SshBox(tmp_path_factory.mktemp("host"), "dsm72") as host,
        SshBox(tmp_path_factory.mktemp("router"), "srm13") as router,
    ):
        # BusyBox's own shell runs its own tools, which no trap could stand in for; dash does not.
        router.place(Item(path="/usr/bin/sh", link="/opt/box/host/bin/dash"))
        yield Boxes(host, router)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SERVED_SECONDS", 3.0)


@pytest.fixture
def make(boxes: Boxes, tmp_path: Path) -> Iterator[Callable[..., AbstractContextManager[SshRig]]]:
    """Make rigs whose every word and file is searched for secrets at the end."""
    number = 0
    with watched() as watch:

        @contextmanager
        def made(kind: Kind, **more: Any) -> Iterator[SshRig]:
            nonlocal number
            number += 1
            folder = tmp_path / str(number)
            with boxes.rig(kind, folder, **more) as rig:
                yield rig
                _require_silence(watch, rig, folder)

        yield made


def _require_silence(watch: Watch, rig: SshRig, folder: Path) -> None:
    placed = (one.bundle for one in rig.scenario.placed)
    secrets = key_lines(*rig.scenario.bundles.values(), *placed) | set(rig.secrets())
    watch.require_silence(secrets)
    require_private(folder)


def run(rig: SshRig, **at: Callable[[], object]) -> Outcome:
    """A run of this host alone; what stops it before there is a plan is its outcome, too."""
    acts = {step.replace("_", " "): (lambda act=act: act()) for step, act in at.items()}
    try:
        return Bench(rig, at=acts).run()  # type: ignore[arg-type]  # what an act returns is no matter
    except DistributorError as error:
        return new_outcome(rig.host, "failed", error)


def told(outcome: Outcome) -> str:
    assert outcome.error is not None
    assert outcome.error.hint
    return outcome.error.message


@dataclass
class Before:
    """A host as it was, to hold against what it is later."""

    rig: SshRig

    def __post_init__(self) -> None:
        self.raw, self.state = self.rig.raw(), self.rig.inspect()

    def require_again(self, why: object = "") -> None:
        self.rig.served()
        assert self.rig.raw() == self.raw, why
        assert self.rig.inspect() == self.state, why

    def require_this_or_done(self, outcome: Outcome, why: object) -> None:
        """What the outcome says is so: the new leaf, or what was there before."""
        assert outcome.status in {"changed", "failed", "rolled_back"}, (why, str(outcome.error))
        if outcome.status == "changed":
            require_brought(self.rig)
        else:
            told(outcome)
            self.require_again(why)


def require_brought(rig: SshRig) -> None:
    assert all_serve(rig.served(), rig.certificates)
    assert rig.plan(rig.inspect()).is_noop


def require_next_run_brings_it(rig: SshRig) -> None:
    outcome = run(rig)
    assert outcome.status == "changed", outcome.error
    require_brought(rig)
    assert run(rig).status == "unchanged"


def some(most: int, seed: str, *, number: int = 2) -> Iterable[int]:
    """Which places meet a fault: all of them, or some of the first `most`, the same each time."""
    if is_exhaustive():
        return count(1)
    return sorted(random.Random(seed).sample(range(1, most + 1), number))  # noqa: S311 - the same part


def with_reload(rig: SshRig, command: str) -> None:
    assert rig.host.files is not None
    rig.host = replace(rig.host, files=replace(rig.host.files, reload=command))


# -- the disk --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pages", [0, 1, 2, 3, 5])
def test_a_full_disk_leaves_everything_as_it_was(make: Any, kind: Kind, pages: int) -> None:
    with make(kind) as rig:
        before = Before(rig)
        try:
            outcome = run(rig, changing=lambda: rig.box.fill(leave=4096 * pages))
        finally:
            rig.box.empty()
        assert outcome.status == "rolled_back"
        assert re.search(r"No space left on device|I/O error", told(outcome))
        before.require_again()
        require_next_run_brings_it(rig)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", ["chmod", "chown", "cp", "mv", "mkdir", "ln", "rm", "stat", "wc"])
def test_a_tool_that_fails_at_any_of_its_calls_leaves_nothing_half_made(
    make: Any, kind: Kind, tool: str
) -> None:
    with make(kind) as rig:
        rig.box.trap(tool, 0, "fail")
        assert run(rig).status == "changed"
        calls = rig.box.trapped(tool)
    for nth in some(max(calls, 1), f"{kind} {tool}", number=1):
        if nth > calls:
            break
        with make(kind) as rig:
            before = Before(rig)
            rig.box.trap(tool, nth, "fail")
            try:
                outcome = run(rig)
            finally:
                rig.box.trap(tool, 0, "fail")
            before.require_this_or_done(outcome, f"{tool} {nth}")


# -- the connection --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_cut_at_any_command_is_no_false_success(
    make: Any, kind: Kind, when: Literal["before", "after"]
) -> None:
    struck = 0
    for nth in some(16, f"{kind} {when}", number=3):
        with make(kind) as rig:
            before = Before(rig)
            rig.cut(nth, when, "requests")
            outcome = run(rig)
            was_cut = rig.heal()
            before.require_this_or_done(outcome, f"command {nth}")
            if outcome.status != "changed":
                require_next_run_brings_it(rig)
        struck += was_cut
        if not was_cut:
            break
    assert struck


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_power_cut_between_any_two_writes_is_put_back(
    make: Any, kind: Kind, when: Literal["before", "after"]
) -> None:
    for nth in some(4, f"power {kind} {when}"):
        with make(kind) as rig:
            before = Before(rig)
            rig.cut(nth, when, "writes")
            outcome = run(rig)
            was_cut = rig.heal()
            before.require_this_or_done(outcome, f"write {nth}")
        if not was_cut:
            break


# -- the reload ------------------------------------------------------------------------------------


def test_a_reload_that_does_nothing_is_found_out(make: Any) -> None:
    with make("files") as rig:
        before, well = Before(rig), rig.host
        with_reload(rig, "true")
        outcome = run(rig)
        assert outcome.status == "rolled_back"
        assert isinstance(outcome.error, VerifyFailed)
        before.require_again()
        rig.host = well
        require_next_run_brings_it(rig)


def test_a_router_s_reload_that_does_nothing_is_found_out(make: Any) -> None:
    pid_file = "/run/httpd/httpd-sys.pid"
    with make("router") as rig:
        before = Before(rig)
        real = rig.box.read(pid_file)
        # Another process has the number by now, and cares for no signal.
        rig.box.run("/usr/bin/cp", "/opt/box/host/bin/sleep", "/run/nginx-idle")
        idle = "trap '' USR1; /run/nginx-idle 120 >/dev/null 2>&1 & echo $!"
        other = rig.box.run("/usr/bin/sh", "-c", idle).stdout
        try:
            rig.box.place(Item(path=pid_file, content=other, mode=0o644))
            outcome = run(rig)
        finally:
            rig.box.place(Item(path=pid_file, content=real, mode=0o644))
            rig.box.run("/usr/bin/sh", "-c", f"kill {int(other)}")
        assert outcome.status == "rolled_back"
        assert isinstance(outcome.error, VerifyFailed)
        before.require_again()
        require_next_run_brings_it(rig)


def test_a_reload_that_fails_is_told_in_its_words(make: Any) -> None:
    with make("files") as rig:
        before, well = Before(rig), rig.host
        with_reload(rig, "echo the proxy is out of order; exit 7")
        outcome = run(rig)
        assert outcome.status == "rolled_back"
        assert told(outcome) == "`reload` ended with 7: the proxy is out of order"
        before.require_again()
        rig.host = well
        require_next_run_brings_it(rig)


@contextmanager
def restart(box: SshBox, script: str) -> Iterator[None]:
    """Let what starts a router's web server, which is down, do something else."""
    real = box.read(RESTART)
    box.run("/usr/bin/sh", "-c", "kill $(cat /run/httpd/httpd-sys.pid); sleep 1")
    box.place(Item(path=RESTART, content=f"#!/bin/sh\n{script}\n".encode(), mode=0o755))
    try:
        yield
    finally:
        box.place(Item(path=RESTART, content=real, mode=0o755))
        box.restart_web()


def test_a_router_s_web_server_that_cannot_be_started_gets_its_files_back(make: Any) -> None:
    with make("router") as rig:
        before = Before(rig)
        key = rig.box.read(KEY_FILE)
        rig.box.place(Item(path=KEY_FILE, content=b"none", mode=0o400))
        with restart(rig.box, "echo it does not start; exit 1"):
            torn = rig.raw()
            outcome = run(rig)
            assert outcome.status == "rolled_back"
            assert "it does not start" in told(outcome)
            assert rig.raw() == torn
        rig.box.place(Item(path=KEY_FILE, content=key, mode=0o400))
        rig.box.restart_web()
        before.require_again()


def test_a_reload_that_hangs_makes_room_for_putting_everything_back(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pem_set, "RELOAD_SECONDS", 2.0)
    with make("files") as rig:
        before, well = Before(rig), rig.host
        assert rig.host.files is not None
        hangs_once = f"[ -e /tmp/hung ] || {{ >/tmp/hung; sleep 87; }}; {rig.host.files.reload}"
        with_reload(rig, hangs_once)
        outcome = run(rig)
        rig.box.remove("/tmp/hung")  # noqa: S108 - the box's own
        assert outcome.status == "rolled_back"
        assert "did not end within 2 seconds" in told(outcome)
        rig.rest()  # what hangs would go on for long; who watched it sleeps by the second
        before.require_again()
        rig.host = well
        require_next_run_brings_it(rig)


def test_a_reload_that_always_hangs_is_ended_each_time(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pem_set, "RELOAD_SECONDS", 2.0)
    with make("files") as rig:
        before, well = Before(rig), rig.host
        with_reload(rig, "sleep 87")
        outcome = run(rig)
        assert outcome.status == "rolled_back"
        assert "did not end within 2 seconds" in told(outcome)
        rig.rest()  # what hangs would go on for long; who watched it sleeps by the second
        before.require_again()
        rig.host = well
        require_next_run_brings_it(rig)


def test_a_router_s_web_server_that_hangs_while_it_starts_gets_its_files_back(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pem_set, "RELOAD_SECONDS", 2.0)
    with make("router") as rig:
        rig.box.place(Item(path=KEY_FILE, content=b"none", mode=0o400))
        torn = rig.box.files(SSL)
        with restart(rig.box, "sleep 87"):
            outcome = run(rig)
            assert outcome.status == "rolled_back"
            assert "did not end within 2 seconds" in told(outcome)
            ours = {path for path in rig.box.files(SSL) if f"/{OURS}" in path}
            now = {path: one for path, one in rig.box.files(SSL).items() if path not in ours}
            assert now == torn
        rig.rest()  # what hangs would go on for long; who watched it sleeps by the second
        require_next_run_brings_it(rig)


def test_a_server_is_told_of_what_it_had_also_where_a_file_was_missing(make: Any) -> None:
    with make("files", scenario=CHAIN_MADE) as rig:
        before, target = Before(rig), rig.target()
        _, kept = rig.apply(target)
        assert all_serve(rig.served(), rig.certificates)
        reloads = rig.reloads
        with target.open() as session:
            session.rollback(kept)
        assert rig.reloads == reloads + 1
        before.require_again()


# -- who signs in, and what is there ---------------------------------------------------------------


def test_a_wrong_password_for_sudo_is_given_once_and_never_twice(make: Any) -> None:
    with make("files") as rig:
        before = Before(rig)
        access = rig.host.access
        assert isinstance(access, SshAccess)
        pam = rig.box.read("/etc/pam.d/sudo")
        counting = pam.replace(
            b"auth required pam_unix.so nodelay",
            b"auth required pam_unix.so nodelay\n"
            b"auth optional pam_exec.so quiet expose_authtok " + ASKED.encode(),
        )
        script = f'#!/opt/box/host/bin/dash\nIFS= read -r word; echo "$word" >>{ASKED}.log\n'
        rig.box.place(
            Item(path="/etc/pam.d/sudo", content=counting, mode=0o644),
            Item(path=ASKED, content=script.encode(), mode=0o755),
            Item(path=f"{ASKED}.log", content=b"", mode=0o666),  # it runs as who asks
        )
        try:
            assert Before(rig).state == before.state
            words = rig.box.read(f"{ASKED}.log").split()
            assert words  # that it counts at all
            wrong = PlainSecret(Secret("wrong-word"))
            rig.host = replace(rig.host, access=replace(access, sudo_password=wrong))
            for message in ("sudo refuses the password", "not tried: it was refused"):
                outcome = run(rig)
                assert outcome.status == "failed"
                assert isinstance(outcome.error, AuthRefused)
                assert message in told(outcome)
            assert rig.box.read(f"{ASKED}.log").split().count(b"wrong-word") == 1
        finally:
            rig.box.place(Item(path="/etc/pam.d/sudo", content=pam, mode=0o644))
        rig.host = replace(rig.host, access=access)
        before.require_again()


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_host_key_is_refused(make: Any, kind: Kind) -> None:
    with make(kind) as rig:
        writes = rig.writes
        rig.box.change_host_keys()
        outcome = run(rig)
        assert outcome.status == "failed"
        assert isinstance(outcome.error, Untrusted)
        assert rig.writes == writes


def test_a_host_key_that_changes_meanwhile_is_trusted_no_more_than_before(make: Any) -> None:
    with make("files") as rig:
        with_reload(rig, "exit 3")
        outcome = run(rig, putting_back=rig.box.change_host_keys)
        assert outcome.status == "broken"
        assert "putting it back failed" in told(outcome)
        assert "is not the one that is pinned" in told(outcome)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_cannot_be_read_are_not_replaced_unless_somebody_accepts_it(
    make: Any, kind: Kind
) -> None:
    with make(kind) as rig:
        before = Before(rig)
        rig.hide("")
        outcome = run(rig)
        assert outcome.status == "refused"
        assert "cannot be read, so that it could not be put back" in told(outcome)
        assert rig.raw() == before.raw


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"no PEM\n", b"-----BEGIN CERTIFICATE-----\nxx\n"])
def test_broken_files_are_replaced_and_come_back_byte_by_byte(
    make: Any, kind: Kind, content: bytes
) -> None:
    with make(kind) as rig:
        paths = (KEY_FILE, LEAF_FILE) if kind == "router" else (rig.held[0],)
        rig.box.place(*(Item(path=path, content=content, mode=0o400) for path in paths))
        torn, target = rig.box.files(rig.around), rig.target()
        with target.open() as session:
            plan = rig.plan(session.inspect(()))
            kept = rig.keep(session, plan)
            session.apply(plan, rig.scenario.bundles)
        require_brought(rig)
        with target.open() as session:
            session.rollback(kept)
        now = rig.box.files(rig.around)
        assert {path: one for path, one in now.items() if f"/{OURS}" not in path} == torn


# -- others at work --------------------------------------------------------------------------------


def second_host(rig: SshFilesRig, folder: Path) -> SshFilesRig:
    """Another host of the inventory, whose files are in the same folder of the same machine."""
    paths = {"fullchain": f"{CERTS}/two.pem", "private_key": f"{CERTS}/two.key"}
    other = SshFilesRig(rig.proxy, rig.scenario, folder)
    assert other.host.files is not None
    files = replace(other.host.files, reload=None, **paths)
    other.host = replace(other.host, name="second", files=files, endpoints=())
    return other


def test_two_hosts_with_one_folder_wait_for_each_other_and_mix_nothing_up(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make("files") as rig:
        before = Before(rig)
        other = second_host(rig, tmp_path / "second")
        monkeypatch.setattr(remote_lock, "TURN_SECONDS", 1)
        with other.target().open() as session:
            plan = other.plan(session.inspect(()))
            kept = other.keep(session, plan)
            session.apply(plan, other.scenario.bundles)
            outcome = run(rig)
        assert outcome.status == "failed"
        assert isinstance(outcome.error, Busy)
        assert "another host of this inventory" in told(outcome)
        for path in rig.held:
            assert rig.box.files(CERTS)[path] == before.raw.entries[path].more
        require_next_run_brings_it(rig)
        with other.target().open() as session:
            session.rollback(kept)
        assert f"{CERTS}/two.key" not in rig.box.files(CERTS)
        require_brought(rig)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_ours_that_somebody_else_made_is_not_trusted(make: Any, kind: Kind) -> None:
    with make(kind) as rig:
        before = Before(rig)
        own = f"{CERTS if kind == 'files' else SSL}/{OURS}"
        rig.box.place(Item(path=own, mode=0o755, uid=1027, gid=100))
        outcome = run(rig)
        assert outcome.status == "rolled_back"
        assert f"{own} is not this account's own folder: it belongs to" in told(outcome)
        rig.box.remove(own)
        before.require_again()
        require_next_run_brings_it(rig)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_without_its_copy_is_no_silent_success(make: Any, kind: Kind) -> None:
    with make(kind) as rig:
        target = rig.target()
        own = f"{CERTS if kind == 'files' else SSL}/{OURS}"
        _, kept = rig.apply(target)
        rig.box.remove(f"{own}/copies")
        with (
            target.open() as session,
            pytest.raises(DistributorError, match="no copy of them is left") as caught,
        ):
            session.rollback(kept)
        assert caught.value.hint
        require_brought(rig)


def test_the_folder_of_the_tests_is_where_the_copies_are(make: Any) -> None:
    with make("files") as rig:
        rig.apply()
        assert f"{CERTS}/{OURS}/copies" in rig.box.files(BASE)
