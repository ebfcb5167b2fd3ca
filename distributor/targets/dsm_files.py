"""What a plan means for a DiskStation's files: which can be replaced, by what, and which not. Pure.

INFO is never written: DSM's own tools rewrite it under a lock of their own, and a slip in it cost
people their bindings (dsm-ssh facts 1.6). So what stands in it stays as it is.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from distributor.model.bundle import Bundle, Certificate
from distributor.model.errors import StalePlan, Unsupported
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import CERTIFICATE, DEFAULT, Address, State
from distributor.model.text import printable
from distributor.protocol.dsm_info import ARCHIVE
from distributor.protocol.dsm_survey import BESIDE, PAIRS
from distributor.targets.dsm_folder import Folder
from distributor.targets.dsm_tree import Tree
from distributor.targets.remote_set import NewFile

RECORDS: Final = (f"{ARCHIVE}/INFO", f"{ARCHIVE}/DEFAULT")
"""Kept beside the files for people to look at; never put back."""
_OTHER_WAY: Final = 'use via = "api", or method = "synowebapi", by which DSM does it itself'
_SINGLE: Final = ("cert.pem", "chain.pem", "fullchain.pem", "privkey.pem")
_DERIVED: Final = ("root.pem", "short-chain.pem")


def require_files_do(plan: Plan, tree: Tree) -> None:
    """Raise Unsupported, naming each change, for what cannot be done by replacing files."""
    reasons = [*_beyond_files(plan), *_unfit_folders(plan, tree)]
    if reasons:
        raise Unsupported(
            f'method = "files" replaces what is there, and nothing else: {"; ".join(reasons)}',
            hint=_OTHER_WAY,
            step="plan",
        )


def require_as_planned(plan: Plan, now: State) -> None:
    """Raise StalePlan when an entry, who uses it, or what a copy holds is not as it was observed.

    `now` is to be observed with the same handshakes as the plan's state.
    """
    for entry in overwritten(plan):
        if _around(plan.observed, entry) != _around(now, entry):
            raise StalePlan(
                f"{entry} is used by other services, or holds something else, than it did when "
                "the plan was made",
                hint="somebody works on the box: run again",
                step="change",
            )


def overwritten(plan: Plan) -> dict[Address, str]:
    """Return the entries that exist and get a certificate, each with the name of that."""
    return {
        one.address: one.certificate
        for one in plan.changes
        if one.address.kind == "certificate" and one.address.id
    }


def left(plan: Plan) -> set[Address]:
    """Return the entries that services leave for another one."""
    moved = {one.address for one in plan.changes if one.address.kind == "service"}
    used = (plan.observed.get(service, CERTIFICATE) for service in moved)
    return {entry for entry in used if isinstance(entry, Address)}


def folders_of_copied(snapshot: Snapshot, tree: Tree) -> frozenset[str]:
    """Return the folders that have to hold what a snapshot's copy on the box has for them.

    A service that came to use another entry since keeps what that has.
    """
    ids = {entry.id for entry in snapshot.copied}
    entries = [entry for entry in tree.entries if entry.id in ids]
    unnamed = (
        file.name
        for file in snapshot.before.of_kind("file")
        if snapshot.before.get(file, CERTIFICATE) in snapshot.copied
    )
    used = (service.folder for entry in entries for service in entry.services)
    return frozenset((*(entry.folder for entry in entries), *used, *unnamed))


def touched(plan: Plan, tree: Tree) -> tuple[Folder, ...]:
    """Return the folders that a plan changes, by whichever method."""
    entries = [tree.entry(one.id) for one in overwritten(plan)]
    folders = {one.path: one for entry in entries if entry for one in tree.copies(entry)}
    moved = {one.address.id for one in plan.changes if one.address.kind == "service"}
    for entry in tree.entries:
        for service in tree.bound(entry):
            if service.id in moved:
                folders[service.folder] = tree.folders[service.folder]
    return tuple(folders.values())


def paths_to_keep(folders: Iterable[Folder], *, by_dsm: bool) -> tuple[str, ...]:
    """Return every file that a change of these folders may make, replace or remove."""
    names = (*PAIRS, *BESIDE) if by_dsm else _SINGLE
    return (*(f"{one.path}/{name}" for one in folders for name in names), *RECORDS)


def new_files(folder: Folder, bundle: Bundle) -> dict[str, NewFile | None]:
    """Return what has to be written so that a folder holds a bundle; nothing where it does."""
    contents = {
        "cert.pem": bundle.leaf_pem,
        "chain.pem": bundle.chain_pem,
        "fullchain.pem": bundle.fullchain_pem,
        "privkey.pem": bundle.private_key_pem.reveal().encode("ascii"),
    }
    like = f"{folder.path}/{next(iter(folder.pair))}"
    found: dict[str, NewFile | None] = {}
    for name in _SINGLE:
        path, content, seen = f"{folder.path}/{name}", contents[name], folder.files.get(name)
        if not content:
            if seen is not None:
                found[path] = None
        elif seen is None or seen.digest != sha256(content).hexdigest():
            found[path] = NewFile(content, like=like)
    return found


def heals(plan: Plan, tree: Tree) -> bool:
    """Tell whether nothing may be served because of what the plan replaces."""
    entries = [tree.entry(one.id) for one in overwritten(plan)]
    return any(
        entry.id in tree.owed or not all(one.is_sound for one in tree.copies(entry))
        for entry in entries
        if entry is not None
    )


def holds(folder: Folder, pair: Certificate) -> bool:
    """Tell whether every file of a folder is of that pair, however it is written."""
    return (
        set(folder.leaves) == {pair.leaf}
        and set(folder.chains) == {pair.chain}
        and set(folder.keys) == {pair.key}
    )


def notes_on(plan: Plan, tree: Tree, *, packages: bool) -> Iterator[str]:
    """Give what a person should know of a change of entries before it is made."""
    for address in overwritten(plan):
        entry = tree.entry(address.id)
        if entry is None:
            continue
        if entry.id in tree.owed:
            yield (
                f"an earlier run was cut off before it told what serves {address} of its new "
                "files: that is done now"
            )
        for folder in tree.unnamed(entry):
            goes = "it is replaced along" if tree.takes_unnamed else "DSM leaves it as it is"
            yield (
                f"{printable(folder.path)} holds the same certificate, though the box binds it to "
                f"nothing: {goes}"
            )
        if not tree.takes_unnamed:
            continue
        for service in entry.services:
            if service.folder not in tree.folders:
                yield (
                    f"{printable(service.id)} has no files in {printable(service.folder)}, so that "
                    "there is nothing to replace for it"
                )
        kept = [one.id for one in tree.bound(entry) if one.is_package]
        if kept and not packages:
            yield (
                f"{', '.join(map(printable, kept))} go on with the old certificate until their "
                'packages are restarted (packages = "keep")'
            )
        if any(name in folder.files for folder in tree.copies(entry) for name in _DERIVED):
            yield f"{' and '.join(_DERIVED)} beside the certificate are DSM's own, and stay"


def _beyond_files(plan: Plan) -> Iterator[str]:
    made = {one.address for one in plan.changes if one.address.kind == "certificate"}
    for entry in sorted(one for one in made if not one.id):
        yield f"{entry} would be a new entry"
    for change in plan.changes:
        if change.address == DEFAULT:
            yield f"the default would become {change.after}"
        elif change.address.kind == "service":
            yield f"{change.address} would move to {change.after}"
    for removal in plan.removals:
        yield f"{removal.address} would be removed"


def _unfit_folders(plan: Plan, tree: Tree) -> Iterator[str]:
    for address in overwritten(plan):
        entry = tree.entry(address.id)
        if entry is None or entry.folder not in tree.folders:
            yield f"{address} has no files"
            continue
        for folder in tree.copies(entry):
            if folder.is_dual:
                yield (
                    f"{printable(folder.path)} holds an RSA and an ECC pair, of which DSM alone "
                    "knows which is served where"
                )


def _around(state: State, entry: Address) -> dict[Address, object]:
    """Return what an entry holds, and who uses it, with what their copies hold."""
    places = (*state.of_kind("service"), *state.of_kind("file"))
    used = {one: state.facts[one] for one in places if state.get(one, CERTIFICATE) == entry}
    return {entry: state.facts.get(entry), **used}
