"""Versions of each certificate's bundle, and which of them is current."""

import json
import logging
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from distributor.model.bundle import Bundle, Certificate, assemble, describe, fingerprint
from distributor.model.errors import BundleError, StateError
from distributor.model.pem import certificates_from
from distributor.model.times import rfc3339
from distributor.store.files import make_folder, read, sync_folder, write

log = logging.getLogger(__name__)

_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
_LAST = "origin.json"
"""Written last: a version that has it is whole, one without was cut while it was saved."""


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
    is_revoked: bool = False


class Bundles:
    """`certificates/NAME/<version>/{cert,chain,fullchain,privkey}.pem` and `NAME/current`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self, name: str) -> Stored | None:
        """Return the current version, or None when there is none.

        Raises StateError or BundleError when what is there cannot be read.
        """
        written = read(self._folder / name / "current")
        if written is None:
            return None
        version = written.decode("ascii", errors="replace").strip()
        if not _VERSION.fullmatch(version):
            raise StateError(
                f"{self._folder / name / 'current'} names no version",
                hint="put the name of one of the folders beside it there",
            )
        return self._load(name, version)

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
    ) -> Stored:
        """Keep a proved bundle as a new version and make it current, as the last step."""
        mark = fingerprint(bundle.leaf).removeprefix("sha256:")[:12]
        # A run that was cut after saving obtains the same leaf again: that is the same version.
        saved = [version for version in self.versions(name) if version.endswith(mark)]
        version = saved[-1] if saved else f"{now:%Y%m%dT%H%M%SZ}-{mark}"
        folder = self._folder / name / version
        origin = {
            "version": 0,
            "ca": ca,
            "profile": profile,
            "order": order,
            "obtained": rfc3339(now),
        }
        make_folder(folder)
        for file, content in {
            "privkey.pem": bundle.private_key_pem.reveal().encode("ascii"),
            "cert.pem": bundle.leaf_pem,
            "chain.pem": bundle.chain_pem,
            "fullchain.pem": bundle.fullchain_pem,
            _LAST: json.dumps(origin, indent=1).encode("ascii"),
        }.items():
            write(folder / file, content)
        sync_folder(folder.parent)
        write(self._folder / name / "current", f"{version}\n".encode("ascii"))
        return Stored(version=version, bundle=bundle, ca=ca, profile=profile, order=order)

    def origin(self, name: str, leaf: str) -> str | None:
        """Return the directory URL of the CA that a version's leaf came from; None for others."""
        mark = leaf.removeprefix("sha256:")[:12]
        for version in self.versions(name):
            if version.endswith(mark):
                return self._load(name, version).ca or None
        return None

    def by_leaf(self, leaf: str) -> Bundle | None:
        """Return the bundle whose leaf has that fingerprint, from any certificate and version."""
        mark = leaf.removeprefix("sha256:")[:12]
        if not self._folder.is_dir():
            return None
        for folder in filter(_is_whole, sorted(self._folder.glob(f"*/*-{mark}"))):
            stored = self._load(folder.parent.name, folder.name)
            if fingerprint(stored.bundle.leaf) == leaf:
                return stored.bundle
        return None

    def _load(self, name: str, version: str) -> Stored:
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
            ca, profile, order = str(about["ca"]), about.get("profile"), about.get("order")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"{folder / _LAST} cannot be read",
                hint=f"remove {folder.parent / 'current'} to obtain a new certificate",
            ) from error
        bundle = assemble(certificate=certificate, chain=parts["chain"] or b"", private_key=key)
        return Stored(version=version, bundle=bundle, ca=ca, profile=profile, order=order)


def _is_whole(version: Path) -> bool:
    return (version / _LAST).is_file()
