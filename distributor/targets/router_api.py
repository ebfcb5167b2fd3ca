"""A Synology router by its Web API: one certificate, which serves everything.

SRM tells of it neither id, dates nor alternative names; all that counts is seen in a handshake.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from distributor.clients.srm import SrmSession
from distributor.clients.web_api import is_away
from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import ApplyFailed, HostError
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Host
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import (
    CHAIN,
    DEVICE,
    ISSUED_BY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    SELF_SIGNED,
    UNREADABLE,
    UPLOADED,
    FactValue,
    State,
)
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.srm import RouterCertificate
from distributor.targets.copies import foresee, kept_pairs
from distributor.targets.pem_facts import facts_wanted
from distributor.targets.router_facts import ENTRY, desired_state

log = logging.getLogger(__name__)

TRIES: Final = 2


class RouterApi:
    """A router with SRM 1.2 or 1.3, reached by HTTPS."""

    def __init__(
        self,
        host: Host,
        connect: Callable[[], SrmSession],
        find_bundle: Callable[[str], Bundle | None],
        now: Callable[[], datetime],
    ) -> None:
        self._host = host
        self._connect = connect
        self._find_bundle = find_bundle
        self._now = now
        self._has_written = False

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        """Return leaf and chain of the one certificate that is delivered to it.

        Raises Ambiguous for several: it could hold but one of them.
        """
        return desired_state(self._host, certificates)

    @contextmanager
    def open(self) -> Iterator["RouterSession"]:
        """Sign in for as long as the context lasts."""
        session = self._connect()
        try:
            session.sign_in(after_write=self._has_written)
            yield RouterSession(session, self._find_bundle, self._now)
        finally:
            self._has_written = self._has_written or session.has_written
            session.close()


class RouterSession:
    """One login to a router."""

    def __init__(
        self,
        srm: SrmSession,
        find_bundle: Callable[[str], Bundle | None],
        now: Callable[[], datetime],
    ) -> None:
        self._srm = srm
        self._find_bundle = find_bundle
        self._now = now

    @property
    def traits(self) -> Traits:
        """No source tells of EC keys on SRM; the pair of its own certificate can be put back."""
        return Traits(elliptic_curves=False, needs_common_name=True, puts_back_self_signed=True)

    def inspect(self, served: Sequence[Served]) -> State:
        """Return what handshakes show of the certificate, and who renews it."""
        return _observed(self._srm.certificate(), served)

    def foresee(self, plan: Plan) -> Foresight:
        """Try to export what the store does not hold: it is copied, or cannot be put back."""
        return foresee(plan, self._export, self._find_bundle)

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:
        """Keep the pair that is there: from the store, else exported."""
        pairs = kept_pairs(plan, self._export, self._find_bundle, may_lose=may_lose)
        return Snapshot(host=plan.host, taken=self._now(), before=plan.observed, pairs=pairs)

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Import the bundle; what the router then serves is the proof."""
        for name in dict.fromkeys(change.certificate for change in plan.changes):
            self._import(bundles[name])

    def remove(self, plan: Plan) -> None:
        """Refuse: a router's one certificate can be replaced, never removed."""
        if plan.removals:
            raise ApplyFailed(
                "a router's certificate cannot be removed", hint="review the plan", step="remove"
            )

    def rollback(self, snapshot: Snapshot) -> None:
        """Import what was there."""
        for bundle in snapshot.pairs.values():
            self._import(bundle)

    def _export(self, _entry_id: str) -> bytes:
        return self._srm.export()

    def _import(self, bundle: Bundle) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                self._srm.import_bundle(bundle)
            except HostError as error:
                if not is_away(error) or attempt == TRIES:
                    raise
                log.info("import attempt=%d lost=%s", attempt, error.kind)
                self._srm.certificate()  # waits until the router is back
            else:
                return


def _observed(told: RouterCertificate, served: Sequence[Served]) -> State:
    facts: dict[str, FactValue] = dict.fromkeys(
        (LEAF, CHAIN, NAMES, NOT_BEFORE, NOT_AFTER), UNREADABLE
    )
    facts[ISSUED_BY] = printable(told.issued_by)
    facts[MANAGED_BY] = DEVICE if told.renewable else SELF_SIGNED if told.own_ca else UPLOADED
    shown = [one.certificate for one in served if one.certificate is not None]
    if shown:
        facts |= facts_wanted(shown[0])
        if shown[0].not_before is not None:
            facts[NOT_BEFORE] = rfc3339(shown[0].not_before)
    leaves = sorted({one.leaf for one in shown})
    if len(leaves) > 1:
        # One certificate serves everything: a port with another leaf was not reloaded.
        facts[LEAF] = tuple(leaves)
    return State({ENTRY: facts})
