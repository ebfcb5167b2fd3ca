"""A DiskStation by SSH, as root: its certificate files, or DSM's own calls on the box.

What it holds is read from its files, whichever method changes them. With `files` the archive's
entry and every copy of it are replaced together, and what serves them is told to read them again;
with `synowebapi` DSM does both by itself. A copy of the files as they were stays on the box.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime

from distributor.clients.shell import Shell
from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import DeliveryError, DeviceRefused, DistributorError, Unsupported
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Host, SshAccess
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import Address, State
from distributor.protocol.archive import make_export
from distributor.protocol.dsm_commands import MARKS, SYNOWEBAPI
from distributor.protocol.dsm_info import ARCHIVE
from distributor.protocol.dsm_survey import OWN_FOLDER, SURVEY, parse_survey
from distributor.targets.copies import FindBundle, foresee, kept_pairs
from distributor.targets.diskstation_entries import Entries, new_entries
from distributor.targets.diskstation_wanted import wanted_state
from distributor.targets.dsm_files import (
    folders_of_copied,
    heals,
    holds,
    left,
    new_files,
    notes_on,
    overwritten,
    paths_to_keep,
    require_as_planned,
    require_files_do,
    touched,
)
from distributor.targets.dsm_reload import Reload
from distributor.targets.dsm_tree import Tree, observed_state, owed_in, tree_of
from distributor.targets.remote_lock import RemoteLock
from distributor.targets.remote_set import Kept, NewFile, RemoteSet, mark_of
from distributor.targets.synowebapi import Synowebapi

log = logging.getLogger(__name__)

_SURVEY_SECONDS = 120.0
"""For the look at all folders, on a slow box with many."""


class DiskstationSsh:
    """A DiskStation with DSM 6 or 7, reached by SSH.

    `controller` names this installation to others that work on the same box.
    """

    def __init__(
        self,
        host: Host,
        access: SshAccess,
        connect: Callable[[], AbstractContextManager[Shell]],
        find_bundle: FindBundle,
        now: Callable[[], datetime],
        *,
        controller: str,
    ) -> None:
        self._host = host
        self._access = access
        self._connect = connect
        self._find_bundle = find_bundle
        self._now = now
        self._controller = controller

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        """Return entry, bindings and default of each delivery."""
        return wanted_state(self._host, certificates, with_keys=True)

    @contextmanager
    def open(self) -> Iterator["DiskstationSshSession"]:
        """Sign in for as long as the context lasts."""
        with self._connect() as shell:
            lock = RemoteLock(shell, OWN_FOLDER, self._controller, as_root=True)
            try:
                yield DiskstationSshSession(self._access, shell, lock, self._find_bundle, self._now)
            finally:
                lock.release()


class DiskstationSshSession:
    """One login to a DiskStation."""

    def __init__(
        self,
        access: SshAccess,
        shell: Shell,
        lock: RemoteLock,
        find_bundle: FindBundle,
        now: Callable[[], datetime],
    ) -> None:
        self._shell = shell
        self._lock = lock
        self._find_bundle = find_bundle
        self._now = now
        self._by_dsm = access.method == "synowebapi"
        self._packages = access.packages == "restart"
        self._set = RemoteSet(shell, lock, OWN_FOLDER, as_root=True)
        self._reload = Reload(shell, lock, packages=self._packages)
        self._entries = Entries(Synowebapi(shell, lock, OWN_FOLDER))
        self._seen: Tree | None = None
        self._served: Sequence[Served] = ()

    @property
    def traits(self) -> Traits:
        """DSM 6 takes RSA only; files come back as they were, whoever signed what is in them."""
        old = (self._seen or self._look()).release == "dsm6"
        return Traits(elliptic_curves=not old, needs_common_name=old, puts_back_self_signed=True)

    def inspect(self, served: Sequence[Served]) -> State:
        """Return entries, bindings, default and copies, all from the files.

        Of `served` only disagreement counts: an endpoint that shows another leaf than the files of
        its entry was not reloaded.
        """
        self._served = served
        return observed_state(self._look(), served)

    def foresee(self, plan: Plan) -> Foresight:
        """Say what is copied and what goes along; raises Unsupported for what cannot be done.

        What the controller cannot keep is no hazard: a copy on the box brings it back as well.
        """
        tree = self._look()
        self._require_possible(plan, tree)
        seen = foresee(plan, self._export, self._find_bundle)
        only_there = (
            "what is there is no sound pair: only the copy that is kept on the box brings it back",
        ) * bool(seen.hazards)
        notes = notes_on(plan, tree, packages=self._packages)
        return Foresight(notes=(*seen.notes, *only_there, *notes), heals=heals(plan, tree))

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:  # noqa: ARG002 - see foresee: nothing is lost
        """Keep the pairs that can be copied; the files themselves are copied before a change."""
        return Snapshot(
            host=plan.host,
            taken=self._now(),
            before=plan.observed,
            creates=new_entries(plan),
            pairs=kept_pairs(plan, self._export, self._find_bundle, may_lose=True),
            copied=tuple(sorted({*overwritten(plan), *left(plan)})),
            copy=mark_of(plan.observed),
        )

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Make the plan's changes, after a copy of every file they touch."""
        if not plan.changes:
            return
        self._lock.take()
        tree = self._look()
        self._require_possible(plan, tree)
        require_as_planned(plan, observed_state(tree, self._served))
        folders = touched(plan, tree)
        self._set.begin(one.path for one in folders)
        self._set.keep(
            mark_of(plan.observed), self._now(), paths_to_keep(folders, by_dsm=self._by_dsm)
        )
        if self._by_dsm:
            self._entries.bring(plan, bundles)
            self._reload.settle(tree.owed & {entry.id for entry in overwritten(plan)})
            return
        chosen = {entry.id: bundles[name] for entry, name in overwritten(plan).items()}
        self._replace(tree, chosen)

    def remove(self, plan: Plan) -> None:
        """Remove what the plan supersedes; by files there is nothing that could be removed."""
        if not plan.removals:
            return
        self._lock.take()
        self._require_possible(plan, self._look())
        self._entries.remove(plan)

    def rollback(self, snapshot: Snapshot) -> None:
        """Put bindings and default back, then the files as the copy on the box has them.

        Where that is gone, the controller's own copies of the pairs take its place.
        """
        self._lock.take()
        kept = self._set.kept(snapshot.copy)
        failure: DistributorError | None = None
        if self._by_dsm:
            pairs = self._differing(snapshot) if kept is None else {}
            failure = self._dsm_put_back(replace(snapshot, pairs=pairs))
        if kept is not None:
            self._restore(kept, snapshot)
        elif not self._by_dsm:
            self._replace_by_pairs(snapshot)
        if failure is not None:
            raise failure

    def _look(self) -> Tree:
        result = self._shell.run(
            ["/bin/sh", "-c", SURVEY, "sh", *MARKS], as_root=True, seconds=_SURVEY_SECONDS
        )
        told = result.required("cannot look at the box's certificates", "read")
        self._seen = tree_of(parse_survey(told), takes_unnamed=not self._by_dsm)
        return self._seen

    def _require_possible(self, plan: Plan, tree: Tree) -> None:
        if not self._by_dsm:
            require_files_do(plan, tree)
        elif SYNOWEBAPI not in tree.there:
            raise Unsupported(
                f'there is no {SYNOWEBAPI} on this box, which method = "synowebapi" needs',
                hint='use method = "files", or via = "api"',
                step="plan",
            )

    def _export(self, entry_id: str) -> bytes:
        """Return what the archive holds of an entry, as DSM exports it."""
        tree = self._seen or self._look()
        entry = tree.entry(entry_id)
        folder = None if entry is None else tree.folders.get(entry.folder)
        half = "RSA-" if folder is not None and folder.is_dual else ""
        read = (
            (self._shell.read(f"{folder.path}/{half}{name}", as_root=True) or b"")
            for name in ("fullchain.pem", "privkey.pem")
            if folder is not None
        )
        fullchain, key = (*read, b"", b"")[:2]
        return make_export(fullchain, b"", key)

    def _replace(self, tree: Tree, chosen: Mapping[str, Bundle]) -> None:
        """Give entries, by id, their bundles, in the archive and in every copy."""
        files: dict[str, NewFile | None] = {}
        entries = [entry for entry in tree.entries if entry.id in chosen]
        for entry in entries:
            for folder in tree.copies(entry):
                files |= new_files(folder, chosen[entry.id])
        self._reload.owe(chosen)
        self._set.replace(files)
        self._reload.run(
            tree.release, (service for entry in entries for service in tree.bound(entry))
        )
        self._reload.settle(chosen)

    def _restore(self, kept: Kept, snapshot: Snapshot) -> None:
        """Put the copies back of entries whose content goes back, and of what is bound to them."""
        places = folders_of_copied(snapshot, self._look())
        files = {
            path: copy for path, copy in kept.files.items() if path.rpartition("/")[0] in places
        }
        folders = {path.rpartition("/")[0] for path in files}
        entries = {one.rpartition("/")[2] for one in folders if one.startswith(f"{ARCHIVE}/")}
        self._set.begin(folders)
        self._owe_if_possible(entries)
        self._set.restore(replace(kept, files=files))
        tree = self._look()
        bound = (service for entry in tree.entries for service in tree.bound(entry))
        failure: DeliveryError | None = None
        try:
            self._reload.run(
                tree.release, (one for one in bound if one.folder in folders), to_the_end=True
            )
        except DeliveryError as error:
            failure = error  # it is told; what is served after it is looked at by handshakes
        self._reload.settle(entries - owed_in(snapshot.before))
        if failure is not None:
            raise failure

    def _owe_if_possible(self, entries: Collection[str]) -> None:
        """Note that a reload is owed; a full disk must not keep files from being put back."""
        try:
            self._reload.owe(entries)
        except DeviceRefused as error:
            log.warning("step=rollback owed=unknown error=%s", error.kind)

    def _dsm_put_back(self, snapshot: Snapshot) -> DistributorError | None:
        """Have DSM undo what it did; return why not: files are put back all the same."""
        try:
            self._entries.put_back(snapshot)
        except DistributorError as error:
            log.warning("host=%s step=rollback error=%s", snapshot.host, error.kind)
            return error
        return None

    def _replace_by_pairs(self, snapshot: Snapshot) -> None:
        differing = {address.id: pair for address, pair in self._differing(snapshot).items()}
        tree = self._look()
        if differing:
            self._set.begin(tree.folders)
            self._replace(tree, differing)

    def _differing(self, snapshot: Snapshot) -> dict[Address, Bundle]:
        """Return the pairs of a snapshot that are not what the box holds."""
        tree = self._look()
        return {
            address: pair
            for address, pair in snapshot.pairs.items()
            if (entry := tree.entry(address.id)) is not None
            and not all(holds(one, pair.certificate("")) for one in tree.copies(entry))
        }
