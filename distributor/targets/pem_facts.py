"""What PEM files on a host tell, as facts: names, dates and fingerprints, never a key."""

from collections.abc import Sequence
from typing import Final

from cryptography import x509

from distributor.model.bundle import (
    Certificate,
    describe,
    spki_fingerprint,
    spki_fingerprint_of_key,
)
from distributor.model.errors import BundleError
from distributor.model.pem import certificates_from, private_key_from
from distributor.model.state import (
    CHAIN,
    ISSUED_BY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    SELF_SIGNED,
    UNREADABLE,
    UPLOADED,
    Facts,
    FactValue,
)
from distributor.model.times import rfc3339

OF_CERTIFICATES: Final = (
    LEAF,
    CHAIN,
    NAMES,
    NOT_BEFORE,
    NOT_AFTER,
    ISSUED_BY,
    MANAGED_BY,
)
_FACTORY: Final = "Synology Inc. CA"
"""Common name of the CA that a box makes to sign its first certificate (dsm-ssh facts 2.1)."""


def certificates_of(content: bytes) -> tuple[x509.Certificate, ...] | None:
    """Return the certificates in a file, none of an empty one; None for what cannot be read."""
    if not content.strip():
        return ()
    try:
        return certificates_from(content, "the file")
    except BundleError:
        return None


def facts_of(certificates: Sequence[x509.Certificate] | None) -> dict[str, FactValue]:
    """Return what leaf and chain tell; every fact is UNREADABLE where they cannot be read."""
    if not certificates:
        return {} if certificates is not None else dict.fromkeys(OF_CERTIFICATES, UNREADABLE)
    try:
        told = describe(certificates, "")
    except BundleError:
        return dict.fromkeys(OF_CERTIFICATES, UNREADABLE)
    leaf = certificates[0]
    is_own = leaf.issuer == leaf.subject or told.issued_by == _FACTORY
    return {
        LEAF: told.leaf,
        CHAIN: told.chain,
        NAMES: told.names,
        NOT_BEFORE: rfc3339(leaf.not_valid_before_utc),
        NOT_AFTER: rfc3339(leaf.not_valid_after_utc),
        ISSUED_BY: told.issued_by,
        MANAGED_BY: SELF_SIGNED if is_own else UPLOADED,
    }


def key_of(content: bytes) -> str | None:
    """Return the fingerprint of the key in a file; None for what holds no usable key."""
    try:
        return spki_fingerprint_of_key(private_key_from(content, "the file"))
    except BundleError:
        return None


def is_pair(certificates: Sequence[x509.Certificate] | None, key: str | None) -> bool:
    """Tell whether a key belongs to the first of the certificates: a server can start with them."""
    if not certificates or key is None:
        return False
    return spki_fingerprint(certificates[0]) == key


def facts_wanted(certificate: Certificate) -> dict[str, FactValue]:
    """Return the facts of a file that holds leaf and chain; a forecast has no chain or dates."""
    wanted: dict[str, FactValue] = {LEAF: certificate.leaf, NAMES: certificate.names}
    if not certificate.is_forecast:
        wanted[CHAIN] = certificate.chain
    if certificate.not_after is not None:
        wanted |= {
            NOT_AFTER: rfc3339(certificate.not_after),
            ISSUED_BY: certificate.issued_by,
        }
    return wanted


def agrees(now: Facts, before: Facts) -> bool:
    """Tell whether a file that tells `now` may be the one that told `before`.

    Then what a port showed may have been put beside its leaf or chain (`with_served`).
    """
    return now.keys() == before.keys() and all(
        value == before[fact] or (fact in {LEAF, CHAIN} and _is_among(value, before[fact]))
        for fact, value in now.items()
    )


def with_served(facts: Facts, shown: Sequence[Certificate]) -> dict[str, FactValue]:
    """Return the facts, with all that is in play where a port serves another leaf or chain.

    Such a port was not told of what the files hold by now: that is different from any single leaf
    or chain, so that it is told.
    """
    merged = dict(facts)
    leaf, chain = facts.get(LEAF), facts.get(CHAIN)
    leaves = {one.leaf for one in shown}
    if isinstance(leaf, str) and leaves - {leaf}:
        merged[LEAF] = tuple(sorted({leaf, *leaves}))
    elif isinstance(chain, tuple) and (chains := {one.chain for one in shown} - {chain}):
        merged[CHAIN] = tuple(sorted(", ".join(one) for one in {chain, *chains}))
    return merged


def _is_among(value: FactValue, merged: FactValue) -> bool:
    shown = ", ".join(value) if isinstance(value, tuple) else value
    return isinstance(merged, tuple) and shown in merged
