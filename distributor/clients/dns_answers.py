"""What answers say of a challenge, and what all of them together prove; nothing is asked here.

A public resolver proves nothing that an authority did not show first, and an address that this
computer cannot reach by nature (IPv6 without IPv6) says nothing of its server.
"""

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype
import dns.serial
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT

from distributor.clients.dns_queries import Answer, Authority, Cause, NoAnswer

LISTED: Final = 6
"""Servers at most that a message names: more would hide what it says."""


class Found(enum.Enum):
    """What one server showed."""

    SERVED = enum.auto()
    LACKING = enum.auto()
    """It answers for the name, and not with all values."""
    LAME = enum.auto()
    """It answers that it does not serve the zone, or not now."""
    UNREADABLE = enum.auto()
    SILENT = enum.auto()
    NO_ROUTE = enum.auto()


@dataclass(frozen=True, slots=True)
class Seen:
    """What one server showed of one name."""

    found: Found
    words: str = ""
    """Empty for what is served."""
    seconds: int = 0
    """How long a resolver will go on giving this answer from its cache."""


Place = tuple[str, Authority]
"""A name, and one of those who have to serve it."""

_UNHEARD: Final = frozenset({Found.SILENT, Found.NO_ROUTE})
_BY_CAUSE: Final = {
    Cause.NO_ROUTE: Found.NO_ROUTE,
    Cause.SILENT: Found.SILENT,
    Cause.UNREADABLE: Found.UNREADABLE,
}
_LAME: Final = {
    dns.rcode.REFUSED: "answers REFUSED: it does not serve that zone (lame)",
    dns.rcode.SERVFAIL: "answers SERVFAIL: it cannot serve that zone now (lame)",
}


def read_txt(answer: Answer | NoAnswer, values: Collection[str]) -> Seen:
    """Return what an authority's answer to a TXT question says of `values`."""
    if isinstance(answer, NoAnswer):
        return Seen(_BY_CAUSE[answer.cause], answer.words)
    rcode = answer.rcode()
    if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        words = _LAME.get(rcode, f"answers {dns.rcode.to_text(rcode)}")
        return Seen(Found.LAME, words)
    absent = set(values) - set(_texts(answer))
    if not absent:
        return Seen(Found.SERVED)
    if not answer.flags & dns.flags.AA:
        return Seen(Found.LAME, "answers without authority for that zone (lame)")
    return Seen(Found.LACKING, f"{len(absent)} of {len(values)} values not there yet")


def read_cached_txt(answer: Answer | NoAnswer, values: Collection[str]) -> Seen:
    """Return what a resolver's answer says of `values`, and for how long it will say so."""
    seen = read_txt(answer, values)
    if isinstance(answer, NoAnswer) or seen.found is Found.SERVED:
        return seen
    rcode = answer.rcode()
    if rcode == dns.rcode.SERVFAIL:
        return Seen(
            Found.LAME, "answers SERVFAIL: if the zone is signed, are its signatures right?"
        )
    if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} or answer.flags & dns.flags.AA:
        return seen
    try:
        seconds = answer.resolve_chaining().minimum_ttl
    except dns.exception.DNSException as error:
        return Seen(Found.UNREADABLE, f"its answer cannot be used ({type(error).__name__})")
    return Seen(Found.LACKING, f"has an older answer in its cache, for {seconds} s more", seconds)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all answers together prove."""

    late: Mapping[Place, Seen]
    """Places that have to serve the values and are not seen to; empty once all is proved."""
    unheard: frozenset[str]
    """Names of which nobody could be asked: port 53 may be closed from here."""


def judge(seen: Mapping[Place, Seen]) -> Verdict:
    """Return what is proved: every address that can be asked serves all values, one at least."""
    heard = {name for (name, _), one in seen.items() if one.found not in _UNHEARD}
    late = {
        (name, authority): one
        for (name, authority), one in seen.items()
        if one.found is not Found.SERVED and not (one.found is Found.NO_ROUTE and name in heard)
    }
    return Verdict(late, frozenset(name for name, _ in seen if name not in heard))


def merely_dead(seen: Mapping[Place, Seen], late: Collection[Place]) -> set[Place]:
    """Return the late places that are silent, while the same server serves the name elsewhere.

    Elsewhere is another address, such as an IPv4 beside an IPv6 one whose packets are dropped on
    the way; another port is another server.
    """
    serving = {
        (name, authority.server, authority.address.port)
        for (name, authority), one in seen.items()
        if one.found is Found.SERVED
    }
    return {
        (name, authority)
        for name, authority in late
        if seen[name, authority].found is Found.SILENT
        and (name, authority.server, authority.address.port) in serving
    }


def unasked(seen: Mapping[Place, Seen]) -> tuple[str, ...]:
    """Return the servers that could be asked at none of their addresses, for want of a route."""
    reached = {place[1].server for place, one in seen.items() if one.found is not Found.NO_ROUTE}
    return tuple(dict.fromkeys(str(a) for _, a in seen if a.server not in reached))


Zone = tuple[dns.name.Name, int]
"""A zone and the serial of the copy that a server holds."""


def read_serial(answer: Answer | NoAnswer) -> Zone | None:
    """Return zone and serial of an answer to an SOA question, given or beside a negative one."""
    if isinstance(answer, NoAnswer):
        return None
    for section in (answer.answer, answer.authority):
        for rrset in section:
            for record in rrset:
                if isinstance(record, SOA):
                    return rrset.name, record.serial
    return None


def old_copies(zones: Mapping[Authority, Zone]) -> dict[Authority, str]:
    """Return, for each server with an older zone than another one has, words that say so.

    Serials are compared as RFC 1982 has it: they wrap around.
    """
    return {
        authority: f"its zone is old (serial {serial}, elsewhere {newest})"
        for authority, (zone, serial) in zones.items()
        for newest in [_newest(other for name, other in zones.values() if name == zone)]
        if dns.serial.Serial(serial) < dns.serial.Serial(newest)
    }


def shown(late: Mapping[Place, Seen], old: Mapping[Authority, str]) -> str:
    """Return who is late and why, for people; each server and reason once."""
    lines = sorted(
        {
            f"{authority}: {one.words}" + (f"; {old[authority]}" if authority in old else "")
            for (_, authority), one in late.items()
        }
    )
    more = f"; and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return "; ".join(lines[:LISTED]) + more


def _newest(serials: Iterable[int]) -> int:
    found, *others = serials
    for one in others:
        if dns.serial.Serial(found) < dns.serial.Serial(one):
            found = one
    return found


def _texts(answer: Answer) -> Iterator[str]:
    for rrset in answer.answer:
        for record in rrset:
            if isinstance(record, TXT):
                yield b"".join(record.strings).decode("utf-8", errors="replace")
