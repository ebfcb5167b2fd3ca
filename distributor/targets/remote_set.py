"""Files on a host that are replaced together: a copy first, staged, then renamed back to back.

Contents travel once, into a folder that only the account may enter; from there they are staged
beside their places with their final owner and mode. Whoever is cut off leaves each file old or new,
and the copy to go back to. Everything happens under a lock (`remote_lock`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from typing import Final

from distributor.clients.shell import STAGED, Shell, checked_path
from distributor.model.errors import ProtocolError
from distributor.model.plan import digest_of
from distributor.model.state import State
from distributor.model.text import printable
from distributor.targets.remote_lock import RemoteLock

COPIES_KEPT: Final = 3
_SECONDS: Final = 120.0
"""For a script that handles many files on a slow disk."""
_ABSENT: Final = "-"
_SAME: Final = "="

# $1 is the end of the names of staged files; the other arguments are files that go in the end.
# A line of stdin says for a file where its content is (- for none: it goes), mode and owner (- for
# those of the file that is replaced, = for those of the content's own file), its path, and whose
# owner and mode it has if it was not there (or -).
# Owner and mode are given by way of the open file: in a folder that somebody else may write, the
# name could be a symbolic link to another file a moment later. Where the disk has no room to put a
# copy back, the copy itself takes the place. Nothing is renamed before all of it is staged.
_PLACE: Final = """\
set -uC; umask 077
mark=$1 list=$(cat) tab=$(printf '\\t'); shift
alike() { [ "$(($(wc -c <"$1")))" -eq "$(($(wc -c <"$2")))" ]; }
each() {
  printf '%s\\n' "$list" | while IFS=$tab read -r from mode owner path like; do
    new=${path%/*}/.${path##*/}$mark; "$1" || exit 1
  done
}
stage() {
  if [ -d "$path" ]; then echo "$path: is a folder" >&2; return 1; fi
  if [ -L "$path" ]; then echo "$path: is a symbolic link" >&2; return 1; fi
  [ "$from" != - ] || return 0
  how=$mode
  [ ! -e "$path" ] || like=$path
  if [ "$mode" = = ]; then like=$from mode=- owner=-; fi
  facts='600 -'
  [ "$like" = - ] || facts=$(stat -c '%a %u:%g' -- "$like") || return 1
  [ "$mode" != - ] || mode=${facts% *}
  [ "$owner" != - ] || owner=${facts#* }
  (
    exec 3>"$new"; cat -- "$from" >&3 && alike "$from" "$new" || exit 1
    [ "$owner" = - ] || chown -- "$owner" /proc/self/fd/3 || exit 1
    chmod -- "$mode" /proc/self/fd/3
  ) && return 0
  rm -f -- "$new"
  if [ "$how" = = ] && ln -- "$from" "$new"; then return 0; fi
  echo "$path: not written" >&2; return 1
}
rename() { if [ "$from" = - ]; then rm -f -- "$path"; else mv -f -- "$new" "$path"; fi; }
unstage() { rm -f -- "$new"; }
trap 'rm -f -- "$@"' EXIT
each stage && each rename || { each unstage; exit 1; }
"""
# $1 is the folder of copies, $2 the new one's name, $3 how many are kept; stdin has the paths.
_KEEP: Final = """\
set -u; umask 077
root=$1 copy=$1/$2 keep=$3 list=$(cat) n=0
alike() { [ "$(($(wc -c <"$1")))" -eq "$(($(wc -c <"$2")))" ]; }
mkdir -p -- "$root" && rm -rf -- "$root"/*.part && mkdir -- "$copy.part" || exit 1
printf '%s\\n' "$list" | while read -r path; do
  n=$((n + 1))
  if [ -L "$path" ] || [ -d "$path" ]; then echo "$path: is no file" >&2; exit 1; fi
  if [ -e "$path" ]; then
    cp -p -- "$path" "$copy.part/$n" && alike "$path" "$copy.part/$n" || exit 1
    printf '%s\\t%s\\n' $n "$path" || exit 1
  else
    printf -- '-\\t%s\\n' "$path" || exit 1
  fi
done >"$copy.part/index" && mv -- "$copy.part" "$copy" || exit 1
set -- "$root"/*
while [ $# -gt "$keep" ]; do rm -rf -- "$1" || exit 1; shift; done
"""
# $1 is in the names of staged files, the rest are folders.
_CLEAN: Final = 'm=$1; shift; for d do rm -f -- "$d"/.*"$m"* || exit 1; done'


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a file is to hold, with which mode (octal) and owner (`user` or `user:group`).

    For None these stay as they are; of a file that was not there they are those of `like`, else
    0600 and the writer's own.
    """

    content: bytes = field(repr=False)
    mode: str | None = None
    owner: str | None = None
    like: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy on the host of files as they were."""

    folder: str
    files: Mapping[str, str | None]
    """Path to the copy of its file; None for a file that was not there."""


class RemoteSet:
    """Sets of files on a host; `folder` is for their copies, and for what is under way.

    It has to be on their file system and absolute, is made with mode 700 and is the account's own.
    """

    def __init__(self, shell: Shell, lock: RemoteLock, folder: str, *, as_root: bool) -> None:
        self._shell = shell
        self._lock = lock
        self._folder = checked_path(folder)
        self._copies = f"{folder}/copies"
        self._as_root = as_root

    def begin(self, folders: Iterable[str]) -> None:
        """Take the lock, and remove what a cut run left staged in `folders`."""
        self._lock.take()
        where = sorted({checked_path(one) for one in folders})
        words = ["/bin/sh", "-c", _CLEAN, "sh", STAGED, self._folder, *where]
        self._lock.run(words).required("cannot remove files that an earlier run left", "write")

    def keep(self, mark: str, now: datetime, paths: Iterable[str]) -> None:
        """Copy files as they are, also that they are not there; only the last three copies stay.

        `mark` is what `kept` finds them by (`mark_of`). Raises DeviceRefused.
        """
        name = f"{now:%Y%m%dT%H%M%S.%f}-{mark}"
        words = ["/bin/sh", "-c", _KEEP, "sh", self._copies, name, str(COPIES_KEPT)]
        list_ = _lines(map(checked_path, paths))
        self._lock.run(words, stdin=list_, seconds=_SECONDS).required(
            "cannot copy what is there before it is changed", "keep"
        )

    def kept(self, mark: str) -> Kept | None:
        """Return the newest copy with that mark, or None."""
        names = self._shell.names(self._copies, as_root=self._as_root) or ()
        found = [name for name in names if name.endswith(f"-{mark}")]
        if not found:
            return None
        folder = f"{self._copies}/{found[-1]}"
        index = self._shell.read(f"{folder}/index", as_root=self._as_root)
        if index is None:
            raise _unfit(folder)
        files: dict[str, str | None] = {}
        for line in index.decode("utf-8", "surrogateescape").splitlines():
            number, tab, path = line.partition("\t")
            if not tab or not (number == _ABSENT or number.isdigit()):
                raise _unfit(folder)
            files[checked_path(path)] = None if number == _ABSENT else f"{folder}/{number}"
        return Kept(folder, files)

    def replace(self, files: Mapping[str, NewFile | None]) -> None:
        """Replace files together, renamed in this order; None removes one that is there.

        Raises DeviceRefused, with nothing changed when they could not be staged; Unreachable when
        the connection was lost.
        """
        sources: dict[bytes, str] = {}
        for new in files.values():
            if new is not None and new.content not in sources:
                path = f"{self._folder}/content"
                sources[new.content] = self._shell.stage(
                    path, new.content, as_root=self._as_root, mode=None, owner=None
                )
        lines: list[tuple[str | None, ...]] = []
        for path, new in files.items():
            how = (sources[new.content], new.mode, new.owner) if new else (None, None, None)
            lines.append((*how, path, new.like if new else None))
        self._place(lines, used_up=tuple(sources.values()))

    def restore(self, kept: Kept) -> None:
        """Make the files as they were: content, owner and mode; what was not there goes."""
        self._place(
            [(copy, _SAME if copy else None, None, path, None) for path, copy in kept.files.items()]
        )

    def _place(self, files: Sequence[Sequence[str | None]], used_up: Sequence[str] = ()) -> None:
        lines = ["\t".join(_ABSENT if word is None else word for word in file) for file in files]
        if not lines:
            return
        words = ["/bin/sh", "-c", _PLACE, "sh", f"{STAGED}{token_hex(8)}", *used_up]
        result = self._lock.run(words, stdin=_lines(lines), seconds=_SECONDS)
        result.required("cannot replace the files", "write")


def mark_of(before: State) -> str:
    """Return the mark of a copy that is made before a change: the same for what was observed."""
    return digest_of(before.as_json())[:16]


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _unfit(folder: str) -> ProtocolError:
    return ProtocolError(
        f"the copy in {printable(folder)} cannot be read",
        hint="look at it on the host itself",
        step="keep",
    )
