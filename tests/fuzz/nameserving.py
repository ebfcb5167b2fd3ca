"""What nameservers and resolvers answer: messages on the wire, also over HTTPS."""

import io
from collections.abc import Mapping
from typing import Any, Final, Self, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from distributor.clients import dns_answers, dns_queries, nameservers
from distributor.clients.dns_queries import Answer, Authority, NoAnswer, question
from distributor.clients.doh import MEDIA_TYPE, Doh
from distributor.clients.hurried import HurriedAdapter
from distributor.model.hosts import SocketAddress
from tests.fuzz.judging import Target, require_harmless

_NAME: Final = dns.name.from_text("_acme-challenge.example.com.")
_ZONE: Final = dns.name.from_text("com.")
_KINDS: Final = (dns.rdatatype.TXT, dns.rdatatype.SOA, dns.rdatatype.CNAME)
_VALUES: Final = ("value-one", "value-two")


def _query(kind: dns.rdatatype.RdataType) -> dns.message.Message:
    query = question(_NAME, kind)
    query.id = 0
    return query


def _message(data: bytes) -> None:
    for kind in _KINDS:
        answer = dns_queries.read(_query(kind), data)
        _judge(answer)


def _judge(answer: Answer | NoAnswer) -> None:
    """Ask of an answer everything that is asked of answers."""
    authority = Authority("ns.example.com", SocketAddress("192.0.2.53", 53))
    seen = {}
    for read in (dns_answers.read_txt, dns_answers.read_cached_txt):
        one = read(answer, _VALUES)
        require_harmless(one.words)
        seen["_acme-challenge.example.com", authority] = one
    verdict = dns_answers.judge(seen)
    dns_answers.unasked(seen)
    zone = dns_answers.read_serial(answer)
    zones = {} if zone is None else {authority: zone}
    require_harmless(dns_answers.shown(verdict.late, dns_answers.old_copies(zones)))
    if isinstance(answer, NoAnswer):
        require_harmless(answer.words)
        return
    nameservers._cut_below(answer, _NAME, _ZONE)
    alias = nameservers._alias_of(_NAME, answer)
    if alias is not None:
        require_harmless(nameservers._plain(alias))
        nameservers._parsed(alias.to_text())


def _samples() -> tuple[bytes, ...]:
    found: list[bytes] = []
    for kind in _KINDS:
        response = dns.message.make_response(_query(kind), recursion_available=True)
        response.flags |= dns.flags.AA
        found.append(response.to_wire())
        owner = _NAME.to_text()
        lines = {
            dns.rdatatype.TXT: ('"value-one"', '"value-" "two"', '"\\255\\000"'),
            dns.rdatatype.SOA: ("ns.example.com. admin.example.com. 4294967295 1 2 3 4",),
            dns.rdatatype.CNAME: ("target.example.net.",),
        }[kind]
        response.answer.append(
            dns.rrset.from_text(owner, 300, "IN", dns.rdatatype.to_text(kind), *lines)
        )
        soa = "ns.example.com. admin.example.com. 1 1 2 3 4"
        response.authority.append(dns.rrset.from_text("example.com.", 300, "IN", "SOA", soa))
        response.authority.append(
            dns.rrset.from_text("example.com.", 300, "IN", "NS", "ns.example.com.")
        )
        response.use_edns(0, options=[])
        found.append(response.to_wire())
        response.set_rcode(dns.rcode.BADVERS)
        found.append(response.to_wire())
        response.set_rcode(dns.rcode.NXDOMAIN)
        found.append(response.to_wire())
    return tuple(found)


class _Session:
    """A session whose every answer is the input: status and type on the first line."""

    def __init__(self, data: bytes) -> None:
        head, _, self._body = data.partition(b"\n")
        status, _, kind = head.decode("latin-1").partition(" ")
        self.status_code = int(status) if status.isascii() and status.isdecimal() else 200
        self.headers = {"Content-Type": kind}
        self.raw = self
        self._stream = io.BytesIO(self._body)

    def post(self, *_words: object, **_more: object) -> Self:
        """Answer."""
        return self

    def read(self, size: int, **_more: object) -> bytes:
        """Return what comes next."""
        return self._stream.read(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_what: object) -> None:
        """Do nothing."""


def _over_https(data: bytes) -> None:
    doh = Doh("https://dns.example/query")
    adapter = HurriedAdapter(dns_queries.SECONDS)
    _judge(doh._exchange(cast("Any", _Session(data)), _query(dns.rdatatype.TXT), adapter))


def _https_samples() -> tuple[bytes, ...]:
    return tuple(f"200 {MEDIA_TYPE}".encode() + b"\n" + one for one in _samples())


TARGETS: Final[Mapping[str, Target]] = {
    "dns-message": Target(harness=_message, samples=_samples),
    "dns-over-https": Target(harness=_over_https, samples=_https_samples),
}
