"""What is taken back of a change, what stays, and what nobody decides but a person."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Bundle
from distributor.model.endpoints import Served
from distributor.model.errors import StalePlan, UnsafePlan
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.plan import Change, Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import (
    ABSENT,
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    ENTRY,
    ISSUED_BY,
    LEAF,
    NAMES,
    NOT_AFTER,
    UNREADABLE,
    Address,
    FactValue,
    State,
)
from distributor.model.undoing import is_as, to_be_undone, undo
from tests.certs import NOW
from tests.unit.bench import issue

OLD, NEW, STRANGER = issue(20), issue(90), issue(50)
HOME, OTHER = Address("certificate", "home", "h1"), Address("certificate", "other", "o1")
MADE, WANTED = Address("certificate", "mail", "m1"), Address("certificate", "mail")
DSM = Address("service", "DSM Desktop Service", "system/default")
FTPS = Address("service", "FTPS", "smbftpd/ftpd")
PLACE = Endpoint(address=SocketAddress("attic", 5001), certificate="home")
Facts = dict[str, FactValue]


def holding(bundle: Bundle, *, seen: bool = True, **more: FactValue) -> Facts:
    shown = bundle.certificate("")
    assert shown.not_after is not None
    facts: Facts = {
        LEAF: shown.leaf if seen else UNREADABLE,
        CHAIN: shown.chain if seen else UNREADABLE,
        NAMES: shown.names,
        NOT_AFTER: shown.not_after.isoformat(),
        ISSUED_BY: shown.issued_by,
    }
    return facts | more


BEFORE: Mapping[Address, Facts] = {
    HOME: holding(OLD),
    OTHER: holding(STRANGER, seen=False),
    DSM: {CERTIFICATE: HOME},
    FTPS: {CERTIFICATE: OTHER},
    DEFAULT: {CERTIFICATE: OTHER},
}
AFTER: Mapping[Address, Facts] = {
    HOME: holding(NEW),
    OTHER: holding(STRANGER, seen=False),
    MADE: holding(NEW),
    DSM: {CERTIFICATE: HOME},
    FTPS: {CERTIFICATE: MADE},
    DEFAULT: {CERTIFICATE: HOME},
}


def changes() -> tuple[Change, ...]:
    content = [
        Change(HOME, fact, BEFORE[HOME].get(fact), value, "home")
        for fact, value in AFTER[HOME].items()
        if BEFORE[HOME].get(fact) != value
    ]
    made = [Change(WANTED, fact, None, value, "mail") for fact, value in AFTER[MADE].items()]
    return (
        *content,
        *made,
        Change(FTPS, CERTIFICATE, OTHER, WANTED, "mail"),
        Change(DEFAULT, CERTIFICATE, OTHER, HOME, "home"),
    )


def served(bundle: Bundle | None, endpoint: Endpoint = PLACE) -> tuple[Served, ...]:
    shown = bundle.certificate("home") if bundle is not None else None
    return (Served(endpoint=endpoint, certificate=shown),)


def snapshot(**more: Any) -> Snapshot:
    bare = Snapshot(
        host="attic", taken=NOW, before=State(BEFORE), creates=(WANTED,), pairs={HOME: OLD}
    )
    plan = Plan(host="attic", observed=State(BEFORE), changes=changes(), certificates=())
    return replace(to_be_undone(bare, plan, served(OLD)), **more)


def now(**facts: Any) -> State:
    """The host after the change, but for some addresses; None stands for one that is gone."""
    names = {
        "home": HOME,
        "other": OTHER,
        "made": MADE,
        "dsm": DSM,
        "ftps": FTPS,
        "default": DEFAULT,
    }
    found = {**AFTER, **{names[name]: value for name, value in facts.items()}}
    return State({address: value for address, value in found.items() if value is not None})


def test_all_that_the_change_made_is_taken_back() -> None:
    undoing = undo(snapshot(), now(), served(NEW))

    assert undoing.snapshot.before == State(BEFORE)
    assert undoing.snapshot.creates == (MADE,)
    assert undoing.snapshot.pairs == {HOME: OLD}
    assert undoing.restored == (OLD,)
    assert undoing.plan.notes == ()
    told = {(change.address, change.fact): change.after for change in undoing.plan.changes}
    assert told[HOME, LEAF] == OLD.certificate("").leaf
    assert told[FTPS, CERTIFICATE] == OTHER
    assert told[DEFAULT, CERTIFICATE] == OTHER
    assert told[MADE, ENTRY] is ABSENT
    assert {change.certificate for change in undoing.plan.changes} == {"home", "mail", ""}
    assert [shown.leaf for shown in undoing.snapshot.shown] == [OLD.certificate("").leaf]


def test_what_is_as_it_was_needs_nothing() -> None:
    undoing = undo(snapshot(), State(BEFORE), served(OLD))

    assert undoing.plan.is_noop
    assert (undoing.snapshot.pairs, undoing.snapshot.creates) == ({}, ())
    assert undoing.snapshot.before == State(BEFORE)


@given(
    home=st.sampled_from([BEFORE[HOME], AFTER[HOME]]),
    made=st.sampled_from([AFTER[MADE], None]),
    ftps=st.sampled_from([OTHER, MADE]),
    default=st.sampled_from([OTHER, HOME]),
)
def test_a_half_made_change_is_taken_back_as_far_as_it_was_made(
    home: Facts, made: Facts | None, ftps: Address, default: Address
) -> None:
    used = {CERTIFICATE: ftps if made is not None else OTHER}
    state = now(home=home, made=made, ftps=used, default={CERTIFICATE: default})

    undoing = undo(snapshot(), state, served(NEW))

    assert undoing.snapshot.before == State(BEFORE)
    assert undoing.plan.is_noop == (state == State(BEFORE))
    assert bool(undoing.restored) == (home != BEFORE[HOME])


NEWS = Address("certificate", "news", "n1")


def test_what_came_since_stays_and_is_said() -> None:
    state = State({**now(dsm={CERTIFICATE: NEWS}).facts, NEWS: holding(STRANGER)})
    undoing = undo(snapshot(), state, served(STRANGER))

    goal = undoing.snapshot.before
    assert goal.get(DSM, CERTIFICATE) == NEWS
    assert goal.get(FTPS, CERTIFICATE) == OTHER
    assert NEWS in goal.facts
    assert MADE not in goal.facts
    assert undoing.snapshot.shown == ()
    assert undoing.plan.notes == (
        "since then new, and left so: certificate 'news'",
        "since then changed, and left so: service 'DSM Desktop Service'",
        "since then changed, and left so: what attic:5001 serves",
    )


def test_a_service_that_is_gone_is_said_and_no_obstacle() -> None:
    undoing = undo(snapshot(), now(ftps=None), served(NEW))

    assert FTPS not in undoing.snapshot.before.facts
    assert undoing.plan.notes == ("since then gone, and left so: service 'FTPS'",)


def test_things_are_known_by_their_id_whatever_they_are_called_now() -> None:
    renamed, ftp = replace(HOME, name="my wildcard"), replace(FTPS, name="FTP over TLS")
    facts = dict(now(dsm={CERTIFICATE: renamed}, default={CERTIFICATE: renamed}).facts)
    facts[renamed], facts[ftp] = facts.pop(HOME), facts.pop(FTPS)

    undoing = undo(snapshot(), State(facts), served(NEW))

    goal = undoing.snapshot.before
    assert goal.get(renamed, LEAF) == OLD.certificate("").leaf
    assert goal.get(ftp, CERTIFICATE) == OTHER
    assert undoing.snapshot.pairs == {renamed: OLD}
    assert undoing.plan.notes == ()


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (now(home=holding(STRANGER)), "certificate 'home' holds something else by now"),
        (now(home=None), "certificate 'home' is not there any more"),
        (now(made=holding(STRANGER)), "certificate 'mail' holds something else by now"),
        (now(ftps={CERTIFICATE: HOME}), "service 'FTPS' uses something else by now"),
        (
            now(dsm={CERTIFICATE: MADE}),
            "service 'DSM Desktop Service' has come to use certificate 'mail', which would go",
        ),
        (
            now(other=None, default={CERTIFICATE: HOME}),
            "certificate 'other', which default certificate used, is not there any more",
        ),
        (
            State({**AFTER, replace(MADE, id="m2"): holding(NEW)}),
            "there are several of certificate 'mail' by now ('m1', 'm2')",
        ),
    ],
)
def test_where_somebody_touched_the_same_thing_nothing_is_decided(state: State, says: str) -> None:
    with pytest.raises(StalePlan) as raised:
        undo(snapshot(), state, served(NEW))

    assert "attic was changed since" in raised.value.message
    assert says in raised.value.message
    assert raised.value.hint is not None
    assert "distribute --host attic" in raised.value.hint


def test_every_reason_is_said_at_once() -> None:
    state = now(home=holding(STRANGER), ftps={CERTIFICATE: HOME})
    with pytest.raises(StalePlan, match=r"'home' holds something else.*'FTPS' uses something"):
        undo(snapshot(), state, served(NEW))


def test_a_content_that_is_nowhere_any_more_cannot_be_put_back() -> None:
    with pytest.raises(UnsafePlan, match="neither in the snapshot nor in the store") as raised:
        undo(snapshot(pairs={}), now(), served(NEW))
    assert raised.value.hazards == ("not-restorable",)
    assert undo(snapshot(pairs={}), now(home=BEFORE[HOME]), served(OLD)).restored == ()


def test_a_service_that_had_no_certificate_cannot_be_set_back() -> None:
    bare = {address: facts for address, facts in BEFORE.items() if address != FTPS}
    with pytest.raises(UnsafePlan, match="'FTPS' had no certificate before"):
        undo(snapshot(before=State(bare)), now(), served(NEW))


def test_a_leaf_that_cannot_be_seen_is_judged_by_names_end_and_issuer() -> None:
    hidden = now(home=holding(NEW, seen=False))
    assert undo(snapshot(), hidden, served(NEW)).restored == (OLD,)
    with pytest.raises(StalePlan, match="holds something else"):
        undo(snapshot(), now(home=holding(STRANGER, seen=False)), served(NEW))


def test_what_looks_the_same_before_and_after_needs_an_endpoint_to_tell() -> None:
    bare = holding(OLD) | {CHAIN: ()}
    repaired: dict[Address, Facts] = {
        HOME: {LEAF: OLD.certificate("").leaf, CHAIN: OLD.certificate("").chain}
    }
    chain_only = snapshot(before=State({**BEFORE, HOME: bare}), after=State(repaired), creates=())
    state = {**BEFORE, HOME: holding(OLD)}
    assert undo(chain_only, State(state), served(OLD)).restored == (OLD,)
    with pytest.raises(StalePlan, match="no endpoint shows what certificate 'home' holds"):
        undo(chain_only, State({**state, HOME: holding(OLD, seen=False)}), ())


def test_a_snapshot_that_does_not_tell_what_was_changed_is_of_no_use_but_to_compare() -> None:
    silent = snapshot(after=State({}), creates=())
    with pytest.raises(StalePlan, match="does not tell what of it was ours"):
        undo(silent, now(), served(NEW))
    assert undo(silent, State(BEFORE), served(OLD)).plan.is_noop


# -- as it was to be ------------------------------------------------------------------------------

VALUES: list[FactValue] = ["a", "b", ("a",), UNREADABLE, HOME]
states = st.dictionaries(
    st.sampled_from([HOME, OTHER, DSM]),
    st.dictionaries(st.sampled_from([LEAF, CHAIN, NAMES]), st.sampled_from(VALUES), max_size=3),
    max_size=3,
).map(State)


@given(states, states)
def test_nothing_but_an_unseen_leaf_or_chain_may_differ(goal: State, seen: State) -> None:
    assert is_as(goal, goal)
    assert is_as(goal, seen) == is_as(seen, goal)
    if is_as(goal, seen):
        differing = [
            (address, fact)
            for address, facts in goal.facts.items()
            for fact, value in facts.items()
            if seen.get(address, fact) != value
        ]
        assert goal.facts.keys() == seen.facts.keys()
        assert all(fact in {LEAF, CHAIN} for _, fact in differing)
        assert all(UNREADABLE in {goal.get(*one), seen.get(*one)} for one in differing)
