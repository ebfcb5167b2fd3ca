"""The state folder is closed to others from the first byte, and a cut leaves old or new."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributor.model.errors import LockedError, StateError
from distributor.store import Store, files
from distributor.store.files import make_folder, read, remove, write


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Let everything in, so that only the product keeps others out."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "deep" / "file"
    write(path, b"x")
    assert mode(path) == 0o600
    assert [mode(folder) for folder in list(path.parents)[:2]] == [0o700, 0o700]


def test_a_file_is_closed_before_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    opening = os.fdopen

    def fdopen(descriptor: int, kind: str) -> object:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return opening(descriptor, kind)

    monkeypatch.setattr(os, "fdopen", fdopen)
    write(tmp_path / "state" / "file", b"x")
    assert seen == [0o600]


def test_a_file_that_was_open_to_others_is_closed_by_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "state" / "file"
    write(path, b"old")
    path.chmod(0o644)
    write(path, b"new")
    assert mode(path) == 0o600


@pytest.mark.parametrize("open_to", [0o755, 0o770, 0o701])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, open_to: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(open_to)
    with pytest.raises(StateError, match="others may read") as caught:
        write(folder / "file", b"x")
    assert caught.value.hint == f"chmod 700 '{folder}'"
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    with pytest.raises(StateError, match="cannot create"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(StateError):
        write(tmp_path / "file" / "below", b"x")


@pytest.mark.parametrize("broken", ["fsync", "replace", "open"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "state" / "file"
    write(path, b"old")

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if broken == "replace" else os, broken, fail)
    with pytest.raises(StateError, match="No space left"):
        write(path, b"new")
    monkeypatch.undo()
    assert read(path) == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_ctrl_c_in_the_middle_of_a_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "file"
    write(path, b"old")

    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_readers_see_old_or_new_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "state" / "file"
    contents = [bytes([number]) * 100_000 for number in range(2)]
    write(path, contents[0])
    done = threading.Event()
    seen: set[bytes | None] = set()

    def watch() -> None:
        while not done.is_set():
            seen.add(read(path))

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        for number in range(40):
            write(path, contents[number % 2])
    finally:
        done.set()
        reader.join()
    assert seen <= set(contents)


def test_the_folder_is_synced_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "file"
    seen: list[bytes | None] = []
    monkeypatch.setattr(files, "sync_folder", lambda _folder: seen.append(read(path)))
    write(path, b"new")
    assert seen == [None, b"new"], "first the folder above the one that was made"


def test_a_folder_that_cannot_be_synced_is_a_state_error(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        files.sync_folder(tmp_path / "missing")


def test_what_is_missing_is_none_and_what_cannot_be_read_is_a_state_error(tmp_path: Path) -> None:
    assert read(tmp_path / "missing") is None
    with pytest.raises(StateError, match="cannot read"):
        read(tmp_path)


def test_removing_is_quiet_about_what_is_not_there(tmp_path: Path) -> None:
    remove(tmp_path / "missing")
    with pytest.raises(StateError, match="cannot remove"):
        remove(tmp_path)


def test_making_a_store_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert store.bundles.current("home") is None
    assert store.accounts.load("https://ca.example/dir", None) is None
    assert store.orders.load("home", "https://ca.example/dir") is None
    assert store.orders.all("home") == ()
    assert store.orders.challenges("home") == {}
    assert store.snapshots.last("attic") is None
    assert store.trust.pinned("attic") is None
    assert not (tmp_path / "state").exists()


HOLD = """
import sys, time
from pathlib import Path
from distributor.store import Store
with Store(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_locked_out_until_the_first_dies_however(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    command = [sys.executable, "-c", HOLD, str(store.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            assert mode(store.folder / "run.lock") == 0o600
            with pytest.raises(LockedError, match="another run") as caught, store.lock():
                pass
            assert caught.value.hint
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    with store.lock():
        assert store.folder.is_dir()


def test_the_lock_is_one_for_the_whole_process_and_free_afterwards(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    with store.lock():
        with pytest.raises(LockedError), Store(tmp_path / "state").lock():
            pass
        with pytest.raises(LockedError), store.lock():
            pass
    with pytest.raises(ZeroDivisionError), store.lock():
        raise ZeroDivisionError
    with store.lock():
        assert store.folder.is_dir()


def test_a_lock_that_cannot_be_had_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "state" / "run.lock").mkdir(parents=True)
    (tmp_path / "state").chmod(0o700)
    with pytest.raises(StateError, match="cannot lock"), Store(tmp_path / "state").lock():
        pass
