"""A parsed TOML document held against the schema: what fits it, and everything that does not."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, NamedTuple, Union, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from distributor.inventory.fields import Table
from distributor.inventory.locate import KeyPath, key_path
from distributor.inventory.schema import (
    AcmeTable,
    CertificateTable,
    DefaultsTable,
    Document,
    HostTable,
)
from distributor.inventory.values import did_you_mean, one_of

_RFC2136: Final = "rfc2136"
_COMMON_DNS_KEYS: Final = frozenset(
    {"provider", "nameservers", "resolvers", "doh", "propagation_timeout"}
)
_BELONGS: Final[Mapping[type[Table], tuple[type[Table], str]]] = {
    DefaultsTable: (HostTable, "one host: write it below [hosts.NAME]"),
    AcmeTable: (CertificateTable, "one certificate: write it below [certificates.NAME]"),
    CertificateTable: (AcmeTable, "all certificates: write it below [acme]"),
}
"""Where a key that is unknown in a table may have been meant to go."""
_LISTED: Final = 10
"""Keys of a table at most that a message lists: more would hide what it says."""
_TYPES: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}
_GIVEN: Final = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number with a fraction",
    list: "a list",
    dict: "a table",
}


class Finding(NamedTuple):
    """One thing that is wrong, and the path of the key that it is about."""

    path: KeyPath
    message: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a document fits the schema."""

    tables: Document
    document: Mapping[str, Any]
    """The document as it was read, with what does not fit."""

    def given(self, *path: str | int) -> bool:
        """Tell whether the document has something at a path, right or wrong."""
        return value_at(self.document, path) is not None


def shape(document: Mapping[str, Any], *, private: bool) -> tuple[Shape, list[Finding]]:
    """Return what fits the schema, and what does not with its reason.

    `private` tells whether nobody but its owner may read the inventory. What does not fit is taken
    out, by the smallest table that holds it, until the rest does.
    """
    findings: list[Finding] = []
    rest = _normalised(document)
    is_first = True
    while True:
        tables, errors = _validated(rest, private=private)
        if tables is not None:
            return Shape(tables, document), findings
        if is_first:  # later rounds only see what taking something out has made incomplete
            findings = [_finding(error, document) for error in errors]
            is_first = False
        for error in errors:
            _take_out(rest, error["loc"])


def value_at(document: object, path: KeyPath) -> object:
    """Return what a document has at a path; None where it has nothing."""
    value: Any = document
    for part in path:
        if isinstance(value, str):
            return None
        try:
            value = value[part]
        except (LookupError, TypeError):
            return None
    return value


def _validated(
    document: dict[str, Any], *, private: bool
) -> tuple[Document | None, list[ErrorDetails]]:
    try:
        return Document.model_validate(document, context={"private": private}), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _normalised(document: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a document, with each short form in its long one."""
    normal = copy.deepcopy(dict(document))
    for host in _tables(normal.get("hosts")):
        _lengthen(host, "endpoints", "address")
    for issuance in (*_tables({"acme": normal.get("acme")}), *_tables(normal.get("certificates"))):
        _lengthen(issuance, "fallback", "ca")
    for dns in _tables(normal.get("dns")):
        provider = dns.get("provider")
        if isinstance(provider, str) and provider != _RFC2136:
            # Each provider has keys of its own, which only its driver knows.
            for key in dns.keys() - _COMMON_DNS_KEYS:
                del dns[key]
    return normal


def _lengthen(table: dict[str, Any], key: str, short: str) -> None:
    """Make a table of each string in a list: the string is the value of `short` there."""
    items = table.get(key)
    if isinstance(items, list):
        table[key] = [{short: item} if isinstance(item, str) else item for item in items]


def _tables(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, dict))


def _take_out(document: dict[str, Any], location: KeyPath) -> None:
    """Remove the innermost key of a table on the way to `location`, if it is still there."""
    holder, last = document, location[0]
    value: Any = document
    for part in location:
        if isinstance(value, dict):
            if part not in value:
                return
            holder, last = value, part
        value = value[part]
    holder.pop(cast("str", last), None)


def _finding(error: ErrorDetails, document: Mapping[str, Any]) -> Finding:
    path = error["loc"]
    kind = error["type"]
    given = value_at(document, path)
    if kind == "model_type" and path[-2:-1] in {("endpoints",), ("fallback",)}:
        return Finding(path, f"must be a string or a table, not {_named(given)}")
    if kind in _TYPES:
        return Finding(path, f"must be {_TYPES[kind]}, not {_named(given)}")
    if kind == "extra_forbidden":
        return Finding(path, _unknown_key(path))
    if kind == "literal_error":
        words = get_args(_annotation_at(path))
        return Finding(path, f"must be one of {one_of(words)}{_similar(given, words)}")
    return Finding(path, str(error["ctx"]["error"]))


def _named(value: object) -> str:
    return _GIVEN.get(type(value), "a date or time")


def _similar(given: object, words: tuple[str, ...]) -> str:
    return did_you_mean(given, words) if isinstance(given, str) else f", not {_named(given)}"


def _unknown_key(path: KeyPath) -> str:
    key = str(path[-1])
    table = _annotation_at(path[:-1])
    meant, where = _BELONGS.get(table, (None, ""))
    if meant is not None and key in _keys(meant):
        return f"belongs to {where}"
    inside = f"[{key_path(path[:-1])}]" if len(path) > 1 else "the inventory"
    keys = _keys(table)
    listed = f"; known are {one_of(keys)}" if len(keys) <= _LISTED else ""
    return f"unknown key in {inside}{did_you_mean(key, keys) or listed}"


def _keys(table: type[Table]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in table.model_fields.items())


def _annotation_at(path: KeyPath) -> Any:
    """Return what the schema has at a path: a table's class, a Literal, or another annotation."""
    annotation: Any = Document
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, Table):
            name = next(
                name
                for name, field in annotation.model_fields.items()
                if part in {name, field.alias}
            )
            annotation = annotation.model_fields[name].annotation
        else:
            annotation = get_args(annotation)[-1]
        if get_origin(annotation) in {Union, UnionType}:
            annotation = get_args(annotation)[0]
    return annotation
