"""A lock on a host: who may take it when, and what becomes of what a cut run left at work."""

import os
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from distributor.clients.shell import Result
from distributor.model.errors import ApplyFailed, Busy, DeviceRefused
from distributor.targets import remote_lock
from distributor.targets.remote_lock import Controller, RemoteLock
from distributor.targets.remote_scripts import WORK
from tests.local_shell import SHELLS, Local, local_shell

ODD = "it's $HOME; `x` \\ \"-"
OURS, THEIRS = Controller("0a1b2c", "attic"), Controller("ffffff", "cellar")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Local:
    return local_shell(request.param, tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> str:
    return f"{tmp_path}/own {ODD}"


def lock_of(
    shell: Local, own: str, controller: Controller = OURS, host: str = "docker"
) -> RemoteLock:
    return RemoteLock(shell, own, lambda: controller, host, as_root=False)


def link(own: str, name: str) -> str:
    return str(Path(own, name).readlink())


def age(path: Path | str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


@contextmanager
def left_running(
    shell: Local, own: str, script: str, bound: str = "-"
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on although its connection was lost, under a lock of ours."""
    lock_of(shell, own).take()
    who = link(own, "lock")
    words = shell.words(
        ["/bin/sh", "-c", WORK, "sh", own, who, bound, "/", "/bin/sh", "-c", script]
    )
    with subprocess.Popen(words, env=shell.env) as running:
        while not Path(own, "work").is_symlink():
            time.sleep(0.01)
        try:
            yield running
        finally:
            running.kill()


def test_one_controller_keeps_another_out_until_it_is_done(shell: Local, own: str) -> None:
    first, second = lock_of(shell, own), lock_of(shell, own, THEIRS)
    first.take()
    with pytest.raises(Busy, match=r"another controller has.*last seen at 20.*Z.*docker by attic"):
        second.take()
    assert first.run(["echo", ODD]).stdout == f"{ODD}\n".encode()
    first.release()
    second.take()
    who = first._who = f"{OURS.id} {first.tag} docker by attic"
    with pytest.raises(DeviceRefused, match="took the lock of this host over"):
        first.run(["true"])
    first.release()  # of which it has none
    assert who not in link(own, "lock")
    assert second.run(["true"]).status == 0


def test_an_own_lock_that_was_left_behind_is_taken_over_at_once(shell: Local, own: str) -> None:
    lock_of(shell, own).take()
    elsewhere = Controller(OURS.id, "the same with a new name")
    again = lock_of(shell, own, elsewhere)
    again.take()
    assert again.run(["cat"], stdin=b"all").stdout == b"all"


def test_another_host_of_the_same_controller_waits_for_its_turn(
    shell: Local, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lock_of(shell, own), lock_of(shell, own, host="proxy")
    first.take()
    monkeypatch.setattr(remote_lock, "TURN_SECONDS", 1)
    with pytest.raises(Busy, match=r"another host of this inventory has.*docker by attic"):
        second.take()
    assert first.run(["true"]).status == 0  # it was not taken from it
    let_go = ["/bin/sh", "-c", 'sleep 1; exec rm "$1/lock"', "sh", own]
    monkeypatch.setattr(remote_lock, "TURN_SECONDS", 60)
    with subprocess.Popen(shell.words(let_go), env=shell.env):
        second.take()
    assert second.run(["true"]).status == 0


def test_a_lock_of_another_counts_for_an_hour_without_work(
    shell: Local, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_lock, "TURN_SECONDS", 0)
    for controller, host in ((THEIRS, "docker"), (OURS, "proxy")):
        lock = lock_of(shell, own, controller, host)
        lock.take()
        for seconds, is_free in ((0, False), (3500, False), (3700, True)):
            age(f"{own}/lock", seconds)
            if is_free:
                lock_of(shell, own).take()
            else:
                with pytest.raises(Busy, match=r"another (controller|host of this inventory)"):
                    lock_of(shell, own).take()
        with pytest.raises(DeviceRefused, match="over"):
            lock.run(["true"])
        Path(own, "lock").unlink()  # as `release` would


def test_work_makes_a_lock_count_anew(shell: Local, own: str) -> None:
    lock = lock_of(shell, own, THEIRS)
    lock.take()
    age(f"{own}/lock", 1e6)
    lock.run(["true"])
    with pytest.raises(Busy, match="another controller"):
        lock_of(shell, own).take()


def test_a_command_that_a_cut_left_running_is_waited_for(
    shell: Local, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tmp_path / "done"
    with left_running(shell, own, f'sleep 1.2; echo x >"{done}"'):
        age(f"{own}/work", 1e6)
        monkeypatch.setattr(remote_lock, "WAIT_SECONDS", 0)
        with pytest.raises(Busy, match="still works on the host: process"):
            lock_of(shell, own).take()
        monkeypatch.setattr(remote_lock, "WAIT_SECONDS", 60)
        lock_of(shell, own).take()
        assert done.exists()


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_one_that_may_be_ended_is_ended_with_all_it_started_when_its_time_is_over(
    shell: Local, own: str, tmp_path: Path, trap: str
) -> None:
    pids = tmp_path / "pids"
    script = f'{trap}echo $$ >"{pids}"; (sleep 87 & echo $! >>"{pids}"; wait); sleep 87; echo'
    with left_running(shell, own, script, bound="30") as running:
        while not pids.exists() or len(pids.read_text().split()) < 2:
            time.sleep(0.01)
        age(f"{own}/work", 31)
        began = time.monotonic()
        lock = lock_of(shell, own)
        lock.take()
        assert time.monotonic() - began < 25
        assert running.wait(5) != 0
    for pid in pids.read_text().split():
        assert not is_running(int(pid))
    assert lock.run(["true"]).status == 0


def test_a_command_with_a_bound_is_ended_on_the_host_itself(
    shell: Local, own: str, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    lock = lock_of(shell, own)
    lock.take()
    script = f'echo $$ >"{pids}"; (sleep 87 & echo $! >>"{pids}"; wait); sleep 87'
    began = time.monotonic()
    with pytest.raises(ApplyFailed, match="did not end within 1 seconds"):
        lock.run(["/bin/sh", "-c", script], seconds=1, may_end=True)
    assert time.monotonic() - began < 25
    for pid in pids.read_text().split():
        assert not is_running(int(pid))
    lock_of(shell, own).take()


def test_a_command_with_a_bound_ends_as_it_would_without(shell: Local, own: str) -> None:
    lock = lock_of(shell, own)
    lock.take()
    script = "echo out; echo err >&2; exit 7"
    result = lock.run(["/bin/sh", "-c", script], seconds=60, may_end=True)
    assert (result.status, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert lock.run(["sleep", "0"], seconds=60, may_end=True).status == 0
    assert lock.run(["/bin/sh", "-c", "kill -9 $$"], may_end=True).status == 128 + 9
    stayed = lock.run(["/bin/sh", "-c", "sleep 3 >/dev/null 2>&1 & echo $!"], may_end=True)
    assert is_running(int(stayed.stdout))  # what it let go for good is not its own any more


def test_one_that_may_be_ended_has_its_time_first(shell: Local, own: str, tmp_path: Path) -> None:
    done = tmp_path / "done"
    with left_running(shell, own, f'sleep 1.2; echo x >"{done}"', bound="60"):
        lock_of(shell, own).take()
        assert done.exists()


def test_what_may_be_ended_is_noted_with_its_time(shell: Local, own: str) -> None:
    lock = lock_of(shell, own)
    lock.take()
    lock.run(["true"], seconds=45.0, may_end=True)
    assert link(own, "work").split()[2] == "45"
    lock.run(["true"], seconds=45.0)
    assert link(own, "work").split()[2] == "-"


def test_a_command_runs_in_the_root_folder_or_inside(shell: Local, own: str) -> None:
    lock = lock_of(shell, own)
    lock.take()
    assert lock.run(["/bin/sh", "-c", "pwd"]).stdout == b"/\n"
    assert lock.run(["/bin/sh", "-c", "pwd"], inside=True).stdout.decode() == f"{own}\n"


def test_nothing_runs_without_the_lock(shell: Local, own: str) -> None:
    lock = lock_of(shell, own)
    with pytest.raises(ValueError, match="was not taken"):
        lock.run(["true"])
    lock.release()
    assert not Path(own).exists()


class Recorder(Local):
    """A shell that only notes what it is asked to run."""

    def __init__(self) -> None:
        self.bounds: list[float] = []

    def run(self, _command: Sequence[str], *, seconds: float = 0, **_more: object) -> Result:  # type: ignore[override]  # takes what it is given
        self.bounds.append(seconds)
        return Result(0, b"", b"")


def test_the_connection_waits_as_long_as_the_script() -> None:
    recorder = Recorder()
    lock_of(recorder, "/own").take()
    longest = remote_lock.WAIT_SECONDS + remote_lock.TURN_SECONDS
    assert recorder.bounds[0] > longest


@pytest.mark.parametrize(
    ("mode", "uid", "words"),
    [
        (0o777, None, "others may write to it"),
        (0o770, None, "others may write to it"),
        (0o1777, None, "others may write to it"),
        (0o700, 12345, "it belongs to "),
    ],
)
def test_a_folder_that_somebody_else_could_fill_is_refused(
    shell: Local, own: str, mode: int, uid: int | None, words: str
) -> None:
    Path(own).mkdir()
    Path(own).chmod(mode)
    if uid is not None:
        os.chown(own, uid, 0)
    planted = Path(own, "copies")
    planted.mkdir()
    with pytest.raises(DeviceRefused, match=f"is not this account's own folder: {words}") as caught:
        lock_of(shell, own).take()
    assert "remove it" in (caught.value.hint or "")
    assert [path.name for path in Path(own).iterdir()] == ["copies"]
    assert stat.S_IMODE(Path(own).stat().st_mode) == mode


def test_a_folder_that_only_others_may_read_is_closed(shell: Local, own: str) -> None:
    Path(own).mkdir()
    Path(own).chmod(0o755)
    lock_of(shell, own).take()
    assert stat.S_IMODE(Path(own).stat().st_mode) == 0o700


def test_a_folder_that_is_a_link_is_refused(shell: Local, own: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    Path(own).symlink_to(place)
    with pytest.raises(DeviceRefused, match="it is a symbolic link"):
        lock_of(shell, own).take()
    assert list(place.iterdir()) == []


def test_a_folder_that_was_exchanged_after_it_was_taken_is_refused(
    shell: Local, own: str, tmp_path: Path
) -> None:
    lock = lock_of(shell, own)
    lock.take()
    aside = Path(own).rename(tmp_path / "aside")
    Path(own).symlink_to(aside)
    with pytest.raises(DeviceRefused, match="it is a symbolic link"):
        lock.run(["true"])


def test_a_folder_that_cannot_be_made_is_told(shell: Local, own: str) -> None:
    with pytest.raises(DeviceRefused, match="cannot lock the host"):
        lock_of(shell, f"{own}/none/deeper").take()


def is_running(pid: int) -> bool:
    try:
        stat_ = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat_.rpartition(") ")[2][0] != "Z"
