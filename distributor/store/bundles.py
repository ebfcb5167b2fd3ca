"""Versions of each certificate's bundle, and which of them is current."""

import json
import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509

from distributor.model.bundle import (
    Bundle,
    Certificate,
    assemble,
    describe,
    fingerprint,
    spki_fingerprint,
    spki_fingerprint_of_key,
)
from distributor.model.errors import BundleError, StateError
from distributor.model.keeping import Version, expendable
from distributor.model.pem import certificates_from, private_key_from
from distributor.model.revocation import Revocation, revocation_as_json, revocation_from_json
from distributor.model.secret import Secret
from distributor.model.times import rfc3339
from distributor.store.files import (
    DAMAGED,
    is_temporary,
    make_folder,
    read,
    remove,
    remove_folder,
    sync_folder,
    text,
    texts,
    write,
)

log = logging.getLogger(__name__)

_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
_MARK = re.compile(r"[0-9a-f]{12}")
_LAST = "origin.json"
"""Written last and removed first: a version that has it is whole, one without was cut while it was
saved or removed."""
_REVOKED = "revoked.json"
_FILES = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", _REVOKED)
"""Of a version, beside the last; the key goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A bundle as the store holds it."""

    version: str
    bundle: Bundle
    ca: str
    """Directory URL that it was ordered from; empty when it came from elsewhere."""
    profile: str | None = None
    """The CA's profile that was asked for."""
    order: str | None = None
    """The CA's URL of the order that it came from."""
    ordered: tuple[str, ...] = ()
    """Names that were ordered; empty where that is not known."""
    revoked: Revocation | None = None


class Bundles:
    """`certificates/NAME/<version>/{cert,chain,fullchain,privkey}.pem` and `NAME/current`.

    A version that was revoked has `revoked.json` beside them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self, name: str) -> Stored | None:
        """Return the current version, or None when there is none.

        Raises StateError or BundleError when what is there cannot be read.
        """
        version = self._current(name)
        return None if version is None else self.load(name, version)

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions held, oldest first."""
        folder = self._folder / name
        if not folder.is_dir():
            return ()
        return tuple(
            sorted(p.name for p in folder.iterdir() if _VERSION.fullmatch(p.name) and _is_whole(p))
        )

    def certificates(self, name: str) -> tuple[Certificate, ...]:
        """Return what may be shown of every version held, oldest first; reads no key.

        A version that cannot be read is left out: it stands for nothing.
        """
        found = []
        for version in self.versions(name):
            written = read(self._folder / name / version / "fullchain.pem")
            try:
                found.append(describe(certificates_from(written or b"", "the fullchain"), name))
            except BundleError as error:
                log.warning("store certificate=%s version=%s error=%s", name, version, error.kind)
        return tuple(found)

    def save(
        self,
        name: str,
        bundle: Bundle,
        *,
        ca: str,
        now: datetime,
        profile: str | None = None,
        order: str | None = None,
        ordered: tuple[str, ...] = (),
    ) -> Stored:
        """Keep a proved bundle as a new version and make it current, as the last step."""
        mark = fingerprint(bundle.leaf).removeprefix("sha256:")[:12]
        # A run that was cut after saving obtains the same leaf again: that is the same version,
        # unless its chain is another.
        whole = bundle.fullchain_pem
        saved = [
            version
            for version in self.versions(name)
            if version.endswith(mark)
            and read(self._folder / name / version / "fullchain.pem") == whole
        ]
        version = saved[-1] if saved else f"{now:%Y%m%dT%H%M%SZ}-{mark}"
        folder = self._folder / name / version
        origin = {
            "version": 0,
            "ca": ca,
            "profile": profile,
            "order": order,
            "ordered": ordered,
            "obtained": rfc3339(now),
        }
        make_folder(folder)
        for file, content in {
            "privkey.pem": bundle.private_key_pem.reveal().encode("ascii"),
            "cert.pem": bundle.leaf_pem,
            "chain.pem": bundle.chain_pem,
            "fullchain.pem": whole,
            _LAST: json.dumps(origin, indent=1).encode("ascii"),
        }.items():
            write(folder / file, content)
        sync_folder(folder.parent)
        write(self._folder / name / "current", f"{version}\n".encode("ascii"))
        return Stored(
            version=version, bundle=bundle, ca=ca, profile=profile, order=order, ordered=ordered
        )

    def origin(self, name: str, leaf: str) -> str | None:
        """Return the directory URL of the CA that a version's leaf came from; None for others."""
        mark = leaf.removeprefix("sha256:")[:12]
        for version in self.versions(name):
            if version.endswith(mark):
                return self.load(name, version).ca or None
        return None

    def by_leaf(self, leaf: str) -> Bundle | None:
        """Return the bundle whose leaf has that fingerprint, from any certificate and version.

        Of several the newest: its chain may have been put right.
        """
        mark = leaf.removeprefix("sha256:")[:12]
        if not self._folder.is_dir() or not _MARK.fullmatch(mark):
            return None
        found = sorted(self._folder.glob(f"*/*-{mark}"), key=lambda one: one.name, reverse=True)
        for folder in filter(_is_whole, found):
            stored = self.load(folder.parent.name, folder.name)
            if fingerprint(stored.bundle.leaf) == leaf:
                return stored.bundle
        return None

    def load(self, name: str, version: str) -> Stored:
        """Return one version; raises StateError or BundleError when it cannot be read."""
        folder = self._folder / name / version
        parts = {
            part: read(folder / file)
            for part, file in {
                "certificate": "cert.pem",
                "chain": "chain.pem",
                "private_key": "privkey.pem",
                "origin": _LAST,
            }.items()
        }
        certificate, key, origin = parts["certificate"], parts["private_key"], parts["origin"]
        if certificate is None or key is None or origin is None:
            raise StateError(
                f"{folder} is incomplete",
                hint=f"remove {folder.parent / 'current'} to obtain a new certificate",
            )
        try:
            about = json.loads(origin)
            ca, profile, order = text(about["ca"]), about.get("profile"), about.get("order")
            _ = [text(one) for one in (profile, order) if one is not None]
            ordered = texts(about.get("ordered", []))
        except DAMAGED as error:
            raise StateError(
                f"{folder / _LAST} cannot be read",
                hint=f"remove {folder.parent / 'current'} to obtain a new certificate",
            ) from error
        bundle = assemble(certificate=certificate, chain=parts["chain"] or b"", private_key=key)
        return Stored(
            version=version,
            bundle=bundle,
            ca=ca,
            profile=profile,
            order=order,
            ordered=ordered,
            revoked=_revocation(folder),
        )

    def mark_revoked(self, name: str, version: str, revocation: Revocation) -> Stored:
        """Note that the CA revoked a version, for good."""
        stored = self.load(name, version)
        content = json.dumps(revocation_as_json(revocation), indent=1).encode("ascii")
        write(self._folder / name / version / _REVOKED, content)
        return replace(stored, revoked=revocation)

    def revocations(self, name: str) -> dict[str, Revocation]:
        """Return the versions that were revoked, oldest first; reads no key."""
        found = {one: _revocation(self._folder / name / one) for one in self.versions(name)}
        return {version: noted for version, noted in found.items() if noted is not None}

    def revoked_leaves(self) -> frozenset[str]:
        """Return the fingerprints of all leaves that were revoked, of any certificate."""
        return frozenset(fingerprint(leaf) for leaf, _ in self._revoked())

    def is_compromised(self, private_key_pem: Secret) -> bool:
        """Tell whether a certificate with this key was revoked because the key was compromised.

        Raises BundleError when it is no key.
        """
        key = private_key_from(private_key_pem.reveal().encode("utf-8"), "the private key")
        return spki_fingerprint_of_key(key) in self.compromised_keys()

    def compromised_keys(self) -> frozenset[str]:
        """Return the fingerprints (SPKI) of keys that certificates were revoked for."""
        return frozenset(
            spki_fingerprint(leaf) for leaf, noted in self._revoked() if noted.is_compromise
        )

    def prune(self, name: str, referred: Collection[str], now: datetime) -> tuple[str, ...]:
        """Remove versions that nobody needs, and what a cut left; return those that went.

        `referred` has the leaves that must stay. The caller holds the run lock.
        """
        folder = self._folder / name
        gone = expendable(self._held(name), current=self._current(name), referred=referred, now=now)
        for version in gone:
            remove(folder / version / _LAST)
            sync_folder(folder / version)  # else a power cut could leave it whole, but for the key
        for place in [p for p in folder.iterdir() if _VERSION.fullmatch(p.name) and p.is_dir()]:
            if not _is_whole(place):
                _remove_rest(place)
        return gone

    def names(self) -> tuple[str, ...]:
        """Return the names of all certificates that anything is held of."""
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(folder.name for folder in self._folder.iterdir() if folder.is_dir()))

    def _current(self, name: str) -> str | None:
        """Return the version that is current; raises StateError for a pointer that names none."""
        written = read(self._folder / name / "current")
        if written is None:
            return None
        version = written.decode("ascii", errors="replace").strip()
        if not _VERSION.fullmatch(version):
            raise StateError(
                f"{self._folder / name / 'current'} names no version",
                hint="put the name of one of the folders beside it there",
            )
        return version

    def _held(self, name: str) -> Iterator[Version]:
        """Give what bears on keeping each version; one that cannot be read is not judged."""
        for version in self.versions(name):
            leaf = self._leaf(name, version)
            if leaf is None:
                continue
            revoked = _revocation(self._folder / name / version)
            yield Version(
                name=version,
                leaf=fingerprint(leaf),
                key=spki_fingerprint(leaf),
                not_after=leaf.not_valid_after_utc,
                compromised=revoked is not None and revoked.is_compromise,
            )

    def _revoked(self) -> Iterator[tuple[x509.Certificate, Revocation]]:
        for name in self.names():
            for version, noted in self.revocations(name).items():
                leaf = self._leaf(name, version)
                if leaf is not None:
                    yield leaf, noted

    def _leaf(self, name: str, version: str) -> x509.Certificate | None:
        written = read(self._folder / name / version / "cert.pem")
        try:
            return certificates_from(written or b"", "the leaf")[0]
        except BundleError as error:
            log.warning("store certificate=%s version=%s error=%s", name, version, error.kind)
            return None


def _is_whole(version: Path) -> bool:
    return (version / _LAST).is_file()


def _revocation(version: Path) -> Revocation | None:
    written = read(version / _REVOKED)
    if written is None:
        return None
    try:
        return revocation_from_json(json.loads(written))
    except DAMAGED as error:
        raise StateError(
            f"{version / _REVOKED} cannot be read",
            hint="remove it, and revoke the certificate again: distribute revoke",
        ) from error


def _remove_rest(version: Path) -> None:
    """Remove what there is of a version that is not whole; foreign files keep its folder."""
    for file in _FILES:
        remove(version / file)
    for left in [path for path in version.iterdir() if is_temporary(path)]:
        remove(left)
    remove_folder(version)
