"""Shells of this machine as a host's (`clients.shell.Shell`), BusyBox with its own tools too."""

import shutil
import subprocess
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
        self.cut = False
        """Whether the last byte of what a command reads is lost on the way."""

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,  # noqa: ARG002 - the contract's; here it is whoever runs the tests
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        words = [self._shell if word == "/bin/sh" else [word] for word in command]
        done = subprocess.run(
            [one for some in words for one in some],
            input=stdin[:-1] if self.cut else stdin,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={"PATH": self._path, "LC_ALL": "C"},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        pass


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
