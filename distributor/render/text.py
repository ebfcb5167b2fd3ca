"""A report as text: quiet when nothing changed, a line per host when something did."""

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from distributor.model.errors import DistributorError, InventoryError
from distributor.model.plan import Change, Plan
from distributor.model.report import CertificateOutcome, Outcome, Report
from distributor.model.state import ABSENT, NAMES, Address
from distributor.model.text import printable
from distributor.render.words import STYLES, certificate_text, fact_text

_ORDER = ("rolled_back", "failed", "refused", "held", "skipped", "changed", "planned")
"""Who needs a person comes first; before all, those that are broken."""
_SHOWS_PLAN = frozenset({"planned", "refused", "rolled_back", "broken"})
_WIDTH = max(map(len, STYLES))


def report_lines(report: Report, now: datetime, *, details: bool = False) -> Iterator[Text]:
    """Give the lines of a whole report; with `details` also the diff of each changed host."""
    for outcome in report.hosts:
        if outcome.status == "broken":
            yield from host_lines(outcome, details=details)
    for certificate in report.certificates:
        if certificate.status != "current" or certificate.warnings or report.dry_run:
            yield from certificate_lines(certificate, now)
    for status in _ORDER:
        for outcome in report.hosts:
            if outcome.status == status:
                yield from host_lines(outcome, details=details)
    for outcome in report.hosts:
        if outcome.status == "unchanged" and (outcome.warnings or outcome.proof != "handshake"):
            yield from host_lines(outcome, details=details)
    yield _summary(report, now)


def certificate_lines(outcome: CertificateOutcome, now: datetime) -> Iterator[Text]:
    """Give the lines of one certificate."""
    line = _head(outcome.status, f"certificate {outcome.name}")
    parts = [printable(outcome.reason, 1000)] if outcome.reason else []
    if outcome.certificate is not None:
        parts.append(certificate_text(outcome.certificate, now))
    if outcome.outlook is not None:
        parts.append(printable(f"renewal {outcome.outlook}", 1000))
    yield line.append("; ".join(parts))
    if outcome.error is not None:
        yield from error_lines(outcome.error, "  ")
    for warning in outcome.warnings:
        yield Text(f"  note: {printable(warning, 1000)}", style="yellow")


def host_lines(outcome: Outcome, *, details: bool) -> Iterator[Text]:
    """Give the lines of one host: status, changes, hazards, error."""
    line = _head(outcome.status, outcome.host)
    said = [_done(outcome.plan)] if outcome.plan and outcome.status == "changed" else []
    said += [f"{outcome.seconds:.1f} s"] if outcome.seconds else []
    if outcome.proof is not None:
        said.append(f"proof: {outcome.proof}")
    said += ["seen to be as it was before"] if outcome.status == "rolled_back" else []
    yield line.append(", ".join(said))
    if outcome.plan is not None and (details or outcome.status in _SHOWS_PLAN):
        yield from plan_lines(outcome.plan)
    for hazard in outcome.hazards:
        yield Text(f"    ! {printable(hazard, 1000)}", style="yellow")
    if outcome.error is not None:
        yield from error_lines(outcome.error, "    ")
    for warning in outcome.warnings:
        yield Text(f"    note: {printable(warning)}", style="yellow")


def plan_lines(plan: Plan) -> Iterator[Text]:
    """Give the diff of one host: each address, and each fact before and after."""
    by_address: dict[Address, list[Change]] = {}
    for change in plan.changes:
        by_address.setdefault(change.address, []).append(change)
    for address, changes in by_address.items():
        if changes[0].after is ABSENT:
            yield Text(f"    - {address}{_id(address)}", style="red")
            yield Text("        made by the change that is taken back")
            continue
        is_new = address not in plan.observed.facts
        sign, style = ("+", "green") if is_new else ("~", "yellow")
        yield Text(f"    {sign} {address}{_id(address) or ' (new)' * is_new}", style=style)
        for change in changes:
            yield from _change_lines(change)
    for removal in plan.removals:
        yield Text(f"    - {removal.address}{_id(removal.address)}", style="red")
        yield Text(
            f"        an earlier delivery of '{printable(removal.certificate)}' until "
            f"{fact_text(removal.before)}, which nothing uses; it goes last"
        )
    if plan.unproved:
        services = ", ".join(printable(service) for service in plan.unproved)
        yield Text(f"    no endpoint proves: {services}", style="dim")
    for note in plan.notes:
        yield Text(f"    note: {printable(note)}", style="dim")


def error_lines(error: DistributorError, indent: str) -> Iterator[Text]:
    """Give what happened, and what to do next."""
    step = f" [{printable(error.step)}]" if error.step else ""
    yield Text(f"{indent}{error.kind}{step}: {printable(error.message, 1000)}", style="red")
    if isinstance(error, InventoryError):
        for problem in error.problems:
            yield Text(f"{indent}{printable(problem, 1000)}", style="red")
    if error.hint:
        yield Text(f"{indent}try: {printable(error.hint, 1000)}")


def _id(address: Address) -> str:
    return f" ({printable(address.id)})" if address.id else ""


def _done(plan: Plan) -> str:
    """Say in a few words what was done."""
    touched = dict.fromkeys(change.address for change in plan.changes)
    moved = sum(address.kind == "service" for address in touched)
    said = [
        f"{address} {'replaced' if address in plan.observed.facts else 'made'}"
        for address in touched
        if address.kind == "certificate"
    ]
    files = sum(address.kind == "file" for address in touched)
    said += [f"{files} file{'s' * (files != 1)} replaced"] if files else []
    said += ["default set"] if any(one.kind == "default certificate" for one in touched) else []
    said += [f"{moved} service{'s' * (moved != 1)} moved"] if moved else []
    said += [f"{len(plan.removals)} superseded"] if plan.removals else []
    return ", ".join(said)


def _change_lines(change: Change) -> Iterator[Text]:
    fact = printable(change.fact)
    if (
        change.fact == NAMES
        and isinstance(change.before, tuple)
        and isinstance(change.after, tuple)
    ):
        lost = [name for name in change.before if name not in change.after]
        gained = [name for name in change.after if name not in change.before]
        shown = [f"+{printable(name)}" for name in gained]
        shown += [f"-{printable(name)}" for name in lost]
        yield Text(f"        {fact:12} {' '.join(shown)}")
        return
    before = f"{fact_text(change.before)} -> " if change.before is not None else ""
    yield Text(f"        {fact:12} {before}{fact_text(change.after)}")


def _head(status: str, name: str) -> Text:
    style = STYLES[status]  # type: ignore[index]  # statuses are literals; the table has them all
    return Text(f"{status:{_WIDTH}}", style=style).append(f"  {printable(name)}  ", style="bold")


def _summary(report: Report, now: datetime) -> Text:
    counts = [f"{report.summary[status]} {status}" for status in sorted(report.summary)]
    current = [one for one in report.certificates if one.status == "current" and one.certificate]
    shown = [
        f"{printable(one.name)}: {certificate_text(one.certificate, now)}"
        for one in current
        if one.certificate is not None
    ]
    line = f"hosts: {', '.join(counts) or 'none'}; {report.seconds:.1f} s"
    return Text("\n".join([*shown, line]) if shown else line)
