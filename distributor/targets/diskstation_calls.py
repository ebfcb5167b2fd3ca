"""The calls of DSM that deliveries need, whichever way they are made."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from distributor.model.bundle import Bundle
from distributor.protocol.dsm import Entry, Move


class Calls(Protocol):
    """What `clients.dsm.DsmSession` documents; every one raises HostError."""

    def certificates(self) -> tuple[Entry, ...]:
        """Return what the box lists."""

    def import_bundle(
        self, bundle: Bundle, *, entry_id: str, description: str, as_default: bool
    ) -> str | None:
        """Send an import once, and return the id that the box answered, if it did."""

    def move(self, moves: Sequence[Move]) -> None:
        """Move services to other entries."""

    def make_default(self, entry_id: str, description: str) -> None:
        """Make an entry the default."""

    def delete(self, entry_ids: Iterable[str]) -> None:
        """Remove entries."""
