"""The PEM files of one host by a shell: looked at, replaced together, and put back.

The account that is signed in does what it may; root is asked for where it may not.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from distributor.clients.shell import FileFacts, Result, Shell
from distributor.model.errors import ApplyFailed, DeviceRefused, RollbackFailed, UnsafePlan
from distributor.model.hazards import NOT_RESTORABLE, Hazard
from distributor.targets.pem_files import Held, PemFile, first_key_mode
from distributor.targets.remote_lock import Controller, RemoteLock
from distributor.targets.remote_set import NewFile, RemoteSet
from distributor.targets.ssh_rights import account_of, folder_of, require_root

log = logging.getLogger(__name__)

Seen = Mapping[PemFile, Held | None]
"""Each file as it was seen; None for one that is not there."""
RELOAD_SECONDS: Final = 120.0
"""How long a command may take that makes the files used."""
_OURS: Final = ".distribute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where files are, and whose they are to be."""

    files: Sequence[PemFile]
    """In the order in which they are put in place."""
    folder: str
    """In which a folder of ours holds the lock, and copies of what was there."""
    owner: str | None = None
    """As the inventory words it; None leaves each file's as it is."""
    always_root: bool = False

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that the files are in, each once."""
        return tuple(dict.fromkeys(folder_of(file.path) for file in self.files))


class PemSet:
    """Those files in one session; `controller` names us to others that find our lock."""

    def __init__(
        self, host: str, shell: Shell, place: Place, controller: Callable[[], Controller]
    ) -> None:
        self._host = host
        self._shell = shell
        self._place = place
        self._controller = controller
        self._seen: Seen | None = None
        self._reads_as_root = place.always_root
        self._as_root = True if place.always_root else None
        self._lock: RemoteLock | None = None

    @property
    def seen(self) -> Seen:
        """What was seen last; looks when nothing was yet."""
        return self.look() if self._seen is None else self._seen

    def look(self) -> Seen:
        """Look at every file and read it.

        Raises DeviceRefused for a folder that is not there, and where a folder or a symbolic link
        is in the place of a file; AuthRefused where looking takes root and that is refused.
        """
        paths = [file.path for file in self._place.files]
        folders = self._place.folders
        try:
            there = self._shell.look((*folders, *paths), as_root=self._reads_as_root)
        except DeviceRefused:
            if self._reads_as_root:
                raise
            self._become_reader(f"to look at {paths[0]}")
            there = self._shell.look((*folders, *paths), as_root=True)
        for folder in folders:
            _require_folder(folder, there[folder])
        self._seen = {file: self._read(file, there[file.path]) for file in self._place.files}
        return self._seen

    def needs_root(self) -> bool:
        """Tell whether writing takes root, and see that it is to be had; AuthRefused if not."""
        if self._as_root is None:
            account = account_of(self._shell, self._place.folders)
            beyond = [
                file
                for file, held in self.seen.items()
                if not account.may_write(file.path, held.there if held else None, self._place.owner)
            ]
            self._as_root = self._reads_as_root or bool(beyond)
            if beyond:
                require_root(self._shell, f"to write {beyond[0].path} and keep its owner")
        return self._as_root

    def lost(self) -> tuple[Hazard, ...]:
        """Return the files that could not be read, and so not be put back either."""
        return tuple(
            Hazard(NOT_RESTORABLE, f"{file.path} cannot be read, so that it could not be put back")
            for file, held in self.seen.items()
            if not _is_readable(held)
        )

    def require_restorable(self) -> None:
        """Raise UnsafePlan when something there could not be put back."""
        lost = self.lost()
        if lost:
            raise UnsafePlan(
                lost[0].reason,
                hazards=(NOT_RESTORABLE,),
                hint="look at the file on the host itself",
            )

    def begin(self) -> Seen:
        """Take the lock; return what is there under it.

        Raises ApplyFailed when that is not what was seen before.
        """
        before = self._seen
        self._set().begin(self._place.folders)
        if before is not None and before != self.look():
            raise ApplyFailed(
                "somebody changed the files since they were looked at",
                hint="run again: they are looked at anew",
                step="apply",
            )
        return self.seen

    def replace(self, new: Mapping[PemFile, NewFile], mark: str) -> None:
        """Copy what is there, found by `mark` later, and put new files in place together.

        A file that others may read loses that right where it held no key, and is to hold one now.
        """
        files = self._set()
        kept = [file.path for file, held in self.seen.items() if _is_readable(held)]
        files.keep(mark, kept)
        files.replace({file.path: self._closed(file, one) for file, one in new.items()})

    def put_back(self, mark: str, is_as_before: Callable[[Seen], bool]) -> bool:
        """Put the newest copies with `mark` back; tell whether there were any.

        Raises RollbackFailed when there are none, though what is there is not as before.
        """
        files = self._set()
        files.begin(self._place.folders)
        kept = files.kept(mark, {file.path for file in self._place.files}.__contains__)
        if kept is not None:
            files.restore(kept)
            return True
        if not is_as_before(self.look()):
            raise RollbackFailed(
                f"the files were changed, and no copy of them is left in {self._folder}",
                hint="put them back by hand, or run again for the new ones",
                step="rollback",
            )
        log.info("host=%s step=rollback copies=none", self._host)
        return False

    def run(self, command: Sequence[str]) -> Result:
        """Run what makes the files used, with the rights that writing them took."""
        if self._lock is None:
            raise ValueError("the lock was not taken")
        return self._lock.run(command, seconds=RELOAD_SECONDS, may_end=True)

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.release()

    def _set(self) -> RemoteSet:
        as_root = self.needs_root()
        self._lock = self._lock or RemoteLock(
            self._shell, self._folder, self._controller, self._host, as_root=as_root
        )
        return RemoteSet(self._shell, self._lock, self._folder, as_root=as_root)

    @property
    def _folder(self) -> str:
        return f"{self._place.folder.rstrip('/')}/{_OURS}"

    def _closed(self, file: PemFile, new: NewFile) -> NewFile:
        return new if new.mode else replace(new, mode=first_key_mode(file, self.seen[file]))

    def _read(self, file: PemFile, there: FileFacts | None) -> Held | None:
        if there is None:
            return None
        _require_file(file.path, there)
        try:
            return Held(file, there, self._shell.read(file.path, as_root=self._reads_as_root))
        except DeviceRefused as error:
            if not self._reads_as_root and not self._may_read(file.path):
                self._become_reader(f"to read {file.path}")
                return self._read(file, there)
            log.warning("host=%s step=inspect unreadable=yes code=%s", self._host, error.code)
            return Held(file, there, None)

    def _may_read(self, path: str) -> bool:
        """Tell whether the account has the right to read a file, so that root would not help."""
        command = ["/bin/sh", "-c", '[ -r "$1" ]', "sh", path]
        return self._shell.run(command, as_root=False).status == 0

    def _become_reader(self, what: str) -> None:
        require_root(self._shell, what)
        log.info("host=%s step=inspect reads_as=root", self._host)
        self._reads_as_root = True


def _require_folder(folder: str, there: FileFacts | None) -> None:
    if there is None or there.kind not in {"folder", "link"}:
        raise DeviceRefused(
            f"there is no folder {folder}",
            hint="make it, with the rights that what uses the files needs; or correct the path in "
            "the inventory",
            step="inspect",
        )


def _require_file(path: str, there: FileFacts) -> None:
    if there.kind == "link":
        raise DeviceRefused(
            f"{path} is a symbolic link, which would be lost",
            hint="write the path that it leads to into the inventory, or remove the link",
            step="inspect",
        )
    if there.kind != "file":
        raise DeviceRefused(
            f"{path} is no file", hint="correct the path in the inventory", step="inspect"
        )


def _is_readable(held: Held | None) -> bool:
    return held is None or held.content is not None
