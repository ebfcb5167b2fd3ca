"""What is taken back of a change whose way back is a copy on the host itself."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Bundle, spki_fingerprint
from distributor.model.errors import StalePlan, UnsafePlan
from distributor.model.plan import Change, Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import (
    ABSENT,
    CERTIFICATE,
    CHAIN,
    ENTRY,
    KEY,
    LEAF,
    MODE,
    NOT_AFTER,
    Address,
    FactValue,
    State,
)
from distributor.model.undoing import to_be_undone, undo
from tests.certs import NOW
from tests.unit.bench import issue

OLD, NEW, STRANGER = issue(20), issue(90), issue(50)
FULL, PRIVATE = Address("file", "/etc/full.pem"), Address("file", "/etc/key.pem")
COMBINED = Address("file", "/etc/both.pem")
HOME, DSM = Address("certificate", "home", "h1"), Address("service", "DSM", "system/default")
VHOST = Address("file", "/usr/local/vhost")
Facts = dict[str, FactValue]


def pair(bundle: Bundle) -> Facts:
    shown = bundle.certificate("")
    assert shown.not_after is not None
    return {
        LEAF: shown.leaf,
        CHAIN: shown.chain,
        KEY: spki_fingerprint(bundle.leaf),
        NOT_AFTER: shown.not_after.isoformat(),
    }


def held(bundle: Bundle, *facts: str) -> Facts:
    return {name: value for name, value in pair(bundle).items() if name in facts} | {MODE: "0600"}


def files(bundle: Bundle, *, combined: bool) -> dict[Address, Facts]:
    found = {FULL: held(bundle, LEAF, CHAIN, NOT_AFTER), PRIVATE: held(bundle, KEY)}
    return found | ({COMBINED: held(bundle, LEAF, CHAIN, KEY, NOT_AFTER)} if combined else {})


def after_change(before: Mapping[Address, Facts], after: Mapping[Address, Facts]) -> Snapshot:
    """The snapshot of a change that makes `after` of `before`; entries are what it plans."""
    changes = [
        Change(address, fact, before.get(address, {}).get(fact), value, "home")
        for address, facts in after.items()
        for fact, value in facts.items()
        if address.kind != "service"
        and CERTIFICATE not in facts
        and before.get(address, {}).get(fact) != value
    ]
    bare = Snapshot(
        host="docker",
        taken=NOW,
        before=State(before),
        copied=tuple(dict.fromkeys(one.address for one in changes)),
        copy="mark",
    )
    plan = Plan(host="docker", observed=State(before), changes=tuple(changes), certificates=())
    return to_be_undone(bare, plan, ())


BEFORE, AFTER = files(OLD, combined=False), files(NEW, combined=True)
SNAPSHOT = after_change(BEFORE, AFTER)


@given(st.sets(st.sampled_from([FULL, PRIVATE, COMBINED])))
def test_files_go_back_however_many_of_them_were_replaced(replaced: set[Address]) -> None:
    now = {**BEFORE, **{file: AFTER[file] for file in replaced}}

    undoing = undo(SNAPSHOT, State(now), ())

    assert undoing.snapshot.before == State(BEFORE)
    assert set(undoing.snapshot.copied) == replaced
    assert undoing.snapshot.copy == "mark"
    assert undoing.plan.is_noop == (not replaced)
    gone = [one for one in undoing.plan.changes if one.after is ABSENT]
    assert [(one.address, one.fact) for one in gone] == [(COMBINED, ENTRY)] * (COMBINED in replaced)


def test_a_mode_alone_goes_back() -> None:
    closed = {**BEFORE, PRIVATE: BEFORE[PRIVATE] | {MODE: "0640"}}
    kept = after_change(BEFORE, closed)

    undoing = undo(kept, State(closed), ())

    assert undoing.snapshot.before == State(BEFORE)
    assert undoing.snapshot.copied == (PRIVATE,)
    assert undo(kept, State(BEFORE), ()).plan.is_noop


@pytest.mark.parametrize("file", [FULL, PRIVATE, COMBINED])
def test_a_file_that_somebody_replaced_since_stops_it(file: Address) -> None:
    now = {**AFTER, file: files(STRANGER, combined=True)[file]}

    with pytest.raises(StalePlan, match="holds something else by now"):
        undo(SNAPSHOT, State(now), ())


def test_what_there_is_no_copy_of_cannot_go_back() -> None:
    kept = after_change(BEFORE, files(NEW, combined=False))
    lost = Snapshot(host="docker", taken=NOW, before=kept.before, after=kept.after)

    with pytest.raises(UnsafePlan, match="neither in the snapshot nor in the store"):
        undo(lost, State(files(NEW, combined=False)), ())


def box(archive: Bundle, copy: Bundle, unnamed: Bundle | None) -> dict[Address, Facts]:
    """A DiskStation whose entry, service and a folder that its list does not name hold these."""
    bundles = [archive, copy] + ([unnamed] if unnamed is not None else [])
    agreed = {
        fact: values.pop() if len(values) == 1 else tuple(sorted(map(str, values)))
        for fact in (LEAF, CHAIN, KEY)
        if (values := {pair(one)[fact] for one in bundles})
    }
    found: dict[Address, Facts] = {
        HOME: pair(archive) | agreed,
        DSM: {CERTIFICATE: HOME} | held(copy, LEAF, CHAIN, KEY),
    }
    if unnamed is not None:
        found[VHOST] = {CERTIFICATE: HOME} | held(unnamed, LEAF, CHAIN, KEY)
    return found


BOX = box(OLD, OLD, OLD)
BOX_SNAPSHOT = after_change(BOX, box(NEW, NEW, NEW))


@given(
    archive=st.sampled_from([OLD, NEW]),
    copy=st.sampled_from([OLD, NEW]),
    unnamed=st.sampled_from([OLD, NEW, None]),
)
def test_copies_go_back_with_their_entry_from_every_moment_of_the_change(
    archive: Bundle, copy: Bundle, unnamed: Bundle | None
) -> None:
    now = State(box(archive, copy, unnamed))
    if unnamed is None and archive is copy is OLD:
        return  # the folder that is gone is somebody's doing

    undoing = undo(BOX_SNAPSHOT, now, ())

    assert undoing.snapshot.before == State(BOX)
    assert undoing.plan.is_noop == (now == State(BOX))
    assert undoing.snapshot.copied == (() if undoing.plan.is_noop else (HOME,))
    assert undoing.plan.notes == ()


def test_a_service_that_came_to_use_another_entry_since_stays() -> None:
    other = Address("certificate", "other", "o1")
    now = box(NEW, NEW, NEW)
    now[other] = pair(STRANGER)
    now[DSM] = {CERTIFICATE: other} | held(STRANGER, LEAF, CHAIN, KEY)

    undoing = undo(BOX_SNAPSHOT, State(now), ())

    goal = undoing.snapshot.before
    assert (goal.facts[HOME], goal.facts[VHOST]) == (BOX[HOME], BOX[VHOST])
    assert (goal.facts[DSM], goal.facts[other]) == (now[DSM], now[other])
    assert set(undoing.plan.notes) == {
        "since then changed, and left so: service 'DSM'",
        "since then new, and left so: certificate 'other'",
    }
