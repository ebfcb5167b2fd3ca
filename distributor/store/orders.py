"""The journal of orders under way: written before each thing it speaks of is used."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from distributor.model.errors import StateError
from distributor.model.secret import Secret
from distributor.store.files import DAMAGED, read, remove, remove_folder, text, texts, write

_CHALLENGES: Final = "challenges.json"


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who published a TXT value, and where: only there it can be removed."""

    dns: str
    """NAME of the [dns.NAME]."""
    provider: str
    """Its `provider`, such as `rfc2136`."""
    place: str
    """What tells one server or account of that provider from another; no secret."""

    def __str__(self) -> str:
        return f"[dns.{self.dns}] ({self.provider} at {self.place})"

    def is_where(self, other: "Publisher") -> bool:
        """Tell whether both lead to the same values, whatever their names are."""
        return (self.provider, self.place) == (other.provider, other.place)


NotedValues = Mapping[Publisher, Mapping[str, tuple[str, ...]]]
"""TXT values that may stand in a zone, by who published them and by name."""


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
        return frozenset(
            order.url
            for name in self.certificates()
            if name != besides
            for order in self.all(name)
            if order.url is not None
        )

    def certificates(self) -> tuple[str, ...]:
        """Return the names of certificates of which anything is noted, whoever wants them."""
        if not self._folder.is_dir():
            return ()
        return tuple(path.name for path in sorted(self._folder.iterdir()) if path.is_dir())

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

    def forget(self, name: str) -> None:
        """Forget all orders of the certificate `name`, keys included, but not its TXT values."""
        folder = self._folder / name
        for path in sorted(folder.glob("*.json")):
            if path.name != _CHALLENGES:
                remove(path)
        remove_folder(folder)

    def keep_only(self, name: str, directory_urls: Collection[str]) -> None:
        """Forget the orders, keys included, at CAs that the inventory no longer names."""
        for order in self.all(name):
            if order.directory_url not in directory_urls:
                self.clear(name, order.directory_url)

    def challenges(self, name: str) -> dict[Publisher, dict[str, tuple[str, ...]]]:
        """Return the TXT values that may still stand in the zone."""
        path = self.challenges_file(name)
        written = read(path)
        if written is None:
            return {}
        try:
            return {
                Publisher(*texts([one["dns"], one["provider"], one["place"]])): {
                    at: texts(values) for at, values in one["values"].items()
                }
                for one in json.loads(written)["challenges"]
            }
        except DAMAGED as error:
            raise StateError(
                f"{path} cannot be read",
                hint="remove it, and the TXT records _acme-challenge of this certificate's names",
            ) from error

    def challenges_file(self, name: str) -> Path:
        """Return where TXT values of the certificate `name` are noted."""
        return self._folder / name / _CHALLENGES

    def note_challenges(self, name: str, challenges: NotedValues) -> None:
        """Note TXT values before they are published, and forget those that were removed."""
        path = self.challenges_file(name)
        noted = [
            {**asdict(by), "values": {at: list(published) for at, published in values.items()}}
            for by, values in challenges.items()
            if values
        ]
        if noted:
            data = {"version": 0, "challenges": noted}
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
                names=texts(data["names"]),
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


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value
