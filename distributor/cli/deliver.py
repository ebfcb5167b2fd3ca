"""The main job: `distribute --all` and its options."""

import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Final

import click

from distributor.cli.logs import start_logging
from distributor.cli.place import warn_of_place
from distributor.cli.settings import INTERRUPTED, USAGE, Settings, print_json
from distributor.model.errors import UsageError
from distributor.model.hazards import HAZARDS
from distributor.model.hosts import Host, Inventory
from distributor.model.report import Report
from distributor.model.reviewed import Reviewed, reviewed_as_json, reviewed_from_json
from distributor.model.text import printable

_HANGUP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)
"""Windows has none."""


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
    quick: bool,
    all_or_nothing: bool,
) -> int:
    """Do the run and print its report; return the exit code."""
    from distributor.access import utc_now
    from distributor.cli.pruning import prune, remove_leftovers
    from distributor.render.progress import shown_progress
    from distributor.render.text import error_lines
    from distributor.sync import Run, run
    from distributor.wiring import Workshop

    _require_sense(all_hosts or bool(hosts) or bool(tags), dry_run, save_plan, plan_file, exit_code)
    if quick and (save_plan or plan_file):
        raise click.UsageError("--quick leaves hosts unread: a saved plan needs all of them.")
    inventory = settings.load_inventory()
    chosen = _getting(select(inventory, all_hosts=all_hosts, hosts=hosts, tags=tags), by_name=hosts)
    if all_or_nothing:
        chosen = tuple(map(_removing_nothing, chosen))
    reviewed = _read_plan(plan_file) if plan_file is not None else None
    if save_plan is not None:
        _require_writable(save_plan)
    store, stop = settings.store(remembers=not dry_run), threading.Event()
    console = settings.stderr()
    start_logging(settings, console)
    warn_of_place(settings, store)
    names = [host.name for host in chosen]
    quiet, steps = settings.quiet, settings.verbose > 0
    with (
        nullcontext() if dry_run else store.lock(),
        shown_progress(console, names, quiet=quiet, steps=steps) as progress,
        stopping(stop),
    ):
        workshop = Workshop(inventory, store, stop)
        if not dry_run:
            remove_leftovers(workshop, console)
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
            quick=quick,
            all_or_nothing=all_or_nothing,
        )
        report = run(
            order, lambda found: workshop.tools(found, progress.step), progress, stop, utc_now
        )
        if not dry_run:
            prune(store, console)
    unsaved = _write_plan(save_plan, report) if save_plan is not None else None
    print_report(settings, report)
    if unsaved is None:
        return report.exit_code
    for line in error_lines(unsaved, ""):
        console.print(line, soft_wrap=True)
    return USAGE


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


def _removing_nothing(host: Host) -> Host:
    """Return the host without removals, which could not be taken back: the next run makes them."""
    deliveries = tuple(replace(one, remove_superseded=False) for one in host.deliveries)
    return replace(host, deliveries=deliveries)


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
    """Let the first Ctrl-C, SIGTERM or SIGHUP set `stop`, so that the step at hand ends well.

    A second Ctrl-C or SIGTERM ends the process at once. SIGHUP never does: a terminal that closes
    may send several, and it is left ignored where it is, as `nohup` has it.
    """
    asked = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number != _HANGUP:
            _say(b"stopped at once\n")
            os._exit(INTERRUPTED)
        asked = asked or number != _HANGUP
        if not stop.is_set():
            _say(b"\nstopping: the step at hand comes to its end; Ctrl-C again stops at once\n")
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:
        numbers.append(_HANGUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: bytes) -> None:
    with suppress(OSError):  # the terminal may be what has gone
        os.write(2, text)


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
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is no saved plan",
            hint="make one: distribute --all --dry-run --save-plan FILE",
        ) from error
    return reviewed_from_json(data, str(path))


def _require_writable(path: Path) -> None:
    """Raise UsageError when a plan cannot be saved there; leaves what is there as it is."""
    was_there = path.exists()
    try:
        with path.open("ab"):
            pass
        if not was_there:
            path.unlink()
    except OSError as error:
        raise _not_saved(path, error) from error


def _write_plan(path: Path, report: Report) -> UsageError | None:
    """Save the plans; return what kept them from being saved, for the report is to be seen."""
    plans = [outcome.plan for outcome in report.hosts if outcome.plan is not None]
    try:
        path.write_text(json.dumps(reviewed_as_json(plans), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        return _not_saved(path, error)
    return None


def _not_saved(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the plan cannot be saved to {path}: {error.strerror}", hint="correct the path"
    )


def print_report(settings: Settings, report: Report) -> None:
    """Print the report on stdout, as JSON or text."""
    from distributor.access import utc_now
    from distributor.render.as_json import report_as_json
    from distributor.render.text import report_lines

    if settings.as_json:
        print_json(report_as_json(report))
        return
    if settings.quiet and report.exit_code == 0:
        return
    console = settings.stdout()
    for line in report_lines(report, utc_now(), details=settings.verbose > 0):
        console.print(line, soft_wrap=True)
