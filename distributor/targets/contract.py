"""What the core asks of every kind of host, and the laws that each must keep.

1. `inspect` changes nothing, and twice gives the same.
2. `desired` works with nothing running.
3. After `apply`, `diff(inspect(), desired())` is empty; a second run plans and writes nothing.
4. Nothing outside the plan's addresses changes.
5. After a fault at any write, `rollback` on a new session restores every fact that was observed.
   So it does in another process and on another day, from what lies on the disk: the core says what
   the host is to be like (`undoing.undo`), and what somebody did there since stays.
6. What could not be read is UNREADABLE, never absent.
7. No exception leaves that is not a DistributorError; no secret appears in a log, error, `repr`,
   URL, argument list, environment of a child or file that others can read.

`tests/contract/target_laws.py` holds them as tests; every kind in `wiring` must run them.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served
from distributor.model.hazards import Foresight, Traits
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import State


class Session(Protocol):
    """One login to a host. It ends, and signs out, with the context that `open` gives."""

    @property
    def traits(self) -> Traits:
        """What this device can take."""

    def inspect(self, served: Sequence[Served]) -> State:
        """Return what the host holds. MUST change nothing.

        `served` is what handshakes on the host's endpoints showed: a driver whose host does not
        tell fingerprints takes them from there.
        """

    def foresee(self, plan: Plan) -> Foresight:
        """Return what would be copied from the device, and what could not be put back.

        MUST change nothing. What it reports as hazard `not-restorable` is what `snapshot` could not
        keep.
        """

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:
        """Return all that is needed to undo `plan`. MUST change nothing.

        Raises UnsafePlan when something could not be undone, unless `may_lose`: a person accepted
        that.
        """

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Make the changes of `plan`, and no others. `bundles` are by certificate name.

        MUST NOT report success on the device's word where it can look. Raises a DistributorError
        at the first change that cannot be made; what was made by then stays for `rollback`. A
        PlanError says that nothing was changed.
        """

    def remove(self, plan: Plan) -> None:
        """Remove the entries of `plan.removals`, and no others. Called last, after the proof.

        MUST leave alone an entry that is used by now, or is not what was planned for; raises a
        DistributorError when one was left.
        """

    def rollback(self, snapshot: Snapshot) -> None:
        """Make the host as `snapshot.before` says; MUST work after any half-made apply.

        That is how it was when the snapshot was taken, or that with what came since. What is so
        already MUST be left alone. Of entries that are not in it, those in `creates` go, and only
        those: by their id, or where it is not known by their name. `pairs` is what has to be
        brought again. Raises a DistributorError when it cannot.
        """


class Target(Protocol):
    """One host as its driver sees it."""

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        """Return what the host should hold of `certificates` (by name). Pure.

        Addresses are as the inventory words them; `choice.resolve` finds what they mean.
        """

    def open(self) -> AbstractContextManager[Session]:
        """Connect and sign in, once.

        Raises Unreachable, Untrusted, AuthRefused, ProtocolError or DeviceRefused.
        """
