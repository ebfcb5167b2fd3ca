"""Where a state folder lies: inside a git work tree, or what a cloud client synchronises.

What clients leave behind was taken from their makers' help where they tell (Dropbox: "cache
folder"; Google: Drive for desktop by File Provider; Box: technical information), else from what
other people's programs look for (Google's and Synology's hidden folders, Nextcloud's journal,
the usual names of folders). A client may leave nothing, so that no word does not mean no risk.
"""

import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LEFT_BEHIND: Final = {
    ".dropbox.cache": "Dropbox",
    ".tmp.drivedownload": "Google Drive",
    ".tmp.driveupload": "Google Drive",
    ".SynologyWorkingDirectory": "Synology Drive",
    ".sync_*.db": "Nextcloud",
}
"""Files and folders in the folder that is synchronised."""
_CALLED: Final = {
    "Dropbox": "Dropbox",
    "Dropbox (*)": "Dropbox",
    "OneDrive": "OneDrive",
    "OneDrive - *": "OneDrive",
    "Google Drive": "Google Drive",
    "GoogleDrive": "Google Drive",
    "Nextcloud": "Nextcloud",
    "SynologyDrive": "Synology Drive",
}
"""Usual names of it."""
_BELOW_LIBRARY: Final = {"Mobile Documents": "iCloud", "CloudStorage": "a cloud client"}
"""Folders below a Mac user's Library."""


def git_work_tree(folder: Path) -> Path | None:
    """Return the git work tree that `folder` is or will be in, or None.

    That git is told to ignore it does not help: `git clean -x` would remove it.
    """
    # In a work tree of its own or a submodule it is a file.
    return next((one for one in _upwards(folder) if (one / ".git").exists()), None)


def synchronised_folder(folder: Path) -> str | None:
    """Return whose client seems to synchronise the place of `folder`, or None."""
    for one in _upwards(folder):
        for name, client in _CALLED.items():
            if fnmatch.fnmatchcase(one.name, name):
                return client
        if one.parent.name == "Library" and one.name in _BELOW_LIBRARY:
            return _BELOW_LIBRARY[one.name]
        for left, client in _LEFT_BEHIND.items():
            if any(one.glob(left)):
                return client
    return None


def _upwards(folder: Path) -> Iterator[Path]:
    """Give the folder and all above it, as they really are."""
    real = folder.resolve()
    yield from (real, *real.parents)
