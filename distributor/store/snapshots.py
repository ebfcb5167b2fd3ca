"""Snapshots: what was on a host before it was changed."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from distributor.model.bundle import Bundle, assemble, fingerprint
from distributor.model.errors import BundleError, StateError
from distributor.model.keeping import expendable_snapshots
from distributor.model.snapshot import Snapshot, snapshot_as_json, snapshot_from_json
from distributor.model.state import LEAF, Address, address_key
from distributor.store.files import (
    DAMAGED,
    is_temporary,
    make_folder,
    read,
    remove,
    remove_folder,
    sync_folder,
    write,
)

log = logging.getLogger(__name__)

FindBundle = Callable[[str], Bundle | None]
"""Gives the bundle whose leaf has a fingerprint, if the store holds it."""

_FILE: Final = "snapshot.json"
"""Written last and removed first: a snapshot that has it is whole."""
_KEY, _CHAIN, _STORED = "privkey.pem", "fullchain.pem", "stored"
"""Of a pair: the key goes first. `stored` has the leaf of a pair that the store holds anyway."""
_TAKEN: Final = "%Y%m%dT%H%M%S.%fZ"


class Snapshots:
    """`snapshots/HOST/<time>/snapshot.json`, and a folder for each pair that it holds.

    The key of a pair lies there only if the store does not hold the same bundle.
    """

    def __init__(self, folder: Path, find: FindBundle) -> None:
        self._folder = folder
        self._find = find

    def save(self, snapshot: Snapshot) -> None:
        """Write the snapshot; its description comes last, so that a cut leaves none."""
        folder = self._folder / snapshot.host / f"{snapshot.taken:{_TAKEN}}"
        make_folder(folder)
        for address, bundle in snapshot.pairs.items():
            pair, leaf = folder / _mark(address), fingerprint(bundle.leaf)
            if self._stored(leaf) == bundle:
                write(pair / _STORED, leaf.encode("ascii"))
                continue
            write(pair / _KEY, bundle.private_key_pem.reveal().encode("ascii"))
            write(pair / _CHAIN, bundle.fullchain_pem)
        _describe(folder, snapshot)

    def last(self, host: str) -> Snapshot | None:
        """Return the newest complete snapshot of `host`, or None.

        A pair that is to be had neither here nor from the store any more is left out.
        """
        newest = next(self._whole(host), None)
        return None if newest is None else self._loaded(newest)

    def mark(self, host: str, *, undoing: bool) -> None:
        """Note in the newest snapshot of `host` whether putting it back is under way."""
        newest = next(self._whole(host), None)
        if newest is None:
            return
        noted = _described(newest)
        if noted.undoing != undoing:
            _describe(newest, replace(noted, undoing=undoing))

    def leaves(self) -> frozenset[str]:
        """Return the leaves in all snapshots: what a rollback may have to bring back."""
        found = set()
        for host in self._hosts():
            for folder in self._whole(host):
                for facts in _described(folder).before.facts.values():
                    if isinstance(leaf := facts.get(LEAF), str):
                        found.add(leaf)
                for pair in folder.glob(f"*/{_STORED}"):
                    found.add((read(pair) or b"").decode("ascii", errors="replace"))
        return frozenset(found)

    def prune(self, now: datetime) -> tuple[tuple[str, str], ...]:
        """Remove snapshots that are old and not among a host's newest, and what a cut left.

        Return host and time of each. The caller holds the run lock.
        """
        gone = []
        for host in self._hosts():
            taken = {when: folder for folder in self._whole(host) if (when := _when(folder))}
            for one in expendable_snapshots(taken, now):
                remove(taken[one] / _FILE)
                sync_folder(taken[one])  # else a power cut could leave it whole, but for a key
                gone.append((host, taken[one].name))
            for folder in (self._folder / host).iterdir():
                if _when(folder) is not None and not (folder / _FILE).is_file():
                    _remove_rest(folder)
        return tuple(gone)

    def _hosts(self) -> tuple[str, ...]:
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(one.name for one in self._folder.iterdir() if one.is_dir()))

    def _whole(self, host: str) -> Iterator[Path]:
        """Give the complete snapshots of a host, newest first."""
        folder = self._folder / host
        taken = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
        return (one for one in taken if one.is_dir() and (one / _FILE).is_file())

    def _loaded(self, folder: Path) -> Snapshot:
        bare = _described(folder)
        contents = (one for one in bare.before.facts if one.kind in {"certificate", "file"})
        pairs = {
            address: pair
            for address in contents
            if (pair := self._pair(folder / _mark(address))) is not None
        }
        return replace(bare, pairs=pairs)

    def _pair(self, folder: Path) -> Bundle | None:
        stored = read(folder / _STORED)
        if stored is not None:
            return self._stored(stored.decode("ascii", errors="replace"))
        fullchain, key = read(folder / _CHAIN), read(folder / _KEY)
        if fullchain is None or key is None:
            return None
        return assemble(certificate=fullchain, private_key=key)

    def _stored(self, leaf: str) -> Bundle | None:
        try:
            return self._find(leaf)
        except (StateError, BundleError) as error:
            log.warning("snapshot leaf=%s error=%s", leaf, error.kind)
            return None


def _describe(folder: Path, snapshot: Snapshot) -> None:
    write(folder / _FILE, json.dumps(snapshot_as_json(snapshot), indent=1).encode("utf-8"))


def _described(folder: Path) -> Snapshot:
    """Return a snapshot without its pairs."""
    written = read(folder / _FILE)
    try:
        return snapshot_from_json(json.loads(written or b""), {})
    except DAMAGED as error:
        raise StateError(f"{folder / _FILE} cannot be read", hint=f"remove {folder}") from error


def _when(folder: Path) -> datetime | None:
    try:
        return datetime.strptime(folder.name, _TAKEN).replace(tzinfo=UTC)
    except ValueError:
        return None  # not ours


def _remove_rest(folder: Path) -> None:
    """Remove what there is of a snapshot that is not whole; foreign files keep its folder."""
    for pair in [one for one in folder.iterdir() if one.is_dir()]:
        for file in (_KEY, _CHAIN, _STORED):
            remove(pair / file)
        _remove_temporary(pair)
        remove_folder(pair)
    _remove_temporary(folder)
    remove_folder(folder)


def _remove_temporary(folder: Path) -> None:
    for left in [one for one in folder.iterdir() if is_temporary(one)]:
        remove(left)


def _mark(address: Address) -> str:
    return sha256(address_key(address).encode("utf-8")).hexdigest()[:12]
