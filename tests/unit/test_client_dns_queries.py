"""One question: whatever comes back is an answer or a reason, within its time."""

import errno
import socket
import struct
import time
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.dns_queries import (
    Answer,
    Cause,
    NoAnswer,
    ask,
    at_once,
    question,
    read,
)
from distributor.model.hosts import SocketAddress
from tests.unit.scripted_nameserver import NAME, Scripted, saying, txt

QUERY = question(NAME, dns.rdatatype.TXT)
VALUE = "v" * 43


@pytest.fixture(autouse=True)
def shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", 0.6)


def truncated(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return response.to_wire()


def with_another_id(query: dns.message.Message) -> bytes:
    wire = txt("a forged value")(query)
    assert wire is not None
    return struct.pack("!H", query.id ^ 1) + wire[2:]


def to_another_question(_query: dns.message.Message) -> bytes:
    wire = txt("a forged value")(dns.message.make_query("other.test", "TXT"))
    assert wire is not None
    return wire


HOSTILE = {
    "nonsense": lambda _: b"nonsense that is no message",
    "nothing at all": lambda _: b"",
    "half a header": lambda _: b"\x00\x01\x80",
    "another id": with_another_id,
    "another question": to_another_question,
    "an echo": lambda query: query.to_wire(),
    "cut": lambda query: dns.message.make_response(query).to_wire()[:-1],
    "trailing": lambda query: dns.message.make_response(query).to_wire() + b"more",
    "an update": lambda query: struct.pack("!HHHHHH", query.id, 0xA800, 0, 0, 0, 0),
    "huge": lambda query: struct.pack("!HHHHHH", query.id, 0x8400, 1, 65535, 0, 0) + b"\xc0" * 9000,
    "pointers in a ring": lambda query: (
        struct.pack("!HHHHHH", query.id, 0x8400, 1, 0, 0, 0) + b"\xc0\x0c\x00\x10\x00\x01"
    ),
}


def test_a_question_to_an_authority_asks_for_no_recursion() -> None:
    with Scripted(txt(VALUE)) as server:
        assert isinstance(ask(QUERY, server.address), Answer)
        assert not server.asked[0].flags & dns.flags.RD
    assert question(NAME, dns.rdatatype.TXT, recursive=True).flags & dns.flags.RD


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_what_makes_no_sense_over_udp_and_tcp_is_no_answer(
    answer: Callable[[dns.message.Message], bytes],
) -> None:
    with Scripted(answer, by_tcp=answer) as server:
        found = ask(QUERY, server.address)
    assert isinstance(found, NoAnswer)
    assert found.cause in {Cause.UNREADABLE, Cause.SILENT}
    assert found.words.isprintable()


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_a_forged_datagram_does_not_hide_the_answer_that_tcp_gives(
    answer: Callable[[dns.message.Message], bytes],
) -> None:
    with Scripted(answer, by_tcp=txt(VALUE)) as server:
        found = ask(QUERY, server.address)
    assert isinstance(found, Answer)
    assert VALUE in str(found)


def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    with Scripted(truncated, by_tcp=txt(VALUE)) as server:
        found = ask(QUERY, server.address)
    assert isinstance(found, Answer)
    assert VALUE in str(found)


def test_a_truncated_answer_that_tcp_does_not_make_whole_is_none() -> None:
    with Scripted(truncated) as server:
        found = ask(QUERY, server.address)
    assert isinstance(found, NoAnswer)
    assert "cut short" in found.words


def test_a_server_that_loses_datagrams_is_reached_by_tcp() -> None:
    with Scripted(by_tcp=txt(VALUE)) as server:
        assert isinstance(ask(QUERY, server.address), Answer)


def test_a_server_that_says_nothing_costs_its_time_and_no_more() -> None:
    with Scripted(by_tcp=lambda _: None) as server:
        began = time.monotonic()
        found = ask(QUERY, server.address)
        assert time.monotonic() - began < 0.6 + 1.5
    assert isinstance(found, NoAnswer)
    assert found.cause is Cause.SILENT
    assert "no answer" in found.words


def test_a_port_where_nothing_listens_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = SocketAddress("127.0.0.1", unused.getsockname()[1])
    found = ask(QUERY, nobody)
    assert isinstance(found, NoAnswer)
    assert found.cause is Cause.SILENT


class NoIpv6(socket.socket):
    """A computer without IPv6, as the system tells it when a socket is to be connected."""

    def connect(self, address: object) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        super().connect(address)  # type: ignore[arg-type]  # whatever the caller gives


def test_an_address_family_without_route_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.socket.socket", NoIpv6)
    found = ask(QUERY, SocketAddress("::1", 53))
    assert found == NoAnswer(Cause.NO_ROUTE, "no route to it from here (network is unreachable)")


def test_an_rcode_without_question_is_an_answer() -> None:
    with Scripted(saying(dns.rcode.REFUSED)) as server:
        found = ask(QUERY, server.address)
    assert isinstance(found, Answer)
    assert found.rcode() == dns.rcode.REFUSED


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_none(wire: bytes) -> None:
    assert isinstance(read(QUERY, wire), Answer | NoAnswer)


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 3), st.integers(0, 0x7FFF))
def test_any_records_behind_our_own_question_are_an_answer_or_none(
    records: bytes, answers: int, others: int, flags: int
) -> None:
    asked = QUERY.to_wire()[12:]
    head = struct.pack("!HHHHHH", QUERY.id, 0x8000 | flags, 1, answers, others, others)
    found = read(QUERY, head + asked + records)
    assert isinstance(found, Answer | NoAnswer)
    if isinstance(found, Answer):
        assert found.id == QUERY.id


def test_work_is_done_at_the_same_time_and_given_back_in_order() -> None:
    def slowly(number: int) -> int:
        time.sleep(0.2)
        return number

    began = time.monotonic()
    assert at_once(slowly, list(range(16))) == list(range(16))
    assert time.monotonic() - began < 16 * 0.2 / 2
    assert at_once(str, []) == []
