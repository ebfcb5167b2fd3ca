"""Files replaced together under a lock, by each shell that a host may have."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from distributor.clients.shell import STAGED
from distributor.model.errors import DeviceRefused, ProtocolError
from distributor.model.state import Address, State
from distributor.targets.remote_lock import Controller, RemoteLock
from distributor.targets.remote_scripts import PLACE
from distributor.targets.remote_set import Kept, NewFile, RemoteSet, mark_of
from tests.local_shell import SHELLS, Local, local_shell, open_new_files, wait_for_mode

ODD = "it's $HOME; `x` \\ \"-"
OURS = Controller("0a1b2c", "attic")
MARK, OTHER_MARK, THIRD_MARK, LAST_MARK = "aa", "bb", "cc", "dd"


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


def set_of(shell: Local, own: str, *folders: object, host: str = "docker") -> RemoteSet:
    lock = RemoteLock(shell, own, lambda: OURS, host, as_root=False)
    files = RemoteSet(shell, lock, own, as_root=False)
    files.begin(map(str, folders))
    return files


def kept_by(files: RemoteSet, mark: str = MARK) -> Kept | None:
    return files.kept(mark, lambda _: True)


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
    files.keep(MARK, (cert, key, chain))
    new = NewFile(b"new", mode="0600")
    files.replace({cert: new, key: new, chain: new})
    kept = kept_by(files)
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
        files.keep(MARK, (cert, f"{place}/link.pem"))
    assert kept_by(files) is None


def test_the_last_three_copies_stay_and_are_the_account_s_alone(
    shell: Local, own: str, place: Path
) -> None:
    cert = write(place / "cert.pem", b"old", 0o444)
    files = set_of(shell, own, place)
    marks = (MARK, OTHER_MARK, THIRD_MARK, LAST_MARK, MARK)
    for number, mark in enumerate(marks):
        Path(cert).chmod(0o600)
        write(place / "cert.pem", str(number).encode(), 0o444)
        files.keep(mark, (cert,))
    copies = Path(own) / "copies"
    assert [name.rpartition("-")[2] for name in names(copies)] == [*marks[2:]]
    assert kept_by(files, OTHER_MARK) is None
    for mark, content in ((MARK, b"4"), (LAST_MARK, b"3")):
        kept = kept_by(files, mark)
        assert kept is not None
        (copy,) = kept.files.values()
        assert copy is not None
        assert (Path(own) / copy).read_bytes() == content
    for folder in (Path(own), copies, *copies.iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_copy_just_made_stays_whatever_the_clocks_say(
    shell: Local, own: str, place: Path
) -> None:
    cert = write(place / "cert.pem", b"old", 0o444)
    files = set_of(shell, own, place)
    for mark in (MARK, OTHER_MARK, THIRD_MARK):
        files.keep(mark, (cert,))
        for one in (Path(own) / "copies").iterdir():
            os.utime(one, (4e9, 4e9))  # they were made in a future that the clock went back from
    for _ in range(12):
        files.keep(LAST_MARK, (cert,))
        assert kept_by(files, LAST_MARK) is not None
    last = names(Path(own) / "copies")[-1]
    assert int(last.partition("-")[0]) == 15


def test_hosts_that_share_a_folder_have_copies_of_their_own(
    shell: Local, own: str, place: Path
) -> None:
    here, there = write(place / "a.pem", b"a", 0o444), write(place / "b.pem", b"b", 0o400)
    first = set_of(shell, own, place, host="docker")
    first.keep(MARK, (here,))
    first._lock.release()
    second = set_of(shell, own, place, host="proxy")
    assert kept_by(second) is None
    for _ in range(4):
        second.keep(MARK, (there,))
    kept = kept_by(second)
    assert kept is not None
    assert list(kept.files) == [there]
    second._lock.release()
    again = set_of(shell, own, place, host="docker")
    mine = kept_by(again)
    assert mine is not None
    assert list(mine.files) == [here]
    assert len(names(Path(own) / "copies")) == 4


def test_a_name_that_ends_with_spaces_is_kept_and_comes_back(
    shell: Local, own: str, place: Path
) -> None:
    cert = write(place / " cert.pem  ", b"old", 0o444)
    files = set_of(shell, own, place)
    files.keep(MARK, (cert,))
    files.replace({cert: NewFile(b"new")})
    assert everything(place) == {" cert.pem  ": (b"new", 0o444)}
    kept = kept_by(files)
    assert kept is not None
    files.restore(kept)
    assert everything(place) == {" cert.pem  ": (b"old", 0o444)}


def test_a_copy_leads_nowhere_but_to_the_files_of_its_host(
    shell: Local, own: str, place: Path
) -> None:
    cert, key = write(place / "cert.pem", b"old", 0o444), write(place / "key.pem", b"old", 0o400)
    files = set_of(shell, own, place)
    files.keep(MARK, (cert, key))
    with pytest.raises(ProtocolError, match="none of this host's"):
        files.kept(MARK, {cert}.__contains__)
    (folder,) = (Path(own) / "copies").iterdir()
    for line in ("1\t/etc/passwd", "../1\t" + cert, "1\trelative", "1"):
        (folder / "index").write_text(f"{line}\n")
        with pytest.raises(ProtocolError):
            files.kept(MARK, {cert, key}.__contains__)


def test_a_list_that_was_cut_short_is_not_taken_for_the_whole(
    shell: Local, own: str, place: Path
) -> None:
    cert, key = write(place / "cert.pem", b"old", 0o444), write(place / "key.pem", b"old", 0o400)
    files = set_of(shell, own, place)
    files.keep(MARK, (cert, key))
    kept = kept_by(files)
    assert kept is not None
    before = everything(place)
    for lost in (2, 20, len(f"{key}\n") + 3):  # a letter, half of a path, more than a line
        shell.lost = lost
        with pytest.raises(DeviceRefused, match="cut short"):
            files.keep(OTHER_MARK, (cert, key))
        with pytest.raises(DeviceRefused, match="cut short"):
            files.restore(kept)
        shell.lost = 0
        assert everything(place) == before
        assert kept_by(files, OTHER_MARK) is None


def test_a_key_that_was_not_there_is_its_owner_s_alone(shell: Local, own: str, place: Path) -> None:
    cert = write(place / "cert.pem", b"old", 0o644)
    key = NewFile(b"text\n-----BEGIN EC PRIVATE KEY-----\nx", like=cert)
    set_of(shell, own, place).replace(
        {
            f"{place}/key.pem": key,
            f"{place}/chain.pem": NewFile(b"chain", like=cert),
            f"{place}/group.pem": NewFile(key.content, mode="0640", like=cert),
        }
    )
    modes = {name: mode for name, (_, mode) in everything(place).items()}
    assert modes == {"cert.pem": 0o644, "key.pem": 0o600, "chain.pem": 0o644, "group.pem": 0o640}
    assert (NewFile(b"").holds_key, NewFile(b"-----BEGIN PRIVATE KEY-----").holds_key) == (0, 1)
    assert "text" not in repr(key)


def test_a_staged_file_is_closed_before_its_content_comes_in_a_folder_that_opens_new_ones(
    shell: Local, own: str, place: Path
) -> None:
    open_new_files(place)
    cert = write(place / "cert.pem", b"old", 0o644)
    set_of(shell, own, place)
    os.mkfifo(f"{own}/content")  # of which nothing comes
    line = f"content\t-\t-\t-\t-\t{cert}"
    words = shell.words(["/bin/sh", "-c", PLACE, "sh", str(len(line)), ".mark"])
    with subprocess.Popen(
        words, cwd=own, env=shell.env, stdin=subprocess.PIPE, start_new_session=True
    ) as run:
        assert run.stdin
        try:
            run.stdin.write(line.encode())
            run.stdin.close()
            wait_for_mode(place / ".cert.pem.mark", 0o600)
        finally:
            os.killpg(run.pid, signal.SIGKILL)  # also who waits for the content


def test_what_a_cut_run_left_goes_first(shell: Local, own: str, place: Path) -> None:
    left = write(place / f".cert.pem{STAGED}0123", b"secret", 0o600)
    cert = write(place / "cert.pem", b"old", 0o444)
    set_of(shell, own, place)
    assert (Path(left).exists(), Path(cert).exists()) == (False, True)


def test_a_mark_is_the_same_for_the_same_state() -> None:
    one, other = Address("file", "/a"), Address("file", "/b")
    states = [State({one: {"leaf": "1"}, other: {}}), State({other: {}, one: {"leaf": "1"}})]
    assert mark_of(states[0]) == mark_of(states[1]) != mark_of(State({one: {}}))
