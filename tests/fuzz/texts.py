"""Text from anywhere: shown to people, read as an inventory, found in files of the state folder."""

import io
import json
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from distributor import inventory
from distributor.cli.deliver import _read_plan
from distributor.model.bundle import Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import (
    DeviceRefused,
    InventoryError,
    Problem,
    Unreachable,
    UsageError,
)
from distributor.model.hazards import Hazard
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.plan import Change, Plan, digest_of
from distributor.model.renewal import Outlook
from distributor.model.report import CertificateOutcome, Outcome, Report
from distributor.model.reviewed import is_fulfilled, reviewed_from_json
from distributor.model.state import UNREADABLE, Address, Facts, State
from distributor.model.text import LIMIT, printable
from distributor.render.as_json import failure_as_json, report_as_json
from distributor.render.progress import LineProgress
from distributor.render.text import report_lines
from distributor.render.words import certificate_text
from tests.certs import NOW
from tests.fuzz.judging import MEMORY, Target, only, require_harmless, require_harmless_lines

ROOT: Final = Path(__file__).parents[2]
_LEAF: Final = "sha256:" + "0" * 64
FILE: Final = Path("/srv/inventory/inventory.toml")


def _printable(data: bytes) -> None:
    for text in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        shown = printable(text)
        require_harmless(shown)
        assert len(shown) <= LIMIT


def _inventory(data: bytes) -> None:
    text, problem = inventory._decoded(data)
    if problem is not None:
        return
    found, problems = inventory.read(text, FILE, private=True)
    assert (found is None) is bool(problems)
    for one in problems:
        require_harmless(str(one))
        assert one.line is None or one.line >= 1
    with only(InventoryError):
        inventory.parse(text, path=FILE, private=False)


def _inventories() -> tuple[bytes, ...]:
    example = (ROOT / "inventory.example.toml").read_bytes()
    from tests.unit.sound_inventory import SOUND

    more = '[rollout]\ncanary = "attic"\nparallel = 2\n[defaults]\nuser = "certs"\n'
    return example, SOUND.encode(), (SOUND + more).encode()


def _report(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape") or "x"
    report = _hostile_report(text)
    plain, colour = io.StringIO(), io.StringIO()
    consoles = [
        Console(file=plain, no_color=True, highlight=False, markup=False, emoji=False),
        Console(
            file=colour,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
            markup=False,
            emoji=False,
        ),
    ]
    for console in consoles:
        for line in report_lines(report, NOW, details=True):
            console.print(line, soft_wrap=True)
        progress = LineProgress(console, steps=True)
        progress.certificate(text, text)
        progress.step(text, text)
        for outcome in report.hosts:
            progress.ended(outcome)
    for written in (plain, colour):
        require_harmless_lines(written.getvalue())
    assert "\x1b" not in plain.getvalue()
    error = InventoryError(text, (Problem(text, text, 1),))
    for told in (report_as_json(report), failure_as_json(error, 2)):
        written_json = json.dumps(told, indent=2)
        assert written_json.isascii()
        json.loads(written_json, parse_constant=_refused)


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _hostile_report(text: str) -> Report:
    """Return a report in which every text that can come from outside is this one."""
    shown = Certificate(
        name=text,
        leaf=text,
        names=(text, text),
        key_type=text,
        chain=(text,),
        key=text,
        common_name=text,
        issued_by=text,
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
    )
    entry, service = Address("certificate", text, text), Address("service", text, text)
    facts: Facts = {"description": text, "leaf": text, "names": (text,), "certificate": entry}
    changes = (
        Change(entry, "names", (text,), (f"{text}2",), text),
        Change(entry, "description", text, text, text),
        Change(entry, "leaf", UNREADABLE, text, text),
        Change(service, "certificate", entry, entry, text),
        Change(Address("file", text), "mode", None, text, text),
        Change(service, text, text, text, text),
    )
    plan = Plan(
        host=text,
        observed=State({entry: facts}),
        changes=changes,
        certificates=(shown,),
        removals=(Change(entry, "entry", text, text, text),),
        unproved=(text,),
        notes=(text,),
    )
    error = DeviceRefused(text, hint=text, step=text, code=1)
    endpoint = Endpoint(address=SocketAddress(text, 1), certificate=text, service=text)
    served = (
        Served(endpoint=endpoint, certificate=shown),
        Served(endpoint=endpoint, error=Unreachable(text, hint=text, step=text)),
    )
    statuses = ("changed", "broken", "unchanged")
    return Report(
        started=NOW,
        seconds=1.0,
        dry_run=True,
        certificates=tuple(
            CertificateOutcome(
                name=text,
                status=status,
                reason=text,
                certificate=shown,
                error=error,
                warnings=(text,),
                outlook=Outlook(reason=text),
            )
            for status in ("current", "failed")
        ),
        hosts=tuple(
            Outcome(
                host=text,
                kind=text,
                via=text,
                status=status,  # type: ignore[arg-type]  # the literals
                certificates=(text,),
                seconds=0.5,
                proof="handshake",
                plan=plan,
                endpoints=served,
                wanted=(shown,),
                hazards=(Hazard(text, text),),
                error=error,
                warnings=(text,),
            )
            for status in statuses
        ),
    )


_TEXTS: Final = (
    b"wildcard example.com",
    "\x1b[2J\x1b]0;title\x07 \u202etxt.exe \u009b31m [bold red]x[/] <b>&amp;".encode(),
    "line\nline\r\x0b\x0c\u2028\u2029 \ufeff e\u0301\u0301 \U000e0041 \ue000".encode(),
    b"%s {0} ${HOME} `id` \\ \" ' \xff\xfe\xed\xa0\x80",
    b"a" * 5000,
)


def _saved_plan(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as place, only(UsageError):
        path = Path(place, "plan.json")
        path.write_bytes(data)
        _read_plan(path)
    try:
        told = json.loads(data)
        body = {name: told[name] for name in ("version", "certificates", "hosts")}
        forged = {**body, "digest": digest_of(body)}
    except (ValueError, RecursionError, TypeError, KeyError):
        return
    with only(UsageError):
        reviewed = reviewed_from_json(forged, "the plan")
        for one in reviewed.certificates.values():
            is_fulfilled(one, one, one)
            require_harmless(certificate_text(one, NOW))


_BODY: Final = {
    "version": 0,
    "certificates": {
        "home": {
            "leaf": _LEAF,
            "names": ["example.com"],
            "key_type": "ec256",
            "chain": [_LEAF],
            "key": _LEAF,
            "common_name": "example.com",
            "issued_by": "R1",
            "not_before": "2026-11-21T02:00:00Z",
            "not_after": None,
            "trusted": True,
        }
    },
    "hosts": {"attic": {"digest": "0", "changes": []}},
}
_SAVED: Final = {**_BODY, "digest": digest_of(_BODY)}

TARGETS: Final[Mapping[str, Target]] = {
    "printable": Target(harness=_printable, samples=lambda: _TEXTS),
    "report": Target(harness=_report, samples=lambda: _TEXTS, examples=25),
    "inventory": Target(harness=_inventory, samples=_inventories, form="toml"),
    "saved-plan": Target(
        harness=_saved_plan, samples=lambda: (json.dumps(_SAVED).encode(),), form="json"
    ),
}
