"""PEM files on any host with a shell, and the command that makes them used.

A login that may write the files is enough; root is asked for where it may not, and then the reload
command runs as root too. Files that are right are left alone, and where all are, nothing runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from distributor.clients.shell import Shell
from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import Ambiguous, ApplyFailed
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Host, PemPaths
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import MODE, OWNER, SAKE, Address, FactValue, State
from distributor.model.text import printable
from distributor.targets.pem_facts import agrees
from distributor.targets.pem_files import (
    Held,
    PemFile,
    facts_by_file,
    is_servable,
    may_be_down,
    pem_files,
)
from distributor.targets.pem_set import PemSet, Place, Seen
from distributor.targets.remote_lock import Controller
from distributor.targets.remote_set import NewFile, mark_of
from distributor.targets.ssh_rights import folder_of


class SshFiles:
    """A host that wants PEM files, reached by SSH; `controller` names us to others."""

    def __init__(
        self,
        host: Host,
        connect: Callable[[], AbstractContextManager[Shell]],
        now: Callable[[], datetime],
        *,
        controller: Callable[[], Controller],
    ) -> None:
        self._host = host
        self._connect = connect
        self._controller = controller
        self._now = now
        self._paths = _paths(host)

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        """Return what each file is to hold, and whose and how readable it is to be.

        Raises Ambiguous for several certificates: each file holds one.
        """
        names = self._host.certificates
        if len(names) > 1:
            raise Ambiguous(
                f"{self._host.name} is to hold {' and '.join(names)} in the same files",
                hint="make two hosts of it, each with files of its own",
                step="plan",
            )
        facts: dict[Address, dict[str, FactValue]] = {}
        for certificate in (certificates[name] for name in names if name in certificates):
            for file in pem_files(self._paths):
                facts[file.address] = {SAKE: certificate.name, **file.wanted(certificate)}
                if self._paths.mode is not None:
                    facts[file.address][MODE] = f"{int(self._paths.mode, 8):04o}"
                if self._paths.owner is not None:
                    facts[file.address][OWNER] = self._paths.owner
        return State(facts)

    @contextmanager
    def open(self) -> Iterator["SshFilesSession"]:
        """Sign in for as long as the context lasts."""
        with self._connect() as shell:
            session = SshFilesSession(self._host, shell, self._now, self._controller)
            try:
                yield session
            finally:
                session.release()


class SshFilesSession:
    """One login to such a host."""

    def __init__(
        self,
        host: Host,
        shell: Shell,
        now: Callable[[], datetime],
        controller: Callable[[], Controller],
    ) -> None:
        self._host = host
        self._now = now
        self._paths = _paths(host)
        files = pem_files(self._paths)
        place = Place(files=files, folder=folder_of(files[0].path), owner=self._paths.owner)
        self._set = PemSet(host.name, shell, place, controller)

    @property
    def traits(self) -> Traits:
        """Programs that read PEM files take every key; a copy of a file brings back all of it."""
        return Traits(puts_back_self_signed=True)

    def inspect(self, served: Sequence[Served]) -> State:
        """Return what each file tells, and where a port serves something else.

        A file that is not there has no facts. Raises DeviceRefused for a folder that is not there,
        and where a folder or a symbolic link is in the place of a file.
        """
        shown = [one.certificate for one in served if one.certificate is not None]
        told = facts_by_file(self._set.look(), self._paths.owner, shown)
        return State({file.address: facts for file, facts in told.items()})

    def foresee(self, plan: Plan) -> Foresight:
        """Return whether root is needed, what cannot be copied, and whether a server may be down.

        Raises AuthRefused when root is needed and refused.
        """
        if not plan.changes:
            return Foresight()
        as_root = self._set.needs_root()
        notes = ["the files are written as root"] if as_root else []
        if self._paths.reload is None:
            notes.append("there is no `reload`: what uses the files has to notice by itself")
        else:
            notes.append(f"then `reload` runs as {self._runs_as()}")
        return Foresight(
            notes=tuple(notes), hazards=self._set.lost(), heals=may_be_down(self._set.seen)
        )

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:
        """Return what was seen; `apply` first copies the files beside themselves, on the host."""
        if not may_lose:
            self._set.require_restorable()
        return Snapshot(
            host=plan.host,
            taken=self._now(),
            before=plan.observed,
            copied=tuple(dict.fromkeys(change.address for change in plan.changes)),
            copy=mark_of(plan.observed),
        )

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Copy what is there, put the files that differ in place together, and reload.

        Raises ApplyFailed when the reload command fails, or the files are not as they were seen.
        """
        if not plan.changes:
            return
        new = {
            file: NewFile(file.content(bundles[name]), self._paths.mode, self._paths.owner)
            for file, held in self._set.begin().items()
            if (name := self._changed_for(plan, file, held)) is not None
        }
        self._set.replace(new, mark_of(plan.observed))
        self._reload()

    def remove(self, plan: Plan) -> None:
        """Refuse: the files are replaced, never removed."""
        if plan.removals:
            raise ApplyFailed("files are not removed", hint="review the plan", step="remove")

    def rollback(self, snapshot: Snapshot) -> None:
        """Put the copies back that `apply` made, and reload if they can be served.

        Raises RollbackFailed where there are none, and the files are not as before.
        """

        def is_as_before(seen: Seen) -> bool:
            told = facts_by_file(seen, self._paths.owner, ())
            return {file.address for file in told} == set(snapshot.before.facts) and all(
                agrees(facts, snapshot.before.facts[file.address]) for file, facts in told.items()
            )

        if self._set.put_back(snapshot.copy, is_as_before) and is_servable(self._set.look()):
            # A server that is told of files which it cannot use may end, or keep on refusing.
            self._reload()

    def release(self) -> None:
        """Let go of the lock."""
        self._set.release()

    def _changed_for(self, plan: Plan, file: PemFile, held: Held | None) -> str | None:
        """Return for which certificate a file is written anew; None for one that is right.

        A file is right, and in the plan, where only a port was not told of it.
        """
        facts = {} if held is None else held.facts(self._paths.owner)
        for change in plan.changes:
            if change.address == file.address and facts.get(change.fact) != change.after:
                return change.certificate
        return None

    def _reload(self) -> None:
        if self._paths.reload is None:
            return
        result = self._set.run(["/bin/sh", "-c", self._paths.reload])
        if result.status is None:
            result.required("`reload` was begun", "reload")
        if result.status:
            raise ApplyFailed(
                f"`reload` ended with {result.status}: {result.all_words}",
                hint=f"try it on the host as {self._runs_as()}, which it runs as",
                step="reload",
                code=result.status,
            )

    def _runs_as(self) -> str:
        return "root" if self._set.needs_root() else printable(self._host.access.user)


def _paths(host: Host) -> PemPaths:
    if host.files is None:
        raise TypeError(f"{host.name} wants no files")
    return host.files
