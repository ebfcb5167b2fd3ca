"""What a host's programs print that they should not ends in an error of ours."""

from collections.abc import Sequence
from typing import Final

import pytest

from distributor.clients.remote_files import RemoteFiles
from distributor.clients.shell import COMMAND_SECONDS, Result
from distributor.model.errors import Busy, DeviceRefused, ProtocolError
from distributor.targets.remote_lock import _BUSY, RemoteLock
from distributor.targets.remote_set import RemoteSet

WHO: Final = "controller"


class Saying(RemoteFiles):
    """A host that answers the same to every command."""

    def __init__(self, stdout: bytes, status: int = 0) -> None:
        self._result = Result(status, stdout, b"")

    def run(
        self,
        command: Sequence[str],  # noqa: ARG002 - the contract's
        *,
        as_root: bool,  # noqa: ARG002 - the contract's
        stdin: bytes = b"",  # noqa: ARG002 - the contract's
        seconds: float = COMMAND_SECONDS,  # noqa: ARG002 - the contract's
    ) -> Result:
        return self._result

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "line",
    [
        b"81a4 " + b"9" * 5000 + b" 0 5 root:root",
        b"81a4 0 0 " + b"9" * 5000 + b" root:root",
        b"81a4 0 0 5 root:ro:ot",
        b"81a4 0 0 5 root",
        b"\xff",
        b"",
    ],
)
def test_facts_of_a_file_that_are_none_are_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="stat"):
        Saying(line + b"\n").look(["/etc/passwd"], as_root=False)


def test_an_owner_whose_name_is_no_text_has_one_all_the_same() -> None:
    [facts] = Saying(b"81a4 0 0 5 ro\xffot:root\n").look(["/etc/x"], as_root=False).values()
    assert facts is not None
    assert facts.owner == "ro\ufffdot:root"


@pytest.mark.parametrize("since", ["9" * 30, "9" * 5000, "\u00b2", "253402300800", "soon"])
def test_a_lock_of_no_time_is_a_lock(since: str) -> None:
    lock = RemoteLock(Saying(f"{since}\nthem\n".encode(), _BUSY), "/run/x", WHO, as_root=False)
    with pytest.raises(Busy, match="last seen lately by the host's clock: them"):
        lock.take()


def test_a_lock_tells_when_it_was_seen() -> None:
    lock = RemoteLock(Saying(b"1790000000\nthem", _BUSY), "/run/x", WHO, as_root=False)
    with pytest.raises(Busy, match="last seen at 2026-09-21T14:13:20Z by"):
        lock.take()


def test_what_a_host_calls_its_files_is_shown_as_text() -> None:
    name = "20261121\ufeffT020000.000000Z-mark"
    host = Saying(f"{name}\0".encode())
    kept = RemoteSet(host, RemoteLock(host, "/run/x", WHO, as_root=False), "/run/x", as_root=False)
    with pytest.raises(ProtocolError) as caught:
        kept.kept("mark")
    assert str(caught.value).isprintable()
    for use in (
        lambda path: Saying(b"", 1).read(path, as_root=False),
        lambda path: Saying(b"", 1).names(path, as_root=False),
        lambda path: Saying(b"", 1).remove([path], as_root=False),
        lambda path: Saying(b"", 1).put({path: path}, as_root=False),
        lambda path: Saying(b"", 1).stage(path, b"", as_root=False, mode=None, owner=None),
    ):
        with pytest.raises(DeviceRefused) as refused:
            use(f"/etc/{name}")
        assert str(refused.value).isprintable()
