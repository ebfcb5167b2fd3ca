"""One certificate: what the store holds, whether a new one is due, and getting it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from distributor.model.bundle import Bundle, Certificate
from distributor.model.errors import (
    BundleError,
    DistributorError,
    Interrupted,
    IssuanceError,
    Revoked,
)
from distributor.model.renewal import Hints, Renewal
from distributor.model.report import CertificateOutcome
from distributor.model.reviewed import Reviewed, is_fulfilled
from distributor.sources.contract import Ready, Source
from distributor.unexpected import known_errors


class Listener(Protocol):
    """Hears where the work on a certificate stands."""

    def certificate(self, name: str, text: str) -> None:
        """Take a line on a certificate."""


class Terms(Protocol):
    """What of a run's orders bears on certificates."""

    @property
    def dry_run(self) -> bool:
        """Nothing is obtained; plans are made for the forecast."""

    @property
    def no_renew(self) -> bool:
        """What the store holds is delivered, due or not."""

    @property
    def renew_now(self) -> bool:
        """A new certificate is obtained, due or not."""

    @property
    def asked_for(self) -> frozenset[str]:
        """Certificates that a person wants now, whatever earlier failures say."""

    @property
    def reviewed(self) -> Reviewed | None:
        """A saved plan that is to be applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueTerms:
    """What a command says of the certificates."""

    renew_now: bool
    asked_for: frozenset[str] = frozenset()
    dry_run: bool = False
    no_renew: bool = False
    reviewed: Reviewed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """What became of one certificate, and what there is of it to deliver."""

    outcome: CertificateOutcome
    certificate: Certificate | None = None
    """To plan with; None when there is none that is valid."""
    bundle: Bundle | None = None
    as_reviewed: bool = True
    """Whether it is what a saved plan, if there is one, was made for."""


def obtain_each(
    sources: Mapping[str, Source],
    terms: Terms,
    listener: Listener,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> dict[str, Obtained]:
    """Return what became of each certificate, by name; what ends one ends no other."""

    def one(name: str, source: Source) -> Obtained:
        try:
            with known_errors(f"certificate={name}"):
                return obtain(source, terms, listener, stop, now)
        except DistributorError as error:
            return Obtained(outcome=CertificateOutcome(name=name, status="failed", error=error))

    return {name: one(name, source) for name, source in sources.items()}


def obtain(
    source: Source,
    terms: Terms,
    listener: Listener,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> Obtained:
    """Return the certificate to deliver: the current one, or a new one where that is due.

    When a due one cannot be obtained, the outcome says so, and the current one is delivered as long
    as it is valid.
    """
    hints = Hints() if terms.no_renew or terms.renew_now else source.look()
    found = _obtained(source, hints, terms, listener, stop, now)
    outcome = replace(found.outcome, warnings=hints.warnings)
    if outcome.status == "current" and not terms.no_renew:
        ready = source.current()
        seen = source.outlook(ready.held, hints) if ready is not None else None
        outcome = replace(outcome, outlook=seen)
    return replace(found, outcome=outcome)


def _obtained(
    source: Source,
    hints: Hints,
    terms: Terms,
    listener: Listener,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> Obtained:
    name = source.forecast().name
    try:
        ready = source.current()
        renewal = _renewal(source, ready, hints, terms, now())
    except DistributorError as error:
        return Obtained(outcome=CertificateOutcome(name=name, status="failed", error=error))
    if not terms.dry_run:
        for line in _tidied(source):
            listener.certificate(name, line)
    if renewal is None:
        return _current(source, ready, terms, now(), reason="")
    if terms.dry_run and not renewal.forecast.names:
        unknown = IssuanceError(
            f"nothing can be said of the certificate '{name}' yet: {hints.error or renewal.reason}",
            hint="see why its source cannot be asked",
            step="look",
        )
        return Obtained(
            outcome=CertificateOutcome(
                name=name, status="failed", reason=renewal.reason, error=unknown
            )
        )
    # What nobody reviewed is not ordered: the plan could not be applied with it anyway.
    is_reviewed = terms.reviewed is None or (
        terms.reviewed.certificates.get(name) == renewal.forecast
    )
    if terms.dry_run or not is_reviewed:
        outcome = CertificateOutcome(
            name=name, status="due", reason=renewal.reason, certificate=renewal.forecast
        )
        return Obtained(outcome=outcome, certificate=renewal.forecast, as_reviewed=is_reviewed)
    return _renewed(source, ready, renewal, terms, listener, stop, now)


def _tidied(source: Source) -> tuple[str, ...]:
    """Clean up after earlier runs; what cannot be is told, and keeps nothing from its host."""
    try:
        return source.tidy()
    except DistributorError as error:
        return (f"what an earlier run left could not be looked through: {error}",)


def _renewal(
    source: Source, ready: Ready | None, hints: Hints, terms: Terms, now: datetime
) -> Renewal | None:
    if terms.no_renew:
        return None
    if terms.renew_now:
        return Renewal(reason="asked for", forecast=source.forecast())
    return source.due(ready.held if ready is not None else None, hints, now)


def _renewed(
    source: Source,
    ready: Ready | None,
    renewal: Renewal,
    terms: Terms,
    listener: Listener,
    stop: threading.Event,
    now: Callable[[], datetime],
) -> Obtained:
    name = renewal.forecast.name
    try:
        if stop.is_set():
            raise Interrupted("the run was interrupted", hint="run it again", step="issue")
        with known_errors(f"certificate={name}"):
            new = source.renew(
                lambda text: listener.certificate(name, text),
                is_asked_for=name in terms.asked_for,
            )
    except DistributorError as error:
        kept = _current(source, ready, terms, now(), reason=renewal.reason)
        return Obtained(
            outcome=CertificateOutcome(
                name=name,
                status="failed",
                reason=renewal.reason,
                certificate=kept.outcome.certificate,
                error=error,
            ),
            certificate=kept.certificate,
            bundle=kept.bundle,
            as_reviewed=kept.as_reviewed,
        )
    is_same = ready is not None and ready.held.certificate.leaf == new.held.certificate.leaf
    outcome = CertificateOutcome(
        name=name,
        status="current" if is_same else "renewed",
        reason=renewal.reason,
        certificate=new.held.certificate,
    )
    return Obtained(
        outcome=outcome,
        certificate=new.held.certificate,
        bundle=new.bundle,
        as_reviewed=_as_reviewed(source, terms, new.held.certificate),
    )


def _current(
    source: Source, ready: Ready | None, terms: Terms, now: datetime, *, reason: str
) -> Obtained:
    name = source.forecast().name
    if ready is None:
        error = BundleError(
            f"the store holds no certificate '{name}'", hint="run without --no-renew", step="issue"
        )
        return Obtained(
            outcome=CertificateOutcome(name=name, status="failed", reason=reason, error=error)
        )
    shown = ready.held.certificate
    try:
        if ready.held.is_revoked:
            raise Revoked("the certificate was revoked", hint="obtain a new one")
        ready.bundle.require((), now)
    except BundleError as error:
        return Obtained(
            outcome=CertificateOutcome(
                name=name, status="failed", reason=reason, certificate=shown, error=error
            )
        )
    return Obtained(
        outcome=CertificateOutcome(name=name, status="current", reason=reason, certificate=shown),
        certificate=shown,
        bundle=ready.bundle,
        as_reviewed=_as_reviewed(source, terms, shown),
    )


def _as_reviewed(source: Source, terms: Terms, actual: Certificate) -> bool:
    if terms.reviewed is None:
        return True
    reviewed = terms.reviewed.certificates.get(actual.name)
    return reviewed is not None and is_fulfilled(reviewed, actual, source.forecast())
