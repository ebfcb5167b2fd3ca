"""Every authority is asked, in the order that does no harm, and who is late is named."""

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from distributor.clients.nameservers import Nameservers
from distributor.lab.nameserver import Nameserver
from distributor.model.errors import DnsRefused, PropagationTimeout
from distributor.model.hosts import SocketAddress
from tests.unit.scripted_nameserver import (
    NAME,
    SOON,
    Clock,
    Script,
    Scripted,
    at,
    client,
    nothing,
    saying,
    silence,
    txt,
)
from tests.unit.test_client_dns_queries import NoIpv6

SECRET = base64.b64encode(b"s" * 32).decode()
WANTED: dict[str, tuple[str, ...]] = {NAME: ("one",)}
MINUTE = timedelta(minutes=1)
SHORT = timedelta(seconds=12)
"""Others are asked after a third of it."""


def lab() -> Nameserver:
    return Nameserver(("example.test", "other.test"), key_name="acme-key", key_secret=SECRET)


@pytest.fixture
def server() -> Iterator[Nameserver]:
    with lab() as running:
        yield running


@pytest.fixture
def shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions that nobody answers cost little."""
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", 0.3)


def never(_query: dns.message.Message) -> None:
    """Give no answer."""


def dead() -> SocketAddress:
    """A place where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return SocketAddress("127.0.0.1", unused.getsockname()[1])


class Later:
    """A script that changes after some questions."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)

    def __call__(self, query: dns.message.Message) -> bytes | None:
        if query.question[0].rdtype != dns.rdatatype.TXT:
            return nothing(authoritative=True)(query)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        return script(query)


def test_values_that_stand_there_need_no_waiting(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"', '"two"', '"a stranger\'s"')
    clock = Clock()
    client(server, clock=clock).wait_for({NAME: ("one", "two")}, SOON, silence)
    assert clock.slept == []


def test_a_server_that_lags_is_waited_for(server: Nameserver) -> None:
    lines: list[str] = []
    late = threading.Timer(0.8, lambda: server.put(NAME, "TXT", '"one"', '"two"'))
    server.put(NAME, "TXT", '"one"')
    late.start()
    try:
        client(server).wait_for({NAME: ("one", "two")}, SOON, lines.append)
    finally:
        late.join()
    assert lines
    assert f"{at(server)}: 1 of 2 values not there yet; 5 s left" in lines[0]


def test_one_late_of_two_is_waited_for_and_named(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    with lab() as slow:
        clock = Clock()
        names = client(server, slow, clock=clock)
        lines: list[str] = []
        with pytest.raises(PropagationTimeout) as caught:
            names.wait_for(WANTED, timedelta(seconds=20), lines.append)
        assert str(at(slow)) in caught.value.message
        assert str(at(server)) not in caught.value.message
        assert "after 20 s" in caught.value.message
        assert "its zone is old (serial 1, elsewhere 2)" in caught.value.message
        assert 20 <= sum(clock.slept) <= 21
        left = [int(line.rpartition("; ")[2].removesuffix(" s left")) for line in lines]
        assert left == sorted(left, reverse=True)
        assert left[0] == 20
        slow.put(NAME, "TXT", '"one"')
        names.wait_for(WANTED, timedelta(seconds=20), silence)


def test_names_of_several_zones_are_waited_for_together(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    wanted = {**WANTED, "_acme-challenge.other.test": ("two",)}
    names = client(server, clock=Clock())
    with pytest.raises(PropagationTimeout, match="1 of 1 values"):
        names.wait_for(wanted, SOON, silence)
    server.put("_acme-challenge.other.test", "TXT", '"two"')
    names.wait_for(wanted, SOON, silence)


@pytest.mark.usefixtures("shortly")
def test_a_server_that_is_down_is_not_passed_over(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    down = dead()
    with pytest.raises(PropagationTimeout, match="no answer") as caught:
        client(server, down, clock=Clock()).wait_for(WANTED, SOON, silence)
    assert str(down) in caught.value.message
    assert "`nameservers` in [dns.NAME]" in str(caught.value.hint)


def test_dead_servers_cost_one_time_out_together_and_hold_up_nobody(
    server: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", 1.0)
    server.put(NAME, "TXT", '"one"')
    with ExitStack() as running:
        silent = [running.enter_context(Scripted(by_tcp=lambda _: None)) for _ in range(6)]
        names = client(*silent, server, resolvers=[server])
        assert names.follow(NAME) == NAME
        began = time.monotonic()
        with pytest.raises(PropagationTimeout) as caught:
            names.wait_for(WANTED, timedelta(0), silence)
        assert time.monotonic() - began < 3.0
    assert all(str(at(one)) in caught.value.message for one in silent)
    assert str(at(server)) not in caught.value.message


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (saying(dns.rcode.REFUSED), "answers REFUSED: it does not serve that zone (lame)"),
        (saying(dns.rcode.SERVFAIL), "answers SERVFAIL: it cannot serve that zone now (lame)"),
        (nothing(), "answers without authority for that zone (lame)"),
        (lambda _: b"nonsense", "its answer cannot be read"),
    ],
    ids=["refuses", "fails", "no authority", "nonsense"],
)
@pytest.mark.usefixtures("shortly")
def test_a_server_that_does_not_serve_the_zone_is_told_apart(
    server: Nameserver, script: Script, words: str
) -> None:
    server.put(NAME, "TXT", '"one"')
    with Scripted(script) as lame, pytest.raises(PropagationTimeout) as caught:
        client(server, lame, clock=Clock()).wait_for(WANTED, SOON, silence)
    assert f"{at(lame)}: {words}" in caught.value.message
    assert str(at(server)) not in caught.value.message
    assert caught.value.hint


def test_an_answer_too_large_for_a_datagram_is_read_whole(server: Nameserver) -> None:
    values = tuple(f"{number:043}" for number in range(40))
    server.put(NAME, "TXT", *(f'"{value}"' for value in values))
    clock = Clock()
    client(server, clock=clock).wait_for({NAME: values}, SOON, silence)
    assert clock.slept == []


def test_a_stop_while_waiting_gets_through(server: Nameserver) -> None:
    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    here = [at(server)]
    names = Nameservers(resolvers=here, nameservers=here, sleep=stop, now=lambda: datetime.now(UTC))
    with pytest.raises(KeyboardInterrupt):
        names.wait_for(WANTED, SOON, silence)


@pytest.fixture
def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.socket.socket", NoIpv6)


@pytest.mark.usefixtures("without_ipv6")
def test_an_address_family_without_route_is_not_held_against_a_server(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    server.put("ns9.other.test", "A", "127.0.0.1")
    server.put("ns9.other.test", "AAAA", "::1")
    port = at(server).port
    clock, lines = Clock(), list[str]()
    client(SocketAddress("ns9.other.test", port), resolvers=[server], clock=clock).wait_for(
        WANTED, SOON, lines.append
    )
    assert (clock.slept, lines) == ([], [])


@pytest.mark.usefixtures("without_ipv6")
def test_a_server_that_no_route_leads_to_is_told_of_but_not_waited_for(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    clock, lines = Clock(), list[str]()
    client(server, SocketAddress("::1", 5353), clock=clock, resolvers=[server]).wait_for(
        WANTED, SOON, lines.append
    )
    assert clock.slept == []
    assert lines == ["[::1]:5353 was not asked: no route to it from here"]


@pytest.mark.usefixtures("without_ipv6", "shortly")
def test_one_without_route_does_not_stand_in_for_one_that_lags(server: Nameserver) -> None:
    with pytest.raises(PropagationTimeout) as caught:
        client(server, SocketAddress("::1", 5353), clock=Clock(), resolvers=[server]).wait_for(
            WANTED, SOON, silence
        )
    assert str(at(server)) in caught.value.message
    assert "::1" not in caught.value.message


TWO_ADDRESSES = "ns9.other.test"
DEAD_LOOPBACK = pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.99"])


@pytest.fixture
def half_dead(server: Nameserver) -> SocketAddress:
    """A server with a second address, where nothing answers."""
    server.put(TWO_ADDRESSES, "A", "127.0.0.1", "127.0.0.99")
    return SocketAddress(TWO_ADDRESSES, at(server).port)


@DEAD_LOOPBACK
def test_a_dead_address_of_a_server_that_serves_is_told_of_at_the_deadline_and_passed_over(
    server: Nameserver, half_dead: SocketAddress
) -> None:
    server.put(NAME, "TXT", '"one"')
    clock, lines = Clock(), list[str]()
    client(half_dead, resolvers=[server], clock=clock).wait_for(WANTED, SOON, lines.append)
    assert sum(clock.slept) == pytest.approx(5)
    (told,) = [line for line in lines if not line.startswith("waiting")]
    assert f"{TWO_ADDRESSES} (127.0.0.99:{half_dead.port})" in told
    assert "127.0.0.1:" not in told
    assert "the CA may" in told


@DEAD_LOOPBACK
def test_a_dead_address_excuses_nobody_who_lags(
    server: Nameserver, half_dead: SocketAddress
) -> None:
    with pytest.raises(PropagationTimeout, match="values not there yet"):
        client(half_dead, resolvers=[server], clock=Clock()).wait_for(WANTED, SOON, silence)


# The provider's own signal.


def test_the_providers_signal_comes_before_any_question() -> None:
    clock, lines = Clock(), list[str]()
    words = [False, False, True]
    with Scripted(txt("one")) as server:
        names = client(server, clock=clock)
        assert names.follow(NAME) == NAME
        before = len(server.asked)

        def signal() -> bool:
            assert len(server.asked) == before
            return words.pop(0)

        names.wait_for(WANTED, MINUTE, lines.append, signal)
        assert len(server.asked) == before + 1
    assert words == []
    assert len(clock.slept) == 2
    assert lines == [
        "waiting for the DNS provider to report the challenge as published; 60 s left",
        "waiting for the DNS provider to report the challenge as published; 60 s left",
    ]


def test_a_signal_does_not_stand_in_for_an_authority_that_can_be_asked(
    server: Nameserver,
) -> None:
    with pytest.raises(PropagationTimeout, match="1 of 1 values"):
        client(server, clock=Clock()).wait_for(WANTED, SOON, silence, lambda: True)


def test_a_signal_that_never_comes_ends_at_the_deadline(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    clock = Clock()
    with pytest.raises(PropagationTimeout, match="after 5 s the DNS provider") as caught:
        client(server, clock=clock).wait_for(WANTED, SOON, silence, lambda: False)
    assert caught.value.hint
    assert sum(clock.slept) == pytest.approx(5)


def test_a_provider_that_fails_to_say_it_is_told_of_and_the_servers_decide(
    server: Nameserver,
) -> None:
    def signal() -> bool:
        raise DnsRefused("may not ask for changes", hint="allow it")

    lines: list[str] = []
    server.put(NAME, "TXT", '"one"')
    client(server, clock=Clock()).wait_for(WANTED, SOON, lines.append, signal)
    assert len(lines) == 1
    assert "may not ask for changes" in lines[0]


# Resolvers, once the authorities have it.


def test_no_resolver_is_asked_before_every_authority_has_it(server: Nameserver) -> None:
    asked: list[bool] = []

    def resolver(query: dns.message.Message) -> bytes | None:
        asked.append("one" in server.records(NAME, "TXT"))
        return txt("one")(query)

    with Scripted(Later(nothing(authoritative=True), txt())) as slow, Scripted(resolver) as public:
        names = client(server, slow, clock=Clock(), resolvers=[public])
        with pytest.raises(PropagationTimeout):
            names.wait_for(WANTED, SOON, silence)
        server.put(NAME, "TXT", '"one"')
        with pytest.raises(PropagationTimeout):
            names.wait_for(WANTED, SOON, silence)
        assert asked == []
        slow._answer = txt("one")
        names.wait_for(WANTED, SOON, silence)
        assert asked == [True]
        assert {query.question[0].rdtype for query in public.asked} == {dns.rdatatype.TXT}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (nothing(3600), "has an older answer in its cache, for 3600 s more"),
        (saying(dns.rcode.SERVFAIL), "if the zone is signed, are its signatures right?"),
        (saying(dns.rcode.REFUSED), "answers REFUSED"),
        (None, "no answer"),
    ],
    ids=["old for long", "fails", "refuses", "silent"],
)
@pytest.mark.usefixtures("shortly")
def test_a_resolver_that_will_not_show_it_is_told_of_and_hinders_nothing(
    server: Nameserver, script: Script | None, words: str
) -> None:
    server.put(NAME, "TXT", '"one"')
    clock, lines = Clock(), list[str]()
    with Scripted(script or (lambda _: None)) as public:
        client(server, clock=clock, resolvers=[public]).wait_for(WANTED, MINUTE, lines.append)
    assert clock.slept == []
    assert len(lines) == 1
    assert f"resolver {at(public)} does not show {NAME} yet" in lines[0]
    assert words in lines[0]


def test_a_resolver_that_will_show_it_soon_is_waited_for(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    clock, lines = Clock(), list[str]()
    with Scripted(Later(nothing(4), nothing(2), txt("one"))) as public:
        client(server, clock=clock, resolvers=[public]).wait_for(WANTED, MINUTE, lines.append)
    assert len(clock.slept) == 2
    assert len(lines) == 2
    assert "for 4 s more; 30 s left" in lines[0]


def test_a_resolver_is_waited_for_half_a_minute_and_no_longer(server: Nameserver) -> None:
    server.put(NAME, "TXT", '"one"')
    clock, lines = Clock(), list[str]()
    with Scripted(nothing(0)) as public:
        client(server, clock=clock, resolvers=[public]).wait_for(WANTED, 5 * MINUTE, lines.append)
    assert sum(clock.slept) == pytest.approx(30)
    assert "does not show" in lines[-1]


# Port 53 is closed.


@pytest.mark.usefixtures("shortly")
def test_where_no_authority_is_heard_the_providers_signal_is_taken_and_called_weaker() -> None:
    clock, lines = Clock(), list[str]()
    with Scripted() as closed, Scripted(txt("one")) as public:
        client(closed, clock=clock, resolvers=[public]).wait_for(
            WANTED, MINUTE, lines.append, lambda: True
        )
        assert not [q for q in public.asked if q.question[0].rdtype == dns.rdatatype.TXT]
    assert sum(clock.slept) >= 15
    assert "port 53 may be closed" in lines[-1]
    assert "the DNS provider reports" in lines[-1]
    assert "weaker" in lines[-1]


@pytest.mark.usefixtures("shortly")
def test_where_no_authority_is_heard_resolvers_are_asked_after_a_while() -> None:
    clock, lines = Clock(), list[str]()
    when: list[float] = []

    def resolver(query: dns.message.Message) -> bytes | None:
        if query.question[0].rdtype == dns.rdatatype.TXT:
            when.append(sum(clock.slept))
        return Later(txt("one", authoritative=False))(query)

    with Scripted(resolver) as public:
        client(dead(), clock=clock, resolvers=[public, dead()]).wait_for(
            WANTED, SHORT, lines.append
        )
    assert len(when) == 1
    assert when[0] >= 4
    assert f"resolver 127.0.0.1:{at(public).port} shows the challenge" in lines[-1]
    assert "weaker" in lines[-1]


@pytest.mark.usefixtures("shortly")
def test_where_nobody_shows_it_the_error_says_what_to_open_or_to_set() -> None:
    closed = dead()
    with Scripted(nothing(900)) as public, pytest.raises(PropagationTimeout) as caught:
        client(closed, clock=Clock(), resolvers=[public]).wait_for(WANTED, SHORT, silence)
    assert str(closed) in caught.value.message
    assert "older answer in its cache, for 900 s more" in caught.value.message
    assert "port 53" in str(caught.value.hint)
    assert "`doh`" in str(caught.value.hint)


@pytest.mark.usefixtures("shortly")
def test_resolvers_that_differ_prove_nothing() -> None:
    with Scripted(txt("one")) as one, Scripted(nothing(0)) as other:
        names = client(dead(), clock=Clock(), resolvers=[one, other])
        with pytest.raises(PropagationTimeout):
            names.wait_for(WANTED, SHORT, silence)


@pytest.mark.usefixtures("shortly")
def test_an_authority_that_answered_once_is_never_replaced_by_a_resolver() -> None:
    clock = Clock()
    authority = Later(nothing(authoritative=True), nothing(authoritative=True), lambda _: None)
    with Scripted(authority) as server, Scripted(txt("one")) as public:
        names = client(server, clock=clock, resolvers=[public])
        with pytest.raises(PropagationTimeout):
            names.wait_for(WANTED, SHORT, silence)
        assert public.asked == []


@pytest.mark.usefixtures("shortly")
def test_an_authority_that_comes_back_counts_again() -> None:
    clock, lines = Clock(), list[str]()
    with Scripted(Later(*[never] * 5, txt("one"))) as server, Scripted(nothing(0)) as public:
        client(server, clock=clock, resolvers=[public]).wait_for(WANTED, SHORT, lines.append)
    assert not any("weaker" in line for line in lines)
