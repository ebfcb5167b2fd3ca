"""A host is left alone after two roll-backs of the same leaves, until these change."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Certificate
from distributor.model.errors import StateError
from distributor.model.holds import Hold, held, hold_by_person, next_hold
from distributor.model.report import HostStatus
from distributor.store import HoldsFile
from tests.certs import DAY, NOW

ONE = Certificate(name="home", leaf="sha256:one", names=("a",), key_type="rsa2048")
TWO = replace(ONE, leaf="sha256:two")
STATUSES = get_args(HostStatus)


def after(*ends: tuple[HostStatus, Certificate]) -> Hold | None:
    hold: Hold | None = None
    for day, (status, wanted) in enumerate(ends):
        hold = next_hold(hold, status, [wanted], "the leaf was not served", NOW + day * DAY)
    return hold


def test_once_is_chance_and_twice_is_enough() -> None:
    once = after(("rolled_back", ONE))
    assert held(once, [ONE], named=False) is None
    twice = after(("rolled_back", ONE), ("rolled_back", ONE))
    error = held(twice, [ONE], named=False)
    assert error is not None
    assert "put back 2 times" in error.message
    assert "the leaf was not served" in error.message
    assert "--host" in (error.hint or "")


def test_another_leaf_is_tried() -> None:
    twice = after(("rolled_back", ONE), ("rolled_back", ONE))
    assert held(twice, [TWO], named=False) is None
    assert held(twice, [ONE, TWO], named=False) is None
    assert held(after(("rolled_back", ONE), ("rolled_back", TWO)), [TWO], named=False) is None


def test_who_names_it_has_it_tried_again() -> None:
    twice = after(("rolled_back", ONE), ("rolled_back", ONE))
    assert held(twice, [ONE], named=True) is None
    thrice = next_hold(twice, "rolled_back", [ONE], "again", NOW)
    assert thrice is not None
    assert thrice.rolled_back == 3
    assert held(thrice, [ONE], named=False) is not None
    assert next_hold(twice, "changed", [ONE], "", NOW) is None


def test_what_a_person_put_back_is_held_at_once() -> None:
    hold = hold_by_person({"sha256:one"}, "by hand", NOW)
    error = held(hold, [ONE], named=False)
    assert error is not None
    assert "a person put it back" in error.message
    assert held(hold, [TWO], named=False) is None


def test_a_hostile_reason_is_harmless() -> None:
    hold = next_hold(None, "rolled_back", [ONE], "\x1b[2J" + "x" * 5000, NOW)
    assert hold is not None
    assert "\x1b" not in hold.reason
    assert len(hold.reason) <= 300


ends = st.lists(st.tuples(st.sampled_from(STATUSES), st.sampled_from([ONE, TWO])), max_size=12)


@given(ends, st.sampled_from([ONE, TWO]))
def test_it_is_held_exactly_after_two_roll_backs_with_nothing_good_or_new_in_between(
    history: list[tuple[HostStatus, Certificate]], wanted: Certificate
) -> None:
    telling = [one for one in history if one[0] in {"rolled_back", "changed", "unchanged"}]
    last = telling[-2:]
    is_held = held(after(*history), [wanted], named=False) is not None
    assert is_held == (last == [("rolled_back", wanted)] * 2)


def test_the_file_keeps_what_is_put_and_forgets_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "holds.toml"
    hold = after(("rolled_back", ONE), ("rolled_back", ONE))
    assert hold is not None
    assert HoldsFile(path).of("attic") is None
    HoldsFile(path).put("attic", None)
    assert not path.exists(), "nothing to remember, nothing written"
    HoldsFile(path).put("attic", hold)
    HoldsFile(path).put("cellar", replace(hold, by="person"))
    assert HoldsFile(path).of("attic") == hold
    assert path.stat().st_mode & 0o777 == 0o600
    HoldsFile(path).put("attic", None)
    assert HoldsFile(path).of("attic") is None
    assert HoldsFile(path).of("cellar") == replace(hold, by="person")


@pytest.mark.parametrize(
    "text",
    [
        "no toml [",
        "version = 0",
        "hosts = 5",
        "[hosts.attic]\nby = 'run'",
        "[hosts.attic]\nleaves = 5\nrolled_back = 1\nby = 'run'\nsince = 'x'\nreason = ''",
        "[hosts]\nattic = 5",
        (
            "[hosts.attic]\nleaves = []\nrolled_back = '1'\nby = 'run'\n"
            "since = '2026-01-01T00:00:00Z'\nreason = ''"
        ),
        (
            "[hosts.attic]\nleaves = []\nrolled_back = 1\nby = 'me'\n"
            "since = '2026-01-01T00:00:00Z'\nreason = ''"
        ),
    ],
)
def test_a_broken_file_is_said_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "holds.toml"
    path.write_text(text)
    with pytest.raises(StateError, match=r"holds\.toml cannot be read") as caught:
        HoldsFile(path).of("attic")
    assert caught.value.hint
