"""Folders as certbot, lego and acme.sh keep them: which of their files make a pair.

certbot: `live/NAME/{cert,chain,fullchain,privkey}.pem`, which are links into `archive/NAME/`; the
same names are those of a DSM export and of our own store. lego: `certificates/NAME.crt` (with the
chain unless it was told otherwise), `NAME.issuer.crt`, `NAME.key`, where `_` stands for the `*` of
a wildcard. acme.sh: `NAME/` or `NAME_ecc/` with `NAME.cer`, `ca.cer`, `fullchain.cer`, `NAME.key`,
where NAME may begin with a real `*`.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

LOOKED_FOR: Final = (
    "fullchain.pem or cert.pem with privkey.pem (certbot), NAME.crt with NAME.key (lego), "
    "fullchain.cer or NAME.cer with NAME.key (acme.sh)"
)
"""The pairs that are known, for people."""

_ISSUER: Final = ".issuer"
_OF_ANY_NAME: Final = frozenset({"ca", "fullchain"})
"""Stems of acme.sh's files that name no certificate."""


@dataclass(frozen=True, slots=True)
class FilePair:
    """Names of the files of one certificate with its key."""

    certificate: str
    """Leaf, or leaf and chain."""
    chain: str | None
    """Chain, for a `certificate` that holds the leaf alone; None where there is no such file."""
    private_key: str


def pairs_in(names: Collection[str]) -> tuple[FilePair, ...]:
    """Return the pairs that a folder with files of these names holds, in the order of the names."""
    found = (*_certbot(names), *_lego(names), *_acme_sh(names))
    return tuple(sorted(found, key=lambda pair: (pair.certificate, pair.private_key)))


def _certbot(names: Collection[str]) -> Iterator[FilePair]:
    chain = "chain.pem" if "chain.pem" in names else None
    for certificate in ("fullchain.pem", "cert.pem"):
        if {certificate, "privkey.pem"} <= set(names):
            yield FilePair(certificate, chain, "privkey.pem")
            return


def _lego(names: Collection[str]) -> Iterator[FilePair]:
    for stem in _stems_with_key(names, ".crt"):
        issuer = f"{stem}{_ISSUER}.crt"
        if not stem.endswith(_ISSUER):
            yield FilePair(f"{stem}.crt", issuer if issuer in names else None, f"{stem}.key")


def _acme_sh(names: Collection[str]) -> Iterator[FilePair]:
    for stem in _stems_with_key(names, ".cer"):
        whole = "fullchain.cer" if "fullchain.cer" in names else f"{stem}.cer"
        if stem not in _OF_ANY_NAME:
            yield FilePair(whole, "ca.cer" if "ca.cer" in names else None, f"{stem}.key")


def _stems_with_key(names: Collection[str], suffix: str) -> Iterator[str]:
    for name in names:
        stem = name.removesuffix(suffix)
        if stem and stem != name and f"{stem}.key" in names:
            yield stem
