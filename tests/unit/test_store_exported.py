"""Files for other programs: one set or another, never parts of both."""

import os
import stat
from pathlib import Path

import pytest

from distributor.model.errors import StateError, UsageError
from distributor.store.exported import write_set

FAMILY = ("a", "b", "c")
OLD = {"a": b"old", "b": b"old", "c": b"old"}
NEW = {"a": b"new", "b": b"new"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_set_is_for_its_owner_alone_in_folders_that_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    write_set(folder, NEW, family=FAMILY, replace=False)

    assert content(folder) == NEW
    assert [stat.S_IMODE(one.stat().st_mode) for one in (folder, folder.parent)] == [0o700] * 2
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("there", ["a", "c", "dangling"])
def test_nothing_is_replaced_unless_it_is_asked_for(tmp_path: Path, there: str) -> None:
    if there == "dangling":
        (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / there).write_bytes(b"old")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(UsageError, match="already") as caught:
        write_set(tmp_path, NEW, family=FAMILY, replace=False)

    assert "--force" in str(caught.value.hint)
    assert sorted(tmp_path.iterdir()) == before
    assert not (tmp_path / "nowhere").exists()


def test_a_set_is_replaced_as_a_whole_and_other_files_stay(tmp_path: Path) -> None:
    write_set(tmp_path, OLD, family=FAMILY, replace=False)
    (tmp_path / "other").write_bytes(b"mine")

    write_set(tmp_path, NEW, family=FAMILY, replace=True)

    assert content(tmp_path) == {**NEW, "other": b"mine"}


def test_what_a_link_points_to_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    folder = tmp_path / "out"
    folder.mkdir(mode=0o700)
    (folder / "a").symlink_to(tmp_path / "target")

    write_set(folder, NEW, family=FAMILY, replace=True)

    assert (tmp_path / "target").read_bytes() == b"mine"
    assert not (folder / "a").is_symlink()


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777])
def test_a_folder_in_which_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)

    with pytest.raises(UsageError, match="others may write"):
        write_set(folder, NEW, family=FAMILY, replace=False)
    assert content(folder) == {}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="is no folder"):
        write_set(tmp_path / "file", NEW, family=FAMILY, replace=True)


@pytest.mark.parametrize("call", ["open", "replace", "unlink"])
def test_a_cut_anywhere_leaves_files_of_one_set_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    class Cut(BaseException):
        """As a process that ends."""

    place = os if call == "open" else Path
    original = getattr(place, call)
    seen = 0
    for count in range(10):
        folder = tmp_path / str(count)
        write_set(folder, OLD, family=FAMILY, replace=False)
        calls = 0

        def cut(*args: object, count: int = count, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == count + 1:
                raise Cut
            return original(*args, **more)

        monkeypatch.setattr(place, call, cut)
        try:
            write_set(folder, NEW, family=FAMILY, replace=True)
        except Cut:
            seen += 1
        finally:
            monkeypatch.undo()
        there = {name: text for name, text in content(folder).items() if name in FAMILY}
        assert len(set(there.values())) <= 1, there
        write_set(folder, NEW, family=FAMILY, replace=True)
        there = {name: text for name, text in content(folder).items() if name in FAMILY}
        assert there == NEW
    assert 2 <= seen < 10


def test_a_disk_that_refuses_leaves_the_old_set_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path, OLD, family=FAMILY, replace=False)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left") as caught:
        write_set(tmp_path, NEW, family=FAMILY, replace=True)
    assert caught.value.hint
    assert content(tmp_path) == OLD
