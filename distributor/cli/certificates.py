"""`distribute issue` and `distribute show`: certificates in the store, in files and on ports."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distributor.cli.passphrase import Passphrase, passphrase_options
from distributor.cli.settings import NOT_WELL, OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributor.model.hosts import Inventory, StartTls
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
    from distributor.cli.place import warn_of_place
    from distributor.cli.pruning import prune, remove_leftovers
    from distributor.model.report import Report
    from distributor.obtaining import IssueTerms, obtain_each
    from distributor.render.progress import shown_progress
    from distributor.wiring import Workshop

    inventory = settings.load_inventory()
    chosen = _chosen(inventory, names)
    console = settings.stderr()
    start_logging(settings, console)
    store, stop, started = settings.store(), threading.Event(), utc_now()
    warn_of_place(settings, store)
    quiet, steps = settings.quiet, settings.verbose > 0
    with (
        store.lock(),
        shown_progress(console, (), quiet=quiet, steps=steps) as progress,
        stopping(stop),
    ):
        workshop = Workshop(inventory, store, stop)
        remove_leftovers(workshop, console)
        terms = IssueTerms(renew_now=renew_now, asked_for=frozenset(names))
        sources = {name: workshop.source(name) for name in chosen}
        obtained = obtain_each(sources, terms, progress, stop, utc_now)
        prune(store, console)
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
@click.argument("things", nargs=-1, metavar="[CERT|FILE|./FOLDER|ZIP|HOST:PORT]...")
@click.option(
    "--starttls",
    type=click.Choice(["ftp", "smtp", "imap", "ldap"]),
    help="HOST:PORT begins in plain text, as this protocol does.",
)
@click.option("--legacy-tls", is_flag=True, help="Allow TLS below 1.2 at HOST:PORT.")
@click.option("--server-name", metavar="NAME", help="Ask HOST:PORT for this name (SNI).")
@click.option(
    "--ca-bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Judge files and ports by these roots, not by the usual ones.",
)
@passphrase_options
@global_options
@click.pass_context
def show(
    context: click.Context,
    settings: Settings,
    /,
    things: tuple[str, ...],
    starttls: "StartTls | None",
    legacy_tls: bool,
    server_name: str | None,
    ca_bundle: Path | None,
    passphrase: Passphrase,
) -> None:
    """Show certificates: names, key, chain and whether it is complete, days left, renewal.

    A name of the inventory shows what the store holds for it. A path shows a file (PEM, DER,
    PKCS#12), a folder with cert.pem and chain.pem or fullchain.pem, or the zip that DSM exports; no
    key is needed, none is shown, and of one that is there it is said whether it fits. HOST:PORT
    shows what is served there. Without arguments, every certificate of the inventory.

    Exit code 1 when something could not be shown.
    """
    from distributor.access import utc_now
    from distributor.cli.looking import look_at
    from distributor.cli.shown import FILES, shown_as_json, shown_lines
    from distributor.cli.ways import Ways

    ways = Ways(
        passphrase=passphrase,
        ca_bundle=ca_bundle,
        starttls=starttls,
        legacy_tls=legacy_tls,
        server_name=server_name,
    )
    found = look_at(settings, things, ways)
    code = OK if all(one.error is None for one in found) else NOT_WELL
    if settings.as_json:
        print_json({"exit": code, "shown": [shown_as_json(one, utc_now()) for one in found]})
    else:
        console = settings.stdout()
        for one in found:
            for line in shown_lines(one, utc_now()):
                console.print(line, soft_wrap=True)
        if any(one.chain is not None for one in found):
            console.print(FILES, soft_wrap=True)
    context.exit(code)
