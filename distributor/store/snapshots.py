"""Snapshots: what was on a host before it was changed."""

import json
from hashlib import sha256
from pathlib import Path

from distributor.model.bundle import Bundle, assemble
from distributor.model.errors import StateError
from distributor.model.snapshot import Snapshot, snapshot_as_json, snapshot_from_json
from distributor.model.state import LEAF, Address, address_key
from distributor.store.files import DAMAGED, make_folder, read, write

_FILE = "snapshot.json"


class Snapshots:
    """`snapshots/HOST/<time>/snapshot.json`, and a folder for each pair that it holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, snapshot: Snapshot) -> None:
        """Write the snapshot; its description comes last, so that a cut leaves none."""
        folder = self._folder / snapshot.host / f"{snapshot.taken:%Y%m%dT%H%M%S.%fZ}"
        make_folder(folder)
        for address, bundle in snapshot.pairs.items():
            pair = folder / _mark(address)
            write(pair / "privkey.pem", bundle.private_key_pem.reveal().encode("ascii"))
            write(pair / "fullchain.pem", bundle.fullchain_pem)
        write(folder / _FILE, json.dumps(snapshot_as_json(snapshot), indent=1).encode("utf-8"))

    def last(self, host: str) -> Snapshot | None:
        """Return the newest complete snapshot of `host`, or None."""
        folder = self._folder / host
        if not folder.is_dir():
            return None
        for taken in sorted((p for p in folder.iterdir() if p.is_dir()), reverse=True):
            written = read(taken / _FILE)
            if written is not None:
                return _loaded(taken, written)
        return None

    def leaves(self) -> frozenset[str]:
        """Return the leaves in the newest snapshot of each host: what a rollback brings back."""
        if not self._folder.is_dir():
            return frozenset()
        hosts = sorted(folder.name for folder in self._folder.iterdir() if folder.is_dir())
        newest = [snapshot for host in hosts if (snapshot := self.last(host)) is not None]
        return frozenset(
            leaf
            for snapshot in newest
            for facts in snapshot.before.facts.values()
            if isinstance(leaf := facts.get(LEAF), str)
        )


def _loaded(folder: Path, written: bytes) -> Snapshot:
    try:
        data = json.loads(written)
    except DAMAGED as error:
        raise StateError(f"{folder / _FILE} cannot be read", hint=f"remove {folder}") from error
    bare = snapshot_from_json(data, {})
    pairs = {
        address: pair
        for address in bare.before.of_kind("certificate")
        if (pair := _pair(folder / _mark(address))) is not None
    }
    return snapshot_from_json(data, pairs)


def _pair(folder: Path) -> Bundle | None:
    fullchain, key = read(folder / "fullchain.pem"), read(folder / "privkey.pem")
    if fullchain is None or key is None:
        return None
    return assemble(certificate=fullchain, private_key=key)


def _mark(address: Address) -> str:
    return sha256(address_key(address).encode("utf-8")).hexdigest()[:12]
