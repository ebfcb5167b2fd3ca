"""The lab's nameserver and BIND get the same requests and must give the same answers."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import pytest

from distributor.lab.nameserver import Nameserver
from tests.e2e.servers import MakeBind, Zone, ask, send_update

Update = dns.update.UpdateMessage
Change = Callable[[Update], None]

NAME = dns.name.from_text("_acme-challenge.example.test")
ALIAS = dns.name.from_text("_acme-challenge.deleg.example.test")
OTHER = dns.name.from_text("www.example.test")
ABSENT = dns.name.from_text("absent.example.test")

STATIC = [
    ("_acme-challenge.deleg", "CNAME", "target.acme.test."),
    ("alias", "CNAME", "ns1.example.test."),
    ("chain", "CNAME", "alias.example.test."),
    ("x.inner", "A", "127.0.0.9"),
    ("www", "A", "127.0.0.8"),
    ("www", "TXT", '"fixed"'),
    ("dangling", "CNAME", "absent.acme.test."),
    ("loop", "CNAME", "loop2.example.test."),
    ("loop2", "CNAME", "loop.example.test."),
    ("away", "CNAME", "elsewhere.invalid."),
    ("caa", "CAA", '0 issue "ca.test"'),
]


@dataclass(frozen=True)
class Pair:
    bind: tuple[str, int]
    lab: tuple[str, int]
    key: dns.tsig.Key = field(repr=False)

    def each(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return self.bind, self.lab


@pytest.fixture(scope="module")
def pair(make_bind: MakeBind) -> Iterator[Pair]:
    names = ["_acme-challenge.example.test.", "_acme-challenge.deleg.example.test."]
    bind = make_bind(
        Zone(
            "example.test",
            grants=[f"name {name} TXT" for name in names],
            lines=[f"{name} IN {rdtype} {value}" for name, rdtype, value in STATIC],
        ),
        Zone("acme.test", lines=['target IN TXT "target"']),
    )
    zones = ["example.test", "acme.test"]
    with Nameserver(zones, key_name=bind.key_name, key_secret=bind.key_secret) as lab:
        for name, rdtype, value in STATIC:
            lab.put(f"{name}.example.test", rdtype, value)
        lab.put("target.acme.test", "TXT", '"target"')
        yield Pair(bind.endpoint, lab.address, bind.key.keyring())


def start_with_one(update: Update) -> None:
    update.delete(NAME)
    update.add(NAME, 60, "TXT", '"one"')


def serial(server: tuple[str, int]) -> int:
    return int(ask(server, "example.test", "SOA").answer[0][0].serial)


def outcome(server: tuple[str, int], key: dns.tsig.Key, change: Change, over: str) -> object:
    """What the change did to a zone that holds one value, all of it that a client can see."""
    assert send_update(server, "example.test", key, start_with_one) == dns.rcode.NOERROR
    before = serial(server)
    rcode = send_update(server, "example.test", key, change, over=over)
    answer = ask(server, NAME.to_text(), "TXT")
    return (
        dns.rcode.to_text(rcode),
        dns.rcode.to_text(answer.rcode()),
        sorted((rrset.ttl, sorted(map(str, rrset))) for rrset in answer.answer),
        (serial(server) - before) % 2**32,
    )


def hold(name: dns.name.Name, *wanted: str) -> Change:
    def change(update: Update) -> None:
        update.present(name, *wanted)
        update.add(NAME, 60, "TXT", '"two"')

    return change


def lack(name: dns.name.Name, *unwanted: str) -> Change:
    def change(update: Update) -> None:
        update.absent(name, *unwanted)
        update.add(NAME, 60, "TXT", '"two"')

    return change


def add_and_refused(update: Update) -> None:
    update.add(NAME, 60, "TXT", '"two"')
    update.add(OTHER, 60, "TXT", '"two"')


def change_nothing(update: Update) -> None:
    assert not update.update


def cancel_out(update: Update) -> None:
    update.add(NAME, 60, "TXT", '"two"')
    update.delete(NAME, "TXT", '"two"')


def require_with_ttl(update: Update) -> None:
    update.prerequisite.append(dns.rrset.from_text(NAME, 60, "IN", "TXT", '"one"'))
    update.add(NAME, 60, "TXT", '"two"')


def delete_with_ttl(update: Update) -> None:
    rrset = dns.rrset.from_text(NAME, 60, "IN", "TXT", '"one"')
    rrset.deleting = dns.rdataclass.NONE
    update.update.append(rrset)


def require_in_class_chaos(update: Update) -> None:
    update.prerequisite.append(dns.rrset.from_text(NAME, 0, "CH", "TXT", '"one"'))
    update.add(NAME, 60, "TXT", '"two"')


CHANGES: dict[str, Change] = {
    "add": lambda update: update.add(NAME, 60, "TXT", '"two"'),
    "add two": lambda update: update.add(NAME, 60, "TXT", '"two"', '"three"'),
    "add what is there": lambda update: update.add(NAME, 60, "TXT", '"one"'),
    "add with a longer TTL": lambda update: update.add(NAME, 300, "TXT", '"two"'),
    "add with a shorter TTL": lambda update: update.add(NAME, 5, "TXT", '"two"'),
    "add what is there, other TTL": lambda update: update.add(NAME, 300, "TXT", '"one"'),
    "add where an alias is": lambda update: update.add(ALIAS, 60, "TXT", '"two"'),
    "add long": lambda update: update.add(NAME, 60, "TXT", f'"{"a" * 255}" "{"b" * 255}"'),
    "add in other case": lambda update: update.add(
        dns.name.from_text("_ACME-Challenge.Example.TEST"), 60, "TXT", '"two"'
    ),
    "replace": lambda update: update.replace(NAME, 60, "TXT", '"two"'),
    "delete value": lambda update: update.delete(NAME, "TXT", '"one"'),
    "delete missing value": lambda update: update.delete(NAME, "TXT", '"two"'),
    "delete set": lambda update: update.delete(NAME, "TXT"),
    "delete name": lambda update: update.delete(NAME),
    "delete missing name": lambda update: update.delete(ABSENT),
    "delete other name": lambda update: update.delete(OTHER),
    "delete other type": lambda update: update.delete(NAME, "A"),
    "delete alias": lambda update: update.delete(ALIAS, "CNAME"),
    "delete name of alias": lambda update: update.delete(ALIAS),
    "add other type": lambda update: update.add(NAME, 60, "A", "127.0.0.1"),
    "add other name": lambda update: update.add(OTHER, 60, "TXT", '"two"'),
    "add at the apex": lambda update: update.add(
        dns.name.from_text("example.test"), 60, "TXT", '"two"'
    ),
    "add SOA": lambda update: update.add(
        dns.name.from_text("example.test"), 60, "SOA", "a. b. 99 1 1 1 1"
    ),
    "add outside": lambda update: update.add(
        dns.name.from_text("_acme-challenge.acme.test"), 60, "TXT", '"two"'
    ),
    "nothing": change_nothing,
    "all or nothing": add_and_refused,
    "add and delete": cancel_out,
    "delete value with a TTL": delete_with_ttl,
    "delete a type that is none": lambda update: update.delete(NAME, "AXFR"),
    "add in class chaos": lambda update: update.update.append(
        dns.rrset.from_text(NAME, 60, "CH", "TXT", '"two"')
    ),
    "prerequisite with a TTL": require_with_ttl,
    "prerequisite in class chaos": require_in_class_chaos,
    "name in use": hold(NAME),
    "name in use, is not": hold(ABSENT),
    "set exists": hold(NAME, "TXT"),
    "set exists, does not": hold(NAME, "A"),
    "set is": hold(NAME, "TXT", '"one"'),
    "set is, is not": hold(NAME, "TXT", '"two"'),
    "set is, is larger": hold(OTHER, "TXT", '"fixed"', '"more"'),
    "name not in use": lack(ABSENT),
    "name not in use, is": lack(NAME),
    "set is missing": lack(NAME, "A"),
    "set is missing, is not": lack(NAME, "TXT"),
    "prerequisite outside": hold(dns.name.from_text("acme.test")),
}


@pytest.mark.parametrize("over", ["tcp", "udp"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_update_does_the_same(pair: Pair, change: Change, over: str) -> None:
    bind, lab = (outcome(server, pair.key, change, over) for server in pair.each())

    assert lab == bind


def test_unsigned_updates_are_refused_alike(pair: Pair) -> None:
    rcodes = {send_update(server, "example.test", None, start_with_one) for server in pair.each()}

    assert rcodes == {dns.rcode.REFUSED}


@pytest.mark.parametrize("zone", ["other.test", "inner.example.test"])
def test_zones_that_are_not_served_are_refused_alike(pair: Pair, zone: str) -> None:
    rcodes = {send_update(server, zone, pair.key, change_nothing) for server in pair.each()}

    assert rcodes == {dns.rcode.NOTAUTH}


@pytest.mark.parametrize("over", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("name", "secret", "algorithm", "error"),
    [
        ("acme-key", b"x" * 32, "hmac-sha256", dns.tsig.PeerBadSignature),
        ("stranger", b"", "hmac-sha256", dns.tsig.PeerBadKey),
        ("acme-key", b"", "hmac-sha512", dns.tsig.PeerBadKey),
    ],
)
def test_a_key_that_is_wrong_gets_the_same_error(
    pair: Pair, name: str, secret: bytes, algorithm: str, error: type[Exception], over: str
) -> None:
    key = dns.tsig.Key(name, secret or pair.key.secret, algorithm)

    for server in pair.each():
        with pytest.raises(error):
            send_update(server, "example.test", key, start_with_one, over=over)


def test_a_clock_that_is_off_gets_the_same_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Update("example.test")
    start_with_one(update)
    update.use_tsig(pair.key)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_000_000_000)
        wire = update.to_wire()

    keyring = {pair.key.name: pair.key}
    for server in pair.each():
        with socket.create_connection(server, timeout=5) as connection:
            dns.query.send_tcp(connection, wire)
            with pytest.raises(dns.tsig.PeerBadTime):
                dns.query.receive_tcp(connection, keyring=keyring, request_mac=update.mac)


QUERIES = [
    ("example.test", "SOA"),
    ("example.test", "NS"),
    ("example.test", "A"),
    ("ns1.example.test", "A"),
    ("NS1.Example.Test", "A"),
    ("ns1.example.test", "AAAA"),
    ("ns1.example.test", "SOA"),
    ("inner.example.test", "A"),
    ("inner.example.test", "SOA"),
    ("absent.example.test", "A"),
    ("below.absent.example.test", "SOA"),
    ("below.www.example.test", "TXT"),
    ("alias.example.test", "A"),
    ("alias.example.test", "CNAME"),
    ("alias.example.test", "TXT"),
    ("chain.example.test", "A"),
    ("_acme-challenge.deleg.example.test", "TXT"),
    ("_acme-challenge.deleg.example.test", "SOA"),
    ("dangling.example.test", "TXT"),
    ("loop.example.test", "TXT"),
    ("www.example.test", "ANY"),
    ("example.test", "AXFR"),
    ("caa.example.test", "CAA"),
    ("www.example.test", "CAA"),
]


def facts(message: dns.message.Message) -> object:
    def section(rrsets: list[object]) -> list[str]:
        lines = [line.lower() for rrset in rrsets for line in str(rrset).splitlines()]
        return sorted(line for line in lines if " soa " not in line)

    return (
        dns.rcode.to_text(message.rcode()),
        dns.flags.to_text(message.flags & ~dns.flags.AD),
        section(list(message.answer)),
        [(str(rrset.name), rrset.ttl, rrset.rdtype) for rrset in message.authority],
        section(list(message.additional)),
    )


@pytest.mark.parametrize(("name", "rdtype"), QUERIES)
def test_a_query_gets_the_same_answer(pair: Pair, name: str, rdtype: str) -> None:
    bind, lab = (facts(ask(server, name, rdtype)) for server in pair.each())

    assert lab == bind


@pytest.mark.parametrize("payload", [None, 512, 1232, 4096])
def test_an_answer_that_is_too_long_for_udp_is_truncated_alike(
    pair: Pair, payload: int | None
) -> None:
    def add_many(update: Update) -> None:
        update.delete(NAME)
        update.add(NAME, 60, "TXT", *(f'"{number:043d}"' for number in range(12)))

    truncated = []
    for server in pair.each():
        send_update(server, "example.test", pair.key, add_many)
        query = dns.message.make_query(
            NAME, "TXT", use_edns=payload is not None, payload=payload or 0
        )
        answer = dns.query.udp(query, server[0], 5, server[1], ignore_unexpected=False)
        truncated.append(bool(answer.flags & dns.flags.TC))
        assert len(answer.to_wire()) <= max(payload or 0, 512)

    assert truncated[0] == truncated[1]


def test_a_newer_edns_version_is_refused_alike(pair: Pair) -> None:
    query = dns.message.make_query("example.test", "SOA", use_edns=1)

    rcodes = {dns.query.udp(query, server[0], 5, server[1]).rcode() for server in pair.each()}

    assert rcodes == {dns.rcode.BADVERS}


def test_a_signed_query_gets_a_signed_answer_alike(pair: Pair) -> None:
    for server in pair.each():
        query = dns.message.make_query("example.test", "SOA")
        query.use_tsig(pair.key)

        assert dns.query.tcp(query, server[0], 5, server[1]).had_tsig
