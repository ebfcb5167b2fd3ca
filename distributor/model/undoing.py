"""How a change of the past is taken back: a pure decision, as `git revert` makes it for commits.

What the change made is set back to what was there before; what came since and has nothing to do
with it stays; where both touched the same thing, nothing is decided and a person has to.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from distributor.model.bundle import Bundle
from distributor.model.endpoints import Served, Shown, shown_by
from distributor.model.errors import StalePlan, UnsafePlan
from distributor.model.hazards import NOT_RESTORABLE
from distributor.model.mixture import is_mixed
from distributor.model.plan import Change, Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import (
    ABSENT,
    CERTIFICATE,
    CHAIN,
    ENTRY,
    ISSUED_BY,
    KEY,
    LEAF,
    MODE,
    NAMES,
    NOT_AFTER,
    OWNER,
    SAKE,
    UNREADABLE,
    Absent,
    Address,
    Facts,
    FactValue,
    State,
)

_CONTENT: Final = frozenset({"certificate", "file"})
"""Kinds of address that hold a certificate; the others point at one."""
_HELD: Final = frozenset({LEAF, CHAIN, KEY})
_ONLY_SERVED: Final = frozenset({LEAF, CHAIN})
"""Facts that may be known by a handshake alone, so that an endpoint less hides them."""
_TELLING: Final = (NAMES, NOT_AFTER, ISSUED_BY)
"""What stands for a leaf that could not be read."""
_BY_HAND: Final = "put back by hand what is to go back, or bring the current certificate: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """What taking a change back would do to a host as it is now."""

    plan: Plan
    """For people: each fact now and afterwards. Its notes say what came since and stays."""
    snapshot: Snapshot
    """For `Session.rollback`: `before` is the host as it is to be afterwards."""
    restored: tuple[Bundle, ...]
    """What is brought to the host again."""


def to_be_undone(snapshot: Snapshot, plan: Plan, served: Sequence[Served]) -> Snapshot:
    """Return the snapshot with what is needed to take `plan` back on another day."""
    facts: dict[Address, dict[str, FactValue]] = {}
    for change in plan.changes:
        if not isinstance(change.after, Absent):
            facts.setdefault(change.address, {SAKE: change.certificate})[change.fact] = change.after
    return replace(snapshot, after=State(facts), shown=shown_by(served))


def undo(snapshot: Snapshot, now: State, served: Sequence[Served]) -> Undoing:
    """Return how the change after `snapshot` is taken back on a host that is `now`.

    A half-made change is taken back as far as it was made. Raises StalePlan where something else
    has taken the place of what the change made, and UnsafePlan where what was there cannot be had
    again; each with every reason there is.
    """
    then = _as_known(snapshot, now)
    made = dict(_made(then, now))
    goal = {address: dict(facts) for address, facts in now.facts.items()}
    back = _Back(then, now, made, goal)
    back.go()
    if back.stale:
        raise StalePlan(
            f"{snapshot.host} was changed since: {'; '.join(back.stale)}",
            hint=f"{_BY_HAND}distribute --host {snapshot.host}",
            step="plan",
        )
    if back.lost:
        raise UnsafePlan(
            "; ".join(back.lost),
            hazards=(NOT_RESTORABLE,),
            hint=f"{_BY_HAND}distribute --host {snapshot.host}",
        )
    gone = [one for one in now.facts if one not in goal]
    changes = (*_changes(now, goal, then.after), *_going(gone, now))
    pairs = {entry: then.pairs[entry] for entry in back.contents if entry in then.pairs}
    shown, elsewhere = _expected(then, served)
    return Undoing(
        plan=Plan(
            host=snapshot.host,
            observed=now,
            changes=changes,
            certificates=(),
            notes=(*back.since, *elsewhere),
        ),
        snapshot=replace(
            then,
            before=State(goal),
            creates=tuple(made.values()),
            pairs=pairs,
            copied=tuple(one for one in back.contents if one in then.copied),
            shown=shown,
        ),
        restored=tuple(pairs.values()),
    )


def is_as(goal: State, seen: State) -> bool:
    """Tell whether a host is as it was to be; a leaf that no endpoint shows is judged by dates."""
    return goal.facts.keys() == seen.facts.keys() and all(
        _same(facts, seen.facts[address]) for address, facts in goal.facts.items()
    )


class _Back:
    """Walks over what the change touched; notes every reason that speaks against it."""

    def __init__(
        self,
        then: Snapshot,
        now: State,
        made: Mapping[Address, Address],
        goal: dict[Address, dict[str, FactValue]],
    ) -> None:
        self._then, self._now, self._made, self._goal = then, now, made, goal
        self.stale: list[str] = []
        self.lost: list[str] = []
        self.since: list[str] = []
        self.contents: list[Address] = []
        """Entries and files that get their former content again."""

    def go(self) -> None:
        """Fill `goal`, and all that is to be said."""
        if not self._then.after.facts and not is_as(self._then.before, self._now):
            self.stale.append("its snapshot does not tell what of it was ours")
        touched = [one for one in self._then.after.facts if one not in self._then.creates]
        for address in touched:
            if address.kind in _CONTENT:
                self._content(address)
            else:
                self._pointer(address)
        self._new_entries()
        self._others(frozenset(touched))
        self._require_targets(touched)

    def _content(self, address: Address) -> None:
        before, now = self._then.before.facts.get(address), self._now.facts.get(address)
        if before is None and address in self._then.copied:
            self._new_file(address, now)
            return
        if now is None or before is None:
            self.stale.append(f"{address} is not there any more")
            return
        planned = {**before, **self._then.after.facts[address]}
        if address in self._then.copied:  # of files owner and mode go back as well
            is_old, is_told = _same(before, now), True
        else:
            is_old, is_told = _holds(now, before), not _holds(now, planned)
        is_new = not is_old and self._is_ours(address, now, before, planned)
        if is_old and not is_told:
            self.stale.append(f"no endpoint shows what {address} holds")
        elif is_old:
            self._goal[address] = dict(before)
        elif not is_new:
            self.stale.append(f"{address} holds something else by now")
        elif address not in self._then.pairs and address not in self._then.copied:
            self.lost.append(
                f"what {address} held lies neither in the snapshot nor in the store, so that it "
                "cannot be put back"
            )
        else:
            self.contents.append(address)
            self._goal[address] = dict(before)

    def _is_ours(self, address: Address, now: Facts, before: Facts, planned: Facts) -> bool:
        """Tell whether it holds what the change brings, or is on the way there.

        What lies in several files may be torn; with a copy of all of them it is put back whole.
        """
        if address in self._then.copied:
            return is_mixed(now, before, planned)
        return _holds(now, planned)

    def _new_file(self, address: Address, now: Facts | None) -> None:
        """Let a file go that the change made."""
        if now is None:
            return
        planned = self._then.after.facts[address]
        if all(now.get(fact) == planned.get(fact) for fact in (LEAF, CHAIN, KEY)):
            self.contents.append(address)
            del self._goal[address]
        else:
            self.stale.append(f"{address} holds something else by now")

    def _pointer(self, address: Address) -> None:
        now = self._now.facts.get(address)
        if now is None:
            self.since.append(f"since then gone, and left so: {address}")
            return
        before = self._then.before.facts.get(address, {})
        for fact, after in self._then.after.facts[address].items():
            if fact == SAKE or now.get(fact) == before.get(fact):
                continue
            planned = self._made.get(after, after) if isinstance(after, Address) else after
            if now.get(fact) != planned:
                self.stale.append(f"{address} uses something else by now")
            elif fact not in before:
                self.lost.append(f"{address} had no certificate before; that cannot be set back")
            else:
                # What a copy of it holds comes along.
                kept = {name: now[name] for name in (MODE, OWNER) if name in now}
                self._goal[address] |= {**before, **kept, fact: before[fact]}

    def _new_entries(self) -> None:
        """Let entries go that the change made, unless they are not what it made of them."""
        for wanted in self._then.creates:
            twins = _named_like(wanted, self._then, self._now)
            if len(twins) > 1:
                ids = ", ".join(f"'{one.id}'" for one in twins)
                self.stale.append(f"there are several of {wanted} by now ({ids})")
        for wanted, entry in self._made.items():
            if not _holds(self._now.facts[entry], self._then.after.facts.get(wanted, {})):
                self.stale.append(f"{entry} holds something else by now")
            del self._goal[entry]

    def _others(self, touched: frozenset[Address]) -> None:
        """Leave what the change did not touch as it is, and say where it is different."""
        before, ours = self._then.before.facts, {*touched, *self._made.values()}
        for address, facts in self._now.facts.items():
            if address in ours:
                continue
            was = before.get(address)
            if was is not None and (_same(was, facts) or self._follows(was, facts)):
                # What the endpoints of that day told of it is told again once all is as it was.
                self._goal[address] = dict(was)
            else:
                word = "new" if was is None else "changed"
                self.since.append(f"since then {word}, and left so: {address}")
        for address, was in before.items():
            if address in self._now.facts or address in touched:
                continue
            if address.kind == "file" and was.get(CERTIFICATE) in self.contents:
                # Whose copy it is shows again when what it is a copy of is back.
                self._goal[address] = dict(was)
            else:
                self.since.append(f"since then gone, and left so: {address}")

    def _follows(self, was: Facts, now: Facts) -> bool:
        """Tell whether it is a copy of what goes back, and has come along with the change."""
        entry = now.get(CERTIFICATE)
        if not isinstance(entry, Address) or entry not in self.contents:
            return False
        if {one for one in was if one not in _HELD and was[one] != now.get(one)}:
            return False
        planned = {**self._then.before.facts[entry], **self._then.after.facts[entry]}
        return is_mixed(now, was, planned)

    def _require_targets(self, touched: Sequence[Address]) -> None:
        going = set(self._made.values())
        for address, facts in self._goal.items():
            for used in facts.values():
                if not isinstance(used, Address):
                    continue
                if used in going:
                    if address not in touched:
                        self.stale.append(f"{address} has come to use {used}, which would go")
                elif address in touched and used not in self._goal:
                    self.stale.append(f"{used}, which {address} used, is not there any more")


def _as_known(snapshot: Snapshot, now: State) -> Snapshot:
    """Return the snapshot with the names that things have now: they are known by their id."""
    known = {(one.kind, one.id): one for one in now.facts if one.id}

    def today(address: Address) -> Address:
        return known.get((address.kind, address.id), address)

    return replace(
        snapshot,
        before=_renamed(snapshot.before, today),
        after=_renamed(snapshot.after, today),
        pairs={today(entry): pair for entry, pair in snapshot.pairs.items()},
        copied=tuple(map(today, snapshot.copied)),
    )


def _renamed(state: State, today: Callable[[Address], Address]) -> State:
    return State(
        {
            today(address): {
                name: today(value) if isinstance(value, Address) else value
                for name, value in facts.items()
            }
            for address, facts in state.facts.items()
        }
    )


def _made(then: Snapshot, now: State) -> Iterator[tuple[Address, Address]]:
    for wanted in then.creates:
        found = _named_like(wanted, then, now)
        if len(found) == 1:
            yield wanted, found[0]


def _named_like(wanted: Address, then: Snapshot, now: State) -> list[Address]:
    return [
        one
        for one in now.of_kind(wanted.kind)
        if one.name == wanted.name and one not in then.before.facts
    ]


def _holds(have: Facts, wanted: Facts) -> bool:
    """Tell whether an entry holds what `wanted` says, as far as it can be seen."""
    if LEAF not in have and LEAF not in wanted:  # a file of a key, or of a chain
        return all(have.get(fact) == wanted.get(fact) for fact in (CHAIN, KEY))
    if UNREADABLE not in {have.get(LEAF, UNREADABLE), wanted.get(LEAF, UNREADABLE)}:
        return all(have.get(fact) == wanted.get(fact) for fact in (LEAF, CHAIN))
    return all(
        fact in wanted and have.get(fact) == wanted[fact] is not UNREADABLE for fact in _TELLING
    )


def _same(facts: Facts, others: Facts) -> bool:
    return facts.keys() == others.keys() and all(
        value == others[name] or (name in _ONLY_SERVED and UNREADABLE in {value, others[name]})
        for name, value in facts.items()
    )


def _changes(
    now: State, goal: Mapping[Address, Mapping[str, FactValue]], after: State
) -> Iterator[Change]:
    for address, facts in sorted(goal.items(), key=lambda item: item[0]):
        have = now.facts.get(address, {})
        sake = after.get(address, SAKE)
        for fact, value in sorted(facts.items()):
            hidden = fact in _ONLY_SERVED and UNREADABLE in {value, have.get(fact)}
            if have.get(fact) != value and not hidden:
                yield Change(
                    address, fact, have.get(fact), value, sake if isinstance(sake, str) else ""
                )


def _going(made: Iterable[Address], now: State) -> Iterator[Change]:
    for entry in made:
        yield Change(entry, ENTRY, now.get(entry, NOT_AFTER), ABSENT, "")


def _expected(
    then: Snapshot, served: Sequence[Served]
) -> tuple[tuple[Shown, ...], tuple[str, ...]]:
    """Return what endpoints are to show again, and what is said of those that are not to."""
    brought = {facts.get(LEAF) for facts in then.after.facts.values()}
    expected, notes = [], []
    for one in served:
        for shown in then.shown:
            if not shown.is_of(one.endpoint):
                continue
            if one.certificate is None or one.certificate.leaf in {shown.leaf, *brought}:
                expected.append(shown)
            else:
                notes.append(f"since then changed, and left so: what {one.endpoint} serves")
    return tuple(expected), tuple(notes)
