"""Where a challenge has to stand is found, and every authority is asked whether it has it."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from distributor.clients.nameservers import CNAME_LIMIT, Authority, Nameservers
from distributor.lab.nameserver import Nameserver
from distributor.model.errors import DnsRefused, PropagationTimeout
from distributor.model.hosts import SocketAddress

SECRET = base64.b64encode(b"s" * 32).decode()
NAME = "_acme-challenge.example.test"
ZONES = ("example.test", "sub.example.test", "other.test")
SOON = timedelta(seconds=5)


def lab(*zones: str) -> Nameserver:
    return Nameserver(zones or ZONES, key_name="acme-key", key_secret=SECRET)


@pytest.fixture
def server() -> Iterator[Nameserver]:
    with lab() as running:
        yield running


def at(server: Nameserver) -> SocketAddress:
    return SocketAddress(*server.address)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


def by(
    resolver: Nameserver | SocketAddress | None = None,
    *nameservers: SocketAddress,
    clock: Clock | None = None,
) -> Nameservers:
    """Return a client that asks `resolver`, or these nameservers; in real time without a clock."""
    where = at(resolver) if isinstance(resolver, Nameserver) else resolver
    return Nameservers(
        resolvers=(where,) if where is not None else (),
        nameservers=nameservers,
        sleep=clock.sleep if clock is not None else time.sleep,
        now=clock.now if clock is not None else lambda: datetime.now(UTC),
    )


def silence(_line: str) -> None:
    """Take a line of progress."""


def test_a_name_without_alias_is_its_own_end(server: Nameserver) -> None:
    assert by(server).follow(NAME) == NAME
    server.put(NAME, "TXT", '"something"')
    assert by(server).follow(NAME) == NAME


def test_aliases_are_followed_to_their_end_across_zones(server: Nameserver) -> None:
    server.put(NAME, "CNAME", "one.other.test.")
    server.put("one.other.test", "CNAME", "Two.sub.example.test.")
    assert by(server).follow(NAME).lower() == "two.sub.example.test"


def test_aliases_in_a_loop_or_without_end_are_refused(server: Nameserver) -> None:
    server.put("a.other.test", "CNAME", "b.other.test.")
    server.put("b.other.test", "CNAME", "a.other.test.")
    with pytest.raises(DnsRefused, match="loop"):
        by(server).follow("a.other.test")
    for number in range(CNAME_LIMIT + 1):
        server.put(f"c{number}.other.test", "CNAME", f"c{number + 1}.other.test.")
    assert by(server).follow("c1.other.test") == f"c{CNAME_LIMIT + 1}.other.test"
    with pytest.raises(DnsRefused, match="further than 16"):
        by(server).follow("c0.other.test")


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "x." * 200])
def test_a_name_that_dns_cannot_hold_is_refused(server: Nameserver, name: str) -> None:
    with pytest.raises(DnsRefused):
        by(server).follow(name)
    with pytest.raises(DnsRefused):
        by(server).authorities(name)


def test_a_resolver_that_refuses_or_is_away_is_named(server: Nameserver) -> None:
    with pytest.raises(DnsRefused, match="looking up CNAME of elsewhere") as caught:
        by(server).follow("elsewhere.example")
    assert str(at(server)) in caught.value.message
    with pytest.raises(DnsRefused, match="finding the resolver"):
        by(SocketAddress("nobody.invalid", 53)).follow(NAME)


def test_the_authorities_are_those_of_the_nearest_zone(server: Nameserver) -> None:
    assert by(server).authorities(NAME) == (
        Authority("ns1.example.test", SocketAddress("127.0.0.1", 53)),
    )
    below = by(server).authorities("_acme-challenge.a.b.sub.example.test")
    assert [each.server for each in below] == ["ns1.sub.example.test"]


def test_an_alias_on_the_way_up_is_no_zone_cut(server: Nameserver) -> None:
    server.put("www.example.test", "CNAME", "other.test.")
    found = by(server).authorities("_acme-challenge.www.example.test")
    assert [each.server for each in found] == ["ns1.example.test"]


def test_every_address_of_every_server_is_asked(server: Nameserver) -> None:
    server.put("example.test", "NS", "ns1.example.test.", "ns2.other.test.")
    server.put("ns1.example.test", "A", "192.0.2.1", "192.0.2.2")
    server.put("ns2.other.test", "A", "192.0.2.3")
    server.put("ns2.other.test", "AAAA", "2001:db8::53")
    found = by(server).authorities(NAME)
    assert {(each.server, each.address.host, each.address.port) for each in found} == {
        ("ns1.example.test", "192.0.2.1", 53),
        ("ns1.example.test", "192.0.2.2", 53),
        ("ns2.other.test", "192.0.2.3", 53),
        ("ns2.other.test", "2001:db8::53", 53),
    }


def test_a_zone_that_is_not_there_or_has_no_reachable_server_is_refused(
    server: Nameserver,
) -> None:
    server.put("example.test", "NS", "nowhere.other.test.")
    with pytest.raises(DnsRefused, match=r"nameservers of example\.test have no address"):
        by(server).authorities(NAME)


def test_the_inventorys_nameservers_take_the_place_of_the_zones(server: Nameserver) -> None:
    given = (SocketAddress("192.0.2.9", 5353), SocketAddress("hidden.other.test", 54))
    server.put("hidden.other.test", "A", "192.0.2.10")
    server.put("hidden.other.test", "AAAA", "2001:db8::10")
    assert by(server, *given).authorities("whatever.example") == (
        Authority("192.0.2.9", SocketAddress("192.0.2.9", 5353)),
        Authority("hidden.other.test", SocketAddress("192.0.2.10", 54)),
        Authority("hidden.other.test", SocketAddress("2001:db8::10", 54)),
    )


def test_a_nameserver_of_the_inventory_without_address_is_not_passed_over(
    server: Nameserver,
) -> None:
    client = by(server, at(server), SocketAddress("misspelt.other.test", 53))
    with pytest.raises(DnsRefused, match=r"misspelt\.other\.test"):
        client.wait_for({NAME: ("value",)}, SOON, silence)


def test_values_that_stand_there_need_no_waiting(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"', '"two"', '"a stranger\'s"')
    clock = Clock()
    by(None, at(server), clock=clock).wait_for({NAME: ("one", "two")}, SOON, silence)
    assert clock.slept == []


def test_a_server_that_lags_is_waited_for(server: Nameserver) -> None:
    lines: list[str] = []
    late = threading.Timer(0.8, lambda: server.put(NAME, "TXT", '"one"', '"two"'))
    server.put(NAME, "TXT", '"one"')
    late.start()
    try:
        by(None, at(server)).wait_for({NAME: ("one", "two")}, SOON, lines.append)
    finally:
        late.join()
    assert lines
    assert f"{at(server)}: 1 of 2 values not there yet" in lines[0]


def test_one_late_of_two_is_waited_for_and_named(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    with lab() as slow:
        clock = Clock()
        client = by(None, at(server), at(slow), clock=clock)
        with pytest.raises(PropagationTimeout) as caught:
            client.wait_for({NAME: ("one",)}, timedelta(seconds=20), silence)
        assert str(at(slow)) in caught.value.message
        assert str(at(server)) not in caught.value.message
        assert "after 20 s" in caught.value.message
        assert 20 <= sum(clock.slept) <= 21
        slow.put(NAME, "TXT", '"one"')
        client.wait_for({NAME: ("one",)}, timedelta(seconds=20), silence)


def test_names_of_several_zones_are_waited_for_together(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    wanted: dict[str, tuple[str, ...]] = {NAME: ("one",), "_acme-challenge.other.test": ("two",)}
    client = by(None, at(server), clock=Clock())
    with pytest.raises(PropagationTimeout, match="1 of 1 values"):
        client.wait_for(wanted, SOON, silence)
    server.put("_acme-challenge.other.test", "TXT", '"two"')
    client.wait_for(wanted, SOON, silence)


def test_a_server_that_is_down_is_not_passed_over(
    server: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.clients.nameservers.QUERY_SECONDS", 0.1)
    server.put(NAME, "TXT", '"one"')
    with lab() as gone:
        down = at(gone)
    with pytest.raises(PropagationTimeout, match="no answer") as caught:
        by(None, at(server), down, clock=Clock()).wait_for({NAME: ("one",)}, SOON, silence)
    assert str(down) in caught.value.message


def test_a_server_that_does_not_serve_the_zone_is_told_apart(server: Nameserver) -> None:
    client = by(None, at(server), clock=Clock())
    with pytest.raises(PropagationTimeout, match="answers REFUSED"):
        client.wait_for({"_acme-challenge.elsewhere.example": ("one",)}, SOON, silence)


def test_an_answer_too_large_for_a_datagram_is_read_whole(server: Nameserver) -> None:
    values = tuple(f"{number:043}" for number in range(40))
    server.put(NAME, "TXT", *(f'"{value}"' for value in values))
    clock = Clock()
    by(None, at(server), clock=clock).wait_for({NAME: values}, SOON, silence)
    assert clock.slept == []


class Scripted:
    """A nameserver over UDP that answers as a test says, and remembers the questions."""

    def __init__(self, answer: Callable[[dns.message.Message], bytes]) -> None:
        self.asked: list[dns.message.Message] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.address = SocketAddress("127.0.0.1", self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address.host, self.address.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(4096)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            self.asked.append(query)
            self._socket.sendto(self._answer(query), peer)


def with_value(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    name = query.question[0].name
    response.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", '"on" "e"'))
    return response.to_wire()


def test_an_authority_is_never_asked_for_recursion() -> None:
    with Scripted(with_value) as server:
        by(None, server.address, clock=Clock()).wait_for({NAME: ("one",)}, SOON, silence)
        assert server.asked
        assert not any(query.flags & dns.flags.RD for query in server.asked)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: b"nonsense that is no message",
        lambda _: with_value(dns.message.make_query("other.test", "TXT")),
        lambda query: query.to_wire(),
        lambda query: dns.message.make_response(query).to_wire()[:-1],
    ],
    ids=["nonsense", "other question", "echo", "cut"],
)
def test_an_answer_that_makes_no_sense_is_no_answer(
    answer: Callable[[dns.message.Message], bytes],
) -> None:
    with Scripted(answer) as server:
        client = by(None, server.address, clock=Clock())
        with pytest.raises(PropagationTimeout, match="no answer"):
            client.wait_for({NAME: ("one",)}, timedelta(0), silence)


def test_a_stop_while_waiting_gets_through(server: Nameserver) -> None:
    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    client = Nameservers(nameservers=(at(server),), sleep=stop, now=lambda: datetime.now(UTC))
    with pytest.raises(KeyboardInterrupt):
        client.wait_for({NAME: ("one",)}, SOON, silence)
