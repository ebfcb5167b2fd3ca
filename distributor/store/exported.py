"""Files for other programs, in a folder that a person chose: all of one set, or none of it."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from distributor.model.bundle import Bundle
from distributor.model.errors import StateError, UsageError
from distributor.model.text import printable
from distributor.protocol.archive import make_export
from distributor.store.files import FOLDER_MODE, create, sync_folder, temporary_for


def pem_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the four files by DSM's names; no chain.pem where there is no intermediate."""
    files = {
        "privkey.pem": bundle.private_key_pem.reveal().encode("ascii"),
        "cert.pem": bundle.leaf_pem,
        "chain.pem": bundle.chain_pem,
        "fullchain.pem": bundle.fullchain_pem,
    }
    return {name: content for name, content in files.items() if content}


def archive(bundle: Bundle) -> bytes:
    """Return a zip as DSM exports one."""
    key = bundle.private_key_pem.reveal().encode("ascii")
    return make_export(bundle.leaf_pem, bundle.chain_pem, key)


def write_set(
    folder: Path, files: Mapping[str, bytes], *, family: Collection[str], replace: bool
) -> None:
    """Write `files` into `folder`, which is made if it is missing, each for its owner alone.

    `family` has all names that such a set may have. With `replace`, what has one of these names
    gives way: all old ones are removed before the first new one is put there, so that a cut leaves
    some files missing, but never files of two sets. Raises UsageError when one is there already and
    may not be replaced, or others may write in the folder; StateError when the disk refuses.
    """
    try:
        _make(folder)
        present = [name for name in family if os.path.lexists(folder / name)]
        if present and not replace:
            raise UsageError(
                f"{printable(folder)} has {', '.join(present)} already",
                hint="choose another folder, or --force to replace all of them",
            )
        _place(folder, files, present)
        sync_folder(folder)
    except OSError as error:
        raise StateError(
            f"cannot write to {printable(folder)}: {error.strerror}",
            hint="check the disk and the folder's owner",
        ) from error


def _make(folder: Path) -> None:
    for missing in reversed([folder, *folder.parents]):
        if not missing.exists():
            missing.mkdir(mode=FOLDER_MODE)
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)} is no folder", hint="name a folder with --out")
    if os.name == "posix" and folder.stat().st_mode & 0o022:
        raise UsageError(
            f"others may write in {printable(folder)}, and could put another key there",
            hint="choose a folder of your own",
        )


def _place(folder: Path, files: Mapping[str, bytes], old: Collection[str]) -> None:
    temporaries: dict[str, Path] = {}
    try:
        for name, content in files.items():
            temporaries[name] = temporary_for(folder / name)
            create(temporaries[name], content)
        for name in old:
            (folder / name).unlink()
        if old:
            sync_folder(folder)
        for name, temporary in temporaries.items():
            temporary.replace(folder / name)
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise
