"""One look around on a host: what its tools answer, and what becomes of other answers."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor.clients.inside import look_inside
from distributor.clients.shell import COMMAND_SECONDS, Result
from distributor.model.errors import AuthRefused, DeviceRefused, ProtocolError
from distributor.model.inside import Inside
from tests.local_shell import Local, local_shell

NOW = datetime(2026, 11, 21, tzinfo=UTC)
AT = int(NOW.timestamp())


class Scripted(Local):
    """A host that answers the look with a text; root is refused, or sudo is free."""

    def __init__(self, said: str, *, free: bool = True, refused: bool = False) -> None:
        super().__init__([], "")
        self.said = said
        self.free = free
        self.refused = refused
        self.looks: list[bool] = []

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,
        stdin: bytes = b"",  # noqa: ARG002 - the contract's
        seconds: float = COMMAND_SECONDS,  # noqa: ARG002 - the same
    ) -> Result:
        if command[0] == "sudo":
            return Result(0 if self.free else 1, b"", b"")
        if command == ["true"]:
            if self.refused:
                raise AuthRefused("no", hint="ask", step="sudo")
            return Result(0, b"", b"")
        self.looks.append(as_root)
        return Result(0, self.said.encode(), b"")


def look(shell: Local, needs_root: Callable[[], bool] = lambda: True) -> Inside:
    return look_inside(
        shell,
        needs_root=needs_root,
        paths=("/", "/not there"),
        commands=("cat", "no-such-command"),
        believed_by="trust.toml",
        now=lambda: NOW,
    )


@pytest.mark.parametrize("name", ["dash", "bash"])
def test_a_real_shell_tells_clock_paths_and_commands(tmp_path: Path, name: str) -> None:
    seen = look(local_shell(name, tmp_path), lambda: False)
    assert seen.there == {"/"}
    assert seen.lacking == ("no-such-command",)
    assert abs(seen.skew - (datetime.now(UTC) - NOW)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("uid", "free", "refused", "needed", "root"),
    [
        (0, False, True, True, "itself"),
        (7, True, False, True, "sudo"),
        (7, False, False, True, "sudo with a password"),
        (7, False, True, False, None),
    ],
)
def test_how_an_account_becomes_root_is_seen(
    uid: int, free: bool, refused: bool, needed: bool, root: str | None
) -> None:
    shell = Scripted(f"N {AT - 60}\nU {uid}\nE\n", free=free, refused=refused)
    seen = look(shell, lambda: needed)
    assert seen.root == root
    assert seen.skew == timedelta(minutes=-1)
    assert shell.looks == ([False, True] if root not in {None, "itself"} else [False])


def test_why_it_does_not_become_root_is_kept() -> None:
    seen = look(Scripted(f"N {AT}\nU 7\nE\n", refused=True))
    assert isinstance(seen.root, AuthRefused)

    def missing() -> bool:
        raise DeviceRefused("there is no folder", hint="make it")

    assert isinstance(look(Scripted(f"N {AT}\nU 7\nE\n"), missing).root, DeviceRefused)


@pytest.mark.parametrize(
    ("lines", "release"),
    [
        ('os_name="SRM"\nproductversion="5.2"\nbuildnumber="9346"', "SRM 5.2-9346"),
        ("productversion=6.2.3\nbuildnumber=25426\nnonsense", "6.2.3-25426"),
        ("", ""),
    ],
)
def test_the_version_is_as_the_file_says(lines: str, release: str) -> None:
    told = "".join(f"V {line}\n" for line in lines.splitlines())
    assert look(Scripted(f"N {AT}\nU 0\n{told}E\n")).release == release


@pytest.mark.parametrize(
    "said", ["", "E\n", "N x\nU 0\nE\n", f"N {AT}\nU root\nE\n", f"N {AT}\nU 0\n", "N " + "9" * 40]
)
def test_other_answers_are_a_typed_error(said: str) -> None:
    with pytest.raises(ProtocolError, match="something else"):
        look(Scripted(said))
