"""An entry goes only when it is an earlier delivery of ours that nothing uses, and never else."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate
from distributor.model.hazards import SERVICE_ORPHANED, Asked, Traits, hazards
from distributor.model.plan import Change, Plan, make_plan
from distributor.model.state import (
    ABSENT,
    CERTIFICATE,
    DEFAULT,
    DEVICE,
    ENTRY,
    ISSUED_BY,
    LEAF,
    MANAGED_BY,
    NAMES,
    NOT_AFTER,
    NOT_BEFORE,
    SAKE,
    SELF_SIGNED,
    UNREADABLE,
    UPLOADED,
    Address,
    FactValue,
    State,
)
from distributor.model.superseded import superseded
from distributor.model.times import rfc3339
from tests.certs import DAY, NOW

NEW = Certificate(
    name="home",
    leaf="sha256:new",
    names=("*.example.com", "example.com"),
    key_type="rsa2048",
    issued_by="R3",
    not_before=NOW,
    not_after=NOW + 90 * DAY,
)
OLD = replace(NEW, leaf="sha256:old", not_before=NOW - 60 * DAY, not_after=NOW + 30 * DAY)
VERSIONS = {"home": (OLD, NEW)}
DSM = Address("service", "DSM Desktop Service", "system/default")
FTPS = Address("service", "FTPS", "smbftpd/ftpd")
CURRENT = Address("certificate", "home", "aaaaaa")
EARLIER = Address("certificate", "home before", "bbbbbb")
WANTED = Address("certificate", "home")


def facts(certificate: Certificate, leaf: FactValue = UNREADABLE) -> dict[str, FactValue]:
    assert certificate.not_before is not None
    assert certificate.not_after is not None
    return {
        LEAF: leaf,
        NAMES: certificate.names,
        NOT_BEFORE: rfc3339(certificate.not_before),
        NOT_AFTER: rfc3339(certificate.not_after),
        ISSUED_BY: certificate.issued_by,
        MANAGED_BY: UPLOADED,
    }


def state(**earlier: FactValue) -> State:
    return State(
        {
            CURRENT: facts(NEW, NEW.leaf),
            EARLIER: facts(OLD) | earlier,
            DSM: {CERTIFICATE: CURRENT},
            DEFAULT: {CERTIFICATE: CURRENT},
        }
    )


def desired(*services: Address) -> State:
    wanted: dict[Address, dict[str, FactValue]] = {
        WANTED: facts(NEW, NEW.leaf) | {SAKE: "home"},
    }
    del wanted[WANTED][MANAGED_BY]
    return State(wanted | {one: {CERTIFICATE: WANTED} for one in services})


def removed(observed: State, wanted: State | None = None, versions: Any = None) -> set[Address]:
    plan = make_plan(
        "attic",
        observed,
        wanted or desired(),
        [NEW],
        versions=VERSIONS if versions is None else versions,
    )
    assert all(one.after is ABSENT and one.fact == ENTRY for one in plan.removals)
    return {one.address for one in plan.removals}


def test_an_earlier_delivery_that_nothing_uses_goes() -> None:
    plan = make_plan("attic", state(), desired(), [NEW], versions=VERSIONS)
    assert plan.changes == ()
    assert [one.address for one in plan.removals] == [EARLIER]
    assert plan.removals[0].certificate == "home"
    assert not plan.is_noop
    assert hazards(plan, Asked(), Traits()) == ()


def test_it_is_told_by_its_leaf_where_that_is_known() -> None:
    known: dict[str, FactValue] = {LEAF: OLD.leaf, NAMES: ("spelled otherwise",)}
    assert removed(state(**known)) == {EARLIER}
    assert removed(state(**{LEAF: "sha256:stranger"})) == set()


def test_nothing_goes_unless_that_was_asked_for() -> None:
    assert removed(state(), versions={}) == set()


@pytest.mark.parametrize(
    "other",
    [
        {NAMES: ("example.com",)},
        {NAMES: ()},
        {NOT_BEFORE: rfc3339(NOW - 61 * DAY)},
        {NOT_AFTER: rfc3339(NOW + 31 * DAY)},
        {NOT_AFTER: UNREADABLE},
        {ISSUED_BY: "R4"},
        {MANAGED_BY: DEVICE},
        {MANAGED_BY: SELF_SIGNED},
    ],
)
def test_an_entry_that_differs_in_anything_is_not_ours(other: dict[str, FactValue]) -> None:
    assert removed(state(**other)) == set()


@pytest.mark.parametrize("user", [FTPS, DEFAULT])
def test_an_entry_in_use_stays(user: Address) -> None:
    used = State({**state().facts, user: {CERTIFICATE: EARLIER}})
    assert removed(used) == set()
    # Not even when this very plan takes its last user away: the next run sees it unused.
    if user is FTPS:
        assert removed(used, desired(FTPS)) == set()


def test_an_entry_that_a_delivery_goes_to_stays() -> None:
    other = replace(OLD, name="other")
    wanted = State(
        {**desired().facts, Address("certificate", "home before"): {SAKE: "other", LEAF: "x"}}
    )
    plan = make_plan("attic", state(), wanted, [NEW, other], versions=VERSIONS)
    assert plan.removals == ()


def test_a_version_without_names_or_dates_is_no_evidence() -> None:
    bare = replace(OLD, names=(), not_before=None)
    assert removed(state(**{NAMES: ()}), versions={"home": (bare,)}) == set()


def test_what_goes_is_part_of_the_digest() -> None:
    with_removal = make_plan("attic", state(), desired(), [NEW], versions=VERSIONS)
    without = make_plan("attic", state(), desired(), [NEW])
    assert with_removal.digest != without.digest


ENTRIES = [Address("certificate", name, f"id{name}") for name in "abcd"]
held = st.sampled_from([OLD, NEW, replace(OLD, leaf="sha256:x", issued_by="Stranger")])
managed = st.sampled_from([UPLOADED, DEVICE, SELF_SIGNED])


@given(
    st.lists(st.tuples(held, managed, st.booleans()), min_size=4, max_size=4),
    st.lists(st.sampled_from(ENTRIES), min_size=3, max_size=3),
)
def test_no_entry_goes_that_is_used_chosen_managed_or_strange(
    contents: list[tuple[Certificate, str, bool]], users: list[Address]
) -> None:
    known: dict[Address, dict[str, FactValue]] = {
        entry: facts(one, one.leaf if shown else UNREADABLE) | {MANAGED_BY: by}
        for entry, (one, by, shown) in zip(ENTRIES, contents, strict=True)
    }
    default, first, chosen = users
    observed = State({**known, DEFAULT: {CERTIFICATE: default}, DSM: {CERTIFICATE: first}})
    gone = superseded(observed, State({chosen: {SAKE: "home"}}), VERSIONS)
    for entry, (one, by, _) in zip(ENTRIES, contents, strict=True):
        is_ours = by == UPLOADED and one in VERSIONS["home"]
        assert (entry in gone) == (is_ours and entry not in users)


def test_a_plan_that_would_orphan_a_service_is_refused() -> None:
    going = Change(EARLIER, ENTRY, None, ABSENT, "home")
    used = State({**state().facts, FTPS: {CERTIFICATE: EARLIER}})
    bad = Plan(host="a", observed=used, changes=(), certificates=(NEW,), removals=(going,))
    assert [one.name for one in hazards(bad, Asked(), Traits())] == [SERVICE_ORPHANED]
    taking = Change(FTPS, CERTIFICATE, CURRENT, EARLIER, "home")
    worse = replace(bad, observed=state(), changes=(taking,))
    assert SERVICE_ORPHANED in [one.name for one in hazards(worse, Asked(), Traits())]
    moving = Change(FTPS, CERTIFICATE, EARLIER, CURRENT, "home")
    assert SERVICE_ORPHANED not in [
        one.name for one in hazards(replace(bad, changes=(moving,)), Asked(), Traits())
    ]
