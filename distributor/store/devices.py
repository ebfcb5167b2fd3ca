"""devices.toml: the token that lets an account with 2FA in without a one-time code."""

from pathlib import Path
from typing import Any

from distributor.model.secret import DeviceToken, Secret
from distributor.store.host_tables import HostTables


class DeviceTokens:
    """A token per host and user; kept in memory too, so that a dry run need not write."""

    def __init__(self, path: Path, *, persist: bool) -> None:
        remedy = "remove it and enrol again: distribute trust HOST"
        self._tables = HostTables(path, remedy)
        self._persist = persist
        self._fresh: dict[tuple[str, str], DeviceToken] = {}

    def find(self, host: str, user: str) -> DeviceToken | None:
        """Return the token that `host` gave to `user`, or None."""
        known = self._fresh.get((host, user))
        if known is not None:
            return known
        return (self._tables.read(host, _parsed) or {}).get(user)

    def keep(self, host: str, user: str, token: DeviceToken) -> None:
        """Keep a token in place of what was kept for the host and user."""
        self._fresh[(host, user)] = token
        if self._persist:
            with self._tables.changing(host) as table:
                table[user] = {"name": token.name, "id": token.id.reveal()}


def _parsed(table: Any) -> dict[str, DeviceToken]:
    return {
        str(user): DeviceToken(str(noted["name"]), Secret(str(noted["id"])))
        for user, noted in table.items()
    }
