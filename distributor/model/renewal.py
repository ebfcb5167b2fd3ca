"""When a certificate is due, and why: a pure decision with its reason in words."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from distributor.model.bundle import Certificate, forecast
from distributor.model.hosts import WantedCertificate
from distributor.model.text import printable
from distributor.model.times import rfc3339

SHORT_LIFETIME: Final = timedelta(days=10)
"""Below this, half of the lifetime must be left; from it on, a third (Let's Encrypt's advice)."""


PAIR_GAP: Final = timedelta(hours=1)
"""Between the RSA and the ECC leaf of one renewal there is less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a source learnt from outside: it may be empty, and does no harm when it is."""

    error: str | None = None
    """Why nothing could be learnt, for people."""
    seen: Certificate | None = None
    """What the source has; `leaf` is `next:NAME` where only names and dates could be seen."""
    warnings: tuple[str, ...] = ()
    """What a person should look at, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the store holds for a certificate."""

    certificate: Certificate
    ca: str
    """Directory URL that it was ordered from; empty when it came from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A certificate is due: why, and what will come."""

    reason: str
    forecast: Certificate


def due(current: Held | None, wanted: WantedCertificate, ca: str, now: datetime) -> Renewal | None:
    """Return why `wanted` has to be obtained at `now`, or None while `current` will do."""
    reason = _reason(current, wanted, ca, now)
    if reason is None:
        return None
    return Renewal(reason=reason, forecast=forecast(wanted.name, wanted.names, wanted.key_type, ca))


def is_newer(seen: Certificate, held: Certificate) -> bool:
    """Tell whether what a source has is newer than what the store holds.

    Of an entry with an RSA and an ECC pair the store holds one and a handshake may show the other,
    which was issued moments apart: such a pair is newer only by more than `PAIR_GAP`.
    """
    if seen.leaf == held.leaf or seen.not_before is None or held.not_before is None:
        return False
    is_same_pair = not seen.is_forecast and key_family(seen) == key_family(held)
    gap = timedelta(0) if is_same_pair else PAIR_GAP
    return seen.not_before > held.not_before + gap


def key_family(certificate: Certificate) -> Literal["RSA", "ECC"]:
    """Return the family of its key, as DSM names it."""
    return "ECC" if certificate.key_type.startswith("ec") else "RSA"


def renew_at(not_before: datetime, not_after: datetime, wanted: WantedCertificate) -> datetime:
    """Return the moment from which a certificate of that lifetime is due (UTC)."""
    if wanted.renew_before is not None:
        return not_after - wanted.renew_before
    lifetime = not_after - not_before
    return not_after - lifetime / (2 if lifetime < SHORT_LIFETIME else 3)


def _reason(current: Held | None, wanted: WantedCertificate, ca: str, now: datetime) -> str | None:
    if current is None:
        return "none yet"
    have = current.certificate
    had, names = set(have.names), set(wanted.names)
    if had != names:
        gained = ", ".join(map(printable, sorted(names - had)))
        lost = ", ".join(map(printable, sorted(had - names)))
        parts = [f"new: {gained}"] * bool(gained) + [f"no longer: {lost}"] * bool(lost)
        return f"names changed ({'; '.join(parts)})"
    if have.key_type != wanted.key_type:
        return f"key type changed ({have.key_type} to {wanted.key_type})"
    if current.ca != ca:
        return "CA changed"
    if have.not_before is None or have.not_after is None:
        return "its dates are not known"
    when = renew_at(have.not_before, have.not_after, wanted)
    if now < when:
        return None
    if now > have.not_after:
        return f"expired at {rfc3339(have.not_after)}"
    left = "half" if have.not_after - have.not_before < SHORT_LIFETIME else "a third"
    what = "the time set by `renew`" if wanted.renew_before is not None else f"{left} of its life"
    return f"less than {what} is left (until {rfc3339(have.not_after)})"
