"""What the web server of a host answered to a question without a login."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainAnswer:
    """The answer of a plain HTTP port."""

    status: int
    location: str | None
    """Where it sends the browser, as it says it; foreign text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The answer of the HTTPS port to a request for one host name."""

    status: int
    skew: timedelta | None
    """How far its clock is ahead of ours, by its Date header; None where it sends none."""
