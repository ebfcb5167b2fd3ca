"""Files on a host that are replaced together: a copy first, staged, then renamed back to back.

Contents travel once, into a folder that only the account may enter; from there they are staged
beside their places with their final owner and mode. Whoever is cut off leaves each file old or new,
and the copy to go back to. Everything happens under a lock (`remote_lock`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Final

from distributor.clients.shell import STAGED, Result, Shell, checked_path
from distributor.model.errors import ProtocolError
from distributor.model.plan import digest_of
from distributor.model.state import State
from distributor.model.text import printable
from distributor.targets.remote_lock import RemoteLock
from distributor.targets.remote_scripts import CLEAN, FIND, KEEP, PLACE

COPIES_KEPT: Final = 3
"""Of each host."""
_SECONDS: Final = 120.0
"""For a script that handles many files on a slow disk."""
_ABSENT: Final = "-"
_SAME: Final = "="
_COPY: Final = re.compile(r"copies/[0-9]{8}-[0-9a-f]+-[0-9a-f]+")
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a file is to hold, with which mode (octal) and owner (`user` or `user:group`).

    For None these stay as they are; of a file that was not there they are those of `like`, else
    0600 and the writer's own. One with a private key that was not there is never readable by more
    than its owner, unless `mode` says so.
    """

    content: bytes = field(repr=False)
    mode: str | None = None
    owner: str | None = None
    like: str | None = None

    @property
    def holds_key(self) -> bool:
        """Whether a private key is in it."""
        return _PRIVATE.search(self.content) is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy on the host of files as they were."""

    folder: str
    files: Mapping[str, str | None]
    """Path to the copy of its file, from the set's folder; None for a file that was not there."""


class RemoteSet:
    """Sets of files on a host; `folder` is for their copies, and for what is under way.

    It is the lock's, has to be on their file system and absolute, is made with mode 700 and is the
    account's own.
    """

    def __init__(self, shell: Shell, lock: RemoteLock, folder: str, *, as_root: bool) -> None:
        self._shell = shell
        self._lock = lock
        self._folder = checked_path(folder)
        self._as_root = as_root

    def begin(self, folders: Iterable[str]) -> None:
        """Take the lock, and remove what a cut run left staged in `folders`."""
        self._lock.take()
        where = sorted({checked_path(one) for one in folders})
        self._sh(CLEAN, STAGED, *where).required(
            "cannot remove files that an earlier run left", "write"
        )

    def keep(self, mark: str, paths: Iterable[str]) -> None:
        """Copy files as they are, also that they are not there; of a host the last three stay.

        `mark` (`mark_of`) is what `kept` finds them by. Raises DeviceRefused.
        """
        words = (f"{self._lock.tag}-{mark}", str(COPIES_KEPT))
        self._listed(KEEP, [checked_path(path) for path in paths], *words).required(
            "cannot copy what is there before it is changed", "keep"
        )

    def kept(self, mark: str, may_restore: Callable[[str], bool]) -> Kept | None:
        """Return the newest copy of this host with that mark, or None.

        Raises ProtocolError for one that is damaged, or has a path that `may_restore` denies.
        """
        result = self._sh(FIND, f"{self._lock.tag}-{mark}")
        told = result.required("cannot look for copies of what was there", "keep")
        folder, *lines = told.decode("utf-8", "surrogateescape").splitlines() or [""]
        if not folder:
            return None
        if not _COPY.fullmatch(folder):
            raise _unfit(folder)
        files: dict[str, str | None] = {}
        for line in lines:
            number, tab, path = line.partition("\t")
            if not tab or not (number == _ABSENT or number.isdigit()):
                raise _unfit(folder)
            if not may_restore(checked_path(path)):
                raise _unfit(folder)
            files[path] = None if number == _ABSENT else f"{folder}/{number}"
        return Kept(folder, files)

    def replace(self, files: Mapping[str, NewFile | None]) -> None:
        """Replace files together, renamed in this order; None removes one that is there.

        Raises DeviceRefused, with nothing changed when they could not be staged; Unreachable when
        the connection was lost.
        """
        sources: dict[bytes, str] = {}
        for new in files.values():
            if new is not None and new.content not in sources:
                staged = self._shell.stage(
                    f"{self._folder}/content", new.content, as_root=self._as_root
                )
                sources[new.content] = staged.rpartition("/")[2]
        lines: list[Sequence[str | None]] = []
        for path, new in files.items():
            if new is None:
                lines.append((None, None, None, None, None, path))
            else:
                key = "key" if new.holds_key else None
                lines.append((sources[new.content], new.mode, new.owner, key, new.like, path))
        self._place(lines, used_up=tuple(sources.values()))

    def restore(self, kept: Kept) -> None:
        """Make the files as they were: content, owner and mode; what was not there goes."""
        self._place(
            [
                (copy, _SAME if copy else None, None, None, None, path)
                for path, copy in kept.files.items()
            ]
        )

    def _place(self, files: Sequence[Sequence[str | None]], used_up: Sequence[str] = ()) -> None:
        lines = ["\t".join(_ABSENT if word is None else word for word in file) for file in files]
        if lines:
            result = self._listed(PLACE, lines, f"{STAGED}{token_hex(8)}", *used_up)
            result.required("cannot replace the files", "write")

    def _listed(self, script: str, lines: Sequence[str], *words: str) -> Result:
        list_ = "\n".join(lines).encode("utf-8", "surrogateescape")
        return self._sh(script, str(len(list_)), *words, stdin=list_ + b"\n")

    def _sh(self, script: str, *words: str, stdin: bytes = b"") -> Result:
        return self._lock.run(
            ["/bin/sh", "-c", script, "sh", *words], stdin=stdin, seconds=_SECONDS, inside=True
        )


def mark_of(before: State) -> str:
    """Return the mark of a copy that is made before a change: the same for what was observed."""
    return digest_of(before.as_json())[:16]


def _unfit(folder: str) -> ProtocolError:
    return ProtocolError(
        f"the copy in {printable(folder)} is damaged, or has files that are none of this host's",
        hint="look at it on the host itself",
        step="keep",
    )
