"""When a certificate is due, and why: a pure decision with its reason in words."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal

from distributor.model.bundle import Certificate, forecast
from distributor.model.hosts import AcmeSource, WantedCertificate
from distributor.model.renewal_window import RenewalInfo
from distributor.model.text import printable
from distributor.model.times import rfc3339

SHORT_LIFETIME: Final = timedelta(days=10)
"""Below this, half of the lifetime must be left; from it on, a third (Let's Encrypt's advice)."""
BETWEEN_RUNS: Final = timedelta(days=1)
"""The same command every night: what is due before the next run, inside its window, is done now."""
MOST_OF_LIFE: Final = 2 / 3
"""A `renew` longer than this part of a life counts as none: it would renew at every run."""
LAST_CALL: Final = 2
"""No window of a CA puts a renewal off beyond this part of what the lifetime's rule leaves."""
PAIR_GAP: Final = timedelta(hours=1)
"""Between the RSA and the ECC leaf of one renewal there is less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a source learnt from outside: it may be empty, and does no harm when it is."""

    error: str | None = None
    """Why nothing could be learnt, or what was seen cannot be used; for people."""
    seen: Certificate | None = None
    """What the source has; `leaf` is `next:NAME` where only names and dates could be seen."""
    window: RenewalInfo | None = None
    """When the CA suggests to renew what the store holds."""
    warnings: tuple[str, ...] = ()
    """What a person should look at, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the store holds for a certificate."""

    certificate: Certificate
    ca: str
    """Directory URL that it was ordered from; empty when it came from elsewhere."""
    profile: str | None = None
    """The CA's profile that was asked for (draft-ietf-acme-profiles)."""
    is_revoked: bool = False
    ordered: tuple[str, ...] = ()
    """Names that were ordered, where that is known: a CA may have put in others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A certificate is due: why, and what will come."""

    reason: str
    forecast: Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """When a certificate will be due, and why then."""

    reason: str
    when: datetime | None = None
    """UTC; None when that is decided elsewhere, as the reason says."""

    def __str__(self) -> str:
        return f"from {rfc3339(self.when)}: {self.reason}" if self.when else self.reason


def due(
    current: Held | None,
    wanted: WantedCertificate,
    source: AcmeSource,
    hints: Hints,
    now: datetime,
) -> Renewal | None:
    """Return why `wanted` has to be obtained at `now`, or None while `current` will do."""
    reason = _reason(current, wanted, source, hints, now)
    if reason is None:
        return None
    return Renewal(
        reason=reason,
        forecast=forecast(wanted.name, wanted.names, wanted.key_type, source.directory_url),
    )


def outlook(current: Held, wanted: WantedCertificate, hints: Hints) -> Outlook:
    """Return when `current` will be due if nothing but time changes."""
    have = current.certificate
    if have.not_before is None or have.not_after is None:
        return Outlook(reason="its dates are not known")
    usual = renew_at(have.not_before, have.not_after, wanted)
    info = hints.window if hints.window is not None and _counts(hints.window, have) else None
    if _is_set(wanted, have.not_after - have.not_before):
        when, reason = usual, "the time set by `renew`"
    elif info is None:
        short = have.not_after - have.not_before < SHORT_LIFETIME
        when, reason = usual, f"{'half' if short else 'a third'} of its life is left then"
        if wanted.renew_before is not None:
            reason += " (`renew` is set to more than two thirds of it, and does not count)"
    else:
        last = have.not_after - (have.not_after - usual) / LAST_CALL
        moment = drawn(info, have.leaf)
        window = f"the CA's window {rfc3339(info.start)} to {rfc3339(info.end)}"
        if moment > last:
            when, reason = last, f"{window} comes too late"
        else:
            when, reason = moment, f"drawn in {window}"
    return Outlook(when=when, reason=reason)


def drawn(info: RenewalInfo, leaf: str) -> datetime:
    """Return the moment in the CA's window at which to renew the certificate of that fingerprint.

    RFC 9773 section 4.2 wants it uniformly random, drawn once. It is computed from leaf and window:
    spread over all certificates like a random one, and the same in every run and dry run, with
    nothing to keep. Another window gives another moment.
    """
    seed = sha256(f"{leaf} {rfc3339(info.start)} {rfc3339(info.end)}".encode()).digest()
    fraction = int.from_bytes(seed[:6]) / 2**48
    return info.start + fraction * (info.end - info.start)


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
    lifetime = not_after - not_before
    if wanted.renew_before is not None and _is_set(wanted, lifetime):
        return not_after - wanted.renew_before
    return not_after - lifetime / (2 if lifetime < SHORT_LIFETIME else 3)


def is_past(info: RenewalInfo, have: Certificate, now: datetime) -> bool:
    """Tell whether the CA wants a certificate renewed at once."""
    return info.end <= now and _counts(info, have)


def _counts(info: RenewalInfo, have: Certificate) -> bool:
    """Tell whether a window says anything.

    One that was past from the beginning does not, unless the CA explains it: there are CAs that
    give one always, and would issue at every run.
    """
    if info.explanation_url is not None or have.not_before is None or have.not_after is None:
        return True
    return info.end > have.not_before + (have.not_after - have.not_before) / 10


def _is_set(wanted: WantedCertificate, lifetime: timedelta) -> bool:
    return wanted.renew_before is not None and wanted.renew_before <= lifetime * MOST_OF_LIFE


def _reason(
    current: Held | None,
    wanted: WantedCertificate,
    source: AcmeSource,
    hints: Hints,
    now: datetime,
) -> str | None:
    if current is None:
        return "none yet"
    changed = _changed(current, wanted, source)
    if changed is not None:
        return changed
    if current.is_revoked:
        return "revoked"
    have = current.certificate
    if have.not_before is None or have.not_after is None:
        return "its dates are not known"
    if now > have.not_after:
        return f"expired at {rfc3339(have.not_after)}"
    if hints.window is not None:
        asked = _asked_for(hints.window, have, wanted, now)
        if asked is not None:
            return asked
    will = outlook(current, wanted, hints)
    if will.when is None or now < will.when:
        return None
    lifetime = have.not_after - have.not_before
    is_set = _is_set(wanted, lifetime)
    if hints.window is not None and _counts(hints.window, have) and not is_set:
        return f"ARI window ({will.reason})"
    left = "half" if lifetime < SHORT_LIFETIME else "a third"
    what = "the time set by `renew`" if is_set else f"{left} of its life"
    return f"less than {what} is left (until {rfc3339(have.not_after)})"


def _changed(current: Held, wanted: WantedCertificate, source: AcmeSource) -> str | None:
    have = current.certificate
    had, names = set(current.ordered or have.names), set(wanted.names)
    if had != names:
        gained = ", ".join(map(printable, sorted(names - had)))
        lost = ", ".join(map(printable, sorted(had - names)))
        parts = [f"new: {gained}"] * bool(gained) + [f"no longer: {lost}"] * bool(lost)
        return f"names changed ({'; '.join(parts)})"
    if have.key_type != wanted.key_type:
        return f"key type changed ({have.key_type} to {wanted.key_type})"
    # What a fallback CA issued is as good as the first CA's until it is due.
    at = {one.directory_url: one for one in (*source.fallback, source)}.get(current.ca)
    if at is None:
        return "CA changed"
    if at.profile != current.profile:
        was, now_is = current.profile or "the CA's own", at.profile or "the CA's own"
        return f"profile changed ({printable(was)} to {now_is})"
    return None


def _asked_for(
    info: RenewalInfo, have: Certificate, wanted: WantedCertificate, now: datetime
) -> str | None:
    """Return why the CA's window alone makes `have` due, or None.

    A `renew` of the inventory stands against a window, but not against an incident: only for such
    a one does a CA explain a window that is past.
    """
    because = f": {printable(info.explanation_url)}" if info.explanation_url else ""
    if have.not_before is None or have.not_after is None or not _counts(info, have):
        return None
    if is_past(info, have, now):
        is_set = _is_set(wanted, have.not_after - have.not_before)
        return f"ARI window is past{because}" if because or not is_set else None
    if _is_set(wanted, have.not_after - have.not_before) or info.end <= now:
        return None
    if info.start <= now and drawn(info, have.leaf) < now + BETWEEN_RUNS:
        # Inside the window an order that names its predecessor is free of rate limits at Let's
        # Encrypt; the next run would often come after it (acme-dns facts 3.1, RFC 9773 4.2).
        return f"ARI window (until {rfc3339(info.end)}){because}"
    return None
