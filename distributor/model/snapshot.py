"""What a host had before it was changed: plain data that outlives connection and process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from distributor.model.bundle import Bundle
from distributor.model.endpoints import Shown
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
    copied: tuple[Address, ...] = ()
    """Entries and files of whose content a copy is made on the host itself before the change."""
    copy: str = ""
    """What that copy is found by."""
    after: State = field(default_factory=lambda: State({}))
    """What the plan makes of it: the facts that it changes, and no others."""
    shown: tuple[Shown, ...] = ()
    """What endpoints showed."""
    undoing: bool = False
    """Whether putting it back was begun, and not yet seen to have come to its end."""


def snapshot_as_json(snapshot: Snapshot) -> dict[str, object]:
    """Return the printable part of a snapshot as plain data; the pairs are not in it."""
    return {
        "version": 0,
        "host": snapshot.host,
        "taken": rfc3339(snapshot.taken),
        "creates": [_address_as_json(address) for address in snapshot.creates],
        "before": _state_as_json(snapshot.before),
        "after": _state_as_json(snapshot.after),
        "shown": [
            {
                "address": one.address,
                "server_name": one.server_name,
                "starttls": one.starttls,
                "leaf": one.leaf,
                "chain": list(one.chain),
            }
            for one in snapshot.shown
        ],
        "copied": [_address_as_json(address) for address in snapshot.copied],
        "copy": snapshot.copy,
        "undoing": snapshot.undoing,
    }


def snapshot_from_json(data: Any, pairs: Mapping[Address, Bundle]) -> Snapshot:
    """Return the snapshot that `snapshot_as_json` wrote; raises StateError for anything else."""
    try:
        if data["version"] != 0:
            raise StateError(f"a snapshot of version {printable(data['version'])} cannot be read")
        return Snapshot(
            host=_text(data["host"]),
            taken=from_rfc3339(data["taken"]),
            before=_state_from_json(data["before"]),
            creates=tuple(_address_from_json(item) for item in data["creates"]),
            pairs=pairs,
            # Snapshots of earlier days say nothing of these.
            after=_state_from_json(data.get("after", [])),
            shown=tuple(map(_shown_from_json, data.get("shown", []))),
            copied=tuple(_address_from_json(item) for item in data.get("copied", [])),
            copy=_text(data.get("copy", "")),
            undoing=data.get("undoing", False) is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StateError("a snapshot cannot be read") from error


def _state_as_json(state: State) -> list[dict[str, object]]:
    return [
        {
            "address": _address_as_json(address),
            "facts": {name: _value_as_json(value) for name, value in facts.items()},
        }
        for address, facts in state.facts.items()
    ]


def _state_from_json(data: Any) -> State:
    return State(
        {
            _address_from_json(item["address"]): {
                name: _value_from_json(value) for name, value in item["facts"].items()
            }
            for item in data
        }
    )


def _shown_from_json(data: Any) -> Shown:
    server_name, starttls = data["server_name"], data["starttls"]
    return Shown(
        address=_text(data["address"]),
        server_name=None if server_name is None else _text(server_name),
        starttls=None if starttls is None else _text(starttls),
        leaf=_text(data["leaf"]),
        chain=tuple(map(_text, data["chain"])),
    )


def _address_as_json(address: Address) -> list[str]:
    return [address.kind, address.name, address.id]


def _address_from_json(data: Any) -> Address:
    kind, name, identifier = data
    if kind not in {"certificate", "service", "default certificate", "file"}:
        raise ValueError(kind)
    return Address(kind, _text(name), _text(identifier))


def _text(value: Any) -> str:
    # Half of a surrogate pair is text here: names on a box may be no UTF-8, and come back so.
    if not isinstance(value, str):
        raise TypeError("no text")
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
