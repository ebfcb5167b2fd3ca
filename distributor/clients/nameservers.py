"""Where a challenge has to stand, and whether every authoritative nameserver has it.

A public resolver is never asked for the challenge: it would keep "not there" for as long as the
zone's SOA says. The authorities are asked, each at each of its addresses.
"""

import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.TXT import TXT

from distributor.clients.dns_errors import FOREIGN, translate
from distributor.model.errors import DnsRefused, PropagationTimeout
from distributor.model.hosts import SocketAddress
from distributor.model.text import printable

log = logging.getLogger(__name__)

QUERY_SECONDS: Final = 5.0
CNAME_LIMIT: Final = 16
"""Links that are followed; more is a loop or a mistake."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Authority:
    """One address of an authoritative nameserver."""

    server: str
    """Its name, or its address where the inventory gives that."""
    address: SocketAddress

    def __str__(self) -> str:
        shown = str(self.address)
        return shown if self.server == self.address.host else f"{self.server} ({shown})"


class Nameservers:
    """Look-ups by the inventory's resolvers or the system's, and answers of the authorities."""

    def __init__(
        self,
        *,
        resolvers: Sequence[SocketAddress] = (),
        nameservers: Sequence[SocketAddress] = (),
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self._resolvers = tuple(resolvers)
        self._nameservers = tuple(nameservers)
        self._sleep = sleep
        self._now = now
        self._known_resolver: dns.resolver.Resolver | None = None

    def follow(self, name: str) -> str:
        """Return the name at the end of the CNAMEs that begin at `name`: often `name` itself.

        Raises DnsRefused for a loop, or when no resolver answers.
        """
        seen = [_parsed(name)]
        while len(seen) <= CNAME_LIMIT + 1:
            answer = self._look_up(seen[-1], dns.rdatatype.CNAME)
            if not answer:
                return _plain(seen[-1])
            following = _parsed(answer[0])
            if following in seen:
                break
            seen.append(following)
        raise DnsRefused(
            f"the CNAMEs of {printable(name)} lead in a loop or further than {CNAME_LIMIT} names",
            hint="correct the CNAME record",
            step="dns",
        )

    def authorities(self, name: str) -> tuple[Authority, ...]:
        """Return every address of every nameserver of the zone that holds `name`.

        The inventory's `nameservers` take their place where they are set. Raises DnsRefused when
        the zone is not found, or there is nobody to ask.
        """
        if self._nameservers:
            return tuple(each for given in self._nameservers for each in self._given(given))
        zone = self._zone_of(name)
        servers = sorted(self._look_up(zone, dns.rdatatype.NS))
        found = tuple(
            Authority(_plain(_parsed(server)), SocketAddress(ip, 53))
            for server in servers
            for ip in self._addresses_of(server)
        )
        if not found:
            raise DnsRefused(
                f"the nameservers of {_plain(zone)} have no address",
                hint="correct the zone's NS records, or set `nameservers`",
                step="dns",
            )
        return found

    def wait_for(
        self,
        wanted: dict[str, tuple[str, ...]],
        timeout: timedelta,
        progress: Callable[[str], None],
    ) -> None:
        """Wait until every authority serves every value of `wanted` (TXT values by name).

        Raises PropagationTimeout, naming the slow server, when that takes longer than `timeout`.
        """
        deadline = self._now() + timeout
        missing = {
            (name, authority): values
            for name, values in wanted.items()
            for authority in self.authorities(name)
        }
        pause = FIRST_PAUSE
        while True:
            late = self._late(missing)
            missing = {place: missing[place] for place in late}
            if not missing:
                return
            shown = "; ".join(sorted({f"{place[1]}: {late[place]}" for place in late}))
            if self._now() >= deadline:
                raise PropagationTimeout(
                    f"after {timeout.total_seconds():g} s the challenge is not served everywhere: "
                    f"{shown}",
                    hint="raise `propagation_timeout`, or look at that nameserver",
                    step="propagation",
                )
            progress(f"waiting for {shown}")
            self._sleep(min(pause, (deadline - self._now()).total_seconds()))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _late(
        self, missing: dict[tuple[str, Authority], tuple[str, ...]]
    ) -> dict[tuple[str, Authority], str]:
        """Return each place that does not serve its values yet, with the reason."""
        results = {
            (name, authority): self._state(name, values, authority)
            for (name, authority), values in missing.items()
        }
        served = {(name, a.server) for (name, a), state in results.items() if state is None}
        return {
            place: state
            for place, state in results.items()
            # An address family that this computer has no route to says nothing of the server, as
            # long as another address of the same server answered.
            if state is not None
            and not (state is _NO_ROUTE and (place[0], place[1].server) in served)
        }

    def _state(self, name: str, values: tuple[str, ...], authority: Authority) -> str | None:
        """Return None when the authority serves all values, else the reason why not."""
        query = dns.message.make_query(name, dns.rdatatype.TXT)
        query.flags &= ~dns.flags.RD
        where = authority.address
        try:
            answer, _ = dns.query.udp_with_fallback(
                query, where.host, timeout=QUERY_SECONDS, port=where.port
            )
        except FOREIGN as error:
            if isinstance(error, OSError) and error.errno in _UNROUTABLE:
                return _NO_ROUTE
            return f"no answer ({printable(type(error).__name__)})"
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            return f"answers {dns.rcode.to_text(answer.rcode())}"
        absent = set(values) - set(_txt_values(answer))
        return f"{len(absent)} of {len(values)} values not there yet" if absent else None

    def _zone_of(self, name: str) -> dns.name.Name:
        """Return the zone cut at or above `name`: the nearest name that has an SOA record."""
        here = _parsed(name)
        while len(here) > 1:
            if self._look_up(here, dns.rdatatype.SOA):
                return here
            here = here.parent()
        raise DnsRefused(
            f"no zone found that holds {printable(name)}",
            hint="set `nameservers`, or `resolvers` that can see the zone",
            step="dns",
        )

    def _look_up(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
        try:
            answer = self._resolver.resolve(name, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return ()
        except FOREIGN as error:
            asked = ", ".join(map(str, self._resolvers)) or "the system's resolvers"
            what = f"looking up {dns.rdatatype.to_text(kind)} of {_plain(name)}"
            raise translate(error, asked, what) from error
        # A resolver follows aliases: what it found may be another name's. The nearest zone and its
        # servers must be the name's own; an address may well be behind an alias.
        if kind not in _ADDRESSES and answer.canonical_name != name:
            return ()
        return tuple(str(record) for record in answer.rrset or ())

    @property
    def _resolver(self) -> dns.resolver.Resolver:
        if self._known_resolver is None:
            resolver = dns.resolver.Resolver(configure=not self._resolvers)
            if self._resolvers:
                resolver.nameservers = [
                    dns.nameserver.Do53Nameserver(ip, given.port)
                    for given in self._resolvers
                    for ip in _system_addresses(given.host)
                ]
            resolver.lifetime = 3 * QUERY_SECONDS
            self._known_resolver = resolver
        return self._known_resolver

    def _addresses_of(self, host: str) -> tuple[str, ...]:
        if _is_ip(host):
            return (host,)
        name = _parsed(host)
        return tuple(ip for kind in _ADDRESSES for ip in self._look_up(name, kind))

    def _given(self, given: SocketAddress) -> tuple[Authority, ...]:
        """Return the addresses of a nameserver of the inventory; none at all is a mistake there."""
        found = self._addresses_of(given.host)
        if not found:
            raise DnsRefused(
                f"the nameserver {printable(given.host)} has no address",
                hint="correct `nameservers` in the inventory",
                step="dns",
            )
        return tuple(Authority(given.host, SocketAddress(ip, given.port)) for ip in found)


_ADDRESSES: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)
_NO_ROUTE: Final = "no route to this address"
_UNROUTABLE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})


def _parsed(name: str) -> dns.name.Name:
    try:
        return dns.name.from_text(name)
    except dns.exception.DNSException as error:
        raise DnsRefused(
            f"{printable(name)} is no name that DNS can hold ({type(error).__name__})",
            hint="correct `names` or `nameservers` in the inventory",
            step="dns",
        ) from error


def _txt_values(answer: dns.message.Message) -> Iterable[str]:
    for rrset in answer.answer:
        for record in rrset:
            if isinstance(record, TXT):
                yield b"".join(record.strings).decode("utf-8", errors="replace")


def _system_addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise translate(error, host, "finding the resolver's address") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_ip(host: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _plain(name: dns.name.Name) -> str:
    return printable(name.to_text(omit_final_dot=True))
