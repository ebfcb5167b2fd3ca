"""The scripts that handle files, run by each shell that a host may have, BusyBox's tools too."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from distributor.clients.remote_files import RemoteFiles
from distributor.clients.shell import (
    CONTENT_LIMIT,
    STAGED,
    FileFacts,
    Result,
    Shell,
    checked_path,
)
from distributor.model.errors import DeviceRefused, ProtocolError, Unreachable
from tests.local_shell import SHELLS, Local, local_shell

CONTENT = b"-----BEGIN\0\xff\nline\n"
ODD = "it's $HOME; `x` \\ \"-"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Local:
    return local_shell(request.param, tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / f"box {ODD}"
    made.mkdir()
    return made


def mode_of(path: Path | str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_it_is_a_shell(shell: Local) -> None:
    as_contract: Shell = shell
    assert as_contract.read("/does/not/exist", as_root=False) is None


def test_a_file_is_staged_and_put_in_place(shell: Local, folder: Path) -> None:
    path = f"{folder}/{ODD}.pem"
    staged = shell.stage(path, CONTENT, as_root=False, mode="0440", owner=None)
    assert Path(staged).parent == folder
    assert STAGED in staged
    assert Path(staged).read_bytes() == CONTENT
    assert mode_of(staged) == 0o440
    assert not Path(path).exists()
    shell.put({staged: path}, as_root=False)
    assert Path(path).read_bytes() == CONTENT
    assert not Path(staged).exists()
    assert shell.read(path, as_root=False) == CONTENT


def test_a_new_file_is_its_writer_s_alone(shell: Local, folder: Path) -> None:
    staged = shell.stage(f"{folder}/new", b"", as_root=False, mode=None, owner=None)
    assert (mode_of(staged), Path(staged).stat().st_uid) == (0o600, os.getuid())


def test_what_is_replaced_gives_its_mode_and_owner(shell: Local, folder: Path) -> None:
    old = folder / "old"
    old.write_bytes(b"old")
    old.chmod(0o640)
    if os.getuid() == 0:
        os.chown(old, 12345, 23456)
    staged = shell.stage(str(old), CONTENT, as_root=False, mode=None, owner=None)
    facts, before = Path(staged).stat(), old.stat()
    assert (facts.st_mode, facts.st_uid, facts.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert old.read_bytes() == b"old"


def test_content_that_was_cut_short_leaves_nothing(shell: Local, folder: Path) -> None:
    shell.cut = True
    with pytest.raises(DeviceRefused, match="cut short"):
        shell.stage(f"{folder}/new", CONTENT, as_root=False, mode=None, owner=None)
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_leaves_nothing_in_place(shell: Local, folder: Path) -> None:
    # A limit on the size of files is met by the writer as a full disk is: by a failed write.
    limited = Local(
        ["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$0" "$@"', *shell._shell], shell._path
    )
    with pytest.raises(DeviceRefused, match="cannot write"):
        limited.stage(f"{folder}/new", b"x" * 5000, as_root=False, mode=None, owner=None)
    assert list(folder.iterdir()) == []


def test_neither_a_folder_nor_a_symbolic_link_is_replaced(shell: Local, folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("elsewhere")
    for name, words in (("folder", "is a folder"), ("link", "is a symbolic link")):
        with pytest.raises(DeviceRefused, match=words):
            shell.stage(f"{folder}/{name}", b"x", as_root=False, mode=None, owner=None)
    staged = shell.stage(f"{folder}/file", b"x", as_root=False, mode=None, owner=None)
    with pytest.raises(DeviceRefused, match="is a folder"):
        shell.put({staged: f"{folder}/folder"}, as_root=False)
    assert Path(staged).exists()
    assert list((folder / "folder").iterdir()) == []


def test_nothing_is_put_in_place_unless_everything_is_there(shell: Local, folder: Path) -> None:
    first = shell.stage(f"{folder}/a", b"a", as_root=False, mode=None, owner=None)
    with pytest.raises(DeviceRefused, match="is not there"):
        shell.put({first: f"{folder}/a", f"{folder}/gone": f"{folder}/b"}, as_root=False)
    assert [path.name for path in folder.iterdir()] == [Path(first).name]


def test_a_folder_that_is_missing_is_told(shell: Local, folder: Path) -> None:
    with pytest.raises(DeviceRefused) as caught:
        shell.stage(f"{folder}/none/file", b"x", as_root=False, mode=None, owner=None)
    assert caught.value.step == "write"
    assert caught.value.code != 0


def test_what_is_at_paths_is_told_without_following_links(shell: Local, folder: Path) -> None:
    file, link, missing = folder / "file", folder / "link", folder / "none" / "deep"
    file.write_bytes(b"12345")
    file.chmod(0o4750)
    link.symlink_to(file)
    found = shell.look([str(one) for one in (file, link, folder, missing)], as_root=False)
    assert list(found) == [str(one) for one in (file, link, folder, missing)]
    facts = found[str(file)]
    assert facts is not None
    assert facts == FileFacts("file", "4750", os.getuid(), os.getgid(), facts.owner, 5)
    assert facts.owner.split(":")[0] == file.owner()
    kinds = [one.kind for one in found.values() if one is not None]
    assert kinds == ["file", "link", "folder"]
    assert found[str(missing)] is None
    assert shell.look([], as_root=False) == {}


def test_a_group_of_a_directory_service_may_have_a_space_in_its_name() -> None:
    class Domain(RemoteFiles):
        """A host that belongs to a domain, as its `stat` tells."""

        def run(self, command: Sequence[str], **_: object) -> Result:
            (script,) = (word for word in command if "stat -c" in word)
            told = r"81a0 1010 2020 5 EXAMPLE\ann lee:EXAMPLE\domain users"
            assert "'%f %u %g %s %U:%G'" in script
            return Result(0, f"{told}\n-\n".encode(), b"")

    facts = Domain().look(["/a", "/b"], as_root=False)
    assert facts["/a"] == FileFacts(
        "file", "0640", 1010, 2020, r"EXAMPLE\ann lee:EXAMPLE\domain users", 5
    )
    assert facts["/b"] is None


def test_an_owner_without_a_name_is_a_number(shell: Local, folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"")
    if os.getuid() == 0:
        os.chown(file, 54321, 54322)
    found = shell.look([str(file)], as_root=False)[str(file)]
    assert found is not None
    assert (found.uid, found.gid) == (file.stat().st_uid, file.stat().st_gid)
    if os.getuid() == 0:
        assert found.owner == "54321:54322"


def test_a_folder_s_names_are_told_odd_ones_too(shell: Local, folder: Path) -> None:
    names = sorted(["a", ".hidden", "..odd", "two\nlines", "-n", ODD.replace("/", "")])
    for name in names:
        (folder / name).touch()
    (folder / "dangling").symlink_to("none")
    found = shell.names(str(folder), as_root=False)
    assert found == tuple(sorted([*names, "dangling"]))
    (folder / "empty").mkdir()
    assert shell.names(f"{folder}/empty", as_root=False) == ()
    assert shell.names(f"{folder}/none/deep", as_root=False) is None
    with pytest.raises(DeviceRefused, match="no folder"):
        shell.names(f"{folder}/a", as_root=False)


def test_files_are_removed_and_what_is_gone_is_gone(shell: Local, folder: Path) -> None:
    (folder / "a").touch()
    shell.remove([f"{folder}/a", f"{folder}/b"], as_root=False)
    shell.remove([], as_root=False)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "./a", "/a/../b", "/a/./b", "/a//b", "/a/"),
        *("/a\nb", "/a\0b", "/\x1b", "/a\u2028b", "/" + "a" * 1024, "/\udc80"),
    ],
)
def test_a_path_that_could_mean_something_else_never_gets_into_a_command(
    shell: Local, path: str
) -> None:
    with pytest.raises(ProtocolError):
        checked_path(path)
    for use in (shell.read, shell.names):
        with pytest.raises(ProtocolError):
            use(path, as_root=False)
    with pytest.raises(ProtocolError):
        shell.look([path], as_root=False)
    with pytest.raises(ProtocolError):
        shell.remove([path], as_root=False)
    with pytest.raises(ProtocolError):
        shell.put({"/a": path}, as_root=False)
    with pytest.raises(ProtocolError):
        shell.stage(path, b"", as_root=False, mode=None, owner=None)


@pytest.mark.parametrize(
    ("mode", "owner"), [("rwx", None), ("01777", None), (None, "a b"), (None, "-R"), (None, "")]
)
def test_what_is_no_mode_or_owner_never_gets_into_a_command(
    shell: Local, folder: Path, mode: str | None, owner: str | None
) -> None:
    with pytest.raises(ValueError, match=r"no (mode|owner)"):
        shell.stage(f"{folder}/a", b"", as_root=False, mode=mode, owner=owner)


def test_too_much_is_not_even_begun(shell: Local, folder: Path) -> None:
    content = b"x" * (CONTENT_LIMIT + 1)
    with pytest.raises(ValueError, match="too much"):
        shell.stage(f"{folder}/a", content, as_root=False, mode=None, owner=None)


def test_a_lost_connection_is_no_failure_of_the_host() -> None:
    with pytest.raises(Unreachable, match="before the command's end"):
        Result(None, b"", b"").required("cannot write /a", "write")
    with pytest.raises(DeviceRefused, match=r"cannot write /a: No space\\x1b") as caught:
        Result(28, b"out", b"No space\x1b\n").required("cannot write /a", "write")
    assert caught.value.code == 28
    assert Result(0, b"out", b"noise").required("cannot", "x") == b"out"
    assert b"secret" not in repr(Result(0, b"secret", b"secret")).encode()


class Babbling(RemoteFiles):
    """A host whose tools answer what is neither text nor what was asked for."""

    def run(self, *_command: object, **_how: object) -> Result:
        return Result(0, b"{\x1b[2J\xff no such", b"")


def test_an_answer_that_is_no_text_is_an_error_of_the_host() -> None:
    with pytest.raises(ProtocolError, match="answers something else"):
        Babbling().look(["/etc/passwd"], as_root=False)
