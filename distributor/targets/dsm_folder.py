"""A folder of a DiskStation with a certificate's files, and what these tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from distributor.model.bundle import Certificate, describe, fingerprint, is_signed_by
from distributor.model.errors import BundleError
from distributor.model.pem import certificates_from
from distributor.protocol.dsm_survey import PAIRS, SeenFile, Survey

HALVES: Final = ("RSA-", "ECC-")
"""How the files of an entry with two pairs begin (dsm-ssh fact 5)."""
UNREAD: Final = "unreadable"
"""Stands for the leaf or key of a file that is missing, or holds something else."""
_OWN_CA: Final = "syno-ca-cert.pem"
_RENEWED: Final = "renew.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder with the files of a pair, or of two."""

    path: str
    files: Mapping[str, SeenFile]
    leaves: tuple[str, ...]
    """Fingerprint of the first certificate of each file that has to begin with the leaf."""
    chains: tuple[tuple[str, ...], ...]
    """What follows the leaf, in each file that tells."""
    keys: tuple[str, ...]
    """Fingerprints of the public halves (SPKI)."""
    shown: Certificate | None = field(repr=False)
    """What its certificate tells of itself; None when that cannot be read."""
    self_signed: bool
    """Whether the box made and signed it by itself."""

    @property
    def pair(self) -> dict[str, SeenFile]:
        """The files of the pair, or pairs."""
        return {name: seen for name, seen in self.files.items() if name in PAIRS}

    @property
    def is_dual(self) -> bool:
        """Whether it has files of an RSA or an ECC half."""
        return any(name.startswith(HALVES) for name in self.files)

    @property
    def is_sound(self) -> bool:
        """Whether a server could start with it: one leaf, and the key of that."""
        return (
            self.shown is not None
            and UNREAD not in self.leaves
            and len(set(self.leaves)) == 1
            and set(self.keys) == {self.shown.key}
        )

    @property
    def renewed_by_box(self) -> bool:
        """Whether DSM's own client obtained it, and renews it (dsm-ssh facts 1.3)."""
        return _RENEWED in self.files


def folders_of(survey: Survey) -> dict[str, Folder]:
    """Return the folders that hold a file of a pair, by path."""
    return {
        path: _Reader(path, files, survey).folder()
        for path, files in survey.folders.items()
        if any(name in PAIRS for name in files)
    }


def published_by(survey: Survey) -> dict[str, tuple[str, ...]]:
    """Return the leaves that the web server reads from each folder of its own layer."""
    return {
        path: tuple(_first(_certificates(survey, digest, path)) for digest in digests)
        for path, digests in survey.layer.items()
    }


class _Reader:
    """Reads the files of one folder."""

    def __init__(self, path: str, files: Mapping[str, SeenFile], survey: Survey) -> None:
        self._path = path
        self._files = files
        self._survey = survey

    def folder(self) -> Folder:
        leaves: list[str] = []
        chains: list[tuple[str, ...]] = []
        keys: list[str] = []
        halves = [half for half in ("", *HALVES) if self._has(half)]
        for half in halves:
            own = self._certificates(f"{half}cert.pem")
            full = self._certificates(f"{half}fullchain.pem")
            leaves += map(_first, (own, full))
            chains += [_chain(full[1:])] if full else []
            if f"{half}chain.pem" in self._files:
                chain = self._certificates(f"{half}chain.pem")
                chains.append(_chain(chain) if chain else (UNREAD,))
            keys.append(self._key(f"{half}privkey.pem"))
        leaf = self._leaf(halves)
        return Folder(
            path=self._path,
            files=self._files,
            leaves=tuple(leaves),
            chains=tuple(chains),
            keys=tuple(keys),
            shown=_described(leaf),
            self_signed=self._is_self_signed(leaf),
        )

    def _has(self, half: str) -> bool:
        return any(name in PAIRS and name.startswith(half) for name in self._files) and (
            half != "" or any(name in PAIRS and not name.startswith(HALVES) for name in self._files)
        )

    def _leaf(self, halves: list[str]) -> x509.Certificate | None:
        found = self._certificates(f"{halves[0]}cert.pem")
        return found[0] if found else None

    def _is_self_signed(self, leaf: x509.Certificate | None) -> bool:
        if _OWN_CA not in self._files:
            return False
        authority = self._certificates(_OWN_CA)
        return leaf is None or not authority or is_signed_by(leaf, authority[0])

    def _certificates(self, name: str) -> tuple[x509.Certificate, ...]:
        """Return the certificates of a file; none where there is no such file, or nothing else."""
        seen = self._files.get(name)
        return _certificates(self._survey, seen.digest if seen is not None else None, name)

    def _key(self, name: str) -> str:
        seen = self._files.get(name)
        public = self._survey.public_keys.get(seen.digest) if seen is not None else None
        return _spki(public) if public is not None else UNREAD


def _certificates(survey: Survey, digest: str | None, name: str) -> tuple[x509.Certificate, ...]:
    content = survey.contents.get(digest) if digest is not None else None
    try:
        return certificates_from(content, name) if content is not None else ()
    except BundleError:
        return ()  # what it holds instead does not matter: it is brought anew


def _described(leaf: x509.Certificate | None) -> Certificate | None:
    try:
        return describe((leaf,), "") if leaf is not None else None
    except BundleError:
        return None  # a leaf with malformed names: it can be told by its fingerprint alone


def _first(links: tuple[x509.Certificate, ...]) -> str:
    return fingerprint(links[0]) if links else UNREAD


def _chain(links: tuple[x509.Certificate, ...]) -> tuple[str, ...]:
    return tuple(map(fingerprint, links))


def _spki(pem: bytes) -> str:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return UNREAD
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + sha256(der).hexdigest()
