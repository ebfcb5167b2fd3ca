"""What a CA suggests on when to renew (ACME Renewal Information, RFC 9773)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalInfo:
    """The window in which the CA wants a certificate renewed (RFC 9773 section 4.2)."""

    start: datetime
    end: datetime
    explanation_url: str | None = None
    """A page on why the window is where it is: CAs give one for incidents."""
    ask_again: datetime
    """Before this the CA does not want to be asked again (its Retry-After)."""


def drawn(info: RenewalInfo, leaf: str) -> datetime:
    """Return the moment in the window at which to renew the certificate of that fingerprint.

    RFC 9773 wants it uniformly random and drawn once. It is computed from leaf and window: spread
    over all certificates like a random one, and the same in every run and dry run, with nothing to
    keep. Another window gives another moment.
    """
    seed = sha256(f"{leaf} {info.start.isoformat()} {info.end.isoformat()}".encode()).digest()
    fraction = int.from_bytes(seed[:8]) / 2**64
    return info.start + timedelta(seconds=fraction * (info.end - info.start).total_seconds())
