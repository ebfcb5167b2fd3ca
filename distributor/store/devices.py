"""devices.toml: the token that lets an account with 2FA in without a one-time code.

A dry run keeps one too: it has cost a one-time code, and a box takes no code twice, so that the run
right after it would be refused.
"""

import threading
import tomllib
from pathlib import Path
from typing import Any

from distributor.model.errors import StateError
from distributor.model.secret import DeviceToken, Secret
from distributor.store.files import read, write


class DeviceTokens:
    """A token per host and user."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def find(self, host: str, user: str) -> DeviceToken | None:
        """Return the token that `host` gave to `user`, or None."""
        with self._lock:
            noted = self._read().get(host, {}).get(user)
        return None if noted is None else DeviceToken(noted["name"], Secret(noted["id"]))

    def keep(self, host: str, user: str, token: DeviceToken) -> None:
        """Keep a token in place of what was kept for the host and user."""
        import tomli_w

        with self._lock:
            hosts = self._read()
            hosts[host] = hosts.get(host, {}) | {
                user: {"name": token.name, "id": token.id.reveal()}
            }
            write(self._path, tomli_w.dumps({"version": 0, "hosts": hosts}).encode("utf-8"))

    def _read(self) -> dict[str, dict[str, dict[str, str]]]:
        written = read(self._path)
        if written is None:
            return {}
        try:
            hosts: dict[str, dict[str, Any]] = tomllib.loads(written.decode("utf-8"))["hosts"]
            return {
                str(host): {
                    str(user): {"name": str(noted["name"]), "id": str(noted["id"])}
                    for user, noted in users.items()
                }
                for host, users in hosts.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            # The cause is not chained: it could quote the file.
            raise StateError(
                f"{self._path} cannot be read",
                hint="remove it and enrol again: distribute trust HOST",
            ) from None
