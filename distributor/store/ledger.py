"""ledger.json: what was asked of each CA and what came of it, for its rate limits and the back-off.

It holds names, times and URLs, nothing secret. What no longer matters is left out at each write.
"""

import json
import logging
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from distributor.model.budget import Event, EventKind, pruned
from distributor.store.files import DAMAGED, read, text, texts, write

log = logging.getLogger(__name__)


class Ledger:
    """Events in the order they were noted; changed under the run lock alone.

    In a dry run (`persist` false) they are kept in memory.
    """

    def __init__(self, path: Path, *, persist: bool = True) -> None:
        self._path = path
        self._persist = persist
        self._unwritten: tuple[Event, ...] = ()

    def events(self) -> tuple[Event, ...]:
        """Return all that is remembered.

        A file that cannot be read is as none, and a warning says so: a memory must not keep a
        certificate from being renewed. Raises StateError for one that cannot be opened.
        """
        return (*self._written(), *self._unwritten)

    def note(self, event: Event) -> None:
        """Remember `event`, which happened just now; raises StateError."""
        if not self._persist:
            self._unwritten = (*self._unwritten, event)
            return
        kept = pruned((*self._written(), event), event.at)
        data = {"version": 0, "events": [_as_json(one) for one in kept]}
        write(self._path, json.dumps(data, indent=1).encode("utf-8"))

    def _written(self) -> tuple[Event, ...]:
        content = read(self._path)
        if content is None:
            return ()
        try:
            return tuple(map(_event, json.loads(content)["events"]))
        except DAMAGED:
            log.warning(
                "ledger file=%s damaged: what was ordered lately, and what failed, is forgotten",
                self._path,
            )
            return ()


def _as_json(event: Event) -> dict[str, Any]:
    """Return the fields that say something; times to the microsecond, as limits are counted."""
    data = {name: value for name, value in asdict(event).items() if value not in ((), "", None)}
    return data | {
        name: moment.isoformat()
        for name, moment in (("at", event.at), ("until", event.until))
        if moment is not None
    }


def _event(data: Any) -> Event:
    kind: EventKind = data["kind"]
    if kind not in get_args(EventKind):
        raise ValueError("not a kind of event")
    return Event(
        at=_moment(data["at"]),
        kind=kind,
        ca=text(data["ca"]),
        account=text(data.get("account", "")),
        names=texts(data.get("names", [])),
        certificate=text(data.get("certificate", "")),
        until=_moment(data["until"]) if "until" in data else None,
        identifiers=texts(data.get("identifiers", [])),
        renewal=_flag(data["renewal"]),
        is_cas_own=_flag(data["is_cas_own"]),
        order=text(data.get("order", "")),
    )


def _moment(written: Any) -> datetime:
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        raise ValueError("a time of no zone")
    return moment


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value
