"""Whom to believe that it is the host: a set of pins, never a guess and never nobody."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from distributor.model.bundle import fingerprint, spki_fingerprint
from distributor.model.choice import SYSTEM_DEFAULT
from distributor.model.errors import Untrusted
from distributor.model.state import CERTIFICATE, DEFAULT, LEAF, Address, State
from distributor.model.times import rfc3339

EXPIRED_AT_MOST: Final = timedelta(days=30)
"""How long after its end a leaf still identifies its host: a late renewal must get in."""
BY_PERSON: Final = "trust"
"""Value of `PinnedLeaf.by` when a person looked at the leaf and pinned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedLeaf:
    """A line of trust.toml: what one host was seen, or told, to serve."""

    leaf: str
    """Fingerprint."""
    not_after: datetime
    since: datetime
    """When it was pinned or last verified."""
    by: str
    """`trust` when a person pinned it, `delivery` when it was verified after a delivery, or after
    one was put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the leaf of one host may be: one of these leaves, or a leaf with one of these keys."""

    host: str
    leaves: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    pinned_late: PinnedLeaf | None = None
    """A leaf that had ended when a person pinned it, as on a box that lay on a shelf."""
    revoked: frozenset[str] = frozenset()
    """Leaves that count for nobody, whatever else says so: their key may be in other hands."""

    def check(self, leaf: x509.Certificate, now: datetime) -> None:
        """Raise Untrusted unless `leaf` is one of those.

        A leaf that is pinned as such is believed for 30 days after its end, or after a person
        pinned it in spite of that; a pinned key, which the inventory names, has no end.
        """
        shown = fingerprint(leaf)
        if shown in self.revoked:
            raise Untrusted(
                f"it serves {shown}, which was revoked: whoever has its key could pretend to be "
                f"{self.host}",
                hint="bring another certificate to the box by hand, then: "
                f"distribute trust {self.host}",
                step="trust",
            )
        if spki_fingerprint(leaf) in self.keys:
            return
        if shown not in self.leaves:
            raise Untrusted(
                f"the TLS certificate is not the one that is pinned for {self.host}: "
                f"it serves {shown}",
                hint=f"if you changed it yourself: distribute trust {self.host} "
                f"--fingerprint {shown}",
                step="trust",
            )
        late = self.pinned_late
        counts_from = leaf.not_valid_after_utc
        if late is not None and late.leaf == shown:
            counts_from = late.since
        if now - EXPIRED_AT_MOST > counts_from:  # which may be the last day there is
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
    revoked: frozenset[str] = frozenset(),
) -> Trust:
    """Return whom to believe: the first basis that applies, alone, and the leaves of a delivery.

    The bases are the inventory's `tls_pin` (a public key), the leaf of trust.toml, and a leaf that
    a CA vouches for (`verified_leaf`: verified by the caller against `server_name`). Leaves of the
    delivery (the new one and the one a rollback would bring back) are believed only on top of a
    basis, and a leaf in `revoked` never. Raises Untrusted when there is no basis.
    """
    extra = frozenset(during_delivery)
    if tls_pin is not None:
        return Trust(host=host, leaves=extra, keys=frozenset({tls_pin}), revoked=revoked)
    if pinned is not None:
        is_late = pinned.by == BY_PERSON and pinned.since > pinned.not_after
        return Trust(
            host=host,
            leaves=extra | {pinned.leaf},
            pinned_late=pinned if is_late else None,
            revoked=revoked,
        )
    if verified_leaf is not None:
        return Trust(host=host, leaves=extra | {verified_leaf}, revoked=revoked)
    raise Untrusted(
        f"the TLS certificate of {host} was never pinned",
        hint=f"compare it with the box's own, then: distribute trust {host}",
        step="trust",
    )


def own_entry(state: State) -> Address | None:
    """Return the entry that a host's own HTTPS port serves, if `state` tells.

    That port answers with the certificate of `system/default`, or the default where a host has no
    such service; a router has one certificate, which serves everything.
    """
    services = [one for one in state.of_kind("service") if one.id == SYSTEM_DEFAULT]
    for place in (*services, DEFAULT):
        entry = state.get(place, CERTIFICATE)
        if isinstance(entry, Address):
            return entry
    entries = state.of_kind("certificate")
    return entries[0] if len(state.facts) == len(entries) == 1 else None


def own_leaf(state: State) -> str | None:
    """Return the leaf that a host's own HTTPS port showed when `state` was observed, if it did.

    Leaves of other services say nothing of who the host is.
    """
    entry = own_entry(state)
    leaf = state.get(entry, LEAF) if entry is not None else None
    return leaf if isinstance(leaf, str) else None
