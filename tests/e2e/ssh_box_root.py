"""The root filesystem of a virtual box as the tests reach it: through root's agent beside it."""

import base64
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.ssh_box_tree import Item

HERE: Final = Path(__file__).parent
_NAMESPACES: Final = ("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child")
_SHOWN: Final = ("/usr/syno", "/usr/local", "/etc", "/root", "/var/packages", "/volume1", "/tmp")  # noqa: S108 - the box's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one path is: SHA-256 of a file or target of a link, `ls` mode, `uid:gid`."""

    content: str
    mode: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command inside ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


class BoxRoot:
    """Files and commands inside a box; nothing of it goes through sshd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None

    def files(self, *under: str) -> dict[str, Facts]:
        """Return every path below the given folders, or below all that a delivery could touch."""
        found = self._ask("files", under=list(under or _SHOWN))
        return {path: Facts(**facts) for path, facts in found.items()}

    def stamps(self, *under: str) -> dict[str, tuple[int, int]]:
        """Return inode and time of change (ns) of every path below the given folders."""
        found: dict[str, list[int]] = self._ask("stamps", under=list(under))
        return {path: (inode, changed) for path, (inode, changed) in found.items()}

    def read(self, path: str) -> bytes:
        """Return what a file of the box holds."""
        return base64.b64decode(self._ask("read", path=path))

    def place(self, *items: Item) -> None:
        """Write files, folders and links as they are given."""
        self._ask("write", items=[item.as_json() for item in items])

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with everything in it."""
        self._ask("remove", path=path)

    def run(self, *argv: str, user: str = "0:0", stdin: bytes = b"") -> Ran:
        """Run a command inside, past sshd; `user` is `uid:gid`."""
        encoded = base64.b64encode(stdin).decode()
        done = self._ask("run", argv=list(argv), user=user, input=encoded)
        return Ran(
            returncode=done["returncode"],
            stdout=base64.b64decode(done["stdout"]),
            stderr=base64.b64decode(done["stderr"]),
        )

    def read_only(self, path: str) -> None:
        """Let a file or folder refuse every write, also root's."""
        self._ask("read_only", path=path, on=True)

    def writable(self, path: str) -> None:
        """Take `read_only` back."""
        self._ask("read_only", path=path, on=False)

    def fill(self, *, leave: int) -> None:
        """Fill the box's disk until that many bytes remain (in pages of 4096)."""
        self._ask("fill", leave=leave)

    def empty(self) -> None:
        """Take `fill` back."""
        self._ask("fill", leave=-1)

    def _begin(self) -> None:
        mount_point = self.folder / "root"
        mount_point.mkdir(parents=True, exist_ok=True)
        as_root = () if os.geteuid() == 0 else ("sudo", "-n")
        program = [sys.executable, "-I", "-S", str(HERE / "ssh_box_agent.py"), str(mount_point)]
        self._process = subprocess.Popen(
            [*as_root, *_NAMESPACES, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _ask(self, request: str, **arguments: Any) -> Any:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the box does not run")
        process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(
                "the box ended: making one needs root (or sudo -n) and leave to mount;"
                " in a container, CAP_SYS_ADMIN"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{request}: {answer['error']}")
        return answer["answer"]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.terminate()  # unshare takes the namespace, and all in it, along
            process.wait(10)
        finally:
            process.stdout.close()
