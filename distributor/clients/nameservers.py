"""Where a challenge has to stand, and whether it stands there.

A resolver that was asked for a challenge too early keeps "not there" for as long as the zone's SOA
says (RFC 2308 section 5). So resolvers find the zone above a challenge and its nameservers; what
stands at the challenge itself, an alias or values, the nameservers are asked.
"""

import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.CNAME import CNAME

from distributor.clients import dns_queries
from distributor.clients.dns_errors import FOREIGN, translate
from distributor.clients.dns_queries import (
    Answer,
    Authority,
    NoAnswer,
    Recursive,
    at_once,
    question,
)
from distributor.clients.doh import Doh
from distributor.clients.propagation import Progress, Propagation, Signal, Wanted
from distributor.model.errors import DnsRefused
from distributor.model.hosts import SocketAddress
from distributor.model.text import printable

log = logging.getLogger(__name__)

CNAME_LIMIT: Final = 16
"""Links that are followed; more is a loop or a mistake."""
PORT: Final = 53
"""Where the nameservers of a zone listen; the inventory's may listen elsewhere."""
TRIES: Final = 3
"""How many times the time of one question a look-up may take."""


def no_signal() -> None:
    """Say what a DNS provider says that cannot tell when its change is done."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stands at a name, and who serves it."""

    authorities: tuple[Authority, ...]
    alias: dns.name.Name | None


class Nameservers:
    """Look-ups by the inventory's resolvers or the system's, and answers of the authorities.

    What was found is kept for as long as this object lives, which is one run.
    """

    def __init__(
        self,
        *,
        resolvers: Sequence[SocketAddress] = (),
        nameservers: Sequence[SocketAddress] = (),
        doh: Sequence[str] = (),
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self._resolvers = tuple(resolvers)
        self._nameservers = tuple(nameservers)
        self._doh = tuple(Doh(url) for url in doh)
        self._sleep = sleep
        self._now = now
        self._known_resolver: dns.resolver.Resolver | None = None
        self._standings: dict[dns.name.Name, _Standing] = {}
        self._silent: set[Authority] = set()

    def follow(self, name: str) -> str:
        """Return the name at the end of the CNAMEs that begin at `name`, in lower case.

        An alias that stands there only by a wildcard is none: a record of the name's own takes its
        place (RFC 4592 section 2.2.1). Raises DnsRefused for a loop, or when nobody answers.
        """
        seen = [_parsed(name)]
        while len(seen) <= CNAME_LIMIT + 1:
            following = self._standing(seen[-1]).alias
            if following is None:
                return seen[-1].canonicalize().to_text(omit_final_dot=True)
            if following in seen:
                break
            seen.append(following)
        raise DnsRefused(
            f"the CNAMEs of {printable(name)} lead in a loop or further than {CNAME_LIMIT} names",
            hint="correct the CNAME record",
            step="dns",
        )

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the IPv4 and IPv6 addresses of a name, or the address that `host` is itself.

        Empty when it has none. Raises DnsRefused when no resolver answers.
        """
        return self._addresses_of(host)

    def authorities(self, name: str) -> tuple[Authority, ...]:
        """Return every address of every nameserver of the nearest zone above `name`.

        The inventory's `nameservers` take their place where they are set. Raises DnsRefused when
        the zone is not found, or there is nobody to ask.
        """
        return self._given() or self._servers_of(self._zone_above(_parsed(name)))

    def wait_for(
        self,
        wanted: Wanted,
        timeout: timedelta,
        progress: Progress,
        signal: Signal = no_signal,
    ) -> None:
        """Wait until every value of `wanted` (TXT values by name) is proved to stand.

        See `Propagation.wait`. Raises DnsRefused when a zone or its servers are not found, and
        PropagationTimeout, naming the slow server, after `timeout`.
        """
        authorities = {name: self._standing(_parsed(name)).authorities for name in wanted}
        try:
            resolvers = self._recursive()
        except DnsRefused as error:
            progress(f"no resolver is asked: {error.message}")
            resolvers = ()
        Propagation(resolvers=resolvers, doh=self._doh, sleep=self._sleep, now=self._now).wait(
            wanted, authorities, timeout, progress, signal
        )

    def _standing(self, name: dns.name.Name) -> _Standing:
        if name not in self._standings:
            self._standings[name] = self._look_at(name)
        return self._standings[name]

    def _look_at(self, name: dns.name.Name) -> _Standing:
        """Ask the authorities what stands at `name`, down to the zone that holds it."""
        servers = self._given()
        zone = None if servers else self._zone_above(name)
        while True:
            if zone is not None:
                servers = self._servers_of(zone)
            answer = self._first_answer(name, zone, servers)
            if answer is None:
                # Where no authority can be asked a resolver has to be, early as it is; not DNS over
                # HTTPS, which is to show the values later and would keep "not there".
                alias = self._alias_seen_by_resolvers
                return _Standing(servers, _own_alias(name, alias))
            deeper = None if zone is None else _cut_below(answer, name, zone)
            if deeper is None:
                return _Standing(servers, self._alias_in(answer, name, zone, servers))
            zone = deeper

    def _alias_in(
        self,
        answer: Answer,
        name: dns.name.Name,
        zone: dns.name.Name | None,
        servers: tuple[Authority, ...],
    ) -> dns.name.Name | None:
        def alias(one: dns.name.Name) -> dns.name.Name | None:
            found = answer if one == name else self._first_answer(one, zone, servers)
            return None if found is None else _alias_of(one, found)

        return _own_alias(name, alias)

    def _first_answer(
        self, name: dns.name.Name, zone: dns.name.Name | None, servers: tuple[Authority, ...]
    ) -> Answer | None:
        """Return the answer of the first server that serves `name`, or tells who does."""
        asked = [one for one in servers if one not in self._silent]
        answers = at_once(lambda one: one.ask(question(name, dns.rdatatype.CNAME)), asked)
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NoAnswer):
                log.info("dns server=%s name=%s answer=none cause=%s", one, name, answer.cause.name)
                self._silent.add(one)
        return next(
            (
                answer
                for answer in answers
                if not isinstance(answer, NoAnswer)
                and answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
                and (
                    answer.flags & dns.flags.AA
                    or (zone is not None and _cut_below(answer, name, zone) is not None)
                )
            ),
            None,
        )

    def _zone_above(self, name: dns.name.Name) -> dns.name.Name:
        """Return the nearest name above `name` that has an SOA record: a zone cut."""
        here = name
        while len(here) > 2:  # noqa: PLR2004 - a label and the root: nothing above but the root
            here = here.parent()
            if self._look_up(here, dns.rdatatype.SOA):
                return here
        raise DnsRefused(
            f"no zone found that holds {_plain(name)}",
            hint="set `nameservers`, or `resolvers` that can see the zone",
            step="dns",
        )

    def _servers_of(self, zone: dns.name.Name) -> tuple[Authority, ...]:
        found = tuple(
            Authority(_plain(_parsed(server)), SocketAddress(ip, PORT))
            for server in sorted(self._look_up(zone, dns.rdatatype.NS))
            for ip in self._addresses_of(server)
        )
        if not found:
            raise DnsRefused(
                f"the nameservers of {_plain(zone)} have no address",
                hint="correct the zone's NS records, or set `nameservers`",
                step="dns",
            )
        return found

    def _given(self) -> tuple[Authority, ...]:
        """Return the addresses of the inventory's nameservers; one without is a mistake there."""
        found: list[Authority] = []
        for given in self._nameservers:
            addresses = self._addresses_of(given.host)
            if not addresses:
                raise DnsRefused(
                    f"the nameserver {printable(given.host)} has no address",
                    hint="correct `nameservers` in the inventory",
                    step="dns",
                )
            found += [Authority(given.host, SocketAddress(ip, given.port)) for ip in addresses]
        return tuple(found)

    def _alias_seen_by_resolvers(self, name: dns.name.Name) -> dns.name.Name | None:
        found = self._look_up(name, dns.rdatatype.CNAME)
        return _parsed(found[0]) if found else None

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

    def _recursive(self) -> tuple[Recursive, ...]:
        return tuple(
            Recursive(SocketAddress(one.address, one.port))
            for one in self._resolver.nameservers
            if isinstance(one, dns.nameserver.Do53Nameserver)
        )

    @property
    def _resolver(self) -> dns.resolver.Resolver:
        if self._known_resolver is None:
            try:
                resolver = dns.resolver.Resolver(configure=not self._resolvers)
            except dns.resolver.NoResolverConfiguration as error:
                raise DnsRefused(
                    "this computer has no resolver",
                    hint="set `resolvers` in [dns.NAME], or the system's own",
                    step="dns",
                ) from error
            given = [
                SocketAddress(ip, one.port)
                for one in self._resolvers
                for ip in _system_addresses(one.host)
            ] or [SocketAddress(str(one), resolver.port) for one in resolver.nameservers]
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(one.host, one.port) for one in given
            ]
            resolver.lifetime = TRIES * dns_queries.SECONDS
            self._known_resolver = resolver
        return self._known_resolver

    def _addresses_of(self, host: str) -> tuple[str, ...]:
        if _is_ip(host):
            return (host,)
        name = _parsed(host)
        return tuple(ip for kind in _ADDRESSES for ip in self._look_up(name, kind))


_ADDRESSES: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)


def _own_alias(
    name: dns.name.Name, alias: Callable[[dns.name.Name], dns.name.Name | None]
) -> dns.name.Name | None:
    """Return the alias of `name`, if it is not one that any name beside it has: a wildcard's."""
    target = alias(name)
    if target is None:
        return None
    beside = dns.name.Name((secrets.token_hex(16).encode("ascii"), *name.labels[1:]))
    if alias(beside) == target:
        log.info("dns name=%s alias=%s wildcard=yes", name, target)
        return None
    return target


def _alias_of(name: dns.name.Name, answer: Answer) -> dns.name.Name | None:
    for rrset in answer.answer:
        for record in rrset:
            if rrset.name == name and isinstance(record, CNAME):
                return record.target
    return None


def _cut_below(answer: Answer, name: dns.name.Name, zone: dns.name.Name) -> dns.name.Name | None:
    """Return the zone below `zone` that holds `name`, if an answer tells of one.

    A referral does by its NS records; a server that has both zones by the SOA of a negative answer.
    """
    owners = [
        rrset.name
        for rrset in answer.authority
        if rrset.rdtype in {dns.rdatatype.NS, dns.rdatatype.SOA}
        and name.is_subdomain(rrset.name)
        and rrset.name.is_subdomain(zone)
        and rrset.name != zone
    ]
    return max(owners, key=len, default=None)


def _parsed(name: str) -> dns.name.Name:
    try:
        return dns.name.from_text(name)
    except dns.exception.DNSException as error:
        raise DnsRefused(
            f"{printable(name)} is no name that DNS can hold ({type(error).__name__})",
            hint="correct `names` or `nameservers` in the inventory",
            step="dns",
        ) from error


def _system_addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise translate(error, host, "finding the resolver's address") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _plain(name: dns.name.Name) -> str:
    return printable(name.to_text(omit_final_dot=True))
