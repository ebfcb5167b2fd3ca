"""`distribute rollback`: put a host back to what it had before its last change."""

import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from distributor.cli.settings import NOT_WELL, Settings, global_options

if TYPE_CHECKING:
    from distributor.model.bundle import Certificate
    from distributor.model.hosts import Host, Inventory
    from distributor.model.report import Outcome
    from distributor.model.snapshot import Snapshot
    from distributor.rollback import WayBack
    from distributor.store import Store
    from distributor.wiring.targets import HostTools


@click.command(epilog="Example: distribute rollback attic --dry-run")
@click.argument("name", metavar="HOST")
@click.option("--dry-run", is_flag=True, help="Show what would be put back; write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@global_options
@click.pass_context
def rollback(
    context: click.Context, settings: Settings, /, name: str, dry_run: bool, yes: bool
) -> None:
    """Put a host back to what it had before the last change, and hold it there.

    It shows the diff, asks, puts back, and proves by handshakes and a fresh look that everything is
    as it was. Afterwards runs leave the host alone until its certificate is renewed, or
    `distribute --host HOST` names it.

    Only the last change is taken back: what somebody did on the host since stays as it is, and is
    named. Where that touched the very same things, or what was there cannot be had again, or was
    revoked, nothing is changed.

    Exit code 0 when the host is seen to be as it was, 5 when it is broken.
    """
    from distributor.access import utc_now
    from distributor.cli.deliver import print_report, select
    from distributor.cli.logs import start_logging
    from distributor.cli.place import warn_of_place
    from distributor.model.report import Report
    from distributor.rollback import WayBack, look_back

    inventory = settings.load_inventory()
    (host,) = select(inventory, all_hosts=False, hosts=(name,), tags=())
    _require_somebody(name, yes=yes or dry_run)
    store, started = settings.store(remembers=not dry_run), utc_now()
    start_logging(settings, settings.stderr())
    warn_of_place(settings, store)
    with nullcontext() if dry_run else store.lock():
        snapshot = _snapshot_of(store, name)
        tools, certificates = _tools(settings, inventory, store, host)
        way = look_back(host, certificates, snapshot, tools, started)
        outcome = way.outcome if isinstance(way, WayBack) else way
        if isinstance(way, WayBack) and not dry_run:
            if not _agreed(settings, way, yes=yes):
                context.exit(NOT_WELL)
            outcome = _done(way, tools)
    report = Report(
        started=started,
        seconds=(utc_now() - started).total_seconds(),
        dry_run=dry_run,
        certificates=(),
        hosts=(outcome,),
        asked_back=True,
    )
    print_report(settings, report)
    context.exit(report.exit_code)


def _require_somebody(name: str, *, yes: bool) -> None:
    from distributor.model.errors import UsageError

    if not yes and not sys.stdin.isatty():
        raise UsageError(
            f"{name} was not put back: nobody is there to confirm it",
            hint="run it in a terminal, or with --yes; look first with --dry-run",
        )


def _snapshot_of(store: "Store", name: str) -> "Snapshot":
    from distributor.model.errors import UsageError

    snapshot = store.snapshots.last(name)
    if snapshot is None:
        raise UsageError(
            f"there is nothing to put {name} back to: it was not changed with {store.folder}",
            hint="if another state folder was used, name it with --state",
        )
    return snapshot


def _tools(
    settings: Settings, inventory: "Inventory", store: "Store", host: "Host"
) -> "tuple[HostTools, dict[str, Certificate]]":
    from distributor.wiring import Workshop

    def step(host: str, text: str) -> None:
        if settings.verbose and not settings.quiet:
            settings.stderr().print(f"{host}: {text}", soft_wrap=True)

    stored = {name: store.bundles.current(name) for name in host.certificates}
    certificates = {
        name: one.bundle.certificate(name) for name, one in stored.items() if one is not None
    }
    workshop = Workshop(inventory, store, threading.Event())
    return workshop.tools({}, step), certificates


def _agreed(settings: Settings, way: "WayBack", *, yes: bool) -> bool:
    """Show what would be put back, and ask unless that was answered beforehand."""
    from distributor.render.text import plan_lines

    if way.undoing.plan.is_noop:
        return True
    if not settings.quiet or not yes:
        console = settings.stderr()
        taken = f"{way.snapshot.taken:%Y-%m-%d %H:%M} UTC"
        console.print(f"{way.host.name}  back to what it had at {taken}:", soft_wrap=True)
        for line in plan_lines(way.undoing.plan):
            console.print(line, soft_wrap=True)
    return yes or click.confirm(f"Put {way.host.name} back?", default=False, err=True)


def _done(way: "WayBack", tools: "HostTools") -> "Outcome":
    """Put the host back and hold it; from here on Ctrl-C lets the work come to its end."""
    from distributor.access import utc_now
    from distributor.cli.deliver import stopping
    from distributor.model.errors import DistributorError
    from distributor.model.holds import hold_by_person
    from distributor.rollback import go_back

    with stopping(threading.Event()):
        outcome = way.outcome if way.undoing.plan.is_noop else go_back(way, tools)
        if outcome.status not in {"rolled_back", "unchanged"}:
            return outcome
        leaves = {one.leaf for one in way.certificates.values()}
        reason = f"back to what it had at {way.snapshot.taken:%Y-%m-%d %H:%M} UTC"
        try:
            tools.put_hold(way.host.name, hold_by_person(leaves, reason, utc_now()))
        except DistributorError as error:
            return replace(
                outcome,
                status="failed" if outcome.status == "unchanged" else "rolled_back",
                error=error,
            )
        held = "it is held there until its certificate is renewed, or --host names it"
        return replace(outcome, warnings=(*outcome.warnings, held))
