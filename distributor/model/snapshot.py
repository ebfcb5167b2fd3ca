"""What a host had before it was changed: plain data that outlives connection and process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from distributor.model.bundle import Bundle
from distributor.model.errors import StateError
from distributor.model.state import UNREADABLE, Address, FactValue, State
from distributor.model.text import printable
from distributor.model.times import from_rfc3339, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One host as it was, and all that is needed to make it so again."""

    host: str
    taken: datetime
    before: State
    creates: tuple[Address, ...] = ()
    """Entries that the plan makes anew: a rollback removes them."""
    pairs: Mapping[Address, Bundle] = field(default_factory=dict, repr=False)
    """Content of each entry that the plan overwrites."""


def snapshot_as_json(snapshot: Snapshot) -> dict[str, object]:
    """Return the printable part of a snapshot as plain data; the pairs are not in it."""
    return {
        "version": 0,
        "host": snapshot.host,
        "taken": rfc3339(snapshot.taken),
        "creates": [_address_as_json(address) for address in snapshot.creates],
        "before": [
            {
                "address": _address_as_json(address),
                "facts": {name: _value_as_json(value) for name, value in facts.items()},
            }
            for address, facts in snapshot.before.facts.items()
        ],
    }


def snapshot_from_json(data: Any, pairs: Mapping[Address, Bundle]) -> Snapshot:
    """Return the snapshot that `snapshot_as_json` wrote; raises StateError for anything else."""
    try:
        if data["version"] != 0:
            raise StateError(f"a snapshot of version {printable(data['version'])} cannot be read")
        before = {
            _address_from_json(item["address"]): {
                name: _value_from_json(value) for name, value in item["facts"].items()
            }
            for item in data["before"]
        }
        return Snapshot(
            host=_text(data["host"]),
            taken=from_rfc3339(data["taken"]),
            before=State(before),
            creates=tuple(_address_from_json(item) for item in data["creates"]),
            pairs=pairs,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StateError("a snapshot cannot be read") from error


def _address_as_json(address: Address) -> list[str]:
    return [address.kind, address.name, address.id]


def _address_from_json(data: Any) -> Address:
    kind, name, identifier = data
    if kind not in {"certificate", "service", "default certificate", "file"}:
        raise ValueError(kind)
    return Address(kind, _text(name), _text(identifier))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode("utf-8")  # raises ValueError for half of a surrogate pair
    return value


def _value_as_json(value: FactValue) -> object:
    if isinstance(value, Address):
        return {"address": _address_as_json(value)}
    if value is UNREADABLE:
        return {"unreadable": True}
    return list(value) if isinstance(value, tuple) else value


def _value_from_json(value: Any) -> FactValue:
    if isinstance(value, str | bool):
        return value
    if isinstance(value, list):
        return tuple(map(_text, value))
    if "address" in value:
        return _address_from_json(value["address"])
    return UNREADABLE
