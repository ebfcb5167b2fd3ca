"""Which versions of a certificate, and which snapshots, are kept, and which may go. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

KEPT: Final = 5
"""The newest versions, which stay in any case: by them a superseded entry on a box is known as an
earlier delivery of ours."""

SNAPSHOTS_KEPT: Final = 5
"""The newest snapshots of a host, which stay in any case."""
SNAPSHOTS_STAY: Final = timedelta(days=30)
"""How long any snapshot stays: what a change broke may be noticed late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What bears on keeping one version that the store holds."""

    name: str
    """Its folder; names sort by the time at which the versions were obtained."""
    leaf: str
    """Fingerprint."""
    key: str
    """SPKI fingerprint."""
    not_after: datetime
    compromised: bool = False
    """Whether it was revoked because its key got into other hands."""


def expendable(
    versions: Iterable[Version],
    *,
    current: str | None,
    referred: Collection[str],
    now: datetime,
) -> tuple[str, ...]:
    """Return the names of the versions that may be removed, oldest first.

    These stay: the current one, the newest five, any that has not ended at `now` (UTC), and any
    whose leaf is in `referred`, since a rollback may need the pair. One whose key is compromised
    stays as long as another with the same key does: it is what says so. While no version is known
    to be current, nothing goes.
    """
    held = sorted(versions, key=lambda one: one.name)
    if current is None or current not in {one.name for one in held}:
        return ()
    newest = {one.name for one in held[-KEPT:]}

    def is_needed(one: Version) -> bool:
        return (
            one.name == current
            or one.name in newest
            or now <= one.not_after
            or one.leaf in referred
        )

    keys = {one.key for one in held if is_needed(one)}
    return tuple(
        one.name for one in held if not is_needed(one) and not (one.compromised and one.key in keys)
    )


def expendable_snapshots(taken: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return which snapshots of one host may be removed, oldest first, by when they were taken."""
    held = sorted(taken)
    return tuple(one for one in held[:-SNAPSHOTS_KEPT] if now - one > SNAPSHOTS_STAY)
