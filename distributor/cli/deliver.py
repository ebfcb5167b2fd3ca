"""The main job: `distribute --all` and its options."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from types import FrameType

import click

from distributor.cli.logs import start_logging
from distributor.cli.settings import INTERRUPTED, Settings, print_json
from distributor.model.errors import UsageError
from distributor.model.hazards import HAZARDS
from distributor.model.hosts import Host, Inventory
from distributor.model.report import Report
from distributor.model.reviewed import Reviewed, reviewed_as_json, reviewed_from_json
from distributor.model.text import printable


def deliver(
    settings: Settings,
    *,
    all_hosts: bool,
    hosts: tuple[str, ...],
    tags: tuple[str, ...],
    dry_run: bool,
    save_plan: Path | None,
    plan_file: Path | None,
    accept: tuple[str, ...],
    no_renew: bool,
    exit_code: bool,
) -> int:
    """Do the run and print its report; return the exit code."""
    from distributor.render.progress import shown_progress
    from distributor.sync import Run, run
    from distributor.wiring import Workshop, utc_now

    _require_sense(all_hosts or bool(hosts) or bool(tags), dry_run, save_plan, plan_file, exit_code)
    inventory = settings.load_inventory()
    chosen = _getting(select(inventory, all_hosts=all_hosts, hosts=hosts, tags=tags), by_name=hosts)
    reviewed = _read_plan(plan_file) if plan_file is not None else None
    if reviewed is not None:
        chosen = _in_plan(chosen, reviewed)
    store, stop = settings.store(), threading.Event()
    console = settings.stderr()
    start_logging(settings, console)
    names = [host.name for host in chosen]
    quiet, steps = settings.quiet, settings.verbose > 0
    with (
        nullcontext() if dry_run else store.lock(),
        shown_progress(console, names, quiet=quiet, steps=steps) as progress,
        stopping(stop),
    ):
        workshop = Workshop(inventory, store, stop)
        order = Run(
            sources=workshop.sources(chosen),
            hosts=chosen,
            rollout=inventory.rollout,
            dry_run=dry_run,
            no_renew=no_renew,
            accepted=_accepted(accept, chosen),
            named=frozenset(hosts),
            reviewed=reviewed,
            want_exit_code=exit_code,
        )
        report = run(
            order, lambda found: workshop.tools(found, progress.step), progress, stop, utc_now
        )
    if save_plan is not None:
        _write_plan(save_plan, report)
    _print(settings, report)
    return report.exit_code


def select(
    inventory: Inventory, *, all_hosts: bool, hosts: Iterable[str], tags: Iterable[str]
) -> tuple[Host, ...]:
    """Return the union of what the options name, in the inventory's order.

    Raises UsageError for a name or tag that the inventory does not have.
    """
    wanted_hosts, wanted_tags = tuple(hosts), tuple(tags)
    known_tags = {tag for host in inventory.hosts.values() for tag in host.tags}
    for name in wanted_hosts:
        require_known("host", name, inventory.hosts)
    for tag in wanted_tags:
        require_known("tag", tag, known_tags)
    return tuple(
        host
        for host in inventory.hosts.values()
        if all_hosts or host.name in wanted_hosts or set(host.tags) & set(wanted_tags)
    )


def _getting(chosen: Sequence[Host], *, by_name: Iterable[str]) -> tuple[Host, ...]:
    """Leave out hosts that only give a certificate; raises UsageError for one that was named."""
    named = set(by_name)
    for host in chosen:
        if host.name in named and not host.deliveries:
            raise UsageError(
                f"{host.name} gets no certificate: one comes from it",
                hint="choose the hosts that are to get it",
            )
    return tuple(host for host in chosen if host.deliveries)


def require_known(what: str, name: str, known: Iterable[str]) -> None:
    """Raise UsageError, with the nearest name, unless `name` is known."""
    names = list(known)
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it has: {', '.join(names) or 'none'}"
    raise UsageError(f"the inventory has no {what} '{printable(name)}'", hint=hint)


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C set `stop`, so that the step at hand ends well; a second one kills."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopped at once\n")
            os._exit(INTERRUPTED)
        stop.set()
        os.write(2, b"\nstopping: the step at hand comes to its end; Ctrl-C again stops at once\n")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _require_sense(
    selected: bool,
    dry_run: bool,
    save_plan: Path | None,
    plan_file: Path | None,
    exit_code: bool,
) -> None:
    if not selected:
        raise click.UsageError("Say which hosts: --all, --host NAME or --tag TAG.")
    if plan_file is not None and dry_run:
        raise click.UsageError(
            "--plan applies a saved plan, --dry-run makes one: take one of them."
        )
    if save_plan is not None and not dry_run:
        raise click.UsageError("--save-plan goes with --dry-run.")
    if exit_code and not dry_run:
        raise click.UsageError("--exit-code goes with --dry-run.")


def _accepted(given: Iterable[str], hosts: Sequence[Host]) -> dict[str, frozenset[str]]:
    """Return the accepted hazards of each host; raises UsageError for an unknown word."""
    accepted: dict[str, set[str]] = {host.name: set() for host in hosts}
    for word in given:
        host, _, hazard = word.rpartition(":")
        _require_known_hazard(hazard)
        if host:
            require_known("chosen host", host, accepted)
        for name in [host] if host else accepted:
            accepted[name].add(hazard)
    return {name: frozenset(hazards) for name, hazards in accepted.items()}


def _require_known_hazard(hazard: str) -> None:
    if hazard in HAZARDS:
        return
    close = get_close_matches(hazard, HAZARDS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(HAZARDS)}"
    raise UsageError(f"there is no hazard '{printable(hazard)}'", hint=hint)


def _read_plan(path: Path) -> Reviewed:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the plan {path} cannot be read: {error.strerror}", hint="correct the path"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path} is no saved plan",
            hint="make one: distribute --all --dry-run --save-plan FILE",
        ) from error
    return reviewed_from_json(data, str(path))


def _in_plan(chosen: Sequence[Host], reviewed: Reviewed) -> tuple[Host, ...]:
    """Return the chosen hosts that the plan speaks of; one that it does not know is an error."""
    missing = [host.name for host in chosen if host.name not in reviewed.digests]
    if missing:
        raise UsageError(
            f"the plan says nothing of {', '.join(missing)}",
            hint="choose the hosts that were reviewed, or review a new plan",
        )
    return tuple(chosen)


def _write_plan(path: Path, report: Report) -> None:
    plans = [outcome.plan for outcome in report.hosts if outcome.plan is not None]
    try:
        path.write_text(json.dumps(reviewed_as_json(plans), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the plan cannot be saved to {path}: {error.strerror}", hint="correct the path"
        ) from error


def _print(settings: Settings, report: Report) -> None:
    from distributor.render.as_json import report_as_json
    from distributor.render.text import report_lines
    from distributor.wiring import utc_now

    if settings.as_json:
        print_json(report_as_json(report))
        return
    if settings.quiet and report.exit_code == 0:
        return
    console = settings.stdout()
    for line in report_lines(report, utc_now(), details=settings.verbose > 0):
        console.print(line, soft_wrap=True)
