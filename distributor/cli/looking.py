"""What `distribute show` looks at: certificates of the inventory, files, folders, zips, ports."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from distributor.cli.looking_files import look_at_file, look_at_folder
from distributor.cli.shown import Shown
from distributor.cli.ways import Ways, roots_words

if TYPE_CHECKING:
    from distributor.cli.settings import Settings
    from distributor.model.hosts import Inventory
    from distributor.model.renewal import Hints
    from distributor.wiring import Workshop

Look = Callable[[], list[Shown]]


def look_at(settings: "Settings", things: Sequence[str], ways: Ways) -> list[Shown]:
    """Return what `things` are: names of the inventory, files, folders, zips, or HOST:PORT.

    Raises UsageError for one that is none of these. What cannot be shown for another reason is a
    Shown with its error; for a single thing that error is raised.
    """
    from distributor.clients.tls import load_roots
    from distributor.model.errors import UsageError

    ports = {thing: port for thing in things if (port := _port_of(thing)) is not None}
    if ways.port_options() and not ports:
        raise UsageError(
            f"{ways.port_options()[0]} is for HOST:PORT", hint="name a port, such as nas:5001"
        )
    load_roots(ways.ca_bundle)  # what the command itself says is wrong is no thing's fault
    looks: list[tuple[str, Look]] = []
    for thing in things:
        if thing in ports:
            looks.append((thing, partial(_served, *ports[thing], ways)))
        elif Path(thing).is_file():
            looks.append((thing, partial(look_at_file, Path(thing), ways)))
        elif Path(thing).is_dir() and (os.sep in thing or "/" in thing):
            looks.append((thing, partial(look_at_folder, Path(thing), ways)))
        else:
            looks.append((thing, partial(_stored, settings, _having(settings, thing), thing)))
    if not things:
        inventory = settings.load_inventory()
        looks = [
            (name, partial(_stored, settings, inventory, name)) for name in inventory.certificates
        ]
    elif len(looks) == 1:
        return looks[0][1]()
    return [one for what, look in looks for one in _by_itself(what, look)]


def _by_itself(what: str, look: Look) -> list[Shown]:
    """Look at one of several things: what is wrong with it does not hide the others."""
    from distributor.model.errors import DistributorError, UsageError
    from distributor.unexpected import known_errors

    try:
        with known_errors(f"show={what}"):
            return look()
    except UsageError:
        raise
    except DistributorError as error:
        return [Shown(what=what, certificates=(), chain=None, error=error)]


def _port_of(thing: str) -> tuple[str, int] | None:
    """Return host and port of HOST:PORT; a file of that name comes first.

    Raises UsageError for an IP address whose port cannot be told.
    """
    from distributor.clients.tls import is_ip
    from distributor.model.errors import UsageError
    from distributor.model.hosts import SocketAddress

    if Path(thing).is_file():
        return None
    address = thing.removeprefix("[").removesuffix("]")
    if is_ip(address):
        meant = SocketAddress(address, 5001)
        raise UsageError(f"{thing} is an address without a port", hint=f"write {meant}")
    host, _, port = thing.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):  # noqa: PLR2004 - TCP ports
        return None
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and bare == host:
        if not is_ip(host):
            return None
        meant = SocketAddress(host, int(port))
        raise UsageError(f"{thing} is an address without brackets", hint=f"write {meant}")
    return bare, int(port)


def _having(settings: "Settings", thing: str) -> "Inventory":
    """Return the inventory, which has a certificate of that name; else raises UsageError."""
    from distributor.cli.deliver import require_known
    from distributor.model.errors import InventoryError, UsageError
    from distributor.model.text import printable

    shown = printable(thing)
    folder = UsageError(
        f"'{shown}' is no certificate of the inventory; there is a folder of that name",
        hint=f"write .{os.sep}{shown}",
    )
    try:
        inventory = settings.load_inventory()
    except InventoryError:
        if settings.inventory_path().exists():
            raise
        if Path(thing).is_dir():
            raise folder from None
        raise UsageError(
            f"'{shown}' is no file and no HOST:PORT, and there is no inventory to find it in",
            hint="name the inventory with -i; for a folder write ./FOLDER",
        ) from None
    if thing not in inventory.certificates and Path(thing).is_dir():
        raise folder
    require_known("certificate", thing, inventory.certificates)
    return inventory


def _stored(settings: "Settings", inventory: "Inventory", name: str) -> list[Shown]:
    import threading

    from distributor.access import utc_now
    from distributor.clients.tls import load_roots
    from distributor.model.chain import read_chain
    from distributor.wiring import Workshop

    store = settings.store()
    wanted = inventory.certificates[name]
    workshop = Workshop(inventory, store, threading.Event())
    source = workshop.source(name)
    ready, stored, hints = source.current(), store.bundles.current(name), source.look()
    due = source.due(ready.held if ready else None, hints, utc_now())
    if ready is None or stored is None:
        reason = due.reason if due else "none"
        return [
            Shown(
                what=name,
                certificates=(),
                chain=None,
                notes=_notes(hints),
                renewal=f"due now: {reason}",
                budget=_budget(workshop, name),
            )
        ]
    renewal = f"due now: {due.reason}" if due else f"due {source.outlook(ready.held, hints)}"
    certificates = (ready.bundle.leaf, *ready.bundle.chain)
    return [
        Shown(
            what=name,
            notes=_notes(hints),
            certificates=certificates,
            chain=read_chain(certificates, load_roots(wanted.ca_bundle), utc_now()),
            roots=roots_words(wanted.ca_bundle),
            renewal=renewal,
            budget=_budget(workshop, name),
            version=stored.version,
            versions=store.bundles.versions(name),
            revoked=store.bundles.revocations(name),
        )
    ]


def _notes(hints: "Hints") -> tuple[str, ...]:
    """Return what a person should know of what the source learnt; its warnings may say it all."""
    if hints.error is None or any(hints.error in one for one in hints.warnings):
        return hints.warnings
    return (*hints.warnings, f"about renewal: {hints.error}")


def _budget(workshop: "Workshop", name: str) -> tuple[str, ...]:
    """Return what the rate limits of the certificate's CAs leave, one line each."""
    from distributor.access import utc_now
    from distributor.model.hosts import AcmeSource
    from distributor.render.budget import budget_lines

    source = workshop.inventory.certificates[name].source
    if not isinstance(source, AcmeSource):
        return ()
    events, asks = workshop.store.ledger.events(), workshop.acme(name).asks()
    return tuple(
        f"{ca.ca}: {line}" if source.fallback else line
        for ca, ask in zip((source, *source.fallback), asks, strict=True)
        for line in budget_lines(events, ask, utc_now())
    )


def _served(host: str, port: int, ways: Ways) -> list[Shown]:
    from distributor.access import utc_now
    from distributor.clients import legacy_tls
    from distributor.clients.tls import is_ip, load_roots, served_chain
    from distributor.model.chain import read_chain
    from distributor.model.errors import ProtocolError
    from distributor.model.hosts import SocketAddress

    address, name = SocketAddress(host, port), ways.server_name or host
    try:
        certificates = served_chain(address, name, starttls=ways.starttls, legacy=ways.legacy_tls)
    except ProtocolError as error:
        if error.hint == legacy_tls.HINT:
            error.hint = "it speaks only old TLS: --legacy-tls looks at it all the same"
        raise
    return [
        Shown(
            what=str(address),
            certificates=certificates,
            chain=read_chain(certificates, load_roots(ways.ca_bundle), utc_now()),
            roots=roots_words(ways.ca_bundle),
            # Who writes an address has no name in mind that the leaf should be for.
            server_name=None if is_ip(name) else name,
        )
    ]
