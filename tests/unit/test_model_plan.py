"""A plan is what is left to do: nothing when done, the same for the same, and free of secrets."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from distributor.model.bundle import Certificate, assemble, forecast
from distributor.model.choice import resolve
from distributor.model.errors import Ambiguous
from distributor.model.plan import Change, Plan, diff, digest_of, make_plan
from distributor.model.state import (
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    DESCRIPTION,
    DEVICE,
    ISSUED_BY,
    KEY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    SAKE,
    SELF_SIGNED,
    TAKES,
    UNREADABLE,
    UPLOADED,
    Absent,
    Address,
    FactValue,
    State,
)
from tests.certs import hierarchy
from tests.unit.states import merged

HOME = Address("certificate", "home", "id-home")
WANTED_HOME = Address("certificate", "home")
FTPS = Address("service", "FTPS", "ftpd/ftpd")
WEB = Address("service", "DSM Desktop Service", "system/default")
FACT_NAMES = (LEAF, CHAIN, NAMES, NOT_BEFORE, NOT_AFTER, ISSUED_BY)
HOLDS: dict[str, FactValue] = {
    LEAF: "sha256:ours",
    CHAIN: ("sha256:r3",),
    NAMES: ("*.example.com", "example.com"),
    NOT_BEFORE: "2026-11-01T00:00:00Z",
    NOT_AFTER: "2027-01-01T00:00:00Z",
    ISSUED_BY: "R3",
}
CERTIFICATE_HOME = Certificate(
    name="home", leaf="sha256:ours", names=("*.example.com", "example.com"), key_type="rsa2048"
)


def wanted(**more: FactValue) -> State:
    return State({WANTED_HOME: HOLDS | {SAKE: "home"} | more})


def observed(**other: FactValue) -> State:
    return State({HOME: HOLDS | {MANAGED_BY: UPLOADED} | other})


# --- what is left to do -------------------------------------------------------------------------


def test_nothing_is_left_when_everything_is_as_it_should_be() -> None:
    assert diff(observed(), wanted()) == ()


@pytest.mark.parametrize("fact", [LEAF, CHAIN])
def test_another_leaf_or_chain_has_to_change(fact: str) -> None:
    assert diff(observed(**{fact: "sha256:theirs"}), wanted()) == (
        Change(HOME, fact, "sha256:theirs", HOLDS[fact], "home"),
    )


@pytest.mark.parametrize("fact", [NAMES, NOT_BEFORE, NOT_AFTER, ISSUED_BY])
def test_the_same_leaf_has_the_same_names_and_dates_however_they_are_spelled(fact: str) -> None:
    assert diff(observed(**{fact: "as the device says it"}), wanted()) == ()
    assert diff(observed(**{fact: UNREADABLE}), wanted()) == ()


@given(st.sets(st.sampled_from(FACT_NAMES), min_size=1), st.sampled_from([UNREADABLE, "other"]))
def test_an_unreadable_leaf_is_judged_by_names_end_and_issuer(
    facts: set[str], other: FactValue
) -> None:
    # Everything in `facts` is unlike ours, and the leaf and chain themselves are not told.
    seen = observed(**dict.fromkeys(facts, other) | {LEAF: UNREADABLE, CHAIN: UNREADABLE})
    telling = facts & {NAMES, NOT_AFTER, ISSUED_BY}
    changed = {change.fact for change in diff(seen, wanted())}
    assert changed == ({LEAF, CHAIN} if telling else set()) | (facts - {LEAF, CHAIN})


def test_a_leaf_still_to_be_issued_is_nowhere_yet() -> None:
    coming = forecast("home", ("example.com", "*.example.com"), "rsa2048", "https://ca.example/")
    desired = State({WANTED_HOME: {LEAF: coming.leaf, NAMES: coming.names, SAKE: "home"}})
    for leaf in ("sha256:ours", UNREADABLE):
        assert [change.after for change in diff(observed(**{LEAF: leaf}), desired)] == ["next:home"]


@pytest.mark.parametrize("fact", [KEY, DESCRIPTION, MANAGED_BY])
def test_anything_else_that_could_not_be_read_counts_as_different(fact: str) -> None:
    changes = diff(observed(**{fact: UNREADABLE}), wanted(**{fact: "x"}))
    assert [(change.fact, change.before, change.after) for change in changes] == [
        (fact, UNREADABLE, "x")
    ]


def test_unreadable_and_absent_are_told_apart() -> None:
    absent = State({HOME: {fact: HOLDS[fact] for fact in FACT_NAMES if fact != LEAF}})
    changes = diff(absent, wanted())
    assert [(change.fact, change.before) for change in changes] == [(LEAF, None)]
    assert diff(observed(**{LEAF: UNREADABLE}), wanted()) == ()


def test_names_that_are_wanted_of_no_certain_leaf_are_compared() -> None:
    file = Address("file", "/etc/ssl/wildcard.pem")
    desired = State({file: {NAMES: HOLDS[NAMES]}})
    assert diff(State({file: {NAMES: HOLDS[NAMES]}}), desired) == ()
    for other in (("example.com",), UNREADABLE):
        changes = diff(State({file: {NAMES: other}}), desired)
        assert [(change.fact, change.before) for change in changes] == [(NAMES, other)]


def test_a_new_entry_changes_from_nothing() -> None:
    changes = diff(State({}), wanted())
    assert {change.address for change in changes} == {WANTED_HOME}
    assert {change.before for change in changes} == {None}
    assert {change.fact for change in changes} == set(FACT_NAMES)


def test_each_change_says_for_whose_sake_it_is() -> None:
    desired = merged(
        [
            wanted(),
            State({DEFAULT: {CERTIFICATE: WANTED_HOME}, FTPS: {CERTIFICATE: WANTED_HOME}}),
            State({Address("service", "FTPS"): {CERTIFICATE: WANTED_HOME}}),
            State({Address("file", "/x.pem"): {LEAF: "sha256:ours", SAKE: "home"}}),
            State({Address("file", "/mode.pem"): {"mode": "600"}}),
        ]
    )
    desired = State({at: facts for at, facts in desired.facts.items() if at != FTPS})
    changes = diff(merged([observed(), State({FTPS: {}})]), desired)
    assert {str(change.address): change.certificate for change in changes} == {
        "default certificate": "home",
        "service 'FTPS'": "home",
        "/x.pem": "home",
        "/mode.pem": "",
    }


# --- laws over whole boxes ----------------------------------------------------------------------

LEAVES = ("one", "two")


def held(leaf: str) -> dict[str, FactValue]:
    names = (f"{leaf}.example",)
    return dict(HOLDS) | {LEAF: f"sha256:{leaf}", NAMES: names, CHAIN: (f"sha256:ca-{leaf}",)}


@st.composite
def boxes(draw: st.DrawFn) -> State:
    """Return a box as it could be: a few entries, each service and the default bound to one."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=4))
    facts: dict[Address, dict[str, FactValue]] = {}
    for name in [*names, ""]:
        entry = held(draw(st.sampled_from(["one", "two", "old", "foreign"])))
        if draw(st.booleans()):
            entry |= {LEAF: UNREADABLE, CHAIN: UNREADABLE}
        entry[MANAGED_BY] = (
            draw(st.sampled_from([UPLOADED, DEVICE, SELF_SIGNED])) if name else SELF_SIGNED
        )
        facts[Address("certificate", name, f"id-{name}")] = entry
    entries = st.sampled_from(sorted(facts))
    for service in (FTPS, WEB, Address("service", "QuickConnect", "system/quickconnect")):
        if draw(st.booleans()):
            facts[service] = {CERTIFICATE: draw(entries)}
    facts[DEFAULT] = {CERTIFICATE: draw(entries)}
    return State(facts)


@st.composite
def wishes(draw: st.DrawFn, box: State) -> State:
    """Return what an inventory could ask of that box, less what fits none or several."""
    facts: dict[Address, dict[str, FactValue]] = {}
    names = draw(st.lists(st.sampled_from(["x", "y", "a", "b"]), unique=True, max_size=2))
    for leaf, name in zip(LEAVES, names, strict=False):
        entry = held(leaf) | {SAKE: leaf, DESCRIPTION: name}
        if draw(st.booleans()):
            entry[TAKES] = tuple(draw(st.sets(st.sampled_from(["ftps", "system/default", "*"]))))
        facts[Address("certificate", name)] = entry
    entries = sorted(facts)
    if draw(st.booleans()) and entries:
        facts[DEFAULT] = {CERTIFICATE: draw(st.sampled_from(entries))}
    for service in box.of_kind("service"):
        if draw(st.booleans()) and entries:
            selector = Address("service", draw(st.sampled_from([service.name, service.id])))
            facts[selector] = {CERTIFICATE: draw(st.sampled_from(entries))}
    try:
        resolve(box, State(facts))
    except Ambiguous:
        reject()
    return State(facts)


def applied(box: State, changes: Sequence[Change], *, readable: bool) -> State:
    """Return the box after the changes, as a device carries them out: a new entry gets an id."""
    ids = {
        change.address: replace(change.address, id=f"new-{change.address.name}")
        for change in changes
        if change.address.kind == "certificate" and not change.address.id
    }
    facts = {address: dict(known) for address, known in box.facts.items()}
    for change in changes:
        assert not isinstance(change.after, Absent)
        after = (
            ids.get(change.after, change.after)
            if isinstance(change.after, Address)
            else change.after
        )
        facts.setdefault(ids.get(change.address, change.address), {})[change.fact] = after
    for address, known in facts.items():
        if address.kind == "certificate" and not readable:
            known |= {LEAF: UNREADABLE, CHAIN: UNREADABLE}
    return State(facts)


@given(st.data(), st.booleans())
def test_when_all_changes_are_applied_nothing_is_left_to_do(
    data: st.DataObject, readable: bool
) -> None:
    box = data.draw(boxes())
    desired = data.draw(wishes(box))
    after = applied(box, diff(box, desired), readable=readable)
    assert diff(after, desired) == ()


@given(st.data())
def test_what_is_resolved_has_nothing_left_to_do_against_itself(data: st.DataObject) -> None:
    box = data.draw(boxes())
    bound = resolve(box, data.draw(wishes(box)))
    there = State(
        {at: facts for at, facts in bound.facts.items() if at.kind != "certificate" or at.id}
    )
    assert diff(merged([box, there]), there) == ()


@given(st.data())
def test_a_box_that_is_asked_for_nothing_is_left_alone(data: st.DataObject) -> None:
    assert diff(data.draw(boxes()), State({})) == ()


@given(st.data())
def test_only_what_differs_changes_and_before_is_what_was_observed(data: st.DataObject) -> None:
    box = data.draw(boxes())
    for change in diff(box, data.draw(wishes(box))):
        assert change.before == box.get(change.address, change.fact)
        assert change.before != change.after
        assert change.fact not in {TAKES, SAKE}


# --- digest -------------------------------------------------------------------------------------


def plan_of(box: State, desired: State) -> Plan:
    return make_plan("attic", box, desired, (CERTIFICATE_HOME,))


@given(st.data())
def test_a_digest_does_not_depend_on_any_order_or_remark(data: st.DataObject) -> None:
    box = data.draw(boxes())
    plan = plan_of(box, data.draw(wishes(box)))
    same = replace(
        plan,
        changes=tuple(data.draw(st.permutations(plan.changes))),
        observed=State(dict(data.draw(st.permutations(list(box.facts.items()))))),
        notes=("the web server restarts",),
        unproved=(),
    )
    assert same.digest == plan.digest
    assert len(plan.digest) == 64


@given(st.data())
def test_a_digest_changes_with_every_fact_address_change_and_host(data: st.DataObject) -> None:
    box = data.draw(boxes())
    plan = plan_of(box, wanted())
    address = data.draw(st.sampled_from(list(box.facts)))
    fact = data.draw(st.sampled_from(list(box.facts[address])))
    others = [
        State({**box.facts, address: {**box.facts[address], fact: "something else"}}),
        State({**box.facts, address: {**box.facts[address], "extra": False}}),
        State({at: known for at, known in box.facts.items() if at != address}),
        State(
            {
                (replace(at, id=at.id + "x") if at == address else at): known
                for at, known in box.facts.items()
            }
        ),
    ]
    change = data.draw(st.sampled_from(plan.changes))
    rest = tuple(other for other in plan.changes if other != change)
    plans = [
        *(replace(plan, observed=other) for other in others),
        replace(plan, host="cellar"),
        replace(plan, changes=rest),
        *(
            replace(plan, changes=(*rest, other))
            for other in (
                replace(change, after="something else"),
                replace(change, before="something else"),
                replace(change, fact="something else"),
                replace(change, certificate="something else"),
                replace(change, address=Address("file", "/x")),
            )
        ),
    ]
    digests = {plan.digest, *(other.digest for other in plans)}
    assert len(digests) == 1 + len(plans)


def test_unreadable_absent_and_the_word_have_digests_of_their_own() -> None:
    values: list[FactValue] = [UNREADABLE, "unreadable", "", False, ()]
    states = [observed(), *(observed(**{KEY: value}) for value in values)]
    assert len({plan_of(state, State({})).digest for state in states}) == len(states)


def test_a_digest_is_sha256_over_canonical_json() -> None:
    assert digest_of({"b": 1, "a": "ü"}) == digest_of({"a": "ü", "b": 1})
    assert digest_of([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


# --- the plan itself ----------------------------------------------------------------------------


def test_a_plan_without_changes_is_a_no_op() -> None:
    assert plan_of(observed(), wanted()).is_noop
    assert not plan_of(State({}), wanted()).is_noop


def test_a_plan_knows_its_certificates_by_name() -> None:
    plan = plan_of(observed(), wanted())
    assert plan.certificate("home") is CERTIFICATE_HOME
    with pytest.raises(KeyError):
        plan.certificate("other")


def test_services_that_no_endpoint_proves_are_listed() -> None:
    desired = merged([wanted(), State({Address("service", "*"): {CERTIFICATE: WANTED_HOME}})])
    nameless = Address("service", "", "pkg/service")
    box = merged([observed(), State({FTPS: {}, WEB: {}, nameless: {}})])

    def unproved(*proved: str) -> tuple[str, ...]:
        return make_plan(
            "attic", box, desired, (), proved_services=proved, notes=["restarts"]
        ).unproved

    assert unproved() == ("pkg/service", "DSM Desktop Service", "FTPS")
    assert unproved("System/Default") == ("pkg/service", "FTPS")
    assert unproved("ftps", "dsm desktop service", "pkg/service") == ()


def test_a_service_with_other_facts_needs_no_proof() -> None:
    desired = State({Address("service", "FTPS"): {"mode": "x"}})
    plan = make_plan("attic", State({FTPS: {}}), desired, (), notes=["restarts"])
    assert (plan.unproved, plan.notes) == ((), ("restarts",))


@given(st.data())
def test_a_plan_can_be_written_as_json(data: st.DataObject) -> None:
    box = data.draw(boxes())
    plan = plan_of(box, data.draw(wishes(box)))
    written = json.dumps(
        {
            "host": plan.host,
            "observed": plan.observed.as_json(),
            "changes": [change.as_json() for change in plan.changes],
            "certificates": [asdict(one) for one in plan.certificates],
        }
    )
    assert json.loads(written)["host"] == "attic"


def test_a_plan_holds_no_key() -> None:
    issued = hierarchy(1).issue(("example.com",), key="rsa2048")
    body = "".join(issued.private_key_pem.decode().splitlines()[1:-1])
    bundle = assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem)
    shown = bundle.certificate("home")
    desired = State({WANTED_HOME: {LEAF: shown.leaf, CHAIN: shown.chain, SAKE: "home"}})
    plan = make_plan("attic", State({}), desired, (shown,))
    text = repr(plan) + json.dumps([change.as_json() for change in plan.changes])
    assert shown.leaf in text
    assert not [start for start in range(40, len(body) - 16) if body[start : start + 16] in text]
