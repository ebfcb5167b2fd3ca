"""Where in a TOML text a key stands."""

import tomllib
from datetime import date
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from distributor.inventory.locate import KeyPath, key_path, line_in_message, line_of, locate

TEXT = '''# a comment with [brackets] and key = "value"
top = 1
dotted.key.path = """
[not.a.header]
quote " and "" and \\""" end"""
literal = \'\'\'
it''s = 5\'\'\' # behind

[hosts.attic] # the box
deliver = [ # several
    { id = "a", description = "}" },

    { id = 'b]', services = ["x", [1, 2,], {}] },
]
"quoted \\u0041" = 2026-11-21 02:00:00
'li.teral' = { a.b = 1, c = { d = [] } }
[hosts]
x = true
[[list]]
a = 1
[list.sub]
b = 2
[[list]]
a = 3
[[list.inner]]
c = 4
[[list.inner]]
c = 5
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("dotted",), 3),
        (("dotted", "key", "path"), 3),
        (("literal",), 6),
        (("hosts", "attic"), 9),
        (("hosts",), 17),
        (("hosts", "x"), 18),
        (("hosts", "attic", "deliver"), 10),
        (("hosts", "attic", "deliver", 0), 11),
        (("hosts", "attic", "deliver", 0, "description"), 11),
        (("hosts", "attic", "deliver", 1, "id"), 13),
        (("hosts", "attic", "deliver", 1, "services", 1, 0), 13),
        (("hosts", "attic", "quoted A"), 15),
        (("hosts", "attic", "li.teral", "a", "b"), 16),
        (("hosts", "attic", "li.teral", "c", "d"), 16),
        (("list",), 19),
        (("list", 0), 19),
        (("list", 0, "sub", "b"), 22),
        (("list", 1), 23),
        (("list", 1, "a"), 24),
        (("list", 1, "inner", 0, "c"), 26),
        (("list", 1, "inner", 1, "c"), 28),
    ],
)
def test_every_key_is_found_where_it_stands(path: KeyPath, line: int) -> None:
    tomllib.loads(TEXT)
    assert locate(TEXT)[path] == line


def test_windows_line_ends_make_no_difference() -> None:
    assert locate(TEXT.replace("\n", "\r\n")) == locate(TEXT)


def test_an_empty_text_has_no_places() -> None:
    assert locate("") == {}


def test_what_has_no_place_is_where_the_table_around_it_is() -> None:
    lines = locate(TEXT)
    assert line_of(lines, ("hosts", "attic", "user")) == 9
    assert line_of(lines, ("hosts", "attic", "deliver", 0, "certificate")) == 11
    assert line_of(lines, ("nothing",)) is None
    assert line_of(lines, ()) is None


@pytest.mark.parametrize("text", ["= 1", "key = ", "[", "key"])
def test_a_text_that_is_not_toml_gives_an_error_and_no_wrong_place(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        locate(text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("hosts", "attic", "deliver", 0, "id"), "hosts.attic.deliver[0].id"),
        (("hosts", "a.b", "port"), 'hosts."a.b".port'),
        (('a\x1b"\u202e',), '"a\\u001b\\"\\u202e"'),
        ((), ""),
    ],
)
def test_a_path_is_shown_as_toml_writes_it(path: KeyPath, text: str) -> None:
    assert key_path(path) == text


def test_the_line_of_a_syntax_error_is_the_parser_s() -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads("a = 1\nb = \n")
    assert line_in_message(str(caught.value)) == 2
    assert line_in_message("Unclosed array (at end of document)") is None


KEYS = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["hosts", "deliver", "a-b", "é", 'q"', "'"]
)
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["[x]", "a = 1", '"""', "'''", "# no comment", "two\nlines"]),
    st.just(date(2026, 11, 21)),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def _paths(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    inside = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        inside = list(enumerate(value))
    found = [path] if path else []
    for part, item in inside:
        found += _paths(item, (*path, part))
    return found


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.booleans())
def test_the_line_of_every_key_of_any_document_contains_the_key(
    document: dict[str, Any], multiline: bool
) -> None:
    text = tomli_w.dumps(document, multiline_strings=multiline)
    parsed = tomllib.loads(text)  # what tomli_w made of control characters is what counts
    lines, rows = locate(text), text.split("\n")
    for path in _paths(parsed):
        key = path[-1]
        if isinstance(key, str):
            row = rows[lines[path] - 1]
            assert key in row or _escaped(key) in row
        else:
            assert line_of(lines, path) is not None
    assert set(lines) == set(_paths(parsed))


def _escaped(key: str) -> str:
    """Write a key as tomli_w does, without its quotes."""
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n").strip('"')
