"""Text from outside is shown on one line, harmless and bounded."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.text import LIMIT, printable

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

any_text = st.text(st.characters(codec=None), max_size=2 * LIMIT)
harmless_text = st.text(
    st.characters(codec=None, exclude_categories=tuple(FORBIDDEN)),  # type: ignore[arg-type]  # the names of categories
    max_size=LIMIT,
)


@given(any_text, st.integers(1, LIMIT))
def test_what_is_shown_is_harmless_and_never_longer_than_the_limit(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert not {unicodedata.category(character) for character in shown} & FORBIDDEN


@given(any_text, st.integers(1, LIMIT))
def test_what_was_shown_once_is_shown_the_same_again(text: str, limit: int) -> None:
    assert printable(printable(text, limit), limit) == printable(text, limit)


@given(harmless_text)
def test_harmless_short_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(codec=None), max_size=LIMIT // 10))
def test_no_character_is_lost_while_there_is_room(text: str) -> None:
    as_written = printable(text)
    for character in text:
        piece = printable(character)
        assert piece
        assert as_written.startswith(piece)
        as_written = as_written[len(piece) :]
    assert as_written == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc\r", r"a\x0ab\x09c\x0d"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("line\u2028break", r"line\u2028break"),
        ("\ue000", r"\ue000"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("[bold]x[/bold] <b>", "[bold]x[/bold] <b>"),
        ("Büro 書斎", "Büro 書斎"),
    ],
)
def test_what_could_do_harm_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_ends_with_an_ellipsis() -> None:
    assert printable("x" * (LIMIT + 1)) == "x" * (LIMIT - 1) + "…"


def test_text_that_just_fits_is_whole() -> None:
    assert printable("x" * LIMIT) == "x" * LIMIT


def test_other_things_than_text_are_shown_as_text() -> None:
    assert printable(402) == "402"
    assert printable(None) == "None"
