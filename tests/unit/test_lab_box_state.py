"""Whatever is done to a box, its entries and bindings stay whole."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributor.lab.box_state import (
    DRIVE,
    DSM_DESKTOP,
    FTPS,
    QUICKCONNECT,
    BoxState,
    Entry,
    RefusedError,
    new_entry_id,
    reverse_proxy,
)
from distributor.lab.factory import factory_certificate

SERVICES = (DSM_DESKTOP, FTPS, QUICKCONNECT, DRIVE, reverse_proxy("git.example.com"))
FACTORY = factory_certificate("attic")


def new_state() -> BoxState:
    return BoxState(Entry("first0", "", FACTORY), SERVICES)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "replace", "set", "delete", "bind"]),
            st.integers(0, 5),
            st.integers(0, len(SERVICES) - 1),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_there_is_always_one_default_and_every_service_is_bound_to_an_entry(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    state = new_state()
    for action, number, which, flag in steps:
        ids = list(state.snapshot()["entries"])
        chosen, service = ids[number % len(ids)], SERVICES[which]
        before = state.snapshot()
        with contextlib.suppress(RefusedError):
            match action:
                case "put":
                    state.put("", FACTORY, "x", default=flag)
                case "replace":
                    change = state.put(chosen, FACTORY, "x", default=flag)
                    assert state.snapshot()["bindings"] == before["bindings"]
                    assert change.entry_id == chosen
                case "set":
                    state.describe_as(chosen, desc=None, default=flag)
                    assert state.snapshot()["bindings"] == before["bindings"]
                case "delete":
                    state.delete([chosen])
                    assert chosen != before["default"]
                case _:
                    old = before["bindings"][service.key]
                    state.bind([(service.listed(), old, chosen)])
        after = state.snapshot()
        assert after["default"] in after["entries"]
        assert after["bindings"].keys() == {one.key for one in SERVICES}
        assert set(after["bindings"].values()) <= after["entries"].keys()
        listed = state.listed("")
        assert [one["is_default"] for one in listed].count(True) == 1
        assert after["bindings"][QUICKCONNECT.key] == "first0" or "first0" not in after["entries"]


def test_a_refused_call_with_several_moves_moves_nothing() -> None:
    state = new_state()
    other = state.put("", FACTORY, "other", default=False).entry_id
    before = state.snapshot()
    moves = [
        (FTPS.listed(), "first0", other),
        (DRIVE.listed(), "wrong0", other),
    ]
    with pytest.raises(RefusedError) as refused:
        state.bind(moves)
    assert refused.value.code == 5503
    assert state.snapshot() == before


def test_what_is_undone_leaves_no_trace() -> None:
    state = new_state()
    before = state.snapshot()
    with state.undone():
        other = state.put("", FACTORY, "other", default=True).entry_id
        state.bind([(FTPS.listed(), "first0", other)])
        assert state.snapshot() != before
    assert state.snapshot() == before
    with state.undone(), pytest.raises(RefusedError):
        state.delete([state.put("", FACTORY, "new", default=False).entry_id, "nobody"])
    assert state.snapshot() == before


def test_only_where_it_is_asked_for_does_an_unmoved_service_lose_its_entry() -> None:
    state = new_state()
    other = state.put("", FACTORY, "other", default=False).entry_id
    moves = [(FTPS.listed(), "first0", "first0"), (DRIVE.listed(), "first0", other)]
    assert state.bind(moves).services == {DRIVE.key}
    moves = [(FTPS.listed(), "first0", "first0"), (QUICKCONNECT.listed(), "first0", "first0")]
    assert state.bind(moves, drops_unmoved=True).services == {FTPS.key}
    assert state.snapshot()["bindings"][FTPS.key] == ""
    with pytest.raises(RefusedError):
        state.bind([(FTPS.listed(), "first0", other)])
    assert state.bind([(FTPS.listed(), "", other)]).services == {FTPS.key}


def test_two_services_of_one_key_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same subscriber and service"):
        BoxState(Entry("first0", "", FACTORY), (FTPS, FTPS))


def test_ids_are_six_letters_or_digits() -> None:
    made = [new_entry_id() for _ in range(50)]
    assert all(len(one) == 6 and one.isascii() and one.isalnum() for one in made)


def test_a_service_is_found_by_key_and_by_display_name() -> None:
    state = new_state()
    assert state.find_service("smbftpd/ftpd") is FTPS
    assert state.find_service("git.example.com").subscriber == "ReverseProxy"
    with pytest.raises(KeyError):
        state.find_service("nothing")
