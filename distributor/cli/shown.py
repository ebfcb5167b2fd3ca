"""What `distribute show` looks at, and how it prints it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509
    from rich.text import Text

    from distributor.cli.settings import Settings
    from distributor.model.chain import Chain
    from distributor.model.hosts import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One thing that was looked at."""

    what: str
    certificates: "tuple[x509.Certificate, ...]"
    """Leaf first; empty for a certificate that there is none of yet."""
    chain: "Chain | None"
    renewal: str | None = None
    """For a certificate of the inventory: when it is due and why."""
    versions: tuple[str, ...] = ()


def look_at(settings: "Settings", things: Sequence[str]) -> list[Shown]:
    """Return what `things` are: names of the inventory, files, or HOST:PORT.

    Raises UsageError for one that is none of these, and the error of whatever could not be read.
    """
    if not things:
        inventory = settings.load_inventory()
        return [_stored(settings, inventory, name) for name in inventory.certificates]
    return [_one(settings, thing) for thing in things]


def shown_lines(one: Shown, now: datetime) -> "Iterator[Text]":
    """Give the lines of one thing."""
    from rich.text import Text

    from distributor.model.bundle import describe
    from distributor.model.text import printable
    from distributor.render.words import days_left

    yield Text(printable(one.what), style="bold")
    if one.certificates:
        about = describe(one.certificates, one.what)
        names = ", ".join(printable(name) for name in about.names) or "(none)"
        yield Text(f"    leaf     {about.leaf}")
        yield Text(f"    names    {names}")
        yield Text(f"    key      {about.key_type}, {about.key}")
        leaf = one.certificates[0]
        begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        yield Text(f"    valid    {begins:%Y-%m-%d} to {ends:%Y-%m-%d} ({days_left(ends, now)})")
    if one.chain is not None:
        yield Text(f"    chain    {one.chain.verdict}")
        for link in one.chain.links:
            ends = link.not_after
            yield Text(f"             {link.role:12} {link.subject}, until {ends:%Y-%m-%d}")
    if one.renewal is not None:
        yield Text(f"    renewal  {one.renewal}")
    if one.versions:
        yield Text(f"    held     {', '.join(one.versions)}")


def shown_as_json(one: Shown, now: datetime) -> dict[str, Any]:
    """Return one thing as plain data."""
    from distributor.model.bundle import describe
    from distributor.model.times import rfc3339

    data: dict[str, Any] = {"what": one.what, "chain": None}
    if one.certificates:
        about, leaf = describe(one.certificates, one.what), one.certificates[0]
        ends = leaf.not_valid_after_utc
        data |= {
            "leaf": about.leaf,
            "names": list(about.names),
            "common_name": about.common_name,
            "issuer": about.issued_by,
            "key_type": about.key_type,
            "key": about.key,
            "not_before": rfc3339(leaf.not_valid_before_utc),
            "not_after": rfc3339(ends),
            "days_left": int((ends - now).total_seconds() // 86400),
        }
    if one.chain is not None:
        data["chain"] = {
            "complete": one.chain.is_complete,
            "root": one.chain.root,
            "verdict": one.chain.verdict,
            "links": [
                {
                    "role": link.role,
                    "subject": link.subject,
                    "issuer": link.issuer,
                    "fingerprint": link.fingerprint,
                    "not_after": rfc3339(link.not_after),
                }
                for link in one.chain.links
            ],
        }
    return data | {"renewal": one.renewal, "versions": list(one.versions)}


def _one(settings: "Settings", thing: str) -> Shown:
    from distributor.model.errors import InventoryError, UsageError

    if Path(thing).is_file():
        return _file(Path(thing))
    host, colon, port = thing.rpartition(":")
    if colon and host and port.isdecimal() and 0 < int(port) < 65536:  # noqa: PLR2004 - TCP ports
        return _port(host.strip("[]"), int(port))
    try:
        inventory = settings.load_inventory()
    except InventoryError:
        if settings.inventory_path().exists():
            raise
        raise UsageError(
            f"'{thing}' is no file and no HOST:PORT, and there is no inventory to find it in",
            hint="name the inventory with -i",
        ) from None
    from distributor.cli.deliver import require_known

    require_known("certificate", thing, inventory.certificates)
    return _stored(settings, inventory, thing)


def _stored(settings: "Settings", inventory: "Inventory", name: str) -> Shown:
    import threading

    from distributor.access import utc_now
    from distributor.clients.tls import load_roots
    from distributor.model.chain import read_chain
    from distributor.model.hosts import DiskstationSource, FilesSource
    from distributor.model.renewal import renew_at
    from distributor.model.times import rfc3339
    from distributor.wiring import Workshop

    store = settings.store()
    wanted = inventory.certificates[name]
    source = Workshop(inventory, store, threading.Event()).source(name)
    ready = source.current()
    due = source.due(ready.held if ready else None, source.look(), utc_now())
    if ready is None:
        reason = due.reason if due else "none"
        return Shown(what=name, certificates=(), chain=None, renewal=f"due now: {reason}")
    leaf = ready.bundle.leaf
    if due is not None:
        renewal = f"due now: {due.reason}"
    elif isinstance(wanted.source, DiskstationSource):
        renewal = f"due when {wanted.source.host} has a newer one"
    elif isinstance(wanted.source, FilesSource):
        renewal = "due when the files hold a newer one"
    else:
        when = renew_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc, wanted)
        renewal = f"due from {rfc3339(when)}"
    certificates = (leaf, *ready.bundle.chain)
    return Shown(
        what=name,
        certificates=certificates,
        chain=read_chain(certificates, load_roots(wanted.ca_bundle)),
        renewal=renewal,
        versions=store.bundles.versions(name),
    )


def _file(path: Path) -> Shown:
    from distributor.clients.tls import load_roots
    from distributor.model.chain import read_chain
    from distributor.model.errors import UsageError
    from distributor.model.pem import SIZE_LIMIT, certificates_from

    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="correct the path or its mode"
        ) from error
    certificates = certificates_from(content, str(path))
    chain = read_chain(certificates, load_roots(None))
    return Shown(what=str(path), certificates=certificates, chain=chain)


def _port(host: str, port: int) -> Shown:
    from distributor.clients.tls import load_roots, served_chain
    from distributor.model.chain import read_chain
    from distributor.model.hosts import SocketAddress

    address = SocketAddress(host, port)
    certificates = served_chain(address, host)
    return Shown(
        what=str(address),
        certificates=certificates,
        chain=read_chain(certificates, load_roots(None)),
    )
