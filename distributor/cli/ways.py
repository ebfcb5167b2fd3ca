"""How `distribute show` looks at files and ports, as its options say."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from distributor.cli.passphrase import Passphrase

if TYPE_CHECKING:
    from distributor.model.hosts import StartTls

_USUAL_ROOTS: Final = "known to clients (Mozilla's list)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How files and ports are looked at."""

    passphrase: Passphrase = field(default_factory=Passphrase)
    ca_bundle: Path | None = None
    """Roots to judge by; None for the usual ones."""
    starttls: "StartTls | None" = None
    legacy_tls: bool = False
    server_name: str | None = None
    """Sent as SNI; None for the host's own."""

    def port_options(self) -> list[str]:
        """Return the options given that are for ports alone."""
        given = {
            "--starttls": self.starttls,
            "--legacy-tls": self.legacy_tls,
            "--server-name": self.server_name,
        }
        return [name for name, value in given.items() if value]


def roots_words(ca_bundle: Path | None) -> str:
    """Say where the roots come from that a chain is judged by."""
    return _USUAL_ROOTS if ca_bundle is None else f"known from {ca_bundle}"
