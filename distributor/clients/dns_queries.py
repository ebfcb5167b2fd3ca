"""One question to one nameserver: its answer, or in words why there is none.

What a peer sends is read once, up to the 65535 octets that a message can have, and within
`SECONDS`. No exception of dnspython or the system leaves this module.
"""

import enum
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol, TypeVar

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.query
import dns.rdatatype

from distributor.clients.dns_errors import FOREIGN
from distributor.model.hosts import SocketAddress
from distributor.model.text import printable

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""How long one question may take, over UDP and TCP together."""
LARGEST: Final = 65_535
"""Octets of a message at most (RFC 1035 section 4.2.2)."""
AT_ONCE: Final = 32
"""Questions that are under way at the same time."""

A = TypeVar("A")
B = TypeVar("B")
Answer = dns.message.QueryMessage


class Cause(enum.Enum):
    """Why there is no answer."""

    NO_ROUTE = "this computer has no way to that address: an IPv6 address without IPv6"
    SILENT = "nothing came back"
    UNREADABLE = "what came back is no answer to the question"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """There is no answer."""

    cause: Cause
    words: str
    """For people, on one line."""


class Asked(Protocol):
    """Somebody who answers questions; `str` names it for people."""

    def ask(self, query: dns.message.Message) -> Answer | NoAnswer:
        """Ask once."""


@dataclass(frozen=True, slots=True)
class Authority:
    """One address of an authoritative nameserver."""

    server: str
    """Its name, or its address where the inventory gives that."""
    address: SocketAddress

    def __str__(self) -> str:
        shown = str(self.address)
        return shown if self.server == self.address.host else f"{self.server} ({shown})"

    def ask(self, query: dns.message.Message) -> Answer | NoAnswer:
        """Ask once, over UDP and then TCP."""
        return ask(query, self.address)


@dataclass(frozen=True, slots=True)
class Recursive:
    """One address of a resolver."""

    address: SocketAddress

    def __str__(self) -> str:
        return f"resolver {self.address}"

    def ask(self, query: dns.message.Message) -> Answer | NoAnswer:
        """Ask once, over UDP and then TCP."""
        return ask(query, self.address)


def question(
    name: str | dns.name.Name, kind: dns.rdatatype.RdataType, *, recursive: bool = False
) -> dns.message.Message:
    """Return a query; one that is not `recursive` asks for what the server has itself."""
    query = dns.message.make_query(name, kind)
    if not recursive:
        query.flags &= ~dns.flags.RD
    return query


def at_once(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return `work` of each item, done at the same time, in the order of the items."""
    if not items:
        return []
    with ThreadPoolExecutor(min(AT_ONCE, len(items)), thread_name_prefix="dns") as pool:
        return list(pool.map(work, items))


def ask(query: dns.message.Message, where: SocketAddress) -> Answer | NoAnswer:
    """Ask over UDP, and over TCP when that gives no whole answer in half the time.

    TCP makes up for a datagram that is lost, too small for the answer, or somebody else's; every
    nameserver has to speak it (RFC 7766 section 5).
    """
    ends = monotonic() + SECONDS
    by_udp = _by_udp(query, where, SECONDS / 2)
    if isinstance(by_udp, Answer) or by_udp.cause is Cause.NO_ROUTE:
        return by_udp
    try:
        answer = dns.query.tcp(query, where.host, timeout=ends - monotonic(), port=where.port)
    except (OSError, EOFError, dns.exception.Timeout) as error:
        log.debug("dns server=%s tcp=%s", where, type(error).__name__)
        return by_udp
    except FOREIGN as error:
        return _unreadable(error)
    return _checked(query, answer)


def _by_udp(query: dns.message.Message, where: SocketAddress, seconds: float) -> Answer | NoAnswer:
    """Ask over a connected socket, which takes datagrams of that peer only."""
    family = dns.inet.af_for_address(where.host)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.settimeout(seconds)
            try:
                udp.connect(dns.inet.low_level_address_tuple((where.host, where.port), family))
            except OSError as error:
                return NoAnswer(Cause.NO_ROUTE, f"no route to it from here ({_reason(error)})")
            udp.send(query.to_wire())
            wire = udp.recv(LARGEST)
    except OSError as error:
        return NoAnswer(Cause.SILENT, f"no answer ({_reason(error)})")
    answer = read(query, wire)
    if isinstance(answer, Answer) and answer.flags & dns.flags.TC:
        return NoAnswer(Cause.UNREADABLE, "its answer is cut short, and it gives none over TCP")
    return answer


def read(query: dns.message.Message, wire: bytes) -> Answer | NoAnswer:
    """Return the message that `wire` holds, if it answers `query`."""
    try:
        answer = dns.message.from_wire(wire)
    except FOREIGN as error:
        return _unreadable(error)
    return _checked(query, answer)


def _checked(query: dns.message.Message, answer: dns.message.Message) -> Answer | NoAnswer:
    if not isinstance(answer, Answer) or not query.is_response(answer):
        return NoAnswer(Cause.UNREADABLE, "its answer is to another question")
    return answer


def _unreadable(error: BaseException) -> NoAnswer:
    return NoAnswer(Cause.UNREADABLE, f"its answer cannot be read ({type(error).__name__})")


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {SECONDS:g} s"
    return printable(error.strerror or type(error).__name__).lower()
