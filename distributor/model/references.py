"""Where an inventory speaks of secrets by name."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from distributor.model.hosts import Inventory, KeyringSecret

_OWN_WORDS = frozenset({"access", "settings", "source"})
"""Fields of the values that are no keys of the file."""


def named_secrets(inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """Return the names of all `{ keyring = "name" }`, and the key paths that use each."""
    found: dict[str, list[str]] = {}
    for path, name in _walk(inventory, ()):
        found.setdefault(name, []).append(".".join(path))
    return {name: tuple(dict.fromkeys(places)) for name, places in found.items()}


def _walk(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    # Whatever is added to the inventory's values is found without being named here.
    if isinstance(value, KeyringSecret):
        yield path, value.name
    elif is_dataclass(value):
        for field in fields(value):
            below = path if field.name in _OWN_WORDS else (*path, field.name)
            yield from _walk(getattr(value, field.name), below)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, (*path, str(key)))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _walk(item, (*path[:-1], f"{path[-1]}[{index}]"))
