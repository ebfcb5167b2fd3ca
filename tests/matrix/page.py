"""The page that shows the fault matrix, made of what the tests expect: docs/explanation."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.matrix.cells import FAULTS, Kind

ENDS: Final = Path(__file__).parent / "ends"
"""How each cell ends, a file for each kind: what the tests hold every cell against."""
PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "fault-matrix.md"
Ends = Mapping[str, Mapping[str, str]]
"""Step and fault to the end, as `cells.tried` says it."""

_HEAD: Final = """\
<!-- Made by `python -m tests.matrix.write`, which tries every cell; do not edit. -->
# Fault matrix

What was tried on every kind of host, at every step of a delivery, and how it ended. Each cell is a
test: it runs a delivery against a virtual box, lets one thing go wrong at one step, and holds what
the run says and what the box then holds against this page
(`pytest tests/matrix`; with `DISTRIBUTE_EXHAUSTIVE=1` every cell, otherwise a part).

## How to read a cell

The first word is the host's status in the report; what follows is what the box held afterwards,
read past the product, from the box itself:

- **changed**: the new certificate is held, and shown on every endpoint.
- **failed**, **refused**: nothing was changed.
- **rolled_back**: something was changed and put back; the box was seen to be as before.
- **broken**: putting back could not be finished, or could not be seen. The report begins with such
  a host, and names the commands that a person needs. Behind the word stands what the box really
  held: *as before*, *new*, or *in between*.

The name in parentheses is the error's kind. A number in brackets says, below the table, why a fault
cannot occur at that step.

In every cell that was tried, this held as well:

- `changed` is never said of a box that does not hold and show the new certificate; `failed`,
  `refused` and `rolled_back` never of one that is not as it was.
- Certificates of others on the same box are as they were.
- A refused password was sent once to the login, and once to sudo; the next run sends it to neither.
- Where something had been changed, the next run brought the host to the new certificate, once the
  fault was gone.

## Faults

| fault | what happens |
|---|---|
{faults}

A fault strikes once, at the step where it stands, but for these, which stay until somebody looks
after the box: a host that is down, a password that was changed, another device at its address, a
port that shows the old certificate. The steps of putting back are reached by a first fault:
{first}.
"""
_MEANING: Final = {
    "down": "the host is off from here on; what it did before it went, it keeps",
    "cut": "the connection breaks off before the request, command or handshake has any effect",
    "lost": "it has its effect, and the connection breaks off before the answer",
    "password": "the account's password was changed: whatever sends it is refused",
    "identity": "another device answers at the address, where a connection is open after that was "
    "cut: another leaf (Web API), another host key (SSH)",
    "refusal": "the device says no: an error code, a tool that ends with an error",
    "lie": "the device says that it is done, and did nothing",
    "garbage": "the answer is no answer: cut off, or of another kind",
    "slow": "the answer takes its time, within what a device may take",
}
_FIRST: Final = "the look that should prove the change gets broken data"


def page(kinds: Iterable[Kind]) -> str:
    """Return the page; raises KeyError for a cell that has neither an end nor a reason."""
    faults = "\n".join(f"| {FAULTS[one]} | {_MEANING[one]} |" for one in FAULTS)
    parts = [_HEAD.format(faults=faults, first=_FIRST)]
    parts += [_table(kind, read_ends(kind)) for kind in kinds]
    return "\n".join(parts)


def _table(kind: Kind, ends: Ends) -> str:
    reasons: dict[str, int] = {}
    lines = [
        f"## {kind.title}\n",
        "| step | " + " | ".join(FAULTS.values()) + " |",
        "|---" * (len(FAULTS) + 1) + "|",
    ]
    for step, words in kind.steps.items():
        cells = []
        for fault in FAULTS:
            why = kind.why_never(step, fault)
            if why is None:
                cells.append(_shown(ends[step][fault]))
            else:
                cells.append(f"[{reasons.setdefault(why, len(reasons) + 1)}]")
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    notes = [f"{number}. {why}" for why, number in reasons.items()]
    return "\n".join([*lines, "", "Cannot occur:\n", *notes, ""])


def _shown(end: str) -> str:
    status, colon, rest = end.partition(":")
    return f"**{status}**{colon}{rest}"


def read_ends(kind: Kind) -> Ends:
    """Return what the tests expect of a kind."""
    found: Ends = json.loads((ENDS / f"{kind.name}.json").read_text(encoding="utf-8"))
    return found


def write_ends(kind: Kind, ends: Ends) -> None:
    """Write what the tests expect of a kind from now on."""
    ENDS.mkdir(exist_ok=True)
    text = json.dumps(ends, indent=1) + "\n"
    (ENDS / f"{kind.name}.json").write_text(text, encoding="utf-8")


def write_page(text: str) -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
