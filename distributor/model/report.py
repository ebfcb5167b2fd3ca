"""How a run ended: an outcome per certificate and host, and the one exit code they make."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError
from distributor.model.hazards import Hazard
from distributor.model.plan import Plan, digest_of
from distributor.model.renewal import Outlook

HostStatus = Literal[
    "unchanged",
    "planned",
    "changed",
    "refused",
    "failed",
    "rolled_back",
    "broken",
    "skipped",
    "held",
]
CertificateStatus = Literal["current", "renewed", "due", "failed"]
Proof = Literal["handshake", "dates", "files"]

OK: Final = 0
NOT_WELL: Final = 1
USAGE: Final = 2
NOT_OBTAINED: Final = 3
PENDING: Final = 4
BROKEN: Final = 5
LOCKED: Final = 6
INTERRUPTED: Final = 130

_WELL: Final = frozenset({"unchanged", "planned", "changed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateOutcome:
    """What became of one certificate of the inventory."""

    name: str
    status: CertificateStatus
    reason: str = ""
    certificate: Certificate | None = None
    """What the store holds at the end; in a dry run, what would come."""
    error: DistributorError | None = None
    warnings: tuple[str, ...] = ()
    outlook: Outlook | None = None
    """When the one in the store will be due; None where there is none, or one is due now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one host."""

    host: str
    kind: str
    via: str
    status: HostStatus
    certificates: tuple[str, ...] = ()
    seconds: float = 0.0
    proof: Proof | None = None
    plan: Plan | None = None
    endpoints: tuple[Served, ...] = ()
    wanted: tuple[Certificate, ...] = ()
    """The certificates that its endpoints were held against."""
    hazards: tuple[Hazard, ...] = ()
    error: DistributorError | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether nobody has to look at this host."""
        return self.status in _WELL


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run, in the inventory's order."""

    started: datetime
    seconds: float
    dry_run: bool
    certificates: tuple[CertificateOutcome, ...]
    hosts: tuple[Outcome, ...]
    interrupted: bool = False
    want_exit_code: bool = False
    """Whether pending changes of a dry run show in the exit code."""
    asked_back: bool = False
    """Whether putting back is what was asked for."""

    @property
    def summary(self) -> dict[str, int]:
        """How many hosts have each status."""
        return dict(Counter(outcome.status for outcome in self.hosts))

    @property
    def plan_digest(self) -> str:
        """SHA-256 (hex) over the plans of all hosts that were planned, in any order."""
        return plans_digest([outcome.plan for outcome in self.hosts if outcome.plan is not None])

    @property
    def exit_code(self) -> int:
        """The exit code that tells the truth: 5, then interrupted, 3, 1, 4, 0."""
        if any(outcome.status == "broken" for outcome in self.hosts):
            return BROKEN
        if self.interrupted:
            return INTERRUPTED
        if any(outcome.status == "failed" for outcome in self.certificates):
            return NOT_OBTAINED
        if not all(map(self._is_well, self.hosts)):
            return NOT_WELL
        if self.dry_run and self.want_exit_code and self._is_pending:
            return PENDING
        return OK

    def _is_well(self, outcome: Outcome) -> bool:
        is_back = self.asked_back and outcome.status == "rolled_back" and outcome.error is None
        return outcome.is_well or is_back

    @property
    def _is_pending(self) -> bool:
        due = any(outcome.status == "due" for outcome in self.certificates)
        return due or any(outcome.status == "planned" for outcome in self.hosts)


def plans_digest(plans: Sequence[Plan]) -> str:
    """Return the digest of a set of plans: the same for the same plans in any order."""
    return digest_of(sorted(plan.digest for plan in plans))
