"""How a file of the state folder is written and read."""

import errno
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Final

from distributor.model.errors import StateError

log = logging.getLogger(__name__)

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_SHARED: Final = ".window.json."
"""Begins the temporary name of the one file in a folder below that is written without the lock."""
DAMAGED: Final = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What reading the content of a file raises that is not as it was written."""
_OWN: Final = ".ledger.json."
"""Begins that of the one file beside the folders that is written under the lock alone."""
LEFTOVER_SECONDS: Final = 86_400.0
"""A temporary file older than this is of a process that was killed: a write takes milliseconds."""
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{12}")


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, readable by the owner alone.

    Raises StateError when it cannot be made, or when others may enter a folder that was there.
    """
    try:
        for missing in reversed([folder, *folder.parents]):
            if not missing.exists():
                missing.mkdir(mode=FOLDER_MODE, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise StateError(
            f"cannot create {folder}: {error.strerror}", hint="choose another with --state"
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise StateError(
            f"others may read {folder}, which holds private keys", hint=f"chmod 700 '{folder}'"
        )


def write(path: Path, content: bytes) -> None:
    """Replace the file's content as one step: a reader sees the old bytes or the new.

    Raises StateError, the old content unharmed, when it cannot be written.
    """
    make_folder(path.parent)
    temporary = temporary_for(path)
    try:
        try:
            create(temporary, content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StateError(
            f"cannot write {path}: {error.strerror}", hint="check the disk and the folder's owner"
        ) from error


def create(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, for its owner alone; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` outlive a power cut, where the system can; else a StateError."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StateError(
            f"cannot sync {folder}: {error.strerror}", hint="check the disk and the folder's owner"
        ) from error


def read(path: Path) -> bytes | None:
    """Return the content, or None when there is no such file; raises StateError otherwise."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"cannot read {path}: {error.strerror}", hint="check its owner and mode"
        ) from error


def text(value: object) -> str:
    """Return a text that can be written as UTF-8; raises TypeError or ValueError for all else."""
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode("utf-8")  # raises ValueError for half of a surrogate pair
    return value


def texts(values: object) -> tuple[str, ...]:
    """Return a list of such texts; raises TypeError or ValueError for all else."""
    if not isinstance(values, list):
        raise TypeError("no list")
    return tuple(map(text, values))


def rename(old: Path, new: Path) -> None:
    """Give a file another's name, in whose place it comes, as one step."""
    try:
        old.replace(new)
    except OSError as error:
        raise StateError(
            f"cannot rename {old}: {error.strerror}", hint="check its owner and mode"
        ) from error
    sync_folder(new.parent)


def remove(path: Path) -> None:
    """Remove the file if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"cannot remove {path}: {error.strerror}", hint="check its owner and mode"
        ) from error


def remove_folder(folder: Path) -> None:
    """Remove the folder if it is there and empty."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
            raise StateError(
                f"cannot remove {folder}: {error.strerror}", hint="check its owner and mode"
            ) from error


def temporary_for(path: Path) -> Path:
    """Return a new name beside `path` for what is to take its place."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}")


def is_temporary(path: Path) -> bool:
    """Tell whether it has a name that `temporary_for` gives."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path, now: float) -> None:
    """Remove the temporary files that killed processes left below `folder`.

    The caller holds the run lock. What is written under that lock alone goes at once, since it may
    be a key; elsewhere a process without the lock may be writing just now, and a file of the last
    day stays. `now` is in seconds since the epoch. What cannot be removed is logged and does no
    harm.
    """
    for path in folder.rglob(".*"):
        if not is_temporary(path):
            continue
        is_below = path.parent != folder and not path.name.startswith(_SHARED)
        is_ours = is_below or path.name.startswith(_OWN)
        try:
            if path.is_file() and (is_ours or now - path.lstat().st_mtime > LEFTOVER_SECONDS):
                path.unlink()
        except FileNotFoundError:
            pass  # another process was quicker
        except OSError as error:
            log.warning("state file=%s step=sweep error=%s", path, error.strerror)
