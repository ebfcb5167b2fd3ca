"""Every error of the product, as one tree.

```
DistributorError                 host, step, what to try
├── InventoryError               all problems, each with key path and line
├── UsageError                   the command asks for something that cannot be
├── LockedError                  another run is at work
├── Interrupted                  a person or the system asked to stop
├── StateError                   the state folder cannot be read or written
├── SecretError                  a secret's reference gives no value
├── BundleError                  the certificate, chain and key do not make a bundle
│   ├── KeyMismatch  BrokenChain  NameNotCovered  Expired (NotYetValid)
│   ├── Revoked  WeakKey  EncryptedKey
├── HostError
│   ├── Unreachable              may be retried
│   ├── Untrusted  AuthRefused   never retried
│   ├── ProtocolError            the peer does not speak as expected
│   └── DeviceRefused            the device's own refusal: its code, its words
├── IssuanceError
│   ├── CaUnreachable  OrderFailed (AccountUnknown)  AuthorizationFailed
│   ├── DnsRefused  PropagationTimeout
│   ├── RateLimited (BudgetSpent)   when to come back; the latter without asking the CA
│   └── BackingOff               earlier tries failed: when the next one is due
├── PlanError
│   ├── StalePlan  UnsafePlan  Held  Ambiguous  InUse  Unsupported  Busy
└── DeliveryError
    └── ApplyFailed  VerifyFailed  RollbackFailed  AllOrNothing
```
"""

from dataclasses import dataclass
from datetime import datetime

from distributor.model.text import printable


class DistributorError(Exception):
    """What happened, to which host, at which step, and what to try next.

    `message` and `hint` are single lines for people. Foreign text in them has passed `printable()`.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        step: str | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.step = step
        self.code = code

    @property
    def kind(self) -> str:
        """The name a report carries: the class's own."""
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the inventory, and where."""

    path: str
    """Key path as TOML writes it, such as `hosts.attic.port`."""
    message: str
    line: int | None = None
    """Line in the file, from 1; None where the file gives no place."""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        where = f"{self.path}: " if self.path else ""
        return f"{place}{where}{self.message}"


class InventoryError(DistributorError):
    """The inventory is wrong; `problems` holds everything that is, in the order of the file."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        super().__init__(
            f"{printable(source)} has {count}", hint="correct the lines named", step="inventory"
        )
        self.source = source
        self.problems = problems


class UsageError(DistributorError):
    """The command asks for something that does not exist or contradicts itself."""


class LockedError(DistributorError):
    """Another run holds the lock of this state folder."""


class StateError(DistributorError):
    """The state folder cannot be read or written, or holds something that is not ours."""


class Interrupted(DistributorError):  # noqa: N818 - the name is the message
    """A person or the system asked the run to stop."""


class SecretError(DistributorError):
    """A reference to a secret gives no value."""


class BundleError(DistributorError):
    """Certificate, chain and key do not make a bundle that may be delivered."""


class KeyMismatch(BundleError):  # noqa: N818 - the name is the message
    """The private key does not belong to the leaf."""


class BrokenChain(BundleError):  # noqa: N818 - the name is the message
    """A link of the chain does not sign the one before it."""


class NameNotCovered(BundleError):  # noqa: N818 - the name is the message
    """A wanted name is not among the leaf's subject alternative names."""


class Expired(BundleError):  # noqa: N818 - the name is the message
    """The leaf, or an intermediate, is not valid now."""


class Revoked(BundleError):  # noqa: N818 - the name is the message
    """The CA revoked the leaf."""


class NotYetValid(Expired):
    """The leaf, or an intermediate, becomes valid later than now: a clock is wrong."""


class WeakKey(BundleError):  # noqa: N818 - the name is the message
    """The key is of a type or size that must not be delivered."""


class EncryptedKey(BundleError):  # noqa: N818 - the name is the message
    """The private key is protected by a passphrase, which the devices do not take."""


class HostError(DistributorError):
    """A host could not be worked with."""


class Unreachable(HostError):  # noqa: N818 - the name is the message
    """No connection, or no answer in time. May be retried."""


class Untrusted(HostError):  # noqa: N818 - the name is the message
    """The peer is not the one that was pinned. Never retried."""


class AuthRefused(HostError):  # noqa: N818 - the name is the message
    """The host refused the login. Never retried with the same password."""


class ProtocolError(HostError):
    """The peer answered something that is not the expected protocol."""


class DeviceRefused(HostError):  # noqa: N818 - the name is the message
    """The device understood the request and refused it; `code` is its own."""


class IssuanceError(DistributorError):
    """A certificate could not be obtained."""


class CaUnreachable(IssuanceError):  # noqa: N818 - the name is the message
    """The CA cannot be reached, or fails by its own fault.

    `retry_at` is when to come back (UTC), if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_at: datetime | None = None,
        is_outage: bool = True,
        hint: str | None = None,
        step: str | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, step=step, code=code)
        self.retry_at = retry_at
        self.is_outage = is_outage
        """Whether it is the CA's failure: not a URL that is no CA's, nor roots that do not fit."""


class OrderFailed(IssuanceError):  # noqa: N818 - the name is the message
    """The CA refused the account, the order or the request for the certificate."""


class AccountUnknown(OrderFailed):
    """The CA does not know the account that we sign as."""


class AuthorizationFailed(IssuanceError):  # noqa: N818 - the name is the message
    """The CA could not validate a name."""


class DnsRefused(IssuanceError):  # noqa: N818 - the name is the message
    """The DNS provider refused to publish the challenge, or cannot be asked."""

    wrote_nothing = False
    """Whether it is known that the zone is as it was before."""


class PropagationTimeout(IssuanceError):  # noqa: N818 - the name is the message
    """An authoritative nameserver does not serve the challenge in time."""


class RateLimited(IssuanceError):  # noqa: N818 - the name is the message
    """The CA wants us to come back later; `retry_at` is when (UTC), if it said so."""

    def __init__(
        self,
        message: str,
        *,
        retry_at: datetime | None = None,
        hint: str | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, step=step)
        self.retry_at = retry_at


class BudgetSpent(RateLimited):
    """A limit of the CA that is known here stands against the request: the CA was not asked."""

    def __init__(
        self, message: str, *, retry_at: datetime, is_cas_own: bool, hint: str, step: str
    ) -> None:
        super().__init__(message, retry_at=retry_at, hint=hint, step=step)
        self.is_cas_own = is_cas_own
        """Whether another CA may do: not for a reserve, nor for what failed validations used up."""


class BackingOff(IssuanceError):  # noqa: N818 - the name is the message
    """Earlier tries failed; `retry_at` is when the next one is due (UTC)."""

    def __init__(
        self,
        message: str,
        *,
        retry_at: datetime,
        is_cas_own: bool,
        hint: str | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, step=step)
        self.retry_at = retry_at
        self.is_cas_own = is_cas_own
        """Whether the last of them failed by the CA's outage, so that another CA may do."""


class PlanError(DistributorError):
    """The plan must not be applied."""


class StalePlan(PlanError):  # noqa: N818 - the name is the message
    """The host is no longer as it was when the plan was reviewed."""


class UnsafePlan(PlanError):  # noqa: N818 - the name is the message
    """The plan has hazards that were not accepted by name."""

    def __init__(self, message: str, *, hazards: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint, step="plan")
        self.hazards = hazards


class Held(PlanError):  # noqa: N818 - the name is the message
    """The host is left alone on purpose."""


class Ambiguous(PlanError):  # noqa: N818 - the name is the message
    """More than one entry or service answers to what the inventory names, or none does."""


class InUse(PlanError):  # noqa: N818 - the name is the message
    """A certificate that is to be revoked is still served, or nobody can tell whether it is."""


class Unsupported(PlanError):  # noqa: N818 - the name is the message
    """The way to the host that the inventory chose cannot make the change; another one can."""


class Busy(PlanError):  # noqa: N818 - the name is the message
    """Another run works on the host."""


class DeliveryError(DistributorError):
    """A change was begun and did not come to its end."""


class ApplyFailed(DeliveryError):  # noqa: N818 - the name is the message
    """A write failed."""


class VerifyFailed(DeliveryError):  # noqa: N818 - the name is the message
    """What was written is not what the host serves or holds."""


class RollbackFailed(DeliveryError):  # noqa: N818 - the name is the message
    """The host could not be put back as it was."""


class AllOrNothing(DeliveryError):  # noqa: N818 - the name is the message
    """The host took the change, and was put back because another one did not."""
