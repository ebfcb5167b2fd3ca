"""What the lab's nameserver knows: zones in memory, how they answer and how they are updated.

The zones are dnspython's versioned zones. Every accepted update is a new version; queries read the
newest version that is old enough for the lag in force, as a secondary that is behind would.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.rrset
import dns.transaction
import dns.update
import dns.versioned

_TTL = 60
_NEGATIVE_TTL = 10
_MAX_CHAIN = 11
_FIRST_LABEL = b"_acme-challenge"


class _Zone:
    """One zone: its newest version, and the version that queries see."""

    def __init__(self, origin: dns.name.Name) -> None:
        self.origin = origin
        self.data = dns.versioned.Zone(origin, relativize=False)
        server = dns.name.from_text("ns1", origin)
        start_of_authority = (
            f"{server} hostmaster.{origin} 1 3600 600 86400 {_NEGATIVE_TTL}"  # RFC 1035 §3.3.13
        )
        with self.data.writer() as transaction:
            for owner, rdtype, text in (
                (origin, "SOA", start_of_authority),
                (origin, "NS", str(server)),
                (server, "A", "127.0.0.1"),
            ):
                rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, text)
                transaction.add(owner, _TTL, rdata)
        # An open reader keeps its version alive; closing it lets dnspython drop the version.
        self._views = deque([(time.monotonic(), self.data.reader())])

    def committed(self, lag: float) -> None:
        self._views.append((time.monotonic() + lag, self.data.reader()))

    def view(self) -> dns.transaction.Transaction:
        while len(self._views) > 1 and self._views[1][0] <= time.monotonic():
            self._views.popleft()[1].rollback()
        return self._views[0][1]


class Zones:
    """Authoritative zones that take dynamic updates; safe to use from several threads.

    `lag` is in seconds: how long an accepted update stays invisible to queries.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        names = sorted((dns.name.from_text(origin) for origin in origins), key=len, reverse=True)
        self._zones = [_Zone(name) for name in names]
        self._lock = threading.Lock()
        self.lag = 0.0
        self.updates = 0

    def put(self, name: str, rdtype: str, *values: str, ttl: int = _TTL) -> None:
        """Make `values` the whole record set of `name`; without values there is none.

        Queries see it at once, or after the updates before it that still lag. Values are in zone
        file form. ValueError for a name outside the zones, and for wildcards,
        which this server does not synthesise (RFC 4592).
        """
        owner = dns.name.from_text(name)
        if owner.is_wild():
            raise ValueError(f"{name}: the lab's nameserver does not serve wildcard records")
        with self._lock:
            zone = self._zone_of(owner)
            if zone is None:
                raise ValueError(f"{name}: not inside a zone of this nameserver")
            with zone.data.writer() as transaction:
                if values:
                    rdataset = dns.rdataset.from_text(dns.rdataclass.IN, rdtype, ttl, *values)
                    transaction.replace(owner, rdataset)
                else:
                    transaction.delete(owner, rdtype)
                transaction.update_serial(name=zone.origin)
            zone.committed(0.0)

    def records(self, name: str, rdtype: str) -> set[str]:
        """Return the values of `name` as last written, whatever queries see; TXT without quotes."""
        owner = dns.name.from_text(name)
        with self._lock:
            zone = self._zone_of(owner)
            rdataset = None if zone is None else zone.data.get_rdataset(owner, rdtype)
        return {_plain(rdata) for rdata in rdataset or ()}

    def serial(self, origin: str) -> int:
        """Return the newest SOA serial of the zone `origin`; KeyError if there is no such zone."""
        wanted = dns.name.from_text(origin)
        with self._lock:
            for zone in self._zones:
                if zone.origin == wanted:
                    rdataset = zone.data.find_rdataset(wanted, "SOA")
                    return cast("dns.rdtypes.ANY.SOA.SOA", rdataset[0]).serial
        raise KeyError(origin)

    def answer(self, question: dns.rrset.RRset, response: dns.message.Message) -> None:
        """Fill `response` for one question: RFC 1034 §4.3.2, negative answers as in RFC 2308."""
        name = question.name
        with self._lock:
            zone = self._zone_of(name)
            if zone is None or question.rdclass != dns.rdataclass.IN:
                response.set_rcode(dns.rcode.REFUSED)
                return
            response.flags |= dns.flags.AA
            for _ in range(_MAX_CHAIN):
                view = zone.view()
                found = _find(view, name, question.rdtype)
                for rdataset in found:
                    _append(response.answer, name, rdataset)
                if not found:
                    _say_no(response, zone.origin, view, name, question.rdtype)
                    return
                if not _is_alias(found, question.rdtype):
                    self._add_addresses(response, found)
                    return
                # Pebble does not follow aliases itself, so a server for it has to.
                name = found[0][0].target
                zone = self._zone_of(name)
                if zone is None:
                    return
            response.set_rcode(dns.rcode.SERVFAIL)

    def update(self, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Apply a dynamic update whose signature was checked, whole or not at all (RFC 2136 §3).

        The policy is the least that DNS-01 needs: TXT at names whose first label is
        `_acme-challenge`; all else is REFUSED.
        """
        if len(message.zone) != 1:
            return dns.rcode.FORMERR
        with self._lock:
            named = message.zone[0]
            zone = next((each for each in self._zones if each.origin == named.name), None)
            if zone is None or named.rdclass != dns.rdataclass.IN:
                return dns.rcode.NOTAUTH
            with zone.data.writer() as transaction:
                rcode = _check_prerequisites(message.prerequisite, zone.origin, transaction)
                if rcode == dns.rcode.NOERROR:
                    rcode = _check_changes(message.update, zone.origin, transaction)
                if rcode != dns.rcode.NOERROR:
                    transaction.rollback()
                    return rcode
                names = {change.name for change in message.update}
                before = _texts(names, transaction)
                for change in message.update:
                    _apply(change, transaction)
                if _texts(names, transaction) != before:
                    transaction.update_serial(name=zone.origin)
                    transaction.commit()
                    zone.committed(self.lag)
                else:
                    transaction.rollback()
            self.updates += 1
            return dns.rcode.NOERROR

    def _zone_of(self, name: dns.name.Name) -> _Zone | None:
        return next((zone for zone in self._zones if name.is_subdomain(zone.origin)), None)

    def _add_addresses(
        self, response: dns.message.Message, found: Sequence[dns.rdataset.Rdataset]
    ) -> None:
        """Addresses of the nameservers named in the answer (RFC 1034 §4.3.2 step 6)."""
        for rdataset in found:
            for rdata in rdataset if rdataset.rdtype == dns.rdatatype.NS else ():
                zone = self._zone_of(rdata.target)
                for address in () if zone is None else _find(zone.view(), rdata.target, "A"):
                    _append(response.additional, rdata.target, address)


def _find(
    view: dns.transaction.Transaction, name: dns.name.Name, rdtype: dns.rdatatype.RdataType | str
) -> list[dns.rdataset.Rdataset]:
    node = view.get_node(name)
    if node is None:
        return []
    wanted = dns.rdatatype.RdataType.make(rdtype)
    exact = [each for each in node.rdatasets if wanted in (each.rdtype, dns.rdatatype.ANY)]
    return exact or [each for each in node.rdatasets if each.rdtype == dns.rdatatype.CNAME]


def _is_alias(found: Sequence[dns.rdataset.Rdataset], wanted: dns.rdatatype.RdataType) -> bool:
    alias = found[0].rdtype == dns.rdatatype.CNAME
    return alias and wanted not in (dns.rdatatype.CNAME, dns.rdatatype.ANY)


def _append(
    section: list[dns.rrset.RRset], name: dns.name.Name, rdataset: dns.rdataset.Rdataset
) -> None:
    rrset = dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
    if rrset not in section:
        section.append(rrset)


def _say_no(
    response: dns.message.Message,
    origin: dns.name.Name,
    view: dns.transaction.Transaction,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
) -> None:
    """Say NXDOMAIN, or NODATA where the name or a name below it exists; with the zone's SOA.

    As with BIND, who looks for the SOA of a missing name, to find the zone cut, may not cache it.
    """
    ttl = _NEGATIVE_TTL
    if not any(each.is_subdomain(name) for each in view.iterate_names()):
        response.set_rcode(dns.rcode.NXDOMAIN)
        ttl = 0 if rdtype == dns.rdatatype.SOA else ttl
    for rdataset in _find(view, origin, dns.rdatatype.SOA):
        response.authority.append(dns.rrset.from_rdata_list(origin, ttl, list(rdataset)))


def _check_prerequisites(
    section: Sequence[dns.rrset.RRset],
    origin: dns.name.Name,
    transaction: dns.transaction.Transaction,
) -> dns.rcode.Rcode:
    """RFC 2136 §3.2."""
    exact: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], set[dns.rdata.Rdata]] = {}
    for rrset in section:
        if not rrset.name.is_subdomain(origin):
            return dns.rcode.NOTZONE
        if rrset.deleting is None:
            if rrset.ttl != 0 or rrset.rdclass != dns.rdataclass.IN:
                return dns.rcode.FORMERR
            exact.setdefault((rrset.name, rrset.rdtype), set()).update(rrset)
            continue
        must_exist = rrset.deleting == dns.rdataclass.ANY
        if rrset.rdtype == dns.rdatatype.ANY:
            if transaction.name_exists(rrset.name) != must_exist:
                return dns.rcode.NXDOMAIN if must_exist else dns.rcode.YXDOMAIN
        elif (transaction.get(rrset.name, rrset.rdtype) is not None) != must_exist:
            return dns.rcode.NXRRSET if must_exist else dns.rcode.YXRRSET
    for (name, rdtype), wanted in exact.items():
        if set(transaction.get(name, rdtype) or ()) != wanted:
            return dns.rcode.NXRRSET
    return dns.rcode.NOERROR


def _check_changes(
    section: Sequence[dns.rrset.RRset],
    origin: dns.name.Name,
    transaction: dns.transaction.Transaction,
) -> dns.rcode.Rcode:
    """RFC 2136 §3.3 and §3.4.1: what is asked for must be well-formed, in the zone and allowed."""
    for rrset in section:
        if not rrset.name.is_subdomain(origin):
            return dns.rcode.NOTZONE
        whole_name = rrset.deleting == dns.rdataclass.ANY and rrset.rdtype == dns.rdatatype.ANY
        if rrset.rdclass != dns.rdataclass.IN or (
            dns.rdatatype.is_metatype(rrset.rdtype) and not whole_name
        ):
            return dns.rcode.FORMERR
        if rrset.deleting == dns.rdataclass.NONE and rrset.ttl != 0:
            return dns.rcode.FORMERR
        if whole_name:
            node = transaction.get_node(rrset.name)
            types = [] if node is None else [each.rdtype for each in node.rdatasets]
        else:
            types = [rrset.rdtype]
        if not all(_allowed(rrset.name, rdtype) for rdtype in types):
            return dns.rcode.REFUSED
    return dns.rcode.NOERROR


def _allowed(name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
    return rdtype == dns.rdatatype.TXT and name.labels[0].lower() == _FIRST_LABEL


def _apply(change: dns.rrset.RRset, transaction: dns.transaction.Transaction) -> None:
    """RFC 2136 §3.4.2 for TXT, the one type that the policy lets through."""
    if transaction.get(change.name, dns.rdatatype.CNAME) is not None:
        return
    held = transaction.get(change.name, dns.rdatatype.TXT)
    if change.deleting == dns.rdataclass.ANY or held is None:
        after = set() if change.deleting else set(change)
    elif change.deleting == dns.rdataclass.NONE:
        after = set(held) - set(change)
    else:
        after = set(held) | set(change)
    if after:
        ttl = held.ttl if held is not None and change.deleting else change.ttl
        transaction.replace(change.name, dns.rdataset.from_rdata_list(ttl, list(after)))
    else:
        transaction.delete(change.name, dns.rdatatype.TXT)


def _texts(
    names: Iterable[dns.name.Name], transaction: dns.transaction.Transaction
) -> dict[dns.name.Name, tuple[int, frozenset[dns.rdata.Rdata]]]:
    """Take the TXT sets of `names` with their TTLs, to see whether an update changed anything."""
    held = ((name, transaction.get(name, dns.rdatatype.TXT)) for name in names)
    return {name: (each.ttl, frozenset(each)) for name, each in held if each is not None}


def _plain(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, dns.rdtypes.ANY.TXT.TXT):
        return b"".join(rdata.strings).decode()
    return rdata.to_text()
