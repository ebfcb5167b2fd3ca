"""trust.toml: what each host was pinned, or last verified, to serve."""

import threading
import tomllib
from pathlib import Path
from typing import Any

from distributor.model.errors import StateError
from distributor.model.times import from_rfc3339, rfc3339
from distributor.model.trust import PinnedLeaf
from distributor.store.files import read, write


class TrustFile:
    """A table per host with the fingerprint of its leaf."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()  # hosts are verified in parallel; the file is one

    def pinned(self, host: str) -> PinnedLeaf | None:
        """Return what is pinned for `host`, or None."""
        data = self._hosts().get(host)
        if data is None:
            return None
        try:
            return PinnedLeaf(
                leaf=data["tls_leaf"],
                not_after=from_rfc3339(data["not_after"]),
                since=from_rfc3339(data["since"]),
                by=data["by"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise self._broken() from error

    def pin(self, host: str, leaf: PinnedLeaf) -> None:
        """Pin `leaf` for `host`, in place of what was pinned for it."""
        import tomli_w

        with self._writing:
            hosts = self._hosts()
            hosts[host] = {
                "tls_leaf": leaf.leaf,
                "not_after": rfc3339(leaf.not_after),
                "since": rfc3339(leaf.since),
                "by": leaf.by,
            }
            write(self._path, tomli_w.dumps({"version": 0, "hosts": hosts}).encode("utf-8"))

    def _hosts(self) -> dict[str, Any]:
        written = read(self._path)
        if written is None:
            return {}
        try:
            hosts = tomllib.loads(written.decode("utf-8"))["hosts"]
        except (ValueError, KeyError) as error:
            raise self._broken() from error
        if not isinstance(hosts, dict):
            raise self._broken()
        return hosts

    def _broken(self) -> StateError:
        return StateError(
            f"{self._path} cannot be read",
            hint="remove it and pin the hosts again: distribute trust HOST",
        )
