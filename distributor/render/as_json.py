"""A report as JSON (docs/reference/report.md says what stays within a version)."""

from typing import Any

from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import DistributorError, InventoryError
from distributor.model.plan import Change
from distributor.model.renewal import Outlook
from distributor.model.report import CertificateOutcome, Outcome, Report
from distributor.model.state import Absent, Address, FactValue, Unreadable
from distributor.model.times import rfc3339

VERSION = 1
"""Of everything that is printed with `--json`."""


def report_as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain data."""
    return {
        "version": VERSION,
        "exit": report.exit_code,
        "dry_run": report.dry_run,
        "plan": report.plan_digest,
        "started": rfc3339(report.started),
        "seconds": round(report.seconds, 3),
        "certificates": [certificate_as_json(one) for one in report.certificates],
        "hosts": [host_as_json(one) for one in report.hosts],
        "summary": report.summary,
    }


def certificate_as_json(outcome: CertificateOutcome) -> dict[str, Any]:
    """Return one certificate's outcome."""
    shown = outcome.certificate
    return {
        "name": outcome.name,
        "status": outcome.status,
        "reason": outcome.reason,
        **_certificate(shown),
        "renewal": _outlook_as_json(outcome.outlook),
        "warnings": list(outcome.warnings),
        "error": error_as_json(outcome.error),
    }


def _outlook_as_json(outlook: Outlook | None) -> dict[str, Any] | None:
    if outlook is None:
        return None
    when = rfc3339(outlook.when) if outlook.when is not None else None
    return {"from": when, "reason": outlook.reason}


def host_as_json(outcome: Outcome) -> dict[str, Any]:
    """Return one host's outcome."""
    wanted = {one.name: one for one in outcome.wanted}
    return {
        "name": outcome.host,
        "kind": outcome.kind,
        "via": outcome.via,
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
        "proof": outcome.proof,
        "certificates": list(outcome.certificates),
        "changes": [change_as_json(one) for one in outcome.plan.all_changes]
        if outcome.plan
        else [],
        "endpoints": [endpoint_as_json(one, wanted) for one in outcome.endpoints],
        "unproved": list(outcome.plan.unproved) if outcome.plan else [],
        "hazards": [{"name": one.name, "reason": one.reason} for one in outcome.hazards],
        "notes": list(outcome.plan.notes) if outcome.plan else [],
        "warnings": list(outcome.warnings),
        "error": error_as_json(outcome.error),
    }


def change_as_json(change: Change) -> dict[str, Any]:
    """Return one change."""
    return {
        "certificate": change.certificate,
        "address": str(change.address),
        "id": change.address.id or None,
        "fact": change.fact,
        "before": _value(change.before),
        "after": _value(change.after),
    }


def endpoint_as_json(served: Served, wanted: dict[str, Certificate]) -> dict[str, Any]:
    """Return what one endpoint serves, and whether that is what it should."""
    shown = served.certificate
    expected = wanted.get(served.endpoint.certificate)
    return {
        "address": str(served.endpoint.address),
        "server_name": served.endpoint.server_name,
        "certificate": served.endpoint.certificate,
        "service": served.endpoint.service,
        **_certificate(shown),
        "wanted": expected is not None and served.serves(expected),
        "error": error_as_json(served.error),
    }


def error_as_json(error: DistributorError | None) -> dict[str, Any] | None:
    """Return an error: kind, step, message, hint, code."""
    if error is None:
        return None
    data: dict[str, Any] = {
        "kind": error.kind,
        "step": error.step,
        "message": error.message,
        "hint": error.hint,
        "code": error.code,
    }
    if isinstance(error, InventoryError):
        data["problems"] = [
            {"path": one.path, "line": one.line, "message": one.message} for one in error.problems
        ]
    return data


def failure_as_json(error: DistributorError, exit_code: int) -> dict[str, Any]:
    """Return a report for a run that did not begin."""
    return {"version": VERSION, "exit": exit_code, "error": error_as_json(error)}


def _certificate(shown: Certificate | None) -> dict[str, Any]:
    return {
        "leaf": shown.leaf if shown else None,
        "names": list(shown.names) if shown else [],
        "not_before": rfc3339(shown.not_before) if shown and shown.not_before else None,
        "not_after": rfc3339(shown.not_after) if shown and shown.not_after else None,
        "issuer": (shown.issued_by or None) if shown else None,
    }


def _value(value: FactValue | Absent | None) -> Any:
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, Unreadable):
        return {"unreadable": True}
    if isinstance(value, Absent):
        return {"absent": True}
    return list(value) if isinstance(value, tuple) else value
