"""The journal of an order under way: written before each thing it speaks of is used."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributor.model.errors import StateError
from distributor.model.secret import Secret
from distributor.store.files import read, remove, write


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOrder:
    """An order that was begun: its key and request, and what is known of it so far."""

    directory_url: str
    names: tuple[str, ...]
    key_type: str
    private_key_pem: Secret
    csr_pem: bytes
    url: str | None = None
    """The CA's URL of the order; None until the CA answered."""


class OrderJournal:
    """`orders/NAME/{order.json,privkey.pem,request.pem}`, and `challenges.json` beside them.

    The challenges outlive their order: a TXT value that could not be removed is removed later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str) -> PendingOrder | None:
        """Return the order under way for the certificate `name`, or None."""
        folder = self._folder / name
        written, key, csr = (
            read(folder / file) for file in ("order.json", "privkey.pem", "request.pem")
        )
        if written is None or key is None or csr is None:
            return None  # cut before the first step was noted whole: nothing was asked of the CA
        try:
            data = json.loads(written)
            return PendingOrder(
                directory_url=data["directory"],
                names=tuple(data["names"]),
                key_type=data["key_type"],
                private_key_pem=Secret(key.decode("ascii")),
                csr_pem=csr,
                url=data["url"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{folder / 'order.json'} cannot be read",
                hint="remove it: a new order is made",
            ) from error

    def save(self, name: str, order: PendingOrder) -> None:
        """Note the order as it stands; the key and request are written before the rest."""
        folder = self._folder / name
        write(folder / "privkey.pem", order.private_key_pem.reveal().encode("ascii"))
        write(folder / "request.pem", order.csr_pem)
        data = {
            "version": 0,
            "directory": order.directory_url,
            "names": order.names,
            "key_type": order.key_type,
            "url": order.url,
        }
        write(folder / "order.json", json.dumps(data, indent=1).encode("utf-8"))

    def clear(self, name: str) -> None:
        """Forget the order: it ended, one way or the other."""
        folder = self._folder / name
        for file in ("order.json", "request.pem", "privkey.pem"):
            remove(folder / file)

    def challenges(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return the TXT values, by name, that may still stand in the zone."""
        written = read(self._folder / name / "challenges.json")
        if written is None:
            return {}
        try:
            data = json.loads(written)
            return {name: _texts(values) for name, values in data["challenges"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"{self._folder / name / 'challenges.json'} cannot be read",
                hint="remove it, and the TXT records _acme-challenge of this certificate's names",
            ) from error

    def note_challenges(self, name: str, challenges: Mapping[str, tuple[str, ...]]) -> None:
        """Note TXT values before they are published, and forget those that were removed."""
        path = self._folder / name / "challenges.json"
        if challenges:
            data = {"version": 0, "challenges": {k: list(v) for k, v in challenges.items()}}
            write(path, json.dumps(data, indent=1).encode("utf-8"))
        else:
            remove(path)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("no list of texts")
    return tuple(values)
