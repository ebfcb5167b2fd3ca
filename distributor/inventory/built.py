"""What the inventory can already say, but this version cannot yet do. Built: delete the line."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from distributor.inventory.locate import KeyPath
from distributor.inventory.shape import Finding

ANY: Final = "*"
"""In a pattern any key or index; in place of values any value."""

NotBuilt = Mapping[str, tuple[object, ...]]
"""Patterns of key paths, and the values there that nothing is built for."""

NOT_BUILT: Final[NotBuilt] = {
    "dns.*.provider": (
        "route53",
        "cloudflare",
        "powerdns",
        "acme-dns",
        "exec",
        "httpreq",
        "lexicon",
        "manual",
    ),
    "notify": (ANY,),
}


def unbuilt(document: Mapping[str, Any], table: NotBuilt) -> Iterator[Finding]:
    """Find what a document asks for that is in `table`."""
    for pattern, values in table.items():
        for path, value in _matches(document, tuple(pattern.split(".")), ()):
            if ANY in values or value in values:
                yield Finding(path, f"{_named(path, value, values)} is not built yet")


def _matches(value: Any, pattern: tuple[str, ...], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if not pattern:
        yield path, value
        return
    first, rest = pattern[0], pattern[1:]
    if isinstance(value, dict):
        for key in value if first == ANY else value.keys() & {first}:
            yield from _matches(value[key], rest, (*path, key))
    elif isinstance(value, list) and first == ANY:
        for index, item in enumerate(value):
            yield from _matches(item, rest, (*path, index))


def _named(path: KeyPath, value: Any, values: tuple[object, ...]) -> str:
    if ANY in values:
        return str(path[-1])
    return f"{path[-1]} = " + ("true" if value is True else f'"{value}"')
