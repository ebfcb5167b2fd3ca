"""trust.toml: what each host was pinned, or last verified, to serve, and its SSH host key."""

from pathlib import Path
from typing import Any, Final

from distributor.model.host_keys import HostKey, PinnedKey
from distributor.model.times import from_rfc3339, rfc3339
from distributor.model.trust import BY_PERSON, PinnedLeaf
from distributor.store.files import text
from distributor.store.host_tables import HostTables

_SSH: Final = "ssh"


class TrustFile:
    """A table per host: its leaf, the leaf that a person pinned, its SSH host key."""

    def __init__(self, path: Path) -> None:
        remedy = "remove it and pin the hosts again: distribute trust HOST"
        self._tables = HostTables(path, remedy)

    def pinned(self, host: str) -> PinnedLeaf | None:
        """Return what `host` was last pinned or verified to serve, or None."""
        return self._tables.read(host, _parsed_leaf)

    def by_person(self, host: str) -> PinnedLeaf | None:
        """Return what a person pinned for `host` last, or None."""
        return self._tables.read(host, _parsed_by_person)

    def leaves(self) -> frozenset[str]:
        """Return all leaves that are pinned for any host, by whom ever."""
        hosts = self._tables.hosts()
        pins = [*map(self.pinned, hosts), *map(self.by_person, hosts)]
        return frozenset(one.leaf for one in pins if one is not None)

    def pin(self, host: str, leaf: PinnedLeaf) -> None:
        """Pin `leaf` for `host`; what a person pinned stays beside what a delivery brought."""
        written = {
            "tls_leaf": leaf.leaf,
            "not_after": rfc3339(leaf.not_after),
            "since": rfc3339(leaf.since),
            "by": leaf.by,
        }
        with self._tables.changing(host) as table:
            table.update(written)
            if leaf.by == BY_PERSON:
                table[BY_PERSON] = written

    def host_key(self, host: str) -> PinnedKey | None:
        """Return the SSH host key that a person pinned for `host`, or None."""
        return self._tables.read(host, _parsed_key)

    def pin_host_key(self, host: str, pinned: PinnedKey) -> None:
        """Pin the SSH host key of `host`, in place of any other."""
        with self._tables.changing(host) as table:
            table[_SSH] = {
                "type": pinned.key.type,
                "fingerprint": pinned.key.fingerprint,
                "since": rfc3339(pinned.since),
            }


def _parsed_leaf(table: Any) -> PinnedLeaf | None:
    return None if set(table) == {_SSH} else _parsed(table)


def _parsed_key(table: Any) -> PinnedKey | None:
    if _SSH not in table:
        return None
    written = table[_SSH]
    return PinnedKey(
        HostKey(type=text(written["type"]), fingerprint=text(written["fingerprint"])),
        since=from_rfc3339(written["since"]),
    )


def _parsed(table: Any) -> PinnedLeaf:
    return PinnedLeaf(
        leaf=text(table["tls_leaf"]),
        not_after=from_rfc3339(table["not_after"]),
        since=from_rfc3339(table["since"]),
        by=text(table["by"]),
    )


def _parsed_by_person(table: Any) -> PinnedLeaf | None:
    return _parsed(table[BY_PERSON]) if BY_PERSON in table else None
