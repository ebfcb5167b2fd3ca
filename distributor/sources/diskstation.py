"""Certificates that a DiskStation obtained by itself, such as the wildcard of its Synology DDNS.

The box keeps renewing and serving its own; here it is noticed by handshake, or by one login and a
look at the list, and exported as soon as it is newer than what the store holds.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509

from distributor.clients.dsm import DsmSession
from distributor.model.bundle import NEXT, Bundle, Certificate, prove
from distributor.model.choice import services_behind
from distributor.model.endpoints import Served
from distributor.model.errors import Ambiguous, DistributorError, IssuanceError
from distributor.model.hosts import DiskstationSource, Endpoint, Host, WantedCertificate
from distributor.model.renewal import Held, Hints, Outlook, Renewal, is_newer, key_family, renew_at
from distributor.model.state import CERTIFICATE, Address, State
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.archive import KeyFamily, parse_export
from distributor.protocol.dsm import Entry
from distributor.sources.contract import Progress, Ready
from distributor.store import Store, Stored

log = logging.getLogger(__name__)

_WHERE: Final = "look at Control Panel > Security > Certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diskstation:
    """One certificate with `source = "diskstation"`."""

    wanted: WantedCertificate
    source: DiskstationSource
    host: Host
    """The box that obtains it."""
    store: Store
    connect: Callable[[], DsmSession]
    """Gives a session that is not signed in yet; raises a DistributorError when it may not be."""
    probe: Callable[[Sequence[Endpoint]], Sequence[Served]]
    roots: Callable[[], Collection[x509.Certificate]]
    """Gives the roots that hosts are expected to be verified against."""
    now: Callable[[], datetime]

    def current(self) -> Ready | None:
        """Return the store's current version."""
        stored = self.store.bundles.current(self.wanted.name)
        return None if stored is None else self._ready(stored)

    def forecast(self) -> Certificate:
        """Return the name alone: all else is known only once the box was asked."""
        return Certificate(
            name=self.wanted.name,
            leaf=NEXT + self.wanted.name,
            names=self.wanted.names,
            key_type="ec" if self._family == "ECC" else "rsa",
        )

    def look(self) -> Hints:
        """Return what the box has: by handshake where that tells, else by a login and its list."""
        try:
            ready = self.current()
            held = ready.held.certificate if ready is not None else None
            seen = self._seen(held)
        except DistributorError as error:
            log.info("source=%s host=%s step=look error=%s", *self._names, error.kind)
            reason = f"{self.host.name}: {error.message}"
            said = f"whether there is a newer one could not be seen: {reason}"
            return Hints(error=reason, warnings=(f"{said} ({error.hint})" if error.hint else said,))
        late = self._late(seen)
        return Hints(seen=seen, warnings=(late,) if late is not None else ())

    def due(self, current: Held | None, hints: Hints, now: datetime) -> Renewal | None:  # noqa: ARG002 - the contract's; the box decides when it renews
        """Return why it is to be exported: none yet, or the box has a newer one."""
        if current is None:
            return Renewal(reason="none yet", forecast=hints.seen or self.forecast())
        seen = hints.seen
        if seen is None:
            return None
        if current.ca:
            return Renewal(reason="source changed", forecast=seen)
        if not is_newer(seen, current.certificate):
            return None
        return Renewal(reason=f"{self.host.name} has a newer one", forecast=seen)

    def outlook(self, current: Held, hints: Hints) -> Outlook:  # noqa: ARG002 - the contract's; the box decides when it renews
        """Return that the box decides."""
        return Outlook(reason=f"when {self.host.name} has a newer one")

    def tidy(self) -> tuple[str, ...]:
        """Return nothing: an export leaves nothing behind."""
        return ()

    def renew(self, progress: Progress, *, is_asked_for: bool = False) -> Ready:  # noqa: ARG002 - the contract's; an export costs nobody anything
        """Export the entry, prove it and store it; return what the store holds if it is that."""
        try:
            with self._session() as session:
                entry = self._entry(session.certificates())
                progress(f"exporting {_shown(entry)} from {self.host.name}")
                bundle = self._proved(entry, session.export(entry.id))
        except IssuanceError:
            raise
        except DistributorError as error:
            raise IssuanceError(
                f"{self.host.name}: {error.message}",
                hint=error.hint,
                step=error.step or "export",
                code=error.code,
            ) from error
        stored = self.store.bundles.current(self.wanted.name)
        if stored is None or stored.ca or stored.bundle.leaf != bundle.leaf:
            stored = self.store.bundles.save(self.wanted.name, bundle, ca="", now=self.now())
        return self._ready(stored)

    @property
    def _names(self) -> tuple[str, str]:
        return self.wanted.name, self.host.name

    @property
    def _family(self) -> KeyFamily:
        return "ECC" if self.wanted.key_type.startswith("ec") else "RSA"

    def _ready(self, stored: Stored) -> Ready:
        certificate = stored.bundle.certificate(self.wanted.name, self.roots())
        return Ready(Held(certificate=certificate, ca=stored.ca), stored.bundle)

    @contextmanager
    def _session(self) -> Iterator[DsmSession]:
        session = self.connect()
        try:
            session.sign_in()
            yield session
        finally:
            session.close()

    def _seen(self, held: Certificate | None) -> Certificate:
        served = tuple(self.probe(self.host.endpoints))
        if held is not None and self._still_serves(served, held):
            return held
        with self._session() as session:
            entries = session.certificates()
        entry = self._entry(entries)
        if entry.self_signed:
            raise self._self_signed(entry)
        return self._shown_leaf(entry, entries, served) or Certificate(
            name=self.wanted.name,
            leaf=NEXT + self.wanted.name,
            names=entry.names,
            key_type="ec" if entry.key_types == "ECC" else "rsa",
            issued_by=printable(entry.issued_by),
            not_before=entry.valid_from,
            not_after=entry.valid_till,
        )

    def _still_serves(self, served: Sequence[Served], held: Certificate) -> bool:
        """Tell whether handshakes show that there is nothing newer.

        Not where we deliver the certificate to that very box, whose ports would show our own copy,
        nor when a renewal is due: a port may lag behind the list.
        """
        if self.wanted.name in self.host.certificates or self._late(held) is not None:
            return False
        shown = [one.certificate.leaf for one in served if one.certificate is not None]
        return held.leaf in shown

    def _shown_leaf(
        self, entry: Entry, entries: Sequence[Entry], served: Sequence[Served]
    ) -> Certificate | None:
        """Return the leaf that a port bound to the entry serves, if it is what will be exported."""
        bound = _bindings(entries)
        for one in served:
            used = {
                bound.get(service, CERTIFICATE) for service in services_behind(bound, one.endpoint)
            }
            shown = one.certificate
            if shown is None or used != {_address(entry)} or shown.not_after != entry.valid_till:
                continue
            if key_family(shown) == self._family or entry.key_types == key_family(shown):
                return replace(shown, name=self.wanted.name)
        return None

    def _entry(self, entries: Sequence[Entry]) -> Entry:
        if self.source.id is not None:
            found = [one for one in entries if one.id == self.source.id]
            what = f"the id '{printable(self.source.id)}'"
        else:
            found = [one for one in entries if one.description == self.source.description]
            what = f"the description '{printable(self.source.description or '')}'"
        if len(found) == 1:
            return found[0]
        if found:
            raise Ambiguous(
                f"{len(found)} certificates have {what}: {', '.join(map(_shown, found))}",
                hint="name the one that is meant by its id",
                step="look",
            )
        raise Ambiguous(
            f"no certificate has {what}",
            hint=f"it has {', '.join(map(_shown, entries)) or 'none'}",
            step="look",
        )

    def _proved(self, entry: Entry, archive: bytes) -> Bundle:
        pair = parse_export(archive, self._family)
        if entry.self_signed or pair.self_signed:
            raise self._self_signed(entry)
        return prove(
            certificate=pair.certificate,
            chain=pair.chain,
            private_key=pair.private_key,
            names=entry.names,
            now=self.now(),
        )

    def _self_signed(self, entry: Entry) -> IssuanceError:
        return IssuanceError(
            f"{_shown(entry)} on {self.host.name} is signed by the box itself: nobody else "
            "would trust it",
            hint=f"name the entry that a CA issued; {_WHERE}",
            step="look",
        )

    def _late(self, seen: Certificate) -> str | None:
        """Say that the box should have renewed by now, if that is so."""
        if seen.not_before is None or seen.not_after is None:
            return None
        if self.now() < renew_at(seen.not_before, seen.not_after, self.wanted):
            return None
        return (
            f"{self.host.name} is late with its renewal: its certificate ends at "
            f"{rfc3339(seen.not_after)}; {_WHERE} there"
        )


def _address(entry: Entry) -> Address:
    return Address("certificate", entry.description, entry.id)


def _bindings(entries: Sequence[Entry]) -> State:
    """Return which entry each service of the box uses."""
    return State(
        {
            Address("service", service.display_name, service.id): {CERTIFICATE: _address(entry)}
            for entry in entries
            for service in entry.services
        }
    )


def _shown(entry: Entry) -> str:
    return f"'{printable(entry.description)}' ({printable(entry.id)})"
