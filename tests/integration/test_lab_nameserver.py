"""The lab's nameserver: what the comparison with BIND does not show."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distributor.lab.nameserver import Nameserver

SECRET = base64.b64encode(b"s" * 32).decode()
KEY = dns.tsig.Key("lab-key", base64.b64decode(SECRET), "hmac-sha256")
NAME = "_acme-challenge.example.test"


@pytest.fixture
def server() -> Iterator[Nameserver]:
    zones = ["example.test", "sub.example.test"]
    with Nameserver(zones, key_name="lab-key", key_secret=SECRET) as running:
        yield running


def add(server: Nameserver, *values: str, name: str = NAME) -> dns.rcode.Rcode:
    update = dns.update.UpdateMessage("example.test")
    update.add(dns.name.from_text(name), 60, "TXT", *values)
    update.use_tsig(KEY)
    host, port = server.address
    return dns.query.tcp(update, host, 5, port).rcode()


def ask(server: Nameserver, name: str, rdtype: str = "TXT") -> dns.message.Message:
    host, port = server.address
    return dns.query.udp(dns.message.make_query(name, rdtype), host, 5, port)


def seen(server: Nameserver, name: str = NAME) -> set[str]:
    return {str(rdata).strip('"') for rrset in ask(server, name).answer for rdata in rrset}


def test_udp_and_tcp_answer_at_one_port(server: Nameserver) -> None:
    host, port = server.address
    query = dns.message.make_query("example.test", "SOA")

    over_udp, over_tcp = (
        dns.query.udp(query, host, 5, port),
        dns.query.tcp(query, host, 5, port),
    )

    assert host == "127.0.0.1"
    assert over_udp.answer == over_tcp.answer != []
    assert over_udp.flags & dns.flags.RA


def test_accepted_updates_are_counted_and_kept(server: Nameserver) -> None:
    before = server.serial("example.test")

    assert add(server, '"one"', '"two"') == dns.rcode.NOERROR
    assert add(server, '"three"', name="www.example.test") == dns.rcode.REFUSED

    assert server.updates == 1
    assert server.records(NAME, "TXT") == {"one", "two"}
    assert server.records("www.example.test", "TXT") == set()
    assert server.serial("example.test") == before + 1


def test_with_a_lag_queries_see_an_update_only_later(server: Nameserver) -> None:
    server.lag = 0.4
    started = time.monotonic()
    add(server, '"late"')
    assert server.records(NAME, "TXT") == {"late"}
    assert seen(server) == set()

    while not seen(server):
        assert time.monotonic() - started < 5
        time.sleep(0.02)

    assert time.monotonic() - started >= 0.4
    assert seen(server) == {"late"}


def test_updates_become_visible_in_their_order(server: Nameserver) -> None:
    server.lag = 0.3
    add(server, '"first"')
    server.lag = 0.0
    add(server, '"second"')

    assert seen(server) == set()
    time.sleep(0.35)
    assert seen(server) == {"first", "second"}


def test_a_zone_below_another_answers_for_itself(server: Nameserver) -> None:
    answer = ask(server, "_acme-challenge.sub.example.test", "SOA")

    assert [rrset.name.to_text() for rrset in answer.authority] == ["sub.example.test."]
    assert add(server, '"one"', name="_acme-challenge.sub.example.test") == dns.rcode.NOERROR


def test_a_name_outside_the_zones_is_refused(server: Nameserver) -> None:
    assert ask(server, "elsewhere.invalid").rcode() == dns.rcode.REFUSED


def test_put_replaces_a_record_set_at_once(server: Nameserver) -> None:
    server.lag = 60
    server.put("www.example.test", "A", "127.0.0.2")
    server.put("www.example.test", "A", "127.0.0.3", "127.0.0.4")

    assert server.records("www.example.test", "A") == {"127.0.0.3", "127.0.0.4"}
    assert len(ask(server, "www.example.test", "A").answer[0]) == 2


@pytest.mark.parametrize("name", ["*.example.test", "www.elsewhere.invalid"])
def test_put_refuses_what_would_not_be_served(server: Nameserver, name: str) -> None:
    with pytest.raises(ValueError, match=name.replace("*", r"\*")):
        server.put(name, "A", "127.0.0.2")


def test_a_secret_that_is_not_base64_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="lab-key") as caught:
        Nameserver(["example.test"], key_name="lab-key", key_secret="n0t base64!")

    assert "n0t" not in str(caught.value)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="hmac-sha257 is no TSIG algorithm"):
        Nameserver(
            ["example.test"], key_name="lab-key", key_secret=SECRET, key_algorithm="hmac-sha257"
        )


def test_a_port_in_use_is_an_error(server: Nameserver) -> None:
    _, port = server.address
    other = Nameserver(["example.test"], key_name="lab-key", key_secret=SECRET, port=port)

    with pytest.raises(OSError, match="in use"):
        other.start()


def test_it_can_be_started_at_the_port_that_it_left() -> None:
    with Nameserver(["example.test"], key_name="lab-key", key_secret=SECRET) as first:
        _, port = first.address
        add(first, '"one"')
    with Nameserver(["example.test"], key_name="lab-key", key_secret=SECRET, port=port) as second:
        assert add(second, '"two"') == dns.rcode.NOERROR


def test_stopping_leaves_no_thread_and_closes_open_connections() -> None:
    before = set(threading.enumerate())
    server = Nameserver(["example.test"], key_name="lab-key", key_secret=SECRET)
    server.start()
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall(b"\x00")
        ask(server, "example.test", "SOA")
        server.stop()
        server.stop()

        assert connection.recv(1) == b""
    assert set(threading.enumerate()) <= before


def test_messages_of_a_connection_may_come_in_pieces_or_together(server: Nameserver) -> None:
    query = dns.message.make_query("example.test", "SOA").to_wire(prepend_length=True)
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.sendall(query[:1])
        time.sleep(0.02)
        connection.sendall(query[1:7])
        time.sleep(0.02)
        connection.sendall(query[7:] + query)

        answers = [dns.query.receive_tcp(connection)[0] for _ in range(2)]

    assert [answer.rcode() for answer in answers] == [dns.rcode.NOERROR] * 2


def test_more_connections_than_it_bears_are_closed_and_the_others_served(
    server: Nameserver,
) -> None:
    held = [socket.create_connection(server.address, timeout=5) for _ in range(64)]
    try:
        assert ask(server, "example.test", "SOA").rcode() == dns.rcode.NOERROR
        with socket.create_connection(server.address, timeout=5) as surplus:
            assert surplus.recv(1) == b""
        query = dns.message.make_query("example.test", "SOA")
        dns.query.send_tcp(held[0], query)
        assert dns.query.receive_tcp(held[0])[0].answer
    finally:
        for connection in held:
            connection.close()


def test_what_is_not_understood_gets_the_code_that_says_so(server: Nameserver) -> None:
    status = dns.message.make_query("example.test", "SOA")
    status.set_opcode(dns.opcode.STATUS)
    no_question = dns.message.Message()
    two_questions = dns.message.make_query("example.test", "SOA")
    two_questions.question *= 2
    no_zone = dns.update.UpdateMessage()
    no_zone.use_tsig(KEY)
    host, port = server.address

    rcodes = [
        dns.query.tcp(message, host, 5, port).rcode()
        for message in (status, no_question, two_questions, no_zone)
    ]

    assert rcodes == [
        dns.rcode.NOTIMP,
        dns.rcode.FORMERR,
        dns.rcode.FORMERR,
        dns.rcode.FORMERR,
    ]


def test_an_update_whose_signature_was_stripped_changes_nothing(server: Nameserver) -> None:
    update = dns.update.UpdateMessage("example.test")
    update.add(dns.name.from_text(NAME), 60, "TXT", '"one"')
    host, port = server.address

    assert dns.query.udp(update, host, 5, port).rcode() == dns.rcode.REFUSED
    assert (server.updates, server.records(NAME, "TXT")) == (0, set())


def test_every_change_of_a_signed_update_on_its_way_is_noticed(server: Nameserver) -> None:
    update = dns.update.UpdateMessage("example.test")
    update.add(dns.name.from_text(NAME), 60, "TXT", '"one"')
    update.use_tsig(KEY)
    wire = update.to_wire()
    end_of_content = wire.index(b"\x07lab-key")

    for position in range(2, end_of_content):
        changed = bytearray(wire)
        changed[position] ^= 1
        server._respond(bytes(changed), datagram=False)

    assert (server.updates, server.records(NAME, "TXT")) == (0, set())
    server._respond(wire, datagram=False)
    assert (server.updates, server.records(NAME, "TXT")) == (1, {"one"})


def signed() -> bytes:
    update = dns.update.UpdateMessage("example.test")
    update.present(dns.name.from_text(NAME), "TXT")
    update.add(dns.name.from_text(NAME), 60, "TXT", '"one"')
    update.use_tsig(KEY)
    return update.to_wire()


def test_fragments_and_responses_get_no_answer(server: Nameserver) -> None:
    response = dns.message.make_response(dns.message.make_query("example.test", "SOA"))

    assert server._respond(b"\x00" * 11, datagram=True) is None
    assert server._respond(response.to_wire(), datagram=True) is None
    assert server._respond(response.to_wire()[:-1], datagram=True) is None


def test_a_connection_that_is_reset_harms_nobody(server: Nameserver) -> None:
    with socket.create_connection(server.address, timeout=5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"\x00")

    assert ask(server, "example.test", "SOA").answer


TEMPLATES = [
    dns.message.make_query(NAME, "TXT", use_edns=True).to_wire(),
    signed(),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    template=st.sampled_from(TEMPLATES),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 400),
)
def test_no_message_stops_it(template: bytes, flips: list[tuple[int, int]], cut: int) -> None:
    wire = bytearray(template[: max(cut, 1)])
    for position, value in flips:
        wire[position % len(wire)] = value
    server = Nameserver(["example.test"], key_name="lab-key", key_secret=SECRET)

    answer = server._respond(bytes(wire), datagram=True)

    if answer is not None:
        message_id, flags = struct.unpack_from("!HH", answer)
        assert message_id == int.from_bytes(wire[:2], "big")
        assert flags & dns.flags.QR
        assert len(answer) <= 1232
