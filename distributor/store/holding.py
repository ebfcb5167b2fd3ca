"""holds.toml: hosts that did not take what they were to get."""

import threading
import tomllib
from pathlib import Path
from typing import Any

from distributor.model.errors import StateError
from distributor.model.holds import Hold
from distributor.model.times import from_rfc3339, rfc3339
from distributor.store.files import read, write


class HoldsFile:
    """A table per host; a host of which nothing is to be remembered has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()  # hosts are worked on in parallel; the file is one

    def of(self, host: str) -> Hold | None:
        """Return what is remembered of `host`, or None; raises StateError for a broken file."""
        data = self._hosts().get(host)
        if data is None:
            return None
        try:
            if data["by"] not in {"run", "person"} or type(data["rolled_back"]) is not int:
                raise self._broken()
            return Hold(
                leaves=frozenset(map(str, data["leaves"])),
                rolled_back=data["rolled_back"],
                by=data["by"],
                since=from_rfc3339(data["since"]),
                reason=str(data["reason"]),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise self._broken() from error

    def put(self, host: str, hold: Hold | None) -> None:
        """Remember `hold` of `host`, or forget it for None; writes only what changes."""
        import tomli_w

        with self._writing:
            if self.of(host) == hold:
                return
            hosts = self._hosts()
            hosts.pop(host, None)
            if hold is not None:
                hosts[host] = {
                    "leaves": sorted(hold.leaves),
                    "rolled_back": hold.rolled_back,
                    "by": hold.by,
                    "since": rfc3339(hold.since),
                    "reason": hold.reason,
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
            hint="remove it: hosts that were left alone are then tried again",
        )
