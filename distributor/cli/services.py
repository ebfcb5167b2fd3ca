"""What hosts report of their services, for `distribute status --services`."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from distributor.model.bindings import Binding, bindings
from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.hosts import Host, Inventory
from distributor.model.text import printable
from distributor.reading import Reading, read_all
from distributor.render.as_json import error_as_json
from distributor.render.text import error_lines
from distributor.render.words import fingerprint_text
from distributor.store import Store
from distributor.wiring import Workshop


def read_services(
    inventory: Inventory,
    store: Store,
    hosts: Sequence[Host],
    certificates: Mapping[str, Certificate],
) -> tuple[Reading, ...]:
    """Sign in to every host and read what it holds; nothing is written there.

    In the state folder a login leaves what it leaves in every run: a refused one
    (`refusals.toml`), or a device token that the host gave (`devices.toml`).
    """
    tools = Workshop(inventory, store, threading.Event()).tools({}, lambda _host, _text: None)
    return read_all(hosts, certificates, tools)


def services_lines(reading: Reading) -> Iterator[Text]:
    """Give the services of one host, or what kept us from seeing them."""
    head = Text(f"{reading.host.name}  services", style="bold")
    if reading.error is not None:
        yield head.append("  cannot be read", style="red")
        yield from error_lines(reading.error, "    ")
    elif reading.state is not None:
        found = bindings(reading.state, reading.served)
        yield head if found else head.append("  none use a certificate", style="dim")
        for one in found:
            yield Text(
                f"    {printable(one.service.name or one.service.id)}: {_entry(one)}; "
            ).append(_proof(one), style="green" if any(map(_is_seen, one.proved_by)) else "dim")


def services_as_json(reading: Reading) -> dict[str, Any]:
    """Return the services of one host, and the error that kept us from seeing them."""
    found = bindings(reading.state, reading.served) if reading.state is not None else ()
    return {
        "services": [_binding_as_json(one) for one in found],
        "error": error_as_json(reading.error),
    }


def _binding_as_json(one: Binding) -> dict[str, Any]:
    return {
        "service": one.service.name,
        "id": one.service.id,
        "description": one.entry.name if one.entry is not None else None,
        "entry": one.entry.id if one.entry is not None else None,
        "leaf": one.leaf,
        "proved_by": [str(served.endpoint) for served in one.proved_by if _is_seen(served)],
    }


def _entry(one: Binding) -> str:
    if one.entry is None:
        return "it does not say which certificate"
    leaf = f", {fingerprint_text(one.leaf)}" if one.leaf is not None else ""
    return f"{one.entry} ({printable(one.entry.id)}){leaf}"


def _proof(one: Binding) -> str:
    seen = [str(served.endpoint) for served in one.proved_by if _is_seen(served)]
    if seen:
        return f"proved by {', '.join(seen)}"
    if one.proved_by:
        silent = ", ".join(str(served.endpoint) for served in one.proved_by)
        return f"not proved: {silent} cannot be asked"
    return "no endpoint proves it"


def _is_seen(served: Served) -> bool:
    return served.certificate is not None
