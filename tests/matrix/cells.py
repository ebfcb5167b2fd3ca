"""Tries one fault at one step of a delivery, through the core, and says how it ended.

Whatever the fault, these hold: `changed` is said only of a box that holds the new pair and shows it
on every endpoint; `failed`, `refused` and `rolled_back` only of one that is as it was, to the byte;
anything else is `broken`, and the report names the host and the commands that a person needs. What
belongs to others is never touched, a refused password is never sent again, and the next run, with
the fault gone, brings the host to the new certificate.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

import pytest

from distributor import access, delivery
from distributor.clients.shell import STAGED
from distributor.model.endpoints import Served, all_serve
from distributor.model.errors import AuthRefused, DistributorError
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.plan import diff
from tests.contract.delivering import Bench
from tests.contract.target_laws import Raw, Rig

FAULTS: Final[Mapping[str, str]] = {
    "down": "host goes down",
    "cut": "connection cut",
    "lost": "answer lost",
    "password": "password refused",
    "identity": "another device answers",
    "refusal": "device refuses",
    "lie": "success that lies",
    "garbage": "broken data",
    "slow": "slow",
}
SHOWN_AGAIN: Final = "handshakes again"
"""The step of our own that comes before the first handshake after putting back."""
_A_DAY_AND_MORE: Final = timedelta(hours=25)


@dataclass
class SteppedBench(Bench):
    """A run's work that says also when it comes to a handshake after putting back."""

    now: str = ""
    stands_in: Callable[[], SocketAddress | None] = lambda: None
    """Gives a peer that is to be met once, at the first endpoint."""

    def step(self, host: str, text: str) -> None:
        self.now = text
        super().step(host, text)

    def probe(self, endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
        if self.now == "putting back":
            self.step("", SHOWN_AGAIN)
        peer = self.stands_in()
        if peer is None:
            return super().probe(endpoints)
        first, *others = endpoints
        (met,) = super().probe([replace(first, address=peer)])
        return (replace(met, endpoint=first), *super().probe(others))


@dataclass(kw_only=True)
class Subject(ABC):
    """One box, and one fault on it."""

    rig: Rig
    ours: frozenset[str]
    """What of `Raw.entries` a delivery replaces."""
    struck: bool = False
    hooks: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What happens when the run comes to a step."""

    @property
    def was_struck(self) -> bool:
        """Whether the fault came about."""
        return self.struck

    def stand_in(self) -> SocketAddress | None:
        """Return, once, a peer that answers in the place of the first endpoint."""
        return None

    @abstractmethod
    def arm(self, step: str, fault: str) -> None:
        """Let the fault strike at a step of the next run."""

    @abstractmethod
    def heal(self) -> None:
        """Let everything work again, as whoever looks after the box would."""

    @property
    @abstractmethod
    def refusals(self) -> Mapping[str, int]:
        """How often each door of the box refused a password since there is this fault."""


def never_in_a_handshake(steps: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return why some faults cannot occur at steps that are a handshake alone."""
    reasons = {
        "lost": "a handshake has no effect that could be made while its answer is lost",
        "password": "no password is sent in a handshake",
        "lie": "a handshake is looked at, and says no word that could be believed",
    }
    return {(step, fault): why for step in steps for fault, why in reasons.items()}


class Kind(ABC):
    """One kind of host."""

    name: ClassVar[str]
    title: ClassVar[str]
    steps: Mapping[str, str]
    """What each step does, in the words of the page."""
    never: Mapping[tuple[str, str], str]
    """Why a fault cannot occur at a step: by the step, or its beginning and `*`, and the fault."""
    outlasts: frozenset[str] = frozenset({"cut", "lost", "slow"})
    """Faults through which it is put back all the same."""
    proves_within: float = 0.6
    """Seconds that are waited for a proof which cannot come."""

    @contextmanager
    def ready(self, folder: Path) -> Iterator[None]:  # noqa: ARG002 - for kinds that share a box
        """Make what all cells share, for as long as the context lasts."""
        yield

    @abstractmethod
    def open(self, folder: Path) -> AbstractContextManager[Subject]:
        """Give a box with a delivery before it."""

    def why_never(self, step: str, fault: str) -> str | None:
        """Return why the fault cannot occur there; None where it can."""
        for (where, what), why in self.never.items():
            is_there = step.startswith(where[:-1]) if where.endswith("*") else step == where
            if is_there and what in {fault, "*"}:
                return why
        return None

    def cells(self) -> list[tuple[str, str]]:
        """Return steps and faults that are tried."""
        return [(s, f) for s in self.steps for f in FAULTS if self.why_never(s, f) is None]


def tried(kind: Kind, step: str, fault: str, folder: Path) -> str:
    """Try it, require what must hold, and return how it ended."""
    with kind.open(folder) as subject, pytest.MonkeyPatch.context() as patch:
        rig = subject.rig
        before = rig.raw()
        subject.arm(step, fault)
        status, error = _run(subject, patch, kind, step, fault)
        assert subject.was_struck, "the fault did not come about"
        if isinstance(error, AuthRefused) or fault == "password":
            _require_once(subject, patch, kind)
        subject.heal()
        subject.hooks.clear()
        patch.setattr(access, "utc_now", lambda: datetime.now(UTC) + _A_DAY_AND_MORE)
        after = rig.raw()
        box = _held(rig, before, after)
        _require_others_untouched(subject, before, after)
        _require_true(rig, status, error, box)
        if status not in {"changed", "failed"}:
            again, why = _run(subject, patch, kind, "", "")
            assert again in {"changed", "unchanged"}, why
            last = rig.raw()
            assert _held(rig, before, last) == "new"
            assert last.others == before.others
            _require_others_untouched(subject, before, last)
    told = "" if error is None else f" ({error.kind})"
    return f"{status}: {box}{told}"


def _run(
    subject: Subject, patch: pytest.MonkeyPatch, kind: Kind, step: str, fault: str
) -> tuple[str, DistributorError | None]:
    """Do one run. Waits are cut short only where what is waited for cannot come."""
    is_back = step.startswith("back")
    in_vain = fault in {"down", "identity", "lie"}
    bench = SteppedBench(subject.rig, at=subject.hooks, stands_in=subject.stand_in)
    patch.setattr(delivery, "SERVED_SECONDS", kind.proves_within if in_vain or is_back else 20.0)
    first = bench.at.get("putting back")

    def putting_back() -> None:
        ends_well = fault in kind.outlasts or (step.endswith("handshakes") and not in_vain)
        is_short = not ends_well if is_back else in_vain and fault != "lie"
        patch.setattr(delivery, "SERVED_SECONDS", kind.proves_within if is_short else 20.0)
        if first is not None:
            first()

    bench.at["putting back"] = putting_back
    try:
        outcome = bench.run()
    except DistributorError as error:
        return "failed", error
    return outcome.status, outcome.error


def _require_once(subject: Subject, patch: pytest.MonkeyPatch, kind: Kind) -> None:
    """No door was sent a password twice that it refused, however often a run comes by."""
    told = ""
    for _ in range(2):
        assert set(subject.refusals.values()) <= {0, 1}
        assert any(subject.refusals.values())
        subject.hooks.clear()
        status, error = _run(subject, patch, kind, "", "down")
        assert status == "failed"
        assert isinstance(error, AuthRefused)
        told = error.message
    assert "not tried" in told
    assert set(subject.refusals.values()) <= {0, 1}


def _held(rig: Rig, before: Raw, after: Raw) -> str:
    """Say what the box holds, seen past its driver, and by it and every endpoint if it is new."""
    if after == before:
        return "as before"
    (wanted,) = rig.certificates.values()
    served = rig.served()
    desired = rig.target().desired(rig.certificates)
    with rig.target().open() as session:
        left = diff(session.inspect(served), desired)
    holds = any(
        (one.leaf, one.chain) == (wanted.leaf, wanted.chain) for one in after.entries.values()
    )
    return "new" if holds and not left and all_serve(served, rig.certificates) else "in between"


def _require_others_untouched(subject: Subject, before: Raw, after: Raw) -> None:
    # What a cut left staged beside its place is ours: the next run removes it.
    there = {path: facts for path, facts in after.others.items() if STAGED not in path}
    assert there == before.others
    for known, entry in before.entries.items():
        assert known in subject.ours or after.entries[known] == entry, known


def _require_true(rig: Rig, status: str, error: DistributorError | None, box: str) -> None:
    """What is said of the box is so."""
    if status == "changed":
        assert (box, error) == ("new", None)
        return
    assert error is not None
    assert error.message
    assert error.hint
    if status == "broken":
        name = rig.host.name
        assert error.kind == "RollbackFailed"
        assert "then putting it back failed" in error.message
        assert f"distribute rollback {name}" in error.hint
        assert f"distribute --host {name}" in error.hint
        return
    assert status in {"failed", "refused", "rolled_back"}
    assert box == "as before"
