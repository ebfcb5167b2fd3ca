"""The words and signs that text output shares."""

from datetime import datetime
from typing import Final

from distributor.model.bundle import NEXT, Certificate
from distributor.model.report import CertificateStatus, HostStatus
from distributor.model.state import Absent, Address, FactValue, Unreadable
from distributor.model.text import printable

SHORT_FINGERPRINT: Final = len("sha256:") + 12

STYLES: Final[dict[HostStatus | CertificateStatus, str]] = {
    "unchanged": "green",
    "current": "green",
    "changed": "bold green",
    "renewed": "bold green",
    "planned": "yellow",
    "due": "yellow",
    "skipped": "yellow",
    "held": "yellow",
    "refused": "bold yellow",
    "failed": "bold red",
    "rolled_back": "bold red",
    "broken": "bold white on red",
}
"""Colour beside the word, never instead of it."""


def fact_text(value: FactValue | Absent | None) -> str:
    """Return a fact on one line, fingerprints shortened."""
    if value is None:
        return "(none)"
    if isinstance(value, Unreadable):
        return "(cannot be read)"
    if isinstance(value, Absent):
        return "(removed)"
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(fingerprint_text(one) for one in value) or "(none)"
    return fingerprint_text(str(value))


def fingerprint_text(value: str) -> str:
    """Return a fingerprint by its first twelve digits, and any other text as it is."""
    if value.startswith("sha256:"):
        return printable(value[:SHORT_FINGERPRINT])
    return (
        f"(to be issued: {printable(value.removeprefix(NEXT))})"
        if value.startswith(NEXT)
        else printable(value)
    )


def days_left(not_after: datetime, now: datetime) -> str:
    """Return how long something is still valid, in words."""
    seconds = (not_after - now).total_seconds()
    days = int(abs(seconds) // 86400)
    count = f"{days} day" + ("" if days == 1 else "s")
    return f"{count} left" if seconds >= 0 else f"ended {count} ago"


def certificate_text(certificate: Certificate, now: datetime) -> str:
    """Return names, end and fingerprint of a certificate on one line."""
    names = ", ".join(printable(name) for name in certificate.names) or "no names"
    if certificate.not_after is None:
        return f"{names}, {printable(certificate.key_type)}"
    ends = f"{certificate.not_after:%Y-%m-%d}"
    return (
        f"{names}, until {ends} ({days_left(certificate.not_after, now)}), "
        f"{fingerprint_text(certificate.leaf)}"
    )
