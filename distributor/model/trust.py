"""Whom to believe that it is the host: a set of pins, never a guess and never nobody."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from distributor.model.bundle import fingerprint, spki_fingerprint
from distributor.model.errors import Untrusted
from distributor.model.times import rfc3339

EXPIRED_AT_MOST: Final = timedelta(days=30)
"""How long after its end a pinned leaf still identifies its host: a late renewal must get in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedLeaf:
    """A line of trust.toml: what one host was seen, or told, to serve."""

    leaf: str
    """Fingerprint."""
    not_after: datetime
    since: datetime
    """When it was pinned or last verified."""
    by: str
    """`trust` when a person pinned it, `delivery` when it was verified after a delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the leaf of one host may be: one of these leaves, or a leaf with one of these keys."""

    host: str
    leaves: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    def check(self, leaf: x509.Certificate, now: datetime) -> None:
        """Raise Untrusted unless `leaf` is one of those; expired ones only for 30 days."""
        shown, key = fingerprint(leaf), spki_fingerprint(leaf)
        if shown not in self.leaves and key not in self.keys:
            raise Untrusted(
                f"the TLS certificate is not the one that is pinned for {self.host}: "
                f"it serves {shown}",
                hint=f"if you changed it yourself: distribute trust {self.host} "
                f"--fingerprint {shown}",
                step="trust",
            )
        if now - EXPIRED_AT_MOST > leaf.not_valid_after_utc:  # which may be the last day there is
            raise Untrusted(
                f"the pinned TLS certificate ended at {rfc3339(leaf.not_valid_after_utc)}, "
                f"more than {EXPIRED_AT_MOST.days} days ago",
                hint=f"look at the box, then: distribute trust {self.host} --fingerprint {shown}",
                step="trust",
            )


def trust_of(
    host: str,
    *,
    tls_pin: str | None,
    pinned: PinnedLeaf | None,
    verified_leaf: str | None,
    during_delivery: Iterable[str],
) -> Trust:
    """Return whom to believe: the first basis that applies, alone, and the leaves of a delivery.

    The bases are the inventory's `tls_pin` (a public key), the leaf of trust.toml, and a leaf that
    a CA vouches for (`verified_leaf`: verified by the caller against `server_name`). Leaves of the
    delivery (the new one and the one a rollback would bring back) are believed only on top of a
    basis. Raises Untrusted when there is none.
    """
    extra = frozenset(during_delivery)
    if tls_pin is not None:
        return Trust(host=host, leaves=extra, keys=frozenset({tls_pin}))
    if pinned is not None:
        return Trust(host=host, leaves=extra | {pinned.leaf})
    if verified_leaf is not None:
        return Trust(host=host, leaves=extra | {verified_leaf})
    raise Untrusted(
        f"the TLS certificate of {host} was never pinned",
        hint=f"compare it with the box's own, then: distribute trust {host}",
        step="trust",
    )
