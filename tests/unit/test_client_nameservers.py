"""Where a challenge has to stand is found without asking any resolver for it."""

import base64
import socket
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.dns_queries import SECONDS, Authority
from distributor.clients.nameservers import CNAME_LIMIT, _cut_below
from distributor.lab.nameserver import Nameserver
from distributor.model.errors import DnsRefused
from distributor.model.hosts import SocketAddress
from tests.unit.scripted_nameserver import (
    NAME,
    SOON,
    Script,
    Scripted,
    at,
    client,
    nothing,
    saying,
    silence,
    txt,
)

SECRET = base64.b64encode(b"s" * 32).decode()
ZONES = ("example.test", "sub.example.test", "other.test")


def lab(*zones: str) -> Nameserver:
    return Nameserver(zones or ZONES, key_name="acme-key", key_secret=SECRET)


@pytest.fixture
def server() -> Iterator[Nameserver]:
    with lab() as running:
        yield running


def test_a_name_without_alias_is_its_own_end(server: Nameserver) -> None:
    assert client(server).follow(NAME) == NAME
    server.put(NAME, "TXT", '"something"')
    assert client(server).follow(NAME) == NAME


def test_aliases_are_followed_to_their_end_across_zones(server: Nameserver) -> None:
    server.put(NAME, "CNAME", "one.other.test.")
    server.put("one.other.test", "CNAME", "Two.sub.example.test.")
    assert client(server).follow(NAME) == "two.sub.example.test"


def test_aliases_in_a_loop_or_without_end_are_refused(server: Nameserver) -> None:
    server.put("a.other.test", "CNAME", "b.other.test.")
    server.put("b.other.test", "CNAME", "a.other.test.")
    with pytest.raises(DnsRefused, match="loop"):
        client(server).follow("a.other.test")
    for number in range(CNAME_LIMIT + 1):
        server.put(f"c{number}.other.test", "CNAME", f"c{number + 1}.other.test.")
    assert client(server).follow("c1.other.test") == f"c{CNAME_LIMIT + 1}.other.test"
    with pytest.raises(DnsRefused, match="further than 16"):
        client(server).follow("c0.other.test")


def test_an_alias_to_the_root_is_refused(server: Nameserver) -> None:
    server.put(NAME, "CNAME", ".")
    with pytest.raises(DnsRefused, match="no zone"):
        client(resolvers=[server]).follow(NAME)


def aliases(query: dns.message.Message) -> bytes:
    """Serve `*.example.test CNAME home.dyn.test` and one alias of a name's own."""
    name = query.question[0].name
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    if name.is_subdomain(dns.name.from_text("example.test")):
        own = name == dns.name.from_text("_acme-challenge.nas.example.test")
        target = "deleg.acme.test." if own else "home.dyn.test."
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", target))
    return response.to_wire()


def test_an_alias_that_a_wildcard_gives_to_every_name_leads_nowhere() -> None:
    with Scripted(aliases) as server:
        assert client(server).follow(NAME) == NAME
        assert client(server).follow("_acme-challenge.nas.example.test") == "deleg.acme.test"


def test_what_was_found_is_asked_once_in_a_run() -> None:
    with Scripted(nothing(authoritative=True)) as server:
        names = client(server)
        for _ in range(3):
            assert names.follow(NAME) == NAME
        assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "x." * 200])
def test_a_name_that_dns_cannot_hold_is_refused(server: Nameserver, name: str) -> None:
    with pytest.raises(DnsRefused):
        client(server).follow(name)
    with pytest.raises(DnsRefused):
        client(resolvers=[server]).authorities(name)


def test_a_resolver_that_refuses_or_is_away_is_named(server: Nameserver) -> None:
    with pytest.raises(DnsRefused, match=r"looking up SOA of else\.where") as caught:
        client(resolvers=[server]).follow("_acme-challenge.else.where")
    assert str(at(server)) in caught.value.message
    with pytest.raises(DnsRefused, match="finding the resolver"):
        client(resolvers=[SocketAddress("nobody.invalid", 53)]).follow(NAME)


def test_a_computer_without_resolver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unconfigured(*_: object, **__: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", unconfigured)
    with pytest.raises(DnsRefused, match="no resolver"):
        client().authorities(NAME)


def test_without_resolver_the_nameservers_that_are_named_are_proof_enough(
    server: Nameserver,
) -> None:
    server.put(NAME, "TXT", '"one"')
    lines: list[str] = []
    names = client(server, resolvers=[SocketAddress("nobody.invalid", 53)])
    names.wait_for({NAME: ("one",)}, SOON, lines.append)
    assert len(lines) == 1
    assert "no resolver is asked: finding the resolver's address" in lines[0]


def test_the_authorities_are_those_of_the_nearest_zone(server: Nameserver) -> None:
    names = client(resolvers=[server])
    assert names.authorities(NAME) == (
        Authority("ns1.example.test", SocketAddress("127.0.0.1", 53)),
    )
    below = names.authorities("_acme-challenge.a.b.sub.example.test")
    assert [each.server for each in below] == ["ns1.sub.example.test"]


def test_an_alias_on_the_way_up_is_no_zone_cut(server: Nameserver) -> None:
    server.put("www.example.test", "CNAME", "other.test.")
    found = client(resolvers=[server]).authorities("_acme-challenge.www.example.test")
    assert [each.server for each in found] == ["ns1.example.test"]


def test_every_address_of_every_server_is_known(server: Nameserver) -> None:
    server.put("example.test", "NS", "ns1.example.test.", "ns2.other.test.")
    server.put("ns1.example.test", "A", "192.0.2.1", "192.0.2.2")
    server.put("ns2.other.test", "A", "192.0.2.3")
    server.put("ns2.other.test", "AAAA", "2001:db8::53")
    found = client(resolvers=[server]).authorities(NAME)
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
        client(resolvers=[server]).authorities(NAME)


def test_the_inventorys_nameservers_take_the_place_of_the_zones(server: Nameserver) -> None:
    given = (SocketAddress("192.0.2.9", 5353), SocketAddress("hidden.other.test", 54))
    server.put("hidden.other.test", "A", "192.0.2.10")
    server.put("hidden.other.test", "AAAA", "2001:db8::10")
    assert client(*given, resolvers=[server]).authorities("whatever.example") == (
        Authority("192.0.2.9", SocketAddress("192.0.2.9", 5353)),
        Authority("hidden.other.test", SocketAddress("192.0.2.10", 54)),
        Authority("hidden.other.test", SocketAddress("2001:db8::10", 54)),
    )


def test_a_nameserver_of_the_inventory_without_address_is_not_passed_over(
    server: Nameserver,
) -> None:
    names = client(server, SocketAddress("misspelt.other.test", 53), resolvers=[server])
    with pytest.raises(DnsRefused, match=r"misspelt\.other\.test"):
        names.wait_for({NAME: ("value",)}, SOON, silence)


def test_no_resolver_is_asked_for_a_challenge_while_an_authority_answers() -> None:
    with (
        Scripted(nothing(authoritative=True)) as authority,
        Scripted(txt("a resolver's")) as resolver,
    ):
        names = client(authority, resolvers=[resolver])
        assert names.follow(NAME) == NAME
        assert authority.names == {NAME}
        assert resolver.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        None,
        saying(dns.rcode.REFUSED),
        nothing(authoritative=False),
        lambda _: b"nonsense",
    ],
    ids=["silent", "refuses", "without authority", "nonsense"],
)
def test_where_no_authority_can_say_it_a_resolver_tells_the_alias(
    server: Nameserver, monkeypatch: pytest.MonkeyPatch, answer: Script | None
) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", 0.2)
    server.put(NAME, "CNAME", "one.other.test.")
    with Scripted(answer or (lambda _: None)) as authority:
        assert client(authority, resolvers=[server]).follow(NAME) == "one.other.test"


def test_one_that_is_silent_is_asked_once_and_the_next_one_counts(
    server: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", 0.2)
    server.put(NAME, "CNAME", "one.other.test.")
    with Scripted() as dead:
        assert client(dead, server).follow(NAME) == "one.other.test"
        assert dead.names == {NAME}


def referral(
    *records: tuple[str, str, str], query: dns.message.Message | None = None
) -> dns.message.QueryMessage:
    message = dns.message.make_response(query or dns.message.make_query(NAME, "CNAME"))
    for owner, kind, data in records:
        message.authority.append(dns.rrset.from_text(owner, 60, "IN", kind, data))
    assert isinstance(message, dns.message.QueryMessage)
    return message


START = "ns1.x. hostmaster.x. 1 2 3 4 5"


@pytest.mark.parametrize(
    ("records", "cut"),
    [
        ((), None),
        ((("example.test.", "NS", "ns1.x."),), None),
        ((("example.test.", "SOA", START),), None),
        ((("test.", "NS", "ns1.x."),), None),
        ((("other.test.", "NS", "ns1.x."),), None),
        (((f"deeper.{NAME}.", "NS", "ns1.x."),), None),
        (((f"{NAME}.", "NS", "ns1.x."),), NAME),
        (((f"{NAME}.", "SOA", START),), NAME),
        (((f"{NAME}.", "A", "192.0.2.1"),), None),
    ],
)
def test_a_zone_below_shows_by_a_referral_or_by_its_start(
    records: tuple[tuple[str, str, str], ...], cut: str | None
) -> None:
    found = _cut_below(
        referral(*records), dns.name.from_text(NAME), dns.name.from_text("example.test")
    )
    assert found == (None if cut is None else dns.name.from_text(cut))


def test_a_challenge_that_is_a_zone_of_its_own_is_asked_for_at_its_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Script] = [
        lambda query: referral((f"{NAME}.", "NS", "ns1.x."), query=query).to_wire(),
        nothing(authoritative=True, zone=NAME),
    ]

    def in_turn(query: dns.message.Message) -> bytes | None:
        return answers.pop(0)(query)

    with lab("example.test", NAME) as resolver, Scripted(in_turn) as authority:
        monkeypatch.setattr("distributor.clients.nameservers.PORT", at(authority).port)
        names = client(resolvers=[resolver])
        assert names.follow(NAME) == NAME
        assert names._standing(dns.name.from_text(NAME)).authorities == (
            Authority(f"ns1.{NAME}", at(authority)),
        )
    assert answers == []


labels = st.lists(st.sampled_from(["a", "b", "_acme-challenge"]), max_size=4)


@given(st.lists(labels, max_size=4), labels, labels)
def test_a_cut_is_always_deeper_and_holds_the_name(
    owners: list[list[str]], name_labels: list[str], zone_labels: list[str]
) -> None:
    name, zone = (
        dns.name.from_text(".".join([*one, "test"])) for one in (name_labels, zone_labels)
    )
    message = referral(*((".".join([*one, "test."]), "NS", "ns1.x.") for one in owners))
    found = _cut_below(message, name, zone)
    if found is not None:
        assert len(found) > len(zone)
        assert found.is_subdomain(zone)
        assert name.is_subdomain(found)


def test_an_unused_port_is_known_at_once_and_not_after_a_time_out(server: Nameserver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = SocketAddress("127.0.0.1", unused.getsockname()[1])
    server.put(NAME, "CNAME", "one.other.test.")
    began = time.monotonic()
    assert client(nobody, resolvers=[server]).follow(NAME) == "one.other.test"
    assert time.monotonic() - began < SECONDS / 2
