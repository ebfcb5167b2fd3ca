"""What holds for any document at all: an inventory, or problems with places, and never a crash."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from distributor import inventory
from distributor.inventory.schema import Document

FILE = Path("/srv/inventory/inventory.toml")
ROOT = Path(__file__).parents[2]
EXAMPLE = tomllib.loads((ROOT / "inventory.example.toml").read_text(encoding="utf-8"))
EXAMPLE["acme"]["eab"] = {"kid": "k", "hmac": {"env": "HMAC"}}
EXAMPLE["acme"]["fallback"] = ["letsencrypt", {"ca": "zerossl", "eab": EXAMPLE["acme"]["eab"]}]
EXAMPLE["certificates"]["bought"] = {"source": "files", "certificate": "a", "names": ["x.test"]}
EXAMPLE["hosts"]["attic"]["deliver"] = [{"certificate": "home"}, {"certificate": "home", "id": "x"}]

Place = tuple[str | int, ...]


def _places(value: Any, path: Place = ()) -> list[Place]:
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    else:
        inside = []
    return [path] * bool(path) + [
        place for part, item in inside for place in _places(item, (*path, part))
    ]


def _changed(document: Any, path: Place, value: Any) -> Any:
    """Copy a document with another value at one place."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = _changed(copy[path[0]], path[1:], value)
    return copy


ATOMS = st.one_of(
    st.integers(-1, 70000),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["home", "attic", "api", "ssh", "files", "router", "acme", "diskstation"]),
)
KEYS = st.sampled_from(
    [
        key
        for table in (
            *("HostTable", "CertificateTable", "AcmeTable", "DnsTable", "SecretTable"),
            *("EabTable", "Document"),
        )
        for key in (Document.model_json_schema()["$defs"].get(table, Document.model_json_schema()))[
            "properties"
        ]
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(changes=st.lists(st.tuples(st.sampled_from(_places(EXAMPLE)), VALUES), max_size=3))
def test_a_document_with_anything_anywhere_is_an_inventory_or_has_problems_with_places(
    changes: list[tuple[Place, Any]],
) -> None:
    document = EXAMPLE
    for path, value in changes:
        if path in _places(document):
            document = _changed(document, path, value)
    found, problems = inventory.read(tomli_w.dumps(document), FILE, private=True)
    assert (found is None) is bool(problems)
    assert all(problem.message for problem in problems)
    assert all(problem.line is not None for problem in problems if problem.path)
    lines = [problem.line or 0 for problem in problems]
    assert lines == sorted(lines)
    if found is not None:
        assert list(found.hosts) == list(document["hosts"])
        assert list(found.certificates) == list(document["certificates"])
        assert all(
            endpoint.certificate in host.certificates
            for host in found.hosts.values()
            for endpoint in host.endpoints
        )


@given(VALUES)
def test_any_value_in_the_place_of_a_table_is_read_to_its_end(value: Any) -> None:
    for key in EXAMPLE:
        text = tomli_w.dumps({**EXAMPLE, key: value})
        found, problems = inventory.read(text, FILE, private=True)
        assert (found is None) is bool(problems)
