"""What a CA suggests about when to renew one certificate: ACME Renewal Information (RFC 9773)."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalInfo:
    """The window in which a CA wants a certificate renewed, and when to ask it again (UTC).

    A window that lies in the past means: at once (RFC 9773 section 4.2).
    """

    start: datetime
    end: datetime
    """Later than `start`."""
    explanation_url: str | None
    """A page of the CA on why the window is where it is; its text, made printable."""
    ask_again: datetime
    """Not to be asked for this certificate before (section 4.3)."""
