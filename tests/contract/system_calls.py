"""What strace saw of every process that came in by SSH, searched for what others could read.

A look at files from time to time would miss one that others can read for a millisecond; the kernel
is asked for no more than this: which calls there were. From them follow, for every moment, the mode
of each file and whether something secret had been written to it.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

CALLS: Final = (
    *("execve", "execveat", "fork", "vfork", "clone", "clone3", "umask", "dup", "dup2", "dup3"),
    *("fcntl", "open", "openat", "openat2", "creat", "chmod", "fchmod", "fchmodat", "?fchmodat2"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod"),
    *("mknodat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "splice"),
    *("copy_file_range", "memfd_create", "chdir", "fchdir", "setxattr", "fsetxattr"),
    "lsetxattr",
)
"""All by which a file comes to be, gets content, a mode or a name, and a process its arguments."""
_LINE: Final = re.compile(r"(\d+) +(.*)")
_UNFINISHED: Final = " <unfinished ...>"
_RESUMED: Final = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<(.*)>)?")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FD: Final = re.compile(r"(-?\d+|AT_FDCWD)<([^>]*)>")
_MODE: Final = re.compile(r", (0[0-7]*)(?:, (?:0|AT_\w+))?$")
_PROC_FD: Final = re.compile(r"/(?:proc/self|dev)/fd/(\d+)")
_OPENS: Final = frozenset({"open", "openat", "openat2", "creat"})
_ATTRIBUTES: Final = frozenset({"setxattr", "fsetxattr", "lsetxattr"})
_ACL: Final = '"system.posix_acl_access"'
"""What `cp` sets to keep a mode."""
_GROUPS: Final = {0x01: 6, 0x20: 0}
"""Which bits of a mode an entry of an access list is like; others than these are like the group."""
_STRANGE: Final = frozenset({"memfd_create", "mknod", "mknodat"})
_WRITES: Final = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2"})
_CHMODS: Final = frozenset({"chmod", "fchmod", "fchmodat", "fchmodat2"})
_RENAMES: Final = frozenset({"rename", "renameat", "renameat2"})
_LINKS: Final = frozenset({"link", "linkat"})
_COPIES: Final = {"sendfile": (1, 0), "splice": (0, 1), "copy_file_range": (0, 1)}
"""Which of the file descriptors is read from, and which is written to."""
_USUAL_MASK: Final = 0o022
_UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that did not fail."""

    process: int
    name: str
    arguments: str
    result: int
    shown: str
    """The path of a file descriptor that it returned."""


@dataclass
class _Process:
    mask: int = _USUAL_MASK
    folder: str = ""
    """The one that it works in."""
    files: dict[int, str] = field(default_factory=dict)
    is_theirs: bool = False
    """Whether a program of the box itself runs in it."""


@dataclass
class _File:
    mode: int
    is_secret: bool = False


def read_calls(log: Path) -> list[Call]:
    """Return the calls that succeeded; one that others interrupted stands where it ended."""
    calls: list[Call] = []
    begun: dict[int, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        process, text = int(found[1]), found[2]
        resumed = _RESUMED.match(text)
        if text.endswith(_UNFINISHED):
            begun[process] = text.removesuffix(_UNFINISHED)
            continue
        if resumed is not None:
            text = begun.pop(process, "") + resumed[1]
        call = _CALL.match(text)
        if call is not None and call[3] != "?" and int(call[3]) >= 0:
            calls.append(Call(process, call[1], call[2], int(call[3]), call[4] or ""))
    return calls


class Watch:
    """Follows the calls and notes what others of the box could have read.

    `root` is where the box's own root lies on this machine. `theirs` are the beginnings of paths of
    the box's own programs: what these write is not ours. `keys` are the ends of paths of files that
    hold a key from the start, `there` those of all files that are there then.
    """

    def __init__(
        self,
        calls: list[Call],
        secrets: Collection[str],
        *,
        root: str = "",
        theirs: tuple[str, ...] = (),
        keys: tuple[str, ...] = ("key.pem", ".key"),
        there: Collection[str] = (),
    ) -> None:
        self.calls = calls
        self.exposed: list[str] = []
        """What others could have read: why, and where."""
        self.secret_files: set[str] = set()
        """Files that something secret was in, by their paths on the box."""
        self.programs: set[str] = set()
        """What our own scripts ran."""
        self._secrets = secrets
        self._root = root
        self._theirs = theirs
        self._keys = keys
        self._there = there
        self._files: dict[str, _File] = {}
        self._pipes: set[str] = set()
        self._processes: dict[int, _Process] = {}
        self._parents = {
            call.result: call.process
            for call in calls
            if call.name in {"fork", "vfork", "clone", "clone3"} and call.result > 0
        }
        for call in calls:
            self._follow(call)

    def holders_of(self, secret: str) -> set[str]:
        """Return the files, not pipes or sockets, that one secret was written to by anybody."""
        return {
            self._inside(path)
            for call in self.calls
            if call.name in _WRITES and secret in call.arguments
            for path in _paths_of(call)[:1]
            if path.startswith("/")
        }

    def _follow(self, call: Call) -> None:
        process = self._process(call.process)
        if call.name in {"execve", "execveat"}:
            self._execute(call, process)
            return
        if call.name == "umask":
            process.mask = int(call.arguments, 8)
        if call.shown:
            process.files[call.result] = call.shown
        if call.name in {"chdir", "fchdir"}:
            process.folder = self._path(call, process)
        if not process.is_theirs:
            self._do(call, process)

    def _do(self, call: Call, process: _Process) -> None:
        """Follow what one of our own processes does to files."""
        if call.name in _OPENS:
            self._open(call, process)
        elif call.name in _CHMODS or (call.name in _ATTRIBUTES and _ACL in call.arguments):
            mode = _mode_of(call) if call.name in _CHMODS else _mode_of_list(call)
            self._change(self._path(call, process), mode)
        elif call.name in _RENAMES | _LINKS:
            self._rename(call, process, keep=call.name in _LINKS)
        elif call.name in _WRITES:
            if any(one in call.arguments for one in self._secrets):
                self._taint(_paths_of(call)[0])
        elif call.name in _COPIES:
            paths, (source, target) = _paths_of(call), _COPIES[call.name]
            if self._is_secret(paths[source]):
                self._taint(paths[target])
        elif call.name in _STRANGE:
            self.exposed.append(f"not understood: {call.name}({call.arguments[:200]})")

    def _execute(self, call: Call, process: _Process) -> None:
        path = _STRING.findall(call.arguments)[0]
        process.is_theirs = process.is_theirs or path.startswith(self._theirs)
        if not process.is_theirs:
            self.programs.add(path.rpartition("/")[2])
        for secret in self._secrets:
            if secret in call.arguments:
                self.exposed.append(f"argument or environment of {path}")

    def _open(self, call: Call, process: _Process) -> None:
        if "O_CREAT" not in call.arguments and call.name != "creat":
            return
        path, is_new = call.shown, "O_EXCL" in call.arguments
        if is_new or path not in self._files:
            known = not is_new and self._inside(path) in self._there
            mode = _UNKNOWN if known else _mode_of(call) & ~process.mask
            self._files[path] = _File(mode)

    def _change(self, path: str, mode: int) -> None:
        self._files.setdefault(path, _File(mode, is_secret=self._is_secret(path))).mode = mode
        self._judge(path)

    def _rename(self, call: Call, process: _Process, *, keep: bool) -> None:
        texts = _STRING.findall(call.arguments)
        folders = [path for _, path in _FD.findall(call.arguments)] or [process.folder] * 2
        one, other = (
            self._full(text, folder, process) for text, folder in zip(texts, folders, strict=False)
        )
        for path in [path for path in self._files if path.startswith(f"{one}/")]:
            self._files[other + path.removeprefix(one)] = self._files.pop(path)
        known = self._files.get(one) if keep else self._files.pop(one, None)
        if known is not None:
            self._files[other] = known
            self._judge(other)
        else:
            self._files.pop(other, None)

    def _taint(self, path: str) -> None:
        if not path.startswith("/"):
            self._pipes.add(path)  # or sockets: they belong to their processes
            return
        self._files.setdefault(path, _File(_UNKNOWN)).is_secret = True
        self.secret_files.add(self._inside(path))
        self._judge(path)

    def _judge(self, path: str) -> None:
        file = self._files[path]
        if not file.is_secret:
            return
        if file.mode == _UNKNOWN:
            self.exposed.append(f"written into what was there before: {self._inside(path)}")
        elif file.mode & 0o077:
            self.exposed.append(f"mode {file.mode:04o}: {self._inside(path)}")

    def _is_secret(self, path: str) -> bool:
        known = self._files.get(path)
        if known is not None:
            return known.is_secret
        return path in self._pipes or path.endswith(self._keys)

    def _process(self, number: int) -> _Process:
        """Return what a process is like; at first it is like its parent, which waits meanwhile."""
        if number not in self._processes:
            parent = self._parents.get(number)
            like = self._process(parent) if parent is not None else _Process()
            self._processes[number] = replace(like, files=dict(like.files))
        return self._processes[number]

    def _path(self, call: Call, process: _Process) -> str:
        texts = _STRING.findall(call.arguments)
        folders = _paths_of(call)
        if folders and (not texts or call.name == "fsetxattr"):
            return folders[0]
        return self._full(texts[0], folders[0] if folders else process.folder, process)

    def _full(self, text: str, folder: str, process: _Process) -> str:
        held = _PROC_FD.fullmatch(text)
        if held is not None:
            return process.files.get(int(held[1]), text)
        return self._root + text if text.startswith("/") else f"{folder}/{text}"

    def _inside(self, path: str) -> str:
        return path.removeprefix(self._root) if self._root else path


def executed(calls: list[Call]) -> Iterator[str]:
    """Give program, arguments and environment of all that was run."""
    return (call.arguments for call in calls if call.name in {"execve", "execveat"})


def _mode_of(call: Call) -> int:
    """Return a mode that is the last argument, or the last but flags."""
    found = _MODE.search(call.arguments)
    if found is None:
        raise ValueError(f"no mode: {call.name}({call.arguments[:200]})")
    return int(found[1], 8) & 0o7777


def _mode_of_list(call: Call) -> int:
    """Return the mode that an access list comes to (acl(5); struct posix_acl_xattr_header)."""
    text = _STRING.findall(call.arguments)[-1]
    data = text.encode("ascii").decode("unicode_escape").encode("latin-1")
    mode = 0
    for at in range(4, len(data), 8):
        tag, rights = data[at] | data[at + 1] << 8, data[at + 2]
        mode |= rights << _GROUPS.get(tag, 3)
    return mode


def _paths_of(call: Call) -> list[str]:
    return [path for _, path in _FD.findall(call.arguments.partition('"')[0] or call.arguments)]
