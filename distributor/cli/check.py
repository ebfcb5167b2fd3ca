"""`distribute check`: every problem of the inventory at once, and what is worth knowing of it."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from distributor.cli.settings import (
    INTERRUPTED,
    NOT_WELL,
    OK,
    Settings,
    global_options,
    print_json,
)

if TYPE_CHECKING:
    from rich.text import Text

    from distributor.checking.remarks import Remark
    from distributor.model.hosts import Inventory


@click.command(epilog="Example: distribute check; distribute check --online")
@click.option(
    "--online",
    is_flag=True,
    help="Also try the CA, the DNS zones and every host; no certificate is changed.",
)
@global_options
@click.pass_context
def check(context: click.Context, settings: Settings, /, online: bool) -> None:
    """Read the inventory and name every problem, each with its line.

    Opens no connection and runs no command. Notes say what may be as it should, but has a price:
    boxes that share one private key, pins that a renewal will break.

    With --online it reads the CA's directory, publishes a TXT record at _acme-challenge of every
    name and removes it, signs in to every host, lists its certificates, and asks its endpoints and
    their names. Of a host by SSH it also says what it is, how the account becomes root, which tools
    a delivery would lack there, and whether its clock is off.

    Exit code 1 when something is wrong, 2 when the inventory cannot be used.
    """
    from distributor.checking.notes import notes
    from distributor.checking.place import remark_on_place

    inventory = settings.load_inventory()
    stop = threading.Event()
    placed = remark_on_place(settings.store().folder)
    remarks = (*notes(inventory), *([placed] if placed is not None else []))
    if online:
        remarks += _look(settings, inventory, stop)
    code = NOT_WELL if any(one.is_finding for one in remarks) else OK
    code = INTERRUPTED if stop.is_set() else code
    if settings.as_json:
        print_json(_as_json(inventory, remarks, code))
    else:
        console = settings.stdout()
        for line in _lines(inventory, remarks, code, quiet=settings.quiet):
            console.print(line, soft_wrap=True)
    context.exit(code)


def _look(
    settings: Settings, inventory: "Inventory", stop: threading.Event
) -> "tuple[Remark, ...]":
    """Do every check that needs a connection, under the run lock: it writes the journal."""
    from distributor.checking.online import check_online
    from distributor.cli.deliver import stopping
    from distributor.cli.logs import start_logging
    from distributor.cli.status import stored_certificates
    from distributor.render.progress import shown_progress
    from distributor.wiring import Workshop
    from distributor.wiring.checks import CheckTools

    store, console = settings.store(), settings.stderr()
    hosts = tuple(inventory.hosts.values())
    start_logging(settings, console)
    with (
        store.lock(),
        shown_progress(
            console, list(inventory.hosts), quiet=settings.quiet, steps=settings.verbose > 0
        ) as progress,
        stopping(stop),
    ):
        stored = stored_certificates(inventory, store, hosts)
        tools = CheckTools(Workshop(inventory, store, stop))
        return check_online(inventory, stored, tools, progress.step, stop)


def _lines(
    inventory: "Inventory", remarks: "Sequence[Remark]", code: int, *, quiet: bool
) -> "Iterator[Text]":
    from rich.text import Text

    from distributor.model.text import printable

    findings = [one for one in remarks if one.is_finding]
    for one in findings:
        yield Text("wrong  ", style="bold red").append(one.about, style="bold")
        yield Text(f"    {printable(one.message, 1000)}", style="red")
        yield Text(f"    try: {printable(one.hint, 1000)}")
    if quiet:
        return
    for one in remarks:
        if not one.is_finding:
            yield Text("note   ", style="yellow").append(one.about, style="bold")
            yield Text(f"    {printable(one.message, 1000)}")
            yield Text(f"    try: {printable(one.hint, 1000)}")
    counts = f"{len(inventory.hosts)} hosts, {len(inventory.certificates)} certificates"
    result = f"{len(findings)} wrong" if findings else "nothing wrong"
    if code == INTERRUPTED:
        result = "interrupted, so that not everything was looked at"
    yield Text(f"{inventory.path}: {counts}; {result}")


def _as_json(inventory: "Inventory", remarks: "Sequence[Remark]", code: int) -> dict[str, Any]:
    return {
        "exit": code,
        "inventory": str(inventory.path),
        "certificates": list(inventory.certificates),
        "hosts": list(inventory.hosts),
        "findings": [_remark_as_json(one) for one in remarks if one.is_finding],
        "notes": [_remark_as_json(one) for one in remarks if not one.is_finding],
    }


def _remark_as_json(one: "Remark") -> dict[str, Any]:
    return {"name": one.name, "about": one.about, "message": one.message, "hint": one.hint}
