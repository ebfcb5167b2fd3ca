"""A state is facts by address: the same in any order, and unreadable is never absent."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.plan import digest_of
from distributor.model.state import (
    DEFAULT,
    UNREADABLE,
    Address,
    AddressKind,
    FactValue,
    State,
    address_key,
    value_as_json,
)
from tests.unit.states import merged

words = st.text(st.characters(codec=None), max_size=6)
kinds: st.SearchStrategy[AddressKind] = st.sampled_from(
    ["certificate", "service", "default certificate", "file"]
)
addresses = st.builds(Address, kinds, words, words)
values: st.SearchStrategy[FactValue] = st.one_of(
    words, st.booleans(), st.lists(words, max_size=3).map(tuple), addresses, st.just(UNREADABLE)
)

facts = st.dictionaries(addresses, st.dictionaries(words, values, max_size=4), max_size=5)


def shuffled(
    known: Mapping[Address, Mapping[str, FactValue]], data: st.DataObject
) -> dict[Address, dict[str, FactValue]]:
    order = data.draw(st.permutations(list(known)))
    return {
        address: {
            name: known[address][name] for name in data.draw(st.permutations(list(known[address])))
        }
        for address in order
    }


@given(facts, st.data())
def test_the_order_in_which_facts_were_learnt_does_not_matter(
    known: dict[Address, dict[str, FactValue]], data: st.DataObject
) -> None:
    one, other = State(known), State(shuffled(known, data))
    assert one == other
    assert json.dumps(one.as_json()) == json.dumps(other.as_json())
    assert list(one.facts) == sorted(known)
    assert all(list(one.facts[address]) == sorted(known[address]) for address in known)


@given(facts, facts)
def test_plain_data_is_the_same_for_equal_states_alone(
    one: dict[Address, dict[str, FactValue]], other: dict[Address, dict[str, FactValue]]
) -> None:
    same = State(one) == State(other)
    assert (digest_of(State(one).as_json()) == digest_of(State(other).as_json())) == same


@given(addresses, addresses)
def test_the_key_of_an_address_is_its_own(one: Address, other: Address) -> None:
    assert (address_key(one) == address_key(other)) == (one == other)
    address_key(one).encode("utf-8")


def test_a_description_cannot_make_one_address_look_like_another() -> None:
    one = Address("certificate", "home\x1fabc", "def")
    other = Address("certificate", "home", "abc\x1fdef")
    assert address_key(one) != address_key(other)
    assert len(State({one: {}, other: {}}).as_json()) == 2


@given(values, values)
def test_plain_values_are_the_same_for_equal_values_alone(one: FactValue, other: FactValue) -> None:
    same = json.dumps(value_as_json(one)) == json.dumps(value_as_json(other))
    assert same == (one == other)


@given(facts, addresses, words)
def test_a_fact_is_what_was_put_there_or_none(
    known: dict[Address, dict[str, FactValue]], address: Address, fact: str
) -> None:
    assert State(known).get(address, fact) == known.get(address, {}).get(fact)


@given(facts)
def test_every_address_is_of_one_kind(known: dict[Address, dict[str, FactValue]]) -> None:
    state = State(known)
    by_kind = [
        address
        for kind in ("certificate", "service", "default certificate", "file")
        for address in state.of_kind(kind)
    ]
    assert sorted(by_kind) == list(state.facts)


@given(st.lists(facts, max_size=3))
def test_of_many_states_the_later_one_is_right_and_nothing_is_lost(
    known: list[dict[Address, dict[str, FactValue]]],
) -> None:
    expected: dict[tuple[Address, str], FactValue] = {}
    for one in known:
        expected |= {(at, fact): value for at, of in one.items() for fact, value in of.items()}
    together = merged(map(State, known))
    assert set(together.facts) == {address for one in known for address in one}
    assert expected == {
        (at, fact): value for at, of in together.facts.items() for fact, value in of.items()
    }


def test_a_state_cannot_be_changed() -> None:
    known: dict[Address, dict[str, FactValue]] = {DEFAULT: {"certificate": "x"}}
    state = State(known)
    with pytest.raises(TypeError, match="does not support item assignment"):
        state.facts[DEFAULT] = {}  # type: ignore[index]  # what it must refuse
    with pytest.raises(TypeError, match="does not support item assignment"):
        state.facts[DEFAULT]["certificate"] = "y"  # type: ignore[index]  # the same
    known[DEFAULT]["certificate"] = "y"
    known[Address("file", "/x")] = {}
    assert state == State({DEFAULT: {"certificate": "x"}})


@pytest.mark.parametrize("other", [None, "unreadable", "", (), False, True])
def test_unreadable_is_like_nothing_else(other: FactValue | None) -> None:
    assert other != UNREADABLE
    assert value_as_json(other) != value_as_json(UNREADABLE)


def test_unreadable_says_so() -> None:
    assert repr(UNREADABLE) == "UNREADABLE"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (DEFAULT, "default certificate"),
        (Address("certificate", "home", "xoEBak"), "certificate 'home'"),
        (Address("certificate", "", "xoEBak"), "certificate 'xoEBak'"),
        (Address("service", "FTPS", "ftpd/ftpd"), "service 'FTPS'"),
        (Address("file", "/etc/ssl/wildcard.pem"), "/etc/ssl/wildcard.pem"),
        (Address("file", "/a\nb"), r"/a\x0ab"),
        (Address("certificate", "\x1b[2J"), r"certificate '\x1b[2J'"),
    ],
)
def test_an_address_is_shown_as_a_person_would_point_at_it(address: Address, shown: str) -> None:
    assert str(address) == shown
