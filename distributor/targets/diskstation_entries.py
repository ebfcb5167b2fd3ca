"""What DSM itself does with certificates, by whichever way its calls are made."""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from distributor.clients.web_api import is_away
from distributor.model.bundle import Bundle
from distributor.model.errors import ApplyFailed, HostError, RollbackFailed
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import CERTIFICATE, DEFAULT, Address
from distributor.model.text import printable
from distributor.protocol.dsm import Move
from distributor.targets.diskstation_calls import Calls
from distributor.targets.diskstation_facts import observed_state
from distributor.targets.diskstation_removal import remove_entries

log = logging.getLogger(__name__)

TRIES: Final = 5
"""How often a change is sent at most when its answer is lost, as it is by a restart."""


class Entries:
    """Makes, binds, chooses and removes entries, and looks at DSM's list after each."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def bring(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
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
            self._calls.make_default(ids[default], default.name)
        self._bind(
            {
                change.address.id: ids[change.after]
                for change in plan.changes
                if change.address.kind == "service" and isinstance(change.after, Address)
            }
        )

    def remove(self, plan: Plan) -> None:
        """Remove what the plan supersedes, once the list shows it as planned and unused."""
        remove_entries(self._calls, plan, self._sent)

    def put_back(self, snapshot: Snapshot) -> None:
        """Bring back contents, then bindings and default, then remove what was made anew."""
        before = snapshot.before
        for entry, bundle in snapshot.pairs.items():
            self._import(entry, bundle, as_default=False)
        default = before.get(DEFAULT, CERTIFICATE)
        current = observed_state(self._calls.certificates(), ())
        if isinstance(default, Address) and current.get(DEFAULT, CERTIFICATE) != default:
            self._calls.make_default(default.id, default.name)
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
                for entry in self._calls.certificates()
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
            if self._sent(partial(self._calls.delete, ids)):
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
        listed = {one.id: one for one in self._calls.certificates()}
        known = listed.get(entry.id)
        list_tells = known is None or known.valid_till != ends
        for attempt in range(1, TRIES + 1):
            answered: str | None = None

            def send() -> None:
                nonlocal answered
                answered = self._calls.import_bundle(
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
        for listed in self._calls.certificates():
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
            if self._sent(partial(self._calls.move, moves)):
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
            self._calls.certificates()  # waits until the box is back
            return False
        return True

    def _moves(self, wanted: Mapping[str, str]) -> list[Move]:
        return [
            Move(service, entry.id, wanted[service.id])
            for entry in self._calls.certificates()
            for service in entry.services
            if service.id in wanted and wanted[service.id] != entry.id
        ]


def new_entries(plan: Plan) -> tuple[Address, ...]:
    """Return the entries that a plan makes anew."""
    return tuple(sorted(entry for entry in _entries_of(plan) if not entry.id))


def _entries_of(plan: Plan) -> set[Address]:
    """Every entry that the plan speaks of."""
    named = {change.address for change in plan.changes if change.address.kind == "certificate"}
    return named | {change.after for change in plan.changes if isinstance(change.after, Address)}
