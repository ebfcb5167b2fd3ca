"""Whether the state folder, which holds keys, lies where they may get out of this computer."""

from pathlib import Path

from distributor.checking.remarks import Remark
from distributor.store.place import git_work_tree, synchronised_folder

STATE_FOLDER = "state-folder-place"


def remark_on_place(folder: Path) -> Remark | None:
    """Return what is to be said of the place of a state folder, or None."""
    found = [f"is inside the git work tree {tree}"] if (tree := git_work_tree(folder)) else []
    if (found_sync := synchronised_folder(folder)) is not None:
        found.append(f"seems to be inside a folder that {found_sync} synchronises")
    if not found:
        return None
    return Remark(
        name=STATE_FOLDER,
        about="state folder",
        message=f"the state folder {folder}, which holds private keys, {' and '.join(found)}",
        hint="move it elsewhere and name it with --state",
        is_finding=False,
    )
