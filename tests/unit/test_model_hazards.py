"""What a plan would do that surprises: each hazard once as one, once as none."""

from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate, forecast
from distributor.model.hazards import (
    DEFAULT_CHANGES,
    DEVICE_MANAGED,
    EARLIER_EXPIRY,
    FEWER_NAMES,
    HAZARDS,
    KEY_TYPE_UNSUPPORTED,
    NO_COMMON_NAME,
    NOT_RESTORABLE,
    SERVICE_ORPHANED,
    UNTRUSTED_ISSUER,
    Asked,
    Hazard,
    Traits,
    hazards,
    refused,
)
from distributor.model.plan import Plan, make_plan
from distributor.model.state import (
    CERTIFICATE,
    DEFAULT,
    DESCRIPTION,
    DEVICE,
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
from distributor.model.times import rfc3339
from tests.certs import DAY, NOW

HOME = Address("certificate", "home", "id-home")
OTHER = Address("certificate", "other", "id-other")
FTPS = Address("service", "FTPS", "ftpd/ftpd")
WANTED = Address("certificate", "home")
BOUND = {CERTIFICATE: WANTED}
NOTHING_ASKED, ANY_DEVICE = Asked(), Traits()

OURS = Certificate(
    name="home",
    leaf="sha256:ours",
    names=("*.example.com", "example.com"),
    key_type="rsa2048",
    common_name="example.com",
    issued_by="R3",
    not_before=NOW,
    not_after=NOW + 90 * DAY,
    trusted=True,
)
OLDER: dict[str, FactValue] = {
    LEAF: "sha256:theirs",
    NAMES: ("example.com", "www.example.com"),
    NOT_BEFORE: rfc3339(NOW - 60 * DAY),
    NOT_AFTER: rfc3339(NOW + 30 * DAY),
    MANAGED_BY: UPLOADED,
}
"""An entry that ours may replace without a word."""
DONE: dict[str, FactValue] = {LEAF: OURS.leaf, NAMES: OURS.names, MANAGED_BY: UPLOADED}
"""The entry as it should be."""


def plan_of(
    observed: Mapping[Address, Mapping[str, FactValue]],
    *,
    ours: Certificate = OURS,
    desired: Mapping[Address, Mapping[str, FactValue]] | None = None,
) -> Plan:
    """Return the plan that brings `ours` to the entry `home`, and `desired` besides."""
    entry: dict[str, FactValue] = {LEAF: ours.leaf, NAMES: ours.names, SAKE: ours.name}
    return make_plan("attic", State(observed), State({WANTED: entry, **(desired or {})}), (ours,))


def found(plan: Plan, asked: Asked = NOTHING_ASKED, traits: Traits = ANY_DEVICE) -> set[str]:
    return {hazard.name for hazard in hazards(plan, asked, traits)}


def with_default_elsewhere(**other: FactValue) -> Plan:
    return plan_of(
        {HOME: DONE, OTHER: OLDER | other, DEFAULT: {CERTIFICATE: OTHER}}, desired={DEFAULT: BOUND}
    )


def with_service_elsewhere(**other: FactValue) -> Plan:
    return plan_of(
        {HOME: DONE, OTHER: OLDER | other, FTPS: {CERTIFICATE: OTHER}},
        desired={Address("service", "FTPS"): BOUND},
    )


def test_a_renewal_in_place_has_no_hazard() -> None:
    plan = plan_of({HOME: OLDER})
    assert not plan.is_noop
    assert found(plan) == set()


def test_a_new_entry_on_a_box_from_the_shop_has_no_hazard() -> None:
    factory = Address("certificate", "", "id-factory")
    plan = plan_of(
        {
            factory: OLDER | {NAMES: ("synology",), MANAGED_BY: SELF_SIGNED},
            FTPS: {CERTIFICATE: factory},
            DEFAULT: {CERTIFICATE: factory},
        },
        desired={Address("service", "FTPS"): BOUND},
    )
    assert {change.address for change in plan.changes} == {WANTED, FTPS}
    assert found(plan) == set()


def test_a_plan_that_changes_nothing_has_no_hazard() -> None:
    worst = Certificate(
        name="home", leaf="sha256:theirs", names=("x.example",), key_type="ec256", trusted=False
    )
    there = {HOME: OLDER | {NAMES: worst.names, MANAGED_BY: DEVICE}}
    plan = plan_of(there, ours=worst)
    assert plan.is_noop
    picky = Traits(elliptic_curves=False, needs_common_name=True)
    assert hazards(plan, NOTHING_ASKED, picky) == ()


# --- fewer names --------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["other.example", "a.b.example.com", "*.www.example.com"])
def test_names_that_would_be_lost_are_a_hazard(lost: str) -> None:
    for plan in (
        plan_of({HOME: OLDER | {NAMES: ("example.com", lost)}}),
        with_service_elsewhere(**{NAMES: ("example.com", lost)}),
    ):
        [hazard] = hazards(plan, NOTHING_ASKED, ANY_DEVICE)
        assert hazard.name == FEWER_NAMES
        assert hazard.reason.endswith(f" would lose {lost}")


def test_names_that_could_not_be_read_are_not_known_to_be_lost() -> None:
    assert found(plan_of({HOME: OLDER | {NAMES: UNREADABLE}})) == set()


def test_an_unreadable_leaf_is_protected_by_its_names() -> None:
    assert found(plan_of({HOME: OLDER | {LEAF: UNREADABLE, NAMES: ("o.example",)}})) == {
        FEWER_NAMES
    }


@pytest.mark.parametrize("selector", ["ftps", "ftpd/ftpd"])
def test_a_service_that_is_asked_for_by_name_may_lose_names(selector: str) -> None:
    plan = with_service_elsewhere(**{NAMES: ("other.example",)})
    assert found(plan, Asked(services=frozenset({"webdav"}))) == {FEWER_NAMES}
    assert found(plan, Asked(services=frozenset({selector}))) == set()


def test_a_default_that_is_asked_for_may_lose_names() -> None:
    plan = with_default_elsewhere(**{NAMES: ("other.example",)})
    assert found(plan) == {DEFAULT_CHANGES, FEWER_NAMES}
    assert found(plan, Asked(default=True)) == set()


def test_an_entry_is_not_asked_for_by_the_name_of_a_service() -> None:
    plan = plan_of({HOME: OLDER | {NAMES: ("other.example",)}})
    assert found(plan, Asked(default=True, services=frozenset({"home"}))) == {FEWER_NAMES}


# --- earlier expiry -----------------------------------------------------------------------------

LATER: dict[str, FactValue] = {NOT_BEFORE: rfc3339(NOW + DAY), NOT_AFTER: rfc3339(NOW + 91 * DAY)}


def test_a_leaf_that_is_younger_and_lasts_longer_is_protected() -> None:
    for plan in (plan_of({HOME: OLDER | LATER}), with_service_elsewhere(**LATER)):
        [hazard] = hazards(plan, NOTHING_ASKED, ANY_DEVICE)
        assert hazard.name == EARLIER_EXPIRY
        assert str(LATER[NOT_AFTER]) in hazard.reason


@given(st.integers(-400, 400), st.integers(-400, 400))
@example(0, 1)
@example(1, 0)
@example(1, 1)
def test_a_leaf_is_protected_only_if_it_was_issued_later_and_ends_later(
    begins: int, ends: int
) -> None:
    dates: dict[str, FactValue] = {
        NOT_BEFORE: rfc3339(NOW + begins * DAY),
        NOT_AFTER: rfc3339(NOW + (90 + ends) * DAY),
    }
    expected = {EARLIER_EXPIRY} if begins > 0 and ends > 0 else set()
    assert found(plan_of({HOME: OLDER | dates})) == expected


@pytest.mark.parametrize("unknown", [NOT_BEFORE, NOT_AFTER])
def test_dates_that_could_not_be_read_protect_nothing(unknown: str) -> None:
    assert found(plan_of({HOME: OLDER | LATER | {unknown: UNREADABLE}})) == set()


def test_a_forecast_has_no_dates_to_compare() -> None:
    coming = forecast("home", OURS.names, "rsa2048", "https://ca.example/")
    assert found(plan_of({HOME: OLDER | LATER}, ours=coming)) == set()


def test_what_is_asked_for_by_name_may_end_earlier() -> None:
    service, default = with_service_elsewhere(**LATER), with_default_elsewhere(**LATER)
    assert found(service, Asked(services=frozenset({"ftps"}))) == set()
    assert found(default) == {DEFAULT_CHANGES, EARLIER_EXPIRY}
    assert found(default, Asked(default=True)) == set()


def test_a_self_signed_leaf_is_protected_neither_by_names_nor_by_dates() -> None:
    own: dict[str, FactValue] = {**LATER, NAMES: ("synology.local",), MANAGED_BY: SELF_SIGNED}
    assert found(with_service_elsewhere(**own)) == set()
    assert found(plan_of({HOME: OLDER | own})) == {NOT_RESTORABLE}


# --- issuer, default, entries -------------------------------------------------------------------


@pytest.mark.parametrize(("trusted", "is_hazard"), [(False, True), (True, False), (None, False)])
def test_a_chain_to_an_unknown_root_is_a_hazard(trusted: bool | None, is_hazard: bool) -> None:
    ours = Certificate(
        name="home", leaf="sha256:x", names=OURS.names, key_type="rsa2048", common_name="x",
        issued_by="(STAGING) R3", trusted=trusted,
    )  # fmt: skip
    plan = plan_of({HOME: OLDER}, ours=ours)
    assert found(plan) == ({UNTRUSTED_ISSUER} if is_hazard else set())
    assert all("(STAGING) R3" in str(one) for one in hazards(plan, NOTHING_ASKED, ANY_DEVICE))


def test_only_certificates_that_are_delivered_are_judged() -> None:
    idle = Certificate(name="idle", leaf="sha256:i", names=(), key_type="ec256", trusted=False)
    plan = make_plan(
        "attic",
        State({HOME: OLDER}),
        State({WANTED: {LEAF: OURS.leaf, SAKE: "home"}}),
        (OURS, idle),
    )
    assert found(plan, traits=Traits(elliptic_curves=False, needs_common_name=True)) == set()


def test_a_default_that_nobody_asked_for_is_a_hazard() -> None:
    plan = with_default_elsewhere()
    assert found(plan) == {DEFAULT_CHANGES}
    assert found(plan, Asked(default=True)) == set()


@pytest.mark.parametrize(
    ("managed_by", "expected"),
    [
        (DEVICE, {DEVICE_MANAGED, NOT_RESTORABLE}),
        (SELF_SIGNED, {NOT_RESTORABLE}),
        (UPLOADED, set()),
    ],
)
def test_an_entry_that_the_device_made_is_not_overwritten(
    managed_by: str, expected: set[str]
) -> None:
    plan = plan_of({HOME: OLDER | {MANAGED_BY: managed_by}})
    assert found(plan) == expected
    assert found(plan, Asked(default=True, services=frozenset({"home"}))) == expected


@pytest.mark.parametrize("managed_by", [DEVICE, SELF_SIGNED])
def test_a_new_description_overwrites_nothing(managed_by: str) -> None:
    observed = State({HOME: {LEAF: OURS.leaf, DESCRIPTION: "", MANAGED_BY: managed_by}})
    desired = State({HOME: {LEAF: OURS.leaf, DESCRIPTION: "home", SAKE: "home"}})
    plan = make_plan("attic", observed, desired, (OURS,))
    assert [change.fact for change in plan.changes] == [DESCRIPTION]
    assert found(plan) == set()


def test_leaving_an_entry_that_the_device_made_overwrites_nothing() -> None:
    plan = with_service_elsewhere(**{MANAGED_BY: DEVICE})
    assert found(plan) == set()


def test_a_service_without_a_certificate_cannot_be_put_back() -> None:
    plan = plan_of({HOME: OLDER, FTPS: {}}, desired={Address("service", "FTPS"): BOUND})
    assert found(plan) == {NOT_RESTORABLE}
    assert found(plan, Asked(services=frozenset({"ftps"}))) == {NOT_RESTORABLE}


# --- what a device takes ------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", ["ec256", "ec384"])
def test_an_ec_key_is_a_hazard_where_the_device_takes_rsa_only(key_type: str) -> None:
    ours = forecast("home", OURS.names, key_type, "https://ca.example/")
    plan = plan_of({HOME: OLDER}, ours=ours)
    assert found(plan, traits=Traits(elliptic_curves=False)) == {KEY_TYPE_UNSUPPORTED}
    assert found(plan) == set()
    assert found(plan_of({HOME: OLDER}), traits=Traits(elliptic_curves=False)) == set()


def test_a_leaf_without_common_name_is_a_hazard_where_the_device_needs_one() -> None:
    bare = Certificate(name="home", leaf="sha256:x", names=OURS.names, key_type="rsa2048")
    plan = plan_of({HOME: OLDER}, ours=bare)
    assert found(plan, traits=Traits(needs_common_name=True)) == {NO_COMMON_NAME}
    assert found(plan) == set()
    assert found(plan_of({HOME: OLDER}), traits=Traits(needs_common_name=True)) == set()


# --- together -----------------------------------------------------------------------------------


def everything() -> tuple[Hazard, ...]:
    ours = Certificate(
        name="home", leaf="sha256:x", names=("x.example",), key_type="ec256",
        not_before=NOW, not_after=NOW + DAY, trusted=False,
    )  # fmt: skip
    plan = plan_of(
        {
            HOME: OLDER | LATER | {MANAGED_BY: DEVICE},
            OTHER: OLDER,
            FTPS: {},
            DEFAULT: {CERTIFICATE: OTHER},
        },
        ours=ours,
        desired={DEFAULT: BOUND, Address("service", "FTPS"): BOUND},
    )
    return hazards(plan, NOTHING_ASKED, Traits(elliptic_curves=False, needs_common_name=True))


def test_hazards_come_in_one_order_with_every_reason_once() -> None:
    every = everything()
    order = [HAZARDS.index(hazard.name) for hazard in every]
    assert order == sorted(order)
    assert len(set(every)) == len(every)
    # No plan takes a certificate away from a service without giving it another.
    assert {hazard.name for hazard in every} == set(HAZARDS) - {SERVICE_ORPHANED}
    assert [hazard.name for hazard in every].count(NOT_RESTORABLE) == 2


@given(st.sets(st.sampled_from(HAZARDS)))
def test_only_what_nobody_accepted_by_name_is_refused(accepted: set[str]) -> None:
    every = everything()
    assert refused(every, accepted) == tuple(one for one in every if one.name not in accepted)
    assert refused(every, HAZARDS) == ()
    assert refused(every, ()) == every


def test_a_hazard_is_shown_by_name_and_reason() -> None:
    assert str(Hazard("fewer-names", "it would lose x")) == "fewer-names: it would lose x"


def test_a_reason_shows_what_the_device_said_harmlessly() -> None:
    evil = "\x1b[2J\u202e"
    entry = Address("certificate", evil, evil)
    observed = State(
        {
            entry: OLDER | LATER | {NAMES: (evil,), MANAGED_BY: DEVICE},
            Address("service", evil, evil): {},
            DEFAULT: {},
        }
    )
    wanted = Address("certificate", "", evil)
    desired = State(
        {
            wanted: {LEAF: OURS.leaf, SAKE: "home"},
            DEFAULT: {CERTIFICATE: wanted},
            Address("service", evil): {CERTIFICATE: wanted},
        }
    )
    every = hazards(make_plan("attic", observed, desired, (OURS,)), NOTHING_ASKED, ANY_DEVICE)
    assert {FEWER_NAMES, EARLIER_EXPIRY, DEVICE_MANAGED, NOT_RESTORABLE} <= {
        hazard.name for hazard in every
    }
    assert all(str(hazard).isprintable() for hazard in every)
