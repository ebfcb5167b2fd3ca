"""Files on a host by small pieces of POSIX sh, which BusyBox, dash and bash understand alike.

SFTP is not used: on a DiskStation it is often off, and shows shared folders only (dsm-ssh facts
3.4). Content goes by stdin; a script gets paths as arguments and prints what it found.
"""

import re
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from distributor.clients.shell import (
    COMMAND_SECONDS,
    CONTENT_LIMIT,
    STAGED,
    FileFacts,
    Result,
    checked_path,
)
from distributor.model.errors import ProtocolError
from distributor.model.text import printable

_ABSENT: Final = 44
# Names of a directory service may have spaces in them ("DOMAIN\domain users"), but no colon.
_FACTS: Final = re.compile(
    r"([0-9a-f]{1,8}) ([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,20}) ([^:]+):([^:]+)"
)
_MODE: Final = re.compile(r"0?[0-7]{3}")
_OWNER: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*(:[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*)?")
_KINDS: Final[Mapping[int, Literal["file", "folder", "link"]]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
}

# Nothing is at a path only if the last folder on the way that is there may be searched.
_GONE: Final = (
    'gone() { d=$1; while d=${d%/*}; [ -n "$d" ] && [ ! -d "$d" ]; do :; done; '
    '[ -x "${d:-/}" ]; }; '
)
_READ: Final = (
    _GONE + 'if [ -e "$1" ] || [ -L "$1" ]; then exec cat -- "$1"; fi; '
    f'gone "$1" && exit {_ABSENT}; echo "$1: not permitted" >&2; exit 1'
)
_LOOK: Final = (
    _GONE + 'for p do if [ -e "$p" ] || [ -L "$p" ]; then '
    "stat -c '%f %u %g %s %U:%G' -- \"$p\" || exit 1; "
    'elif gone "$p"; then echo -; else echo "$p: not permitted" >&2; exit 1; fi; done'
)
_NAMES: Final = (
    _GONE
    + f'if [ ! -d "$1" ]; then gone "$1" && [ ! -e "$1" ] && exit {_ABSENT}; '
    + 'echo "$1: no folder that may be read" >&2; exit 1; fi; '
    + '[ -r "$1" ] && [ -x "$1" ] || { echo "$1: not permitted" >&2; exit 1; }; '
    + 'cd -- "$1" && for n in * .[!.]* ..?*; do '
    + 'if [ -e "$n" ] || [ -L "$n" ]; then printf \'%s\\0\' "$n"; fi; done'
)
# Owner and mode are given by way of the open file: in a folder that somebody else may write, the
# name could be a symbolic link to another file a moment later. noclobber (-C) opens nothing that is
# there already. A connection that is cut looks like the end of the content: hence its size; and it
# must not end the script by SIGPIPE before that has cleared up.
_STAGE: Final = """\
set -uC; umask 077; trap '' PIPE HUP
path=$1 new=$2 mode=$3 owner=$4 size=$5
if [ -d "$path" ]; then echo "$path: is a folder" >&2; exit 1; fi
if [ -L "$path" ]; then echo "$path: is a symbolic link" >&2; exit 1; fi
if [ -e "$path" ]; then
  [ -n "$mode" ] || mode=$(stat -c %a -- "$path") || exit 1
  [ -n "$owner" ] || owner=$(stat -c %u:%g -- "$path") || exit 1
fi
exec 3>"$new" || exit 1
trap 'rm -f -- "$new"' EXIT
cat >&3 || exit 1
if [ "$(($(wc -c <"$new")))" -ne "$size" ]; then echo "$new: cut short" >&2; exit 1; fi
if [ -n "$owner" ]; then chown -- "$owner" /proc/self/fd/3 || exit 1; fi
chmod -- "${mode:-600}" /proc/self/fd/3 || exit 1
trap - EXIT
"""
_PUT: Final = """\
check() {
  while [ $# -gt 0 ]; do
    if [ ! -f "$1" ]; then echo "$1: is not there" >&2; exit 1; fi
    if [ -d "$2" ]; then echo "$2: is a folder" >&2; exit 1; fi
    shift 2
  done
}
check "$@"
while [ $# -gt 0 ]; do mv -f -- "$1" "$2" || exit 1; shift 2; done
"""


class RemoteFiles(ABC):
    """The part of `shell.Shell` that deals with files, by means of `run`."""

    @abstractmethod
    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        """See `shell.Shell`."""

    def read(self, path: str, *, as_root: bool) -> bytes | None:
        """See `shell.Shell`; raises DeviceRefused for what may not be read."""
        result = self._sh(_READ, checked_path(path), as_root=as_root)
        if result.status == _ABSENT:
            return None
        return result.required(f"cannot read {printable(path)}", "read")

    def look(self, paths: Sequence[str], *, as_root: bool) -> Mapping[str, FileFacts | None]:
        """See `shell.Shell`."""
        if not paths:
            return {}
        result = self._sh(_LOOK, *(checked_path(path) for path in paths), as_root=as_root)
        told = result.required("cannot look at files", "read").decode("utf-8", "replace")
        lines = told.removesuffix("\n").split("\n")
        if len(lines) != len(paths):
            raise _unexpected("stat")
        return dict(zip(paths, map(_facts, lines), strict=True))

    def names(self, folder: str, *, as_root: bool) -> tuple[str, ...] | None:
        """See `shell.Shell`."""
        result = self._sh(_NAMES, checked_path(folder), as_root=as_root)
        if result.status == _ABSENT:
            return None
        listed = result.required(f"cannot list {printable(folder)}", "read")
        return tuple(sorted(name for name in listed.decode("utf-8", "replace").split("\0") if name))

    def stage(
        self, path: str, content: bytes, *, as_root: bool, mode: str | None, owner: str | None
    ) -> str:
        """See `shell.Shell`; raises DeviceRefused with the host's words when it is not written."""
        if mode is not None and not _MODE.fullmatch(mode):
            raise ValueError(f"no mode: {mode!r}")
        if owner is not None and not _OWNER.fullmatch(owner):
            raise ValueError(f"no owner: {owner!r}")
        if len(content) > CONTENT_LIMIT:
            raise ValueError("too much for one file")
        folder, _, name = checked_path(path).rpartition("/")
        staged = checked_path(f"{folder}/.{name}{STAGED}{secrets.token_hex(8)}")
        result = self._sh(
            _STAGE,
            *(path, staged, mode or "", owner or "", str(len(content))),
            as_root=as_root,
            stdin=content,
        )
        result.required(f"cannot write {printable(path)}", "write")
        return staged

    def put(self, staged: Mapping[str, str], *, as_root: bool) -> None:
        """See `shell.Shell`."""
        if not staged:
            return
        words = [checked_path(path) for pair in staged.items() for path in pair]
        result = self._sh(_PUT, *words, as_root=as_root)
        paths = printable(", ".join(staged.values()))
        result.required(f"cannot put {paths} in place", "write")

    def remove(self, paths: Sequence[str], *, as_root: bool) -> None:
        """See `shell.Shell`."""
        if not paths:
            return
        words = [checked_path(path) for path in paths]
        result = self.run(["rm", "-f", "--", *words], as_root=as_root)
        result.required(f"cannot remove {printable(', '.join(paths))}", "write")

    def _sh(self, script: str, *words: str, as_root: bool, stdin: bytes = b"") -> Result:
        return self.run(["/bin/sh", "-c", script, "sh", *words], as_root=as_root, stdin=stdin)


def _facts(line: str) -> FileFacts | None:
    """Return what a line of `stat` says: raw mode in hex, uid, gid, size, user:group."""
    if line == "-":
        return None
    found = _FACTS.fullmatch(line)
    if found is None:
        raise _unexpected("stat")
    raw, uid, gid = int(found[1], 16), int(found[2]), int(found[3])
    user, group = (
        str(number) if name == "UNKNOWN" else name
        for number, name in ((uid, found[5]), (gid, found[6]))
    )
    return FileFacts(
        kind=_KINDS.get(stat.S_IFMT(raw), "other"),
        mode=f"{stat.S_IMODE(raw):04o}",
        uid=uid,
        gid=gid,
        owner=f"{user}:{group}",
        size=int(found[4]),
    )


def _unexpected(program: str) -> ProtocolError:
    return ProtocolError(
        f"the host's {program} answers something else than expected",
        hint="is this a Linux host with the usual tools?",
        step="read",
    )
