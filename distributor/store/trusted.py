"""trust.toml: what each host was pinned, or last verified, to serve."""

from pathlib import Path
from typing import Any

from distributor.model.times import from_rfc3339, rfc3339
from distributor.model.trust import PinnedLeaf
from distributor.store.host_tables import HostTables


class TrustFile:
    """A table per host with the fingerprint of its leaf."""

    def __init__(self, path: Path) -> None:
        remedy = "remove it and pin the hosts again: distribute trust HOST"
        self._tables = HostTables(path, remedy)

    def pinned(self, host: str) -> PinnedLeaf | None:
        """Return what is pinned for `host`, or None."""
        return self._tables.read(host, _parsed)

    def pin(self, host: str, leaf: PinnedLeaf) -> None:
        """Pin `leaf` for `host`, in place of what was pinned for it."""
        with self._tables.changing(host) as table:
            table |= {
                "tls_leaf": leaf.leaf,
                "not_after": rfc3339(leaf.not_after),
                "since": rfc3339(leaf.since),
                "by": leaf.by,
            }


def _parsed(table: Any) -> PinnedLeaf:
    return PinnedLeaf(
        leaf=table["tls_leaf"],
        not_after=from_rfc3339(table["not_after"]),
        since=from_rfc3339(table["since"]),
        by=table["by"],
    )
