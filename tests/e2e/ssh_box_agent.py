"""Root's side of a virtual box: a program in its own mount and process namespace.

It makes the box's root filesystem in memory, starts programs inside it and answers requests, one
JSON object per line. It ends when its standard input does, and with it, by the kernel's hand,
every process of the box and every mount: also when the tests were killed. Standard library only.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HOST = "/opt/box/host"
_READ_ONLY = {  # where in the box: which folder of this machine
    "/usr/lib": "/usr/lib",
    "/usr/lib64": "/usr/lib64",
    "/usr/libexec/sudo": "/usr/libexec/sudo",
    f"{_HOST}/bin": "/usr/bin",
    f"{_HOST}/sbin": "/usr/sbin",
}
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SHARED = ("/usr/lib", "/usr/lib64", "/usr/libexec/sudo", "/opt/box", "/proc", "/dev")
_SERVERS = ("python", "nginx", "apache2", "strace")
_RUN_SECONDS = 60
_PATH = "/usr/bin:/usr/sbin:/bin:/sbin"


class Agent:
    """The box below `root`, and what may be asked of it: each public method is one request."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def build(self, items: list[dict[str, Any]], size: int, noexec_tmp: bool, name: str) -> None:
        """Mount what the box is made of, then place its own files."""
        _command("mount", "-t", "tmpfs", "-o", f"mode=755,size={size}", "box", str(self._root))
        for folder, source in _READ_ONLY.items():
            if Path(source).is_dir() and not Path(source).is_symlink():
                self._at(folder).mkdir(parents=True)
                self._bind(Path(source), folder, "ro")
        self._at("/proc").mkdir()
        _command("mount", "-t", "proc", "proc", str(self._at("/proc")))
        self._devices()
        self._at("/tmp").mkdir()  # noqa: S108 - the box's own
        flags = "mode=1777,nosuid,nodev,size=4m" + (",noexec" if noexec_tmp else "")
        _command("mount", "-t", "tmpfs", "-o", flags, "tmp", str(self._at("/tmp")))  # noqa: S108 - the box's own
        for item in items:
            self._place(item)
        _command("hostname", name)

    def start(self, name: str, argv: list[str], log: str, inside: bool) -> int:
        """Start a program that stays, chrooted when `inside`; return its process id here."""
        command = ["/usr/sbin/chroot", str(self._root), *argv] if inside else argv
        with self._at(log).open("ab") as output:
            self._started[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": _PATH},
                start_new_session=True,
            )
        return self._started[name].pid

    def stop(self, name: str) -> None:
        """End a program that `start` started, and only it."""
        process = self._started.pop(name)
        process.send_signal(signal.SIGINT if name == "strace" else signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def exit_code(self, name: str) -> int | None:
        """Return how a started program ended, None while it runs."""
        return self._started[name].poll()

    def run(self, argv: list[str], user: str, input: str) -> dict[str, Any]:  # noqa: A002 - the word of subprocess
        """Run a command inside and wait for it; `input` and what it printed are base64."""
        done = subprocess.run(
            ["/usr/sbin/chroot", f"--userspec={user}", str(self._root), *argv],
            input=base64.b64decode(input),
            capture_output=True,
            env={"PATH": _PATH, "HOME": "/"},
            timeout=_RUN_SECONDS,
            check=False,
        )
        return {
            "returncode": done.returncode,
            "stdout": base64.b64encode(done.stdout).decode(),
            "stderr": base64.b64encode(done.stderr).decode(),
        }

    def read(self, path: str) -> str:
        """Return a file's bytes as base64."""
        return base64.b64encode(self._at(path).read_bytes()).decode()

    def write(self, items: list[dict[str, Any]]) -> None:
        """Place files, folders and links; those that were there are replaced."""
        for item in items:
            self._place(item)

    def remove(self, path: str) -> None:
        """Remove a file, a link or a folder with everything in it."""
        place = self._at(path)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()

    def files(self, under: list[str]) -> dict[str, dict[str, str]]:
        """Return what every path below the given folders is; never of what is only bound here."""
        return {
            path: self._facts(path)
            for folder in under
            if self._at(folder).exists()
            for path in self._walk(folder)
        }

    def stamps(self, under: list[str]) -> dict[str, list[int]]:
        """Return inode and time of change of every path below the given folders."""
        found = {
            path: self._at(path).lstat()
            for folder in under
            if self._at(folder).exists()
            for path in self._walk(folder)
        }
        return {path: [one.st_ino, one.st_ctime_ns] for path, one in found.items()}

    def read_only(self, path: str, on: bool) -> None:
        """Make one file or folder refuse every write, also root's, or take that back."""
        if on:
            self._bind(self._at(path), path, "ro")
        else:
            _command("umount", str(self._at(path)))

    def fill(self, leave: int) -> None:
        """Fill the file system of the box until `leave` bytes remain; a negative number empties."""
        filler = self._at("/opt/box/filler")
        filler.unlink(missing_ok=True)
        if leave >= 0:
            free = os.statvfs(self._root)
            size = free.f_bavail * free.f_frsize - leave
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)

    def cut(self) -> int:
        """End every session of sshd, as a pulled cable does; return how many processes."""
        ended: set[int] = set()
        while sessions := _sessions(self._started["sshd"].pid):  # one may just be forking
            ended.update(sessions)
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return len(ended)

    def busy(self) -> list[str]:
        """Return the programs that still run without being one of the box's servers."""
        listener = self._started["sshd"].pid
        return [
            name
            for pid in _pids()
            if (name := _program(pid)) and not name.startswith(_SERVERS) and pid != listener
        ]

    def _devices(self) -> None:
        folder = self._at("/dev")
        folder.mkdir()
        for name in _DEVICES:
            (folder / name).touch()
            _command("mount", "--bind", f"/dev/{name}", str(folder / name))
        (folder / "pts").mkdir()
        options = "newinstance,ptmxmode=0666,mode=0620"
        _command("mount", "-t", "devpts", "-o", options, "devpts", str(folder / "pts"))
        (folder / "ptmx").symlink_to("pts/ptmx")
        (folder / "fd").symlink_to("/proc/self/fd")

    def _bind(self, source: Path, folder: str, how: str) -> None:
        target = str(self._at(folder))
        _command("mount", "--bind", str(source), target)
        _command("mount", "-o", f"remount,bind,{how}", target)

    def _place(self, item: dict[str, Any]) -> None:
        place = self._at(item["path"])
        place.parent.mkdir(parents=True, exist_ok=True)
        if "link" in item:
            place.unlink(missing_ok=True)
            place.symlink_to(item["link"])
            return
        if "content" in item:
            if place.is_symlink():
                place.unlink()
            place.write_bytes(base64.b64decode(item["content"]))
        else:
            place.mkdir(exist_ok=True)
        os.chown(place, item["uid"], item["gid"])
        place.chmod(item["mode"])

    def _walk(self, folder: str) -> Iterator[str]:
        yield folder
        for place in sorted(self._at(folder).iterdir()):
            path = f"{folder.rstrip('/')}/{place.name}"
            if path in _SHARED:
                continue
            if place.is_dir() and not place.is_symlink():
                yield from self._walk(path)
            else:
                yield path

    def _facts(self, path: str) -> dict[str, str]:
        place = self._at(path)
        found = place.lstat()
        content = ""
        if stat.S_ISREG(found.st_mode):
            content = hashlib.sha256(place.read_bytes()).hexdigest()
        elif stat.S_ISLNK(found.st_mode):
            content = str(place.readlink())
        return {
            "content": content,
            "mode": stat.filemode(found.st_mode),
            "owner": f"{found.st_uid}:{found.st_gid}",
        }

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def _sessions(listener: int) -> list[int]:
    return [pid for pid in _pids() if pid != listener and _program(pid).startswith("sshd")]


def _pids() -> list[int]:
    return [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]


def _program(pid: int) -> str:
    """Return the name of a process's program; "" for one that has ended."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _command(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _serve(root: Path) -> None:
    """Answer requests until there are no more."""
    _command(
        "mount", "-t", "proc", "proc", "/proc"
    )  # this namespace's processes, not the machine's
    agent = Agent(root)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(agent, request.pop("do"))(**request)}
        except (OSError, RuntimeError, KeyError, subprocess.SubprocessError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Be the first process of the namespace, which takes in orphans; leave the work to a child."""
    worker = os.fork()
    if worker == 0:
        _serve(Path(sys.argv[1]))
        return 0
    while True:
        ended, status = os.wait()
        if ended == worker:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
