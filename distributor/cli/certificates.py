"""`distribute issue` and `distribute show`: certificates in the store, in files and on ports."""

import threading
from typing import TYPE_CHECKING

import click

from distributor.cli.settings import OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributor.model.hosts import Inventory
    from distributor.model.report import Report


@click.command(epilog="Example: distribute issue home")
@click.argument("names", nargs=-1, metavar="[CERT]...")
@click.option("--renew-now", is_flag=True, help="Obtain a new one even if none is due.")
@global_options
@click.pass_context
def issue(
    context: click.Context, settings: Settings, /, names: tuple[str, ...], renew_now: bool
) -> None:
    """Obtain or renew certificates into the store; deliver nothing.

    Without names, every certificate of the inventory. Exit code 3 when a due one could not be
    obtained.
    """
    from distributor.access import utc_now
    from distributor.cli.deliver import stopping
    from distributor.cli.logs import start_logging
    from distributor.model.report import Report
    from distributor.obtaining import IssueTerms, obtain_each
    from distributor.render.progress import shown_progress
    from distributor.wiring import Workshop

    inventory = settings.load_inventory()
    chosen = _chosen(inventory, names)
    console = settings.stderr()
    start_logging(settings, console)
    store, stop, started = settings.store(), threading.Event(), utc_now()
    quiet, steps = settings.quiet, settings.verbose > 0
    with (
        store.lock(),
        shown_progress(console, (), quiet=quiet, steps=steps) as progress,
        stopping(stop),
    ):
        workshop = Workshop(inventory, store, stop)
        terms = IssueTerms(renew_now=renew_now, asked_for=frozenset(names))
        sources = {name: workshop.source(name) for name in chosen}
        obtained = obtain_each(sources, terms, progress, stop, utc_now)
    report = Report(
        started=started,
        seconds=(utc_now() - started).total_seconds(),
        dry_run=False,
        certificates=tuple(one.outcome for one in obtained.values()),
        hosts=(),
        interrupted=stop.is_set(),
    )
    _print_issued(settings, report)
    context.exit(report.exit_code)


def _chosen(inventory: "Inventory", names: "Sequence[str]") -> tuple[str, ...]:
    from distributor.cli.deliver import require_known

    for name in names:
        require_known("certificate", name, inventory.certificates)
    return tuple(names) or tuple(inventory.certificates)


def _print_issued(settings: Settings, report: "Report") -> None:
    from distributor.access import utc_now
    from distributor.render.as_json import report_as_json
    from distributor.render.text import certificate_lines

    if settings.as_json:
        print_json(report_as_json(report))
        return
    if settings.quiet and report.exit_code == OK:
        return
    for outcome in report.certificates:
        for line in certificate_lines(outcome, utc_now()):
            settings.stdout().print(line, soft_wrap=True)


@click.command(epilog="Example: distribute show home; distribute show nas.example.com:5001")
@click.argument("things", nargs=-1, metavar="[CERT|FILE|HOST:PORT]...")
@global_options
@click.pass_context
def show(context: click.Context, settings: Settings, /, things: tuple[str, ...]) -> None:
    """Show certificates: names, key, chain and whether it is complete, days left, renewal.

    A name of the inventory shows what the store holds for it; a path shows a PEM file; HOST:PORT
    shows what is served there. Without arguments, every certificate of the inventory.
    """
    from distributor.access import utc_now
    from distributor.cli.shown import look_at, shown_as_json, shown_lines

    found = look_at(settings, things)
    if settings.as_json:
        print_json(
            {"version": 0, "exit": OK, "shown": [shown_as_json(one, utc_now()) for one in found]}
        )
    else:
        console = settings.stdout()
        for one in found:
            for line in shown_lines(one, utc_now()):
                console.print(line, soft_wrap=True)
    context.exit(OK)
