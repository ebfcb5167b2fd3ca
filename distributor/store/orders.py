"""The journal of orders under way: written before each thing it speaks of is used."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from distributor.model.errors import StateError
from distributor.model.secret import Secret
from distributor.store.files import DAMAGED, read, remove, text, write

_CHALLENGES: Final = "challenges.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOrder:
    """An order that was begun: its key and request, and what is known of it so far."""

    directory_url: str
    names: tuple[str, ...]
    key_type: str
    private_key_pem: Secret
    csr_pem: bytes
    profile: str | None = None
    is_asked: bool = False
    """Whether the CA was, or was about to be, asked for it."""
    url: str | None = None
    """The CA's URL of the order; None until the CA's answer was noted."""


class OrderJournal:
    """`orders/NAME/<CA>.json`, and `orders/NAME/challenges.json`.

    `<CA>` is a hash of the CA's directory URL: while a fallback CA is asked, the first CA's order
    waits. Key, request and what is known of an order change together, so they are one file. The
    challenges outlive their order: a TXT value that could not be removed is removed later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str, directory_url: str) -> PendingOrder | None:
        """Return the order under way for the certificate `name` at that CA, or None."""
        return self._loaded(self._place(name, directory_url))

    def all(self, name: str) -> tuple[PendingOrder, ...]:
        """Return the orders under way for the certificate `name`, at any CA."""
        return tuple(self._all(self._folder / name))

    def urls(self, *, besides: str) -> frozenset[str]:
        """Return the URLs of the orders under way for all certificates but `besides`."""
        if not self._folder.is_dir():
            return frozenset()
        return frozenset(
            order.url
            for folder in sorted(self._folder.iterdir())
            if folder.is_dir() and folder.name != besides
            for order in self._all(folder)
            if order.url is not None
        )

    def save(self, name: str, order: PendingOrder) -> None:
        """Note the order as it stands, with its key and request."""
        data = {
            "version": 0,
            "directory": order.directory_url,
            "names": order.names,
            "key_type": order.key_type,
            "private_key": order.private_key_pem.reveal(),
            "request": order.csr_pem.decode("ascii"),
            "profile": order.profile,
            "asked": order.is_asked,
            "url": order.url,
        }
        path = self._place(name, order.directory_url)
        write(path, json.dumps(data, indent=1).encode("utf-8"))

    def clear(self, name: str, directory_url: str) -> None:
        """Forget the order: it ended, one way or the other."""
        remove(self._place(name, directory_url))

    def keep_only(self, name: str, directory_urls: Collection[str]) -> None:
        """Forget the orders, keys included, at CAs that the inventory no longer names."""
        for order in self.all(name):
            if order.directory_url not in directory_urls:
                self.clear(name, order.directory_url)

    def challenges(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return the TXT values, by name, that may still stand in the zone."""
        written = read(self._folder / name / _CHALLENGES)
        if written is None:
            return {}
        try:
            data = json.loads(written)
            return {name: _texts(values) for name, values in data["challenges"].items()}
        except DAMAGED as error:
            raise StateError(
                f"{self._folder / name / _CHALLENGES} cannot be read",
                hint="remove it, and the TXT records _acme-challenge of this certificate's names",
            ) from error

    def note_challenges(self, name: str, challenges: Mapping[str, tuple[str, ...]]) -> None:
        """Note TXT values before they are published, and forget those that were removed."""
        path = self._folder / name / _CHALLENGES
        if challenges:
            data = {"version": 0, "challenges": {k: list(v) for k, v in challenges.items()}}
            write(path, json.dumps(data, indent=1).encode("utf-8"))
        else:
            remove(path)

    def _place(self, name: str, directory_url: str) -> Path:
        mark = sha256(directory_url.encode()).hexdigest()[:16]
        return self._folder / name / f"{mark}.json"

    def _all(self, folder: Path) -> Iterator[PendingOrder]:
        for path in sorted(folder.glob("*.json")):
            order = self._loaded(path) if path.name != _CHALLENGES else None
            if order is not None:
                yield order

    def _loaded(self, path: Path) -> PendingOrder | None:
        written = read(path)
        if written is None:
            return None
        try:
            data = json.loads(written)
            return PendingOrder(
                directory_url=text(data["directory"]),
                names=_texts(data["names"]),
                key_type=text(data["key_type"]),
                private_key_pem=Secret(text(data["private_key"])),
                csr_pem=data["request"].encode("ascii"),
                profile=None if data["profile"] is None else text(data["profile"]),
                is_asked=_flag(data["asked"]),
                url=None if data["url"] is None else text(data["url"]),
            )
        except DAMAGED:
            # Not chained: the cause could quote the key.
            raise StateError(
                f"{path} cannot be read", hint="remove it: a new order is made"
            ) from None


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError("no list")
    return tuple(map(text, values))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value
