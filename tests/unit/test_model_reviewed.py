"""A saved plan comes back as it was, only as it was, and binds what is still to be issued."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate, forecast
from distributor.model.errors import UsageError
from distributor.model.plan import Plan, digest_of, make_plan
from distributor.model.reviewed import (
    is_fulfilled,
    reviewed_as_json,
    reviewed_from_json,
)
from distributor.model.state import LEAF, SAKE, Address, State
from tests.certs import DAY, NOW

CA = "https://ca.example/directory"
COMING = forecast("home", ("example.com", "*.example.com"), "rsa2048", CA)
HAVE = Certificate(
    name="home",
    leaf="sha256:ours",
    names=("*.example.com", "example.com"),
    key_type="rsa2048",
    chain=("sha256:r3",),
    key="sha256:key",
    common_name="example.com",
    issued_by="R3",
    not_before=NOW,
    not_after=NOW + 90 * DAY,
    trusted=True,
)


def plan_of(host: str, certificate: Certificate) -> Plan:
    entry = Address("certificate", certificate.name)
    desired = State({entry: {LEAF: certificate.leaf, SAKE: certificate.name}})
    return make_plan(host, State({}), desired, (certificate,))


PLANS = (
    plan_of("attic", HAVE),
    plan_of("cellar", HAVE),
    plan_of("router", replace(COMING, name="work")),
)
SAVED = json.loads(json.dumps(reviewed_as_json(PLANS)))


@given(st.lists(st.sampled_from(PLANS), unique_by=lambda plan: plan.host))
def test_what_was_reviewed_comes_back_as_it_was(plans: list[Plan]) -> None:
    written = json.loads(json.dumps(reviewed_as_json(plans)))
    back = reviewed_from_json(written, "plan.json")
    assert back.digests == {plan.host: plan.digest for plan in plans}
    assert back.certificates == {one.name: one for plan in plans for one in plan.certificates}


def test_a_saved_plan_shows_a_person_what_would_change() -> None:
    assert SAVED["hosts"]["attic"]["changes"] == [
        {"address": "certificate 'home'", "fact": "leaf", "certificate": "home"}
    ]
    assert SAVED["certificates"]["work"]["leaf"] == "next:home"


def _places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(data, dict) and data:
        return [place for name in data for place in _places(data[name], (*path, name))]
    if isinstance(data, list) and data:
        return [place for n, one in enumerate(data) for place in _places(one, (*path, n))]
    return [path]


@pytest.mark.parametrize("place", _places(SAVED), ids=str)
def test_a_plan_that_was_changed_anywhere_is_refused(place: tuple[str | int, ...]) -> None:
    changed = json.loads(json.dumps(SAVED))
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = "changed"
    with pytest.raises(UsageError, match=r"plan\.json was changed.*--save-plan"):
        reviewed_from_json(changed, "plan.json")


def test_a_plan_of_another_version_is_refused() -> None:
    body = {name: SAVED[name] for name in ("certificates", "hosts")} | {"version": 1}
    with pytest.raises(UsageError, match="another version"):
        reviewed_from_json(body | {"digest": digest_of(body)}, "plan.json")


def signed(**body: Any) -> dict[str, Any]:
    whole = {name: SAVED[name] for name in ("version", "certificates", "hosts")} | body
    return whole | {"digest": digest_of(whole)}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "",
        {},
        {name: value for name, value in SAVED.items() if name != "digest"},
        signed(hosts=[]),
        signed(hosts={"attic": None}),
        signed(hosts={"attic": {}}),
        signed(certificates={"home": {}}),
        signed(certificates={"home": SAVED["certificates"]["home"] | {"not_after": "soon"}}),
    ],
)
def test_what_is_no_saved_plan_is_refused(data: Any) -> None:
    with pytest.raises(UsageError, match=r"plan\.json is no saved plan.*--save-plan"):
        reviewed_from_json(data, "plan.json")


def test_a_leaf_that_existed_must_be_the_same() -> None:
    assert is_fulfilled(HAVE, HAVE, COMING)
    assert is_fulfilled(HAVE, replace(HAVE, trusted=None), COMING)
    assert not is_fulfilled(HAVE, replace(HAVE, leaf="sha256:newer"), COMING)
    assert not is_fulfilled(HAVE, COMING, COMING)


def test_a_leaf_still_to_be_issued_is_fulfilled_by_one_for_its_names_and_key() -> None:
    assert is_fulfilled(COMING, HAVE, COMING)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (replace(HAVE, names=("example.com",)), COMING),
        (replace(HAVE, key_type="ec256"), COMING),
        (HAVE, replace(COMING, names=("example.com",))),
        (HAVE, replace(COMING, key_type="ec256")),
        (HAVE, replace(COMING, issued_by="https://other.example/")),
        (HAVE, replace(COMING, common_name="*.example.com")),
        (HAVE, HAVE),
    ],
)
def test_other_names_key_or_ca_do_not_fulfil_it(actual: Certificate, expected: Certificate) -> None:
    assert not is_fulfilled(COMING, actual, expected)


def test_a_leaf_whose_dates_were_reviewed_is_told_by_names_and_dates() -> None:
    seen = replace(HAVE, leaf="next:home", chain=(), key="", key_type="rsa")
    assert is_fulfilled(seen, HAVE, COMING)
    for other in (
        replace(HAVE, names=("other.example.com",)),
        replace(HAVE, not_after=None),
        replace(HAVE, not_before=None),
    ):
        assert not is_fulfilled(seen, other, COMING)
