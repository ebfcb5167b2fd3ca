"""A DiskStation by its Web API: translates between addresses and facts, and DSM's calls."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Final

from distributor.clients.dsm import DsmSession
from distributor.clients.web_api import is_away
from distributor.model.bundle import Bundle, Certificate
from distributor.model.choice import EVERY_SERVICE, SYSTEM_DEFAULT
from distributor.model.endpoints import Served
from distributor.model.errors import (
    ApplyFailed,
    HostError,
    RollbackFailed,
)
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Delivery, Host
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import (
    BEHIND,
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    ISSUED_BY,
    LEAF,
    NAMES,
    NOT_AFTER,
    SAKE,
    TAKES,
    Address,
    FactValue,
    State,
)
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.dsm import Move
from distributor.targets.copies import FindBundle, foresee, kept_pairs
from distributor.targets.diskstation_facts import observed_state
from distributor.targets.diskstation_removal import remove_entries

log = logging.getLogger(__name__)

TRIES: Final = 5
"""How often a change is sent at most when its answer is lost, as it is by a restart."""


class DiskstationApi:
    """A DiskStation with DSM 6.2 or 7, reached by HTTPS."""

    def __init__(
        self,
        host: Host,
        connect: Callable[[], DsmSession],
        find_bundle: FindBundle,
        now: Callable[[], datetime],
    ) -> None:
        self._host = host
        self._connect = connect
        self._find_bundle = find_bundle
        self._now = now
        self._has_written = False

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        """Return entry, bindings and default of each delivery."""
        facts: dict[Address, dict[str, FactValue]] = {}
        for delivery in self._host.deliveries:
            certificate = certificates.get(delivery.certificate)
            if certificate is None:
                continue
            entry = Address(
                "certificate", delivery.description or delivery.certificate, delivery.id or ""
            )
            facts[entry] = _entry_facts(certificate)
            if delivery.services == "keep":
                facts[entry][TAKES] = (SYSTEM_DEFAULT,)
            facts[entry][BEHIND] = self._names_behind(delivery)
            for selector in self._services(delivery):
                facts[Address("service", selector)] = {CERTIFICATE: entry}
            if delivery.default:
                facts[DEFAULT] = {CERTIFICATE: entry}
        return State(facts)

    @contextmanager
    def open(self) -> Iterator["DiskstationSession"]:
        """Sign in for as long as the context lasts."""
        session = self._connect()
        try:
            session.sign_in(after_write=self._has_written)
            yield DiskstationSession(self._host, session, self._find_bundle, self._now)
        finally:
            self._has_written = session.has_written
            session.close()

    def _services(self, delivery: Delivery) -> tuple[str, ...]:
        if delivery.services == "all":
            return (EVERY_SERVICE,)
        listed = () if delivery.services == "keep" else delivery.services
        behind = (
            endpoint.service
            for endpoint in self._host.endpoints
            if endpoint.service is not None and endpoint.certificate == delivery.certificate
        )
        return tuple(dict.fromkeys((*listed, *behind)))

    def _names_behind(self, delivery: Delivery) -> tuple[str, ...]:
        """Names of its endpoints that do not say which service answers there."""
        return tuple(
            endpoint.server_name
            for endpoint in self._host.endpoints
            if endpoint.certificate == delivery.certificate
            and endpoint.server_name is not None
            and endpoint.service is None
            and endpoint.starttls is None
        )


class DiskstationSession:
    """One login to a DiskStation."""

    def __init__(
        self,
        host: Host,
        dsm: DsmSession,
        find_bundle: FindBundle,
        now: Callable[[], datetime],
    ) -> None:
        self._host = host
        self._dsm = dsm
        self._find_bundle = find_bundle
        self._now = now

    @property
    def traits(self) -> Traits:
        """DSM 6 takes RSA only, and shows nothing but the common name."""
        old = self._dsm.is_version_6
        return Traits(elliptic_curves=not old, needs_common_name=old)

    def inspect(self, served: Sequence[Served]) -> State:
        """Return entries, bindings and default, with the leaves that endpoints bound to them serve.

        The list tells neither serial nor fingerprint; an entry that no endpoint serves keeps its
        leaf UNREADABLE.
        """
        return observed_state(self._dsm.certificates(), served)

    def foresee(self, plan: Plan) -> Foresight:
        """Try to export what the store does not hold: it is copied, or cannot be put back."""
        return foresee(plan, self._dsm.export, self._find_bundle)

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:
        """Keep the pair of every entry that will be overwritten: from the store, else exported."""
        return Snapshot(
            host=plan.host,
            taken=self._now(),
            before=plan.observed,
            creates=tuple(sorted(entry for entry in _entries_of(plan) if not entry.id)),
            pairs=kept_pairs(plan, self._dsm.export, self._find_bundle, may_lose=may_lose),
        )

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Import, bind and make default what the plan says, and see that the list agrees."""
        ids = {entry: entry.id for entry in _entries_of(plan)}
        default = next((change.after for change in plan.changes if change.address == DEFAULT), None)
        imports = {
            change.address: change.certificate
            for change in plan.changes
            if change.address.kind == "certificate"
        }
        for entry, name in imports.items():
            ids[entry] = self._import(entry, bundles[name], as_default=entry == default)
        if isinstance(default, Address) and default not in imports:
            self._dsm.make_default(ids[default], default.name)
        self._bind(
            {
                change.address.id: ids[change.after]
                for change in plan.changes
                if change.address.kind == "service" and isinstance(change.after, Address)
            }
        )

    def remove(self, plan: Plan) -> None:
        """Remove what the plan supersedes, once the list shows it as planned and unused."""
        remove_entries(self._dsm, plan, self._sent)

    def rollback(self, snapshot: Snapshot) -> None:
        """Bring back contents, then bindings and default, then remove what was made anew."""
        before = snapshot.before
        for entry, bundle in snapshot.pairs.items():
            self._import(entry, bundle, as_default=False)
        default = before.get(DEFAULT, CERTIFICATE)
        current = observed_state(self._dsm.certificates(), ())
        if isinstance(default, Address) and current.get(DEFAULT, CERTIFICATE) != default:
            self._dsm.make_default(default.id, default.name)
        self._bind(
            {
                service.id: used.id
                for service in before.of_kind("service")
                if isinstance(used := before.get(service, CERTIFICATE), Address)
            }
        )
        self._remove_made(snapshot)

    def _remove_made(self, snapshot: Snapshot) -> None:
        known = {entry.id for entry in snapshot.before.of_kind("certificate")}
        made = {entry.id for entry in snapshot.creates if entry.id}
        called = {entry.name for entry in snapshot.creates if not entry.id}
        for _ in range(TRIES):
            leftover = [
                entry
                for entry in self._dsm.certificates()
                if entry.id not in known and (entry.id in made or entry.description in called)
            ]
            if not leftover:
                return
            if any(entry.services or entry.is_default for entry in leftover):
                raise RollbackFailed(
                    "the new certificate is still in use",
                    hint="look at Control Panel > Security > Certificate > Settings",
                    step="rollback",
                )
            ids = [entry.id for entry in leftover]
            if self._sent(partial(self._dsm.delete, ids)):
                return
        raise RollbackFailed(
            "the new certificate could not be removed",
            hint="remove it in Control Panel > Security > Certificate",
            step="rollback",
        )

    def _import(self, entry: Address, bundle: Bundle, *, as_default: bool) -> str:
        """Import, and return the entry's id.

        When the answer is lost, the list is asked before it is tried again: there might be two new
        entries else. Where the list would look the same, an import into a known entry is repeated:
        that changes nothing.
        """
        ends = bundle.leaf.not_valid_after_utc
        listed = {one.id: one for one in self._dsm.certificates()}
        known = listed.get(entry.id)
        list_tells = known is None or known.valid_till != ends
        for attempt in range(1, TRIES + 1):
            answered: str | None = None

            def send() -> None:
                nonlocal answered
                answered = self._dsm.import_bundle(
                    bundle, entry_id=entry.id, description=entry.name, as_default=as_default
                )

            arrived = self._sent(send)
            if arrived or list_tells or attempt == TRIES:
                found = self._look_for(entry, bundle, listed.keys(), answered)
                if found is not None:
                    return found
            if arrived:
                break
        raise ApplyFailed(
            f"the box does not list {entry} after the import",
            hint="look at Control Panel > Security > Certificate",
            step="import",
        )

    def _look_for(
        self, entry: Address, bundle: Bundle, known: Collection[str], answered: str | None
    ) -> str | None:
        identifier = entry.id or answered
        for listed in self._dsm.certificates():
            is_new = listed.id not in known and listed.description == entry.name
            is_it = listed.id == identifier if identifier else is_new
            if is_it and listed.valid_till == bundle.leaf.not_valid_after_utc:
                return listed.id
        return None

    def _bind(self, wanted: Mapping[str, str]) -> None:
        """Move services by id to entries by id, those that are not there yet; see that it held."""
        for _ in range(TRIES):
            moves = self._moves(wanted)
            if not moves:
                return
            if self._sent(partial(self._dsm.move, moves)):
                break
        stuck = self._moves(wanted)
        if stuck:
            names = ", ".join(printable(move.service.display_name) for move in stuck)
            raise ApplyFailed(
                f"the box did not move {names} to the new certificate",
                hint="look at Control Panel > Security > Certificate > Settings",
                step="bind",
            )

    def _sent(self, write: Callable[[], None]) -> bool:
        """Make a change; tell whether its answer came, or was lost and one has to look."""
        try:
            write()
        except HostError as error:
            if not is_away(error):
                raise
            log.info("write lost=%s", error.kind)
            self._dsm.certificates()  # waits until the box is back
            return False
        return True

    def _moves(self, wanted: Mapping[str, str]) -> list[Move]:
        return [
            Move(service, entry.id, wanted[service.id])
            for entry in self._dsm.certificates()
            for service in entry.services
            if service.id in wanted and wanted[service.id] != entry.id
        ]


def _entry_facts(certificate: Certificate) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {
        SAKE: certificate.name,
        LEAF: certificate.leaf,
        NAMES: certificate.names,
    }
    if not certificate.is_forecast:
        facts[CHAIN] = certificate.chain
    if certificate.not_after is not None:
        facts |= {
            NOT_AFTER: rfc3339(certificate.not_after),
            ISSUED_BY: certificate.issued_by,
        }
    return facts


def _entries_of(plan: Plan) -> set[Address]:
    """Every entry that the plan speaks of."""
    named = {change.address for change in plan.changes if change.address.kind == "certificate"}
    return named | {change.after for change in plan.changes if isinstance(change.after, Address)}
