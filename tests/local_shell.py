"""Shells of this machine as a host's (`clients.shell.Shell`), BusyBox with its own tools too."""

import os
import shutil
import stat
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from distributor.clients.remote_files import RemoteFiles
from distributor.clients.shell import COMMAND_SECONDS, Result

SHELLS: Final = ("dash", "bash", "busybox")
_TOOLS: Final = (
    *(
        "cat",
        "chmod",
        "chown",
        "cp",
        "date",
        "id",
        "ln",
        "mkdir",
        "mv",
        "readlink",
        "rm",
        "sh",
        "sleep",
    ),
    *("stat", "wc"),
)


class Local(RemoteFiles):
    """This machine's own shell, run by whoever runs the tests."""

    def __init__(self, shell: Sequence[str], path: str) -> None:
        self._shell = shell
        self._path = path
        self.lost = 0
        """How many of the last bytes that a command is to read are lost on the way."""

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,  # noqa: ARG002 - the contract's; here it is whoever runs the tests
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        done = subprocess.run(
            self.words(command),
            input=stdin[: len(stdin) - self.lost],
            capture_output=True,
            timeout=seconds,
            check=False,
            env=self.env,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        pass

    def words(self, command: Sequence[str]) -> list[str]:
        """The command with this shell in the place of the usual one."""
        words = [self._shell if word == "/bin/sh" else [word] for word in command]
        return [one for some in words for one in some]

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": self._path, "LC_ALL": "C"}


def local_shell(name: str, folder: Path) -> Local:
    """Return one of `SHELLS`; `folder` takes the links to the tools of BusyBox."""
    program = shutil.which(name)
    assert program, f"{name} is missing: apt install {name}"
    if name != "busybox":
        return Local([program], "/usr/bin:/bin")
    tools = folder / "tools"
    tools.mkdir()
    for tool in _TOOLS:
        (tools / tool).symlink_to(program)
    return Local([str(tools / "sh")], str(tools))


def open_new_files(folder: Path) -> None:
    """Let everybody read what is new in a folder, whatever the umask is, as access lists do."""
    entries = ((tag, 7, 0xFFFFFFFF) for tag in (0x01, 0x04, 0x20))  # owner, group, others
    packed = b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(folder, "system.posix_acl_default", struct.pack("<I", 2) + packed)


def wait_for_mode(path: Path, mode: int) -> None:
    """Wait until an empty file has a mode."""
    deadline = time.monotonic() + 10
    while not path.exists() or stat.S_IMODE(path.stat().st_mode) != mode:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert path.stat().st_size == 0
