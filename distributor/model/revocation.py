"""That a certificate was revoked: when, and for which reason."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from distributor.model.times import from_rfc3339, rfc3339

Reason = Literal[
    "unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation"
]
REASONS: Final[dict[Reason, int]] = {
    "unspecified": 0,
    "keyCompromise": 1,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}
"""CRLReason names and codes (RFC 5280 section 5.3.1), those that a subscriber may give."""
KEY_COMPROMISE: Final[Reason] = "keyCompromise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What is noted of a revoked certificate."""

    when: datetime
    reason: Reason

    @property
    def is_compromise(self) -> bool:
        """Whether its key got into other hands, so that it must never be used again."""
        return self.reason == KEY_COMPROMISE

    def __str__(self) -> str:
        return f"revoked at {rfc3339(self.when)} ({self.reason})"


def revocation_as_json(revocation: Revocation) -> dict[str, Any]:
    """Return it as plain data."""
    return {"version": 0, "when": rfc3339(revocation.when), "reason": revocation.reason}


def revocation_from_json(data: Any) -> Revocation:
    """Return what `revocation_as_json` wrote; raises ValueError, KeyError or TypeError else."""
    reason = data["reason"]
    if reason not in REASONS:
        raise ValueError("no reason of a revocation")
    return Revocation(when=from_rfc3339(data["when"]), reason=reason)
