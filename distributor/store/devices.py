"""devices.toml: the token that lets an account with 2FA in without a one-time code.

A dry run keeps one too: it has cost a one-time code, and a box takes no code twice, so that the run
right after it would be refused.
"""

from pathlib import Path
from typing import Any

from distributor.model.secret import DeviceToken, Secret
from distributor.store.files import text
from distributor.store.host_tables import HostTables


class DeviceTokens:
    """A token per host and user."""

    def __init__(self, path: Path) -> None:
        remedy = "remove it and enrol again: distribute trust HOST"
        self._tables = HostTables(path, remedy)

    def find(self, host: str, user: str) -> DeviceToken | None:
        """Return the token that `host` gave to `user`, or None."""
        return (self._tables.read(host, _parsed) or {}).get(user)

    def keep(self, host: str, user: str, token: DeviceToken) -> None:
        """Keep a token in place of what was kept for the host and user."""
        with self._tables.changing(host) as table:
            table[user] = {"name": token.name, "id": token.id.reveal()}


def _parsed(table: Any) -> dict[str, DeviceToken]:
    return {
        str(user): DeviceToken(text(noted["name"]), Secret(text(noted["id"])))
        for user, noted in table.items()
    }
