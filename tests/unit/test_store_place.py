"""A state folder where its keys may get out is noticed, by what lies there and by names."""

from pathlib import Path

import pytest

from distributor.checking.place import STATE_FOLDER, remark_on_place
from distributor.store.place import git_work_tree, synchronised_folder


def test_an_ordinary_folder_has_nothing_to_be_said_of(tmp_path: Path) -> None:
    assert remark_on_place(tmp_path / "not" / "there" / "yet") is None


@pytest.mark.parametrize("is_file", [False, True])
def test_a_git_work_tree_is_noticed_from_any_depth(tmp_path: Path, is_file: bool) -> None:
    git = tmp_path / "config" / ".git"
    git.parent.mkdir()
    if is_file:
        git.write_text("gitdir: ../elsewhere\n")
    else:
        git.mkdir()

    assert git_work_tree(tmp_path / "config" / "a" / "state") == tmp_path / "config"
    assert git_work_tree(tmp_path / "config") == tmp_path / "config"
    assert git_work_tree(tmp_path) is None


@pytest.mark.parametrize(
    ("folder", "client"),
    [
        ("Dropbox", "Dropbox"),
        ("Dropbox (Personal)", "Dropbox"),
        ("OneDrive", "OneDrive"),
        ("OneDrive - Example Ltd", "OneDrive"),
        ("Google Drive", "Google Drive"),
        ("Nextcloud", "Nextcloud"),
        ("SynologyDrive", "Synology Drive"),
        ("Library/Mobile Documents/com~apple~CloudDocs", "iCloud"),
        ("Library/CloudStorage/GoogleDrive-me@example.com", "a cloud client"),
    ],
)
def test_the_usual_names_are_noticed(tmp_path: Path, folder: str, client: str) -> None:
    assert synchronised_folder(tmp_path / folder / "state") == client


@pytest.mark.parametrize(
    "folder", ["dropbox-notes", "MyDropbox", "OneDriver", "CloudStorage", "Library/state"]
)
def test_names_that_only_look_like_it_are_not(tmp_path: Path, folder: str) -> None:
    assert synchronised_folder(tmp_path / folder / "state") is None


@pytest.mark.parametrize(
    ("left", "client"),
    [
        (".dropbox.cache", "Dropbox"),
        (".tmp.driveupload", "Google Drive"),
        (".SynologyWorkingDirectory", "Synology Drive"),
        (".sync_0123456789ab.db", "Nextcloud"),
    ],
)
def test_what_clients_leave_behind_is_noticed(tmp_path: Path, left: str, client: str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / left).touch()

    assert synchronised_folder(tmp_path / "files" / "state") == client
    assert synchronised_folder(tmp_path / "elsewhere") is None


def test_what_counts_is_where_the_folder_really_lies(
    tmp_path: Path,
) -> None:
    (tmp_path / "Dropbox" / "state").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "Dropbox" / "state")
    (tmp_path / "Dropbox" / "out").symlink_to(tmp_path / "outside")

    assert synchronised_folder(tmp_path / "linked") == "Dropbox"
    assert synchronised_folder(tmp_path / "Dropbox" / "out") is None


def test_one_line_says_both_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "Nextcloud" / ".git").mkdir(parents=True)

    remark = remark_on_place(tmp_path / "Nextcloud" / "state")

    assert remark is not None
    assert (remark.name, remark.about, remark.is_finding) == (STATE_FOLDER, "state folder", False)
    assert f"is inside the git work tree {tmp_path / 'Nextcloud'} and seems to be" in remark.message
    assert "that Nextcloud synchronises" in remark.message
    assert "--state" in remark.hint
    assert "\n" not in remark.message + remark.hint
