"""Times as text."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Return an aware time as `2026-11-21T02:00:00Z` (RFC 3339, UTC, whole seconds)."""
    # Not strftime: it writes the years before 1000, which a certificate can hold, without zeros.
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> datetime:
    """Return the aware UTC time of a text made by `rfc3339`; raises ValueError for others."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
