"""Files replaced together under a lock, by each shell that a host may have."""

import os
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor.clients.shell import STAGED
from distributor.model.errors import Busy, DeviceRefused
from distributor.model.state import Address, State
from distributor.targets import remote_lock
from distributor.targets.remote_lock import RemoteLock
from distributor.targets.remote_set import NewFile, RemoteSet, mark_of
from tests.local_shell import SHELLS, Local, local_shell

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
ODD = "it's $HOME; `x` \\ \"-"
OURS, THEIRS = "attic.example.test:/var/lib/distribute", "cellar.example.test:/root"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Local:
    return local_shell(request.param, tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / f"certificate {ODD}"
    made.mkdir()
    return made


@pytest.fixture
def own(tmp_path: Path) -> str:
    return f"{tmp_path}/own {ODD}"


def lock_of(shell: Local, own: str, who: str = OURS) -> RemoteLock:
    return RemoteLock(shell, own, who, as_root=False)


def set_of(shell: Local, own: str, *folders: object) -> RemoteSet:
    files = RemoteSet(shell, lock_of(shell, own), own, as_root=False)
    files.begin(map(str, folders))
    return files


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.iterdir()
    }


def names(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def write(path: Path, content: bytes, mode: int) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_files_are_replaced_with_the_modes_they_had(shell: Local, own: str, place: Path) -> None:
    cert, key = write(place / "cert.pem", b"old", 0o444), write(place / "key.pem", b"old", 0o400)
    chain = f"{place}/chain.pem"
    files = {
        cert: NewFile(b"new"),
        key: NewFile(b"secret\n"),
        chain: NewFile(b"chain", like=cert),
        f"{place}/alone.pem": NewFile(b"new"),
        f"{place}/open.pem": NewFile(b"new", mode="0640"),
    }
    set_of(shell, own, place).replace(files)
    assert everything(place) == {
        "cert.pem": (b"new", 0o444),
        "key.pem": (b"secret\n", 0o400),
        "chain.pem": (b"chain", 0o444),
        "alone.pem": (b"new", 0o600),
        "open.pem": (b"new", 0o640),
    }
    assert names(own) == ["lock", "work"]


def test_a_file_is_removed_and_one_that_was_not_there_is_no_matter(
    shell: Local, own: str, place: Path
) -> None:
    chain = write(place / "chain.pem", b"old", 0o400)
    set_of(shell, own, place).replace({chain: None, f"{place}/none": None})
    assert everything(place) == {}


def test_what_was_there_comes_back_with_mode_and_absence(
    shell: Local, own: str, place: Path
) -> None:
    cert, key = write(place / "cert.pem", b"old", 0o444), write(place / "key.pem", b"old", 0o400)
    chain = f"{place}/chain.pem"
    before, files = everything(place), set_of(shell, own, place)
    files.keep("mark", NOW, (cert, key, chain))
    new = NewFile(b"new", mode="0600")
    files.replace({cert: new, key: new, chain: new})
    kept = files.kept("mark")
    assert kept is not None
    assert [path for path, copy in kept.files.items() if copy is None] == [chain]
    for _ in range(2):
        files.restore(kept)
        assert everything(place) == before


def test_nothing_changes_when_one_file_cannot_be_staged(
    shell: Local, own: str, place: Path
) -> None:
    cert, elsewhere = write(place / "cert.pem", b"old", 0o444), place / "elsewhere"
    (place / "link.pem").symlink_to(elsewhere)
    (place / "folder.pem").mkdir()
    files = set_of(shell, own, place)
    for bad, words in (
        (f"{place}/link.pem", "is a symbolic link"),
        (f"{place}/folder.pem", "is a folder"),
        (f"{place}/none/cert.pem", "cannot replace the files"),
    ):
        with pytest.raises(DeviceRefused, match=words):
            files.replace({cert: NewFile(b"new"), bad: NewFile(b"new")})
        assert Path(cert).read_bytes() == b"old"
        assert not elsewhere.exists()
        assert not [name for name in names(place) if STAGED in name]
        assert names(own) == ["lock", "work"]
    with pytest.raises(DeviceRefused, match="is no file"):
        files.keep("mark", NOW, (cert, f"{place}/link.pem"))
    assert files.kept("mark") is None


def test_the_last_three_copies_stay_and_are_the_account_s_alone(
    shell: Local, own: str, place: Path
) -> None:
    cert = write(place / "cert.pem", b"old", 0o444)
    files = set_of(shell, own, place)
    for number in range(5):
        Path(cert).chmod(0o600)
        write(place / "cert.pem", str(number).encode(), 0o444)
        files.keep(f"mark{number % 4}", NOW + timedelta(hours=number), (cert,))
    copies = Path(own) / "copies"
    assert [name[-5:] for name in names(copies)] == ["mark2", "mark3", "mark0"]
    assert files.kept("mark1") is None
    for mark, content in (("mark0", b"4"), ("mark3", b"3")):
        kept = files.kept(mark)
        assert kept is not None
        (copy,) = kept.files.values()
        assert copy is not None
        assert Path(copy).read_bytes() == content
    for folder in (Path(own), copies, *copies.iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_a_cut_run_left_goes_first(shell: Local, own: str, place: Path) -> None:
    left = write(place / f".cert.pem{STAGED}0123", b"secret", 0o600)
    cert = write(place / "cert.pem", b"old", 0o444)
    set_of(shell, own, place)
    assert (Path(left).exists(), Path(cert).exists()) == (False, True)


def test_a_mark_is_the_same_for_the_same_state() -> None:
    one, other = Address("file", "/a"), Address("file", "/b")
    states = [State({one: {"leaf": "1"}, other: {}}), State({other: {}, one: {"leaf": "1"}})]
    assert mark_of(states[0]) == mark_of(states[1]) != mark_of(State({one: {}}))


def test_one_controller_keeps_another_out_until_it_is_done(shell: Local, own: str) -> None:
    first, second = lock_of(shell, own), lock_of(shell, own, THEIRS)
    first.take()
    with pytest.raises(Busy, match=f"last seen at 20.*Z.*{OURS}"):
        second.take()
    assert first.run(["echo", ODD]).stdout == f"{ODD}\n".encode()
    first.release()
    second.take()
    with pytest.raises(DeviceRefused, match="took the lock of this host over"):
        first.run(["true"])
    first.release()  # of which it has none
    assert second.run(["true"]).status == 0


def test_an_own_lock_that_was_left_behind_is_taken_over_at_once(shell: Local, own: str) -> None:
    lock_of(shell, own).take()
    again = lock_of(shell, own)
    again.take()
    assert again.run(["cat"], stdin=b"all").stdout == b"all"


def test_a_lock_of_another_counts_for_an_hour_without_work(shell: Local, own: str) -> None:
    lock = lock_of(shell, own, THEIRS)
    lock.take()
    path = Path(own) / "lock"
    for age, is_free in ((0, False), (3500, False), (3700, True)):
        then = time.time() - age
        os.utime(path, (then, then), follow_symlinks=False)
        if is_free:
            lock_of(shell, own).take()
        else:
            with pytest.raises(Busy, match="another controller"):
                lock_of(shell, own).take()
    with pytest.raises(DeviceRefused, match="over"):
        lock.run(["true"])


def test_work_makes_a_lock_count_anew(shell: Local, own: str) -> None:
    lock = lock_of(shell, own, THEIRS)
    lock.take()
    path = Path(own) / "lock"
    os.utime(path, (1, 1), follow_symlinks=False)
    lock.run(["true"])
    with pytest.raises(Busy, match="another controller"):
        lock_of(shell, own).take()


def test_a_command_that_a_cut_left_running_is_waited_for(
    shell: Local, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_of(shell, own).take()
    done = tmp_path / "done"
    script = f'sleep 1.2; echo x >"{done}"'
    words = ["/bin/sh", "-c", remote_lock._WORK, "sh", own, OURS]
    with subprocess.Popen([*words, "/bin/sh", "-c", script]):
        while not (Path(own) / "work").is_symlink():
            pass
        monkeypatch.setattr(remote_lock, "WAIT_SECONDS", 0)
        with pytest.raises(Busy, match="still works on the host: process"):
            lock_of(shell, own).take()
        monkeypatch.setattr(remote_lock, "WAIT_SECONDS", 60)
        lock_of(shell, own).take()
        assert done.exists()


def test_a_folder_that_is_a_link_is_refused(shell: Local, own: str, place: Path) -> None:
    Path(own).symlink_to(place)
    with pytest.raises(DeviceRefused, match="is a symbolic link"):
        lock_of(shell, own).take()
