"""One diff in three forms: for a terminal, for a pipe, and as JSON."""

import io
import re
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from distributor.model.hazards import Hazard
from distributor.model.plan import Change, Plan
from distributor.model.report import Outcome, Report
from distributor.model.state import ABSENT, CERTIFICATE, ENTRY, NAMES, Address, FactValue, State
from distributor.render.as_json import report_as_json
from distributor.render.text import report_lines
from distributor.render.words import fact_text
from tests.certs import NOW

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_WORDS = st.text("abc de.*-[]'é", min_size=1, max_size=12)
_LEAVES = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
_KINDS: Final = ("certificate", "service", "file")


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    return Address(
        draw(st.sampled_from(_KINDS)), draw(_WORDS), draw(st.sampled_from(["", "x1", "y2"]))
    )


def values(fact: str) -> st.SearchStrategy[FactValue]:
    if fact == CERTIFICATE:
        return addresses()
    if fact == NAMES:
        return st.lists(_WORDS, max_size=3).map(tuple)
    return _LEAVES


@st.composite
def changes(draw: st.DrawFn) -> Change:
    fact = draw(st.sampled_from(["leaf", CERTIFICATE, NAMES]))
    before = draw(st.none() | values(fact))
    return Change(draw(addresses()), fact, before, draw(values(fact)), "home")


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    made = draw(st.lists(changes(), min_size=1, max_size=6, unique_by=lambda one: one.address))
    gone = draw(addresses().map(lambda one: Change(one, ENTRY, None, ABSENT, "")))
    known = {change.address: {"leaf": "x"} for change in made if draw(st.booleans())}
    plan = Plan(
        host="attic",
        observed=State(known),
        changes=(*made, *([gone] if gone.address not in {one.address for one in made} else [])),
        certificates=(),
        unproved=tuple(draw(st.lists(_WORDS, max_size=2))),
        notes=tuple(draw(st.lists(_WORDS, max_size=2))),
    )
    hazards = tuple(Hazard("fewer-names", word) for word in draw(st.lists(_WORDS, max_size=2)))
    return Outcome(
        host="attic", kind="diskstation", via="api", status="planned", plan=plan, hazards=hazards
    )


def report(outcome: Outcome) -> Report:
    return Report(started=NOW, seconds=1.0, dry_run=True, certificates=(), hosts=(outcome,))


def shown(lines: list[Text], *, on_terminal: bool) -> str:
    console = Console(
        file=io.StringIO(),
        force_terminal=on_terminal,
        color_system="standard" if on_terminal else None,
        width=10_000,
        highlight=False,
    )
    for line in lines:
        console.print(line, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(outcomes())
def test_a_terminal_and_a_pipe_show_the_same_words(outcome: Outcome) -> None:
    lines = list(report_lines(report(outcome), NOW))
    coloured, plain = shown(lines, on_terminal=True), shown(lines, on_terminal=False)
    assert "\x1b" in coloured
    assert "\x1b" not in plain
    assert _ANSI.sub("", coloured) == plain


@given(outcomes())
def test_what_json_tells_of_a_plan_text_tells_too(outcome: Outcome) -> None:
    text = shown(list(report_lines(report(outcome), NOW)), on_terminal=False)
    told = report_as_json(report(outcome))["hosts"][0]
    plan = outcome.plan
    assert plan is not None
    assert len(told["changes"]) == len(plan.changes)
    for change, data in zip(plan.changes, told["changes"], strict=True):
        sign = (
            "-" if change.after is ABSENT else "~" if change.address in plan.observed.facts else "+"
        )
        known = "" if data["id"] is None else f" ({data['id']})"
        new = " (new)" * (sign == "+" and not known)
        assert f"    {sign} {data['address']}{known}{new}\n" in text
        if change.after is ABSENT:
            assert data["after"] == {"absent": True}
        elif change.fact == NAMES and isinstance(change.before, tuple):
            assert isinstance(change.after, tuple)
            for name in {*change.before} ^ {*change.after}:
                assert name in text
        else:
            assert f"{change.fact:12} " in text
            assert fact_text(change.after) in text
            assert change.before is None or f"{fact_text(change.before)} -> " in text
    for sentence in (*told["notes"], *told["unproved"]):
        assert sentence in text
    for hazard in told["hazards"]:
        assert f"! {hazard['name']}: {hazard['reason']}" in text
