"""A DiskStation by its Web API: translates between addresses and facts, and DSM's calls."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from distributor.clients.dsm import DsmSession
from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Host
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import State
from distributor.targets.copies import FindBundle, foresee, kept_pairs
from distributor.targets.diskstation_entries import Entries, new_entries
from distributor.targets.diskstation_facts import observed_state
from distributor.targets.diskstation_wanted import wanted_state


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
        return wanted_state(self._host, certificates)

    @contextmanager
    def open(self) -> Iterator["DiskstationSession"]:
        """Sign in for as long as the context lasts."""
        session = self._connect()
        try:
            session.sign_in(after_write=self._has_written)
            yield DiskstationSession(session, self._find_bundle, self._now)
        finally:
            self._has_written = session.has_written
            session.close()


class DiskstationSession:
    """One login to a DiskStation."""

    def __init__(
        self,
        dsm: DsmSession,
        find_bundle: FindBundle,
        now: Callable[[], datetime],
    ) -> None:
        self._dsm = dsm
        self._entries = Entries(dsm)
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
            creates=new_entries(plan),
            pairs=kept_pairs(plan, self._dsm.export, self._find_bundle, may_lose=may_lose),
        )

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Import, bind and make default what the plan says, and see that the list agrees."""
        self._entries.bring(plan, bundles)

    def remove(self, plan: Plan) -> None:
        """Remove what the plan supersedes, once the list shows it as planned and unused."""
        self._entries.remove(plan)

    def rollback(self, snapshot: Snapshot) -> None:
        """Bring back contents, then bindings and default, then remove what was made anew."""
        self._entries.put_back(snapshot)
