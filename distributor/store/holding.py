"""holds.toml: hosts that did not take what they were to get."""

from pathlib import Path
from typing import Any

from distributor.model.holds import Hold
from distributor.model.times import from_rfc3339, rfc3339
from distributor.store.files import text
from distributor.store.host_tables import HostTables


class HoldsFile:
    """A table per host; a host of which nothing is to be remembered has none."""

    def __init__(self, path: Path) -> None:
        remedy = "remove it: hosts that were left alone are then tried again"
        self._tables = HostTables(path, remedy)

    def of(self, host: str) -> Hold | None:
        """Return what is remembered of `host`, or None; raises StateError for a broken file."""
        return self._tables.read(host, _parsed)

    def leaves(self) -> frozenset[str]:
        """Return the leaves that any host did not take."""
        held = [self.of(host) for host in self._tables.hosts()]
        return frozenset(leaf for one in held if one is not None for leaf in one.leaves)

    def put(self, host: str, hold: Hold | None) -> None:
        """Remember `hold` of `host`, or forget it for None; writes only what changes."""
        with self._tables.changing(host) as table:
            table.clear()
            if hold is not None:
                table |= {
                    "leaves": sorted(hold.leaves),
                    "rolled_back": hold.rolled_back,
                    "by": hold.by,
                    "since": rfc3339(hold.since),
                    "reason": hold.reason,
                }


def _parsed(table: Any) -> Hold:
    if table["by"] not in {"run", "person"} or type(table["rolled_back"]) is not int:
        raise ValueError("not a hold")
    return Hold(
        leaves=frozenset(map(text, table["leaves"])),
        rolled_back=table["rolled_back"],
        by=table["by"],
        since=from_rfc3339(table["since"]),
        reason=text(table["reason"]),
    )
