"""What a host holds, or should hold: addresses a person would point at, and facts about them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal

from distributor.model.text import printable

AddressKind = Literal["certificate", "service", "default certificate", "file"]


class Unreadable(Enum):
    """The one value that says: it may be there, but it could not be read. Never means absent."""

    UNREADABLE = "unreadable"

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE: Final = Unreadable.UNREADABLE


class Absent(Enum):
    """The one value that says: it is to be there no more."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A thing on a host: `certificate 'home'`, `service 'FTPS'`, `default certificate`."""

    kind: AddressKind
    name: str = ""
    """What the host's own user interface calls it."""
    id: str = ""
    """What the host's interface for programs calls it; empty while it does not exist."""

    def __str__(self) -> str:
        if self.kind == "default certificate":
            return self.kind
        if self.kind == "file":
            return printable(self.name)
        return f"{self.kind} '{printable(self.name or self.id)}'"


FactValue = str | bool | tuple[str, ...] | Address | Unreadable
Facts = Mapping[str, FactValue]

# The vocabulary. `leaf`, `chain` and `key` are fingerprints; `certificate` is the Address of the
# entry that a service or the default uses; dates are RFC 3339; `managed_by` is who renews it.
LEAF: Final = "leaf"
CHAIN: Final = "chain"
KEY: Final = "key"
NAMES: Final = "names"
NOT_BEFORE: Final = "not_before"
NOT_AFTER: Final = "not_after"
ISSUED_BY: Final = "issued_by"
MANAGED_BY: Final = "managed_by"
DESCRIPTION: Final = "description"
MODE: Final = "mode"
"""Four octal digits."""
OWNER: Final = "owner"
"""`user:group`."""
CERTIFICATE: Final = "certificate"
ENTRY: Final = "entry"
"""Of a change only: that the address itself goes."""
TAKES: Final = "takes"
"""Of a desired entry only: services that it takes over if it has to be made anew."""
BEHIND: Final = "behind"
"""Of a desired entry only: names that its endpoints are asked for; what answers to one uses it."""
SAKE: Final = "for"
"""Of a desired entry or file only: name of the certificate that it is to hold."""
PLANNING: Final = frozenset({TAKES, BEHIND, SAKE})
"""Facts that guide planning and are no property of the host."""

SELF_SIGNED: Final = "self-signed"
"""Value of `managed_by` for a certificate that the device made and signed by itself."""
DEVICE: Final = "device"
"""Value of `managed_by` for a certificate that the device obtains and renews by itself."""
UPLOADED: Final = "uploaded"
"""Value of `managed_by` for a certificate that somebody brought to the device."""

RELOAD_OWED: Final = "a reload is owed"
"""Stands beside the leaf of an entry whose files are new, when what serves them was not told."""

DEFAULT: Final = Address("default certificate")


@dataclass(frozen=True, slots=True)
class State:
    """Facts by address, read-only and in a fixed order."""

    facts: Mapping[Address, Facts]

    def __post_init__(self) -> None:
        ordered = {
            address: MappingProxyType(dict(sorted(facts.items())))
            for address, facts in sorted(self.facts.items(), key=lambda item: item[0])
        }
        object.__setattr__(self, "facts", MappingProxyType(ordered))

    def get(self, address: Address, fact: str) -> FactValue | None:
        """Return the fact, or None when the address or the fact is absent."""
        facts = self.facts.get(address)
        return None if facts is None else facts.get(fact)

    def of_kind(self, kind: AddressKind) -> tuple[Address, ...]:
        """Return the addresses of one kind, in order."""
        return tuple(address for address in self.facts if address.kind == kind)

    def as_json(self) -> dict[str, dict[str, object]]:
        """Return plain data that is the same for equal states: the input of a digest."""
        return {
            address_key(address): {name: value_as_json(value) for name, value in facts.items()}
            for address, facts in self.facts.items()
        }


def address_key(address: Address) -> str:
    """Return a text that differs for different addresses, for digests and files."""
    # JSON, since a name that the device gave may hold any separator.
    return json.dumps([address.kind, address.name, address.id])


def value_as_json(value: FactValue | Absent | None) -> object:
    """Return a fact as JSON has it: addresses by their key, UNREADABLE and ABSENT as their name."""
    if isinstance(value, Absent):
        return {"absent": True}
    if isinstance(value, Address):
        return {"address": address_key(value)}
    if isinstance(value, Unreadable):
        return {"unreadable": True}
    if isinstance(value, tuple):
        return list(value)
    return value
