"""What is left of a CA's rate limits, in lines for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from distributor.model.backoff import next_try
from distributor.model.budget import (
    Allowance,
    Ask,
    Event,
    failures,
    left,
    limits_for,
    refusal,
)

_OFTEN: Final = {1: "once", 2: "twice"}


def budget_lines(events: Sequence[Event], ask: Ask, now: datetime) -> tuple[str, ...]:
    """Return what may still be ordered, and whether an order would be made now.

    A limit of which nothing is used is left out, but for that of certificates with the same names.
    """
    lines = [
        _line(one)
        for one in left(events, ask, now)
        if one.next_at is not None or one.kind == "duplicates"
    ]
    failed = failures(events, ask.ca, ask.certificate, now)
    patient = next_try(failed, now, urgent=ask.urgent)
    if patient is not None:
        often = _OFTEN.get(len(failed), f"{len(failed)} times")
        lines.append(f"failed {often} lately; tried again from {_when(patient)}")
    refused = refusal(events, ask, now)
    if refused is not None:
        lines.append(f"no order before {_when(refused.until)}: {refused.reason}")
    if limits_for(ask.ca):
        lines.append("counted is what was ordered from here; what others order is not known")
    else:
        lines.append("no rate limits of this CA are known; what it says itself is obeyed")
    return tuple(lines)


def _line(allowance: Allowance) -> str:
    kept = " (the last one is kept in reserve)" if allowance.reserve else ""
    following = f", next at {_when(allowance.next_at)}" if allowance.next_at is not None else ""
    return f"{allowance.left} of {allowance.of} {allowance.title} left{kept}{following}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
