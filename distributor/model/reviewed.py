"""A plan that a person reviewed and saved: what it was made for, and each host's digest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from distributor.model.bundle import Certificate
from distributor.model.errors import UsageError
from distributor.model.plan import Plan, digest_of
from distributor.model.times import from_rfc3339, rfc3339

VERSION: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What `--save-plan` wrote: enough to apply exactly that, and nothing secret."""

    digests: Mapping[str, str]
    """Digest of each host's plan."""
    certificates: Mapping[str, Certificate]
    """What the plans were made for, by name; `next:NAME` for one still to be issued."""


def is_fulfilled(reviewed: Certificate, actual: Certificate, expected: Certificate) -> bool:
    """Tell whether `actual` is what was reviewed.

    A leaf that existed must be the same. One that was still to be issued must be what the inventory
    still asks for (`expected`, its forecast now), and be issued for these names and this key type.
    One whose dates were reviewed exists already: it is told by names and dates.
    """
    if not reviewed.is_forecast:
        return actual.leaf == reviewed.leaf
    if reviewed.not_after is not None:
        return (actual.names, actual.not_before, actual.not_after) == (
            reviewed.names,
            reviewed.not_before,
            reviewed.not_after,
        )
    return (
        reviewed == expected
        and actual.names == reviewed.names
        and actual.key_type == reviewed.key_type
    )


def reviewed_as_json(plans: Sequence[Plan]) -> dict[str, object]:
    """Return the plans as plain data for a file; the changes stand there for people to read."""
    certificates = {one.name: one for plan in plans for one in plan.certificates}
    hosts = {
        plan.host: {
            "digest": plan.digest,
            "changes": [
                {
                    "address": str(change.address),
                    "fact": change.fact,
                    "certificate": change.certificate,
                }
                for change in plan.all_changes
            ],
        }
        for plan in plans
    }
    shown = {name: _certificate_as_json(one) for name, one in certificates.items()}
    body: dict[str, object] = {"version": VERSION, "certificates": shown, "hosts": hosts}
    return body | {"digest": digest_of(body)}


def reviewed_from_json(data: Any, source: str) -> Reviewed:
    """Return what `reviewed_as_json` wrote; raises UsageError when it is anything else."""
    try:
        body = {name: data[name] for name in ("version", "certificates", "hosts")}
        if data["version"] != VERSION or data["digest"] != digest_of(body):
            raise UsageError(
                f"{source} was changed, or is of another version",
                hint="make it anew: distribute --all --dry-run --save-plan FILE",
            )
        return Reviewed(
            digests={name: str(host["digest"]) for name, host in data["hosts"].items()},
            certificates={
                name: _certificate_from_json(name, one)
                for name, one in data["certificates"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{source} is no saved plan",
            hint="make one: distribute --all --dry-run --save-plan FILE",
        ) from error


def _certificate_as_json(one: Certificate) -> dict[str, object]:
    return {
        "leaf": one.leaf,
        "names": list(one.names),
        "key_type": one.key_type,
        "chain": list(one.chain),
        "key": one.key,
        "common_name": one.common_name,
        "issued_by": one.issued_by,
        "not_before": rfc3339(one.not_before) if one.not_before else None,
        "not_after": rfc3339(one.not_after) if one.not_after else None,
        "trusted": one.trusted,
    }


def _certificate_from_json(name: str, data: Any) -> Certificate:
    return Certificate(
        name=name,
        leaf=_text(data["leaf"]),
        names=tuple(map(_text, data["names"])),
        key_type=_text(data["key_type"]),
        chain=tuple(map(_text, data["chain"])),
        key=_text(data["key"]),
        common_name=None if data["common_name"] is None else _text(data["common_name"]),
        issued_by=_text(data["issued_by"]),
        not_before=from_rfc3339(data["not_before"]) if data["not_before"] else None,
        not_after=from_rfc3339(data["not_after"]) if data["not_after"] else None,
        trusted=data["trusted"],
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
