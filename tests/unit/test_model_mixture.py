"""What is on the way from one content to another: told from what is neither."""

import pytest

from distributor.model.mixture import is_mixed
from distributor.model.state import CHAIN, KEY, LEAF, RELOAD_OWED, Facts

OLD: Facts = {LEAF: "a", CHAIN: ("c",), KEY: "k"}
NEW: Facts = {LEAF: "b", CHAIN: ("c",), KEY: "l"}


@pytest.mark.parametrize(
    ("leaf", "wanted"),
    [
        ("a", True),
        ("b", True),
        (("a", "b"), True),
        (("b", RELOAD_OWED), True),  # its run was cut off between files and reload
        ("x", False),
        (("b", "x"), False),
        (("x", RELOAD_OWED), False),
        ((), False),
    ],
)
def test_a_change_that_was_cut_off_is_told_from_what_somebody_else_brought(
    leaf: str | tuple[str, ...], wanted: bool
) -> None:
    assert is_mixed({**NEW, LEAF: leaf}, OLD, NEW) is wanted
