"""DNS over HTTPS: verified, bounded, and whatever a server sends is an answer or none."""

import gzip
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from distributor.clients.dns_queries import Answer, Cause, NoAnswer, question
from distributor.clients.doh import MEDIA_TYPE, Doh
from tests.certs import NOW, Authority, Issued, hierarchy, pem
from tests.integration.hostile_server import CHUNKED, HEAD, SLACK, HostileServer, Talk, Talking
from tests.unit.scripted_nameserver import NAME, Script, Scripted, client, nothing, txt

VALUE = "v" * 43
SECONDS = 1.0


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A CA that this computer trusts, as somebody with a private one would have it."""
    made = hierarchy(1)
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(pem(made.root))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def leaf(issuer: Authority) -> Issued:
    return issuer.issue(["127.0.0.1"])


def served(script: Script, *headers: str, status: str = "200 OK") -> Talk:
    """Answer as a DoH server does with what a script makes of the question."""

    def talk(connection: Talking) -> None:
        query = dns.message.from_wire(connection.receive().partition(b"\r\n\r\n")[2])
        body = script(query) or b""
        kind = headers or (f"Content-Type: {MEDIA_TYPE}",)
        connection.send(
            "\r\n".join(
                (f"HTTP/1.1 {status}", *kind, f"Content-Length: {len(body)}", "", "")
            ).encode()
            + body
        )

    return talk


def url(server: HostileServer) -> str:
    return f"https://{server.address}/dns-query"


def ask(server: HostileServer) -> Answer | NoAnswer:
    return Doh(url(server)).ask(question(NAME, dns.rdatatype.TXT, recursive=True))


def test_a_question_is_posted_and_its_answer_read(leaf: Issued) -> None:
    with HostileServer(leaf, served(txt(VALUE))) as server:
        found = ask(server)
        (request,) = server.received
    assert isinstance(found, Answer)
    assert VALUE in str(found)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /dns-query HTTP/1.1\r\n")
    assert f"content-type: {MEDIA_TYPE}".encode() in head.lower()
    asked = dns.message.from_wire(body)
    assert asked.id == 0
    assert asked.flags & dns.flags.RD
    assert str(asked.question[0].name) == f"{NAME}."


def test_a_server_is_named_without_the_path_that_a_customer_is_known_by() -> None:
    assert str(Doh("https://dns.example/0a1b2c")) == "DNS over HTTPS at dns.example"


UNTRUSTED: dict[str, Callable[[Authority], Issued]] = {
    "another CA": lambda _: hierarchy(1).issue(["127.0.0.1"]),
    "another name": lambda issuer: issuer.issue(["other.test"]),
    "expired": lambda issuer: issuer.issue(
        ["127.0.0.1"], not_before=NOW.replace(year=2001), not_after=NOW.replace(year=2002)
    ),
}


@pytest.mark.parametrize("make", UNTRUSTED.values(), ids=UNTRUSTED)
def test_a_server_that_is_not_trusted_is_asked_nothing(
    issuer: Authority, make: Callable[[Authority], Issued]
) -> None:
    with HostileServer(make(issuer), served(txt(VALUE))) as server:
        found = ask(server)
        assert server.received == []
    assert isinstance(found, NoAnswer)
    assert found.cause is Cause.SILENT


def flood(connection: Talking) -> None:
    connection.receive()
    connection.send(
        CHUNKED.replace(b"\r\n\r\n", f"\r\nContent-Type: {MEDIA_TYPE}\r\n\r\n".encode())
    )
    while True:
        connection.send(b"4000\r\n" + b"\0" * 0x4000 + b"\r\n")


def trickle_head(connection: Talking) -> None:
    connection.receive()
    connection.trickle(HEAD + b"X-Slow: " + b"z" * 1000)


def trickle_body(connection: Talking) -> None:
    connection.receive()
    connection.send(HEAD + f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: 999\r\n\r\n".encode())
    connection.trickle(b"z" * 999)


def say_nothing(connection: Talking) -> None:
    connection.receive()
    connection.linger()


def leave(connection: Talking) -> None:
    connection.receive()


def raw(content: bytes) -> Talk:
    def talk(connection: Talking) -> None:
        connection.receive()
        connection.send(content)

    return talk


HOSTILE: dict[str, Talk] = {
    "silent": say_nothing,
    "leaves": leave,
    "no HTTP": raw(b"\x00\x01 nonsense \r\n\r\n"),
    "a refusal": served(txt(VALUE), status="403 Forbidden"),
    "a redirect": raw(
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect to no place": raw(
        b"HTTP/1.1 302 Found\r\nLocation: https://[::1:5001/\r\nContent-Length: 0\r\n\r\n"
    ),
    "a page": served(txt(VALUE), "Content-Type: text/html"),
    "no type": served(txt(VALUE), "X-Nothing: here"),
    "nonsense": served(lambda _: b"nonsense"),
    "empty": served(lambda _: b""),
    "another question": served(
        lambda _: txt(VALUE)(dns.message.make_query("other.test", "TXT", id=0))
    ),
    "compressed": served(
        lambda query: gzip.compress(txt(VALUE)(query) or b""),
        f"Content-Type: {MEDIA_TYPE}",
        "Content-Encoding: gzip",
    ),
    "cut": raw(HEAD + f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: 90\r\n\r\nshort".encode()),
    "without end": flood,
    "a head by drops": trickle_head,
    "a body by drops": trickle_body,
}


@pytest.mark.parametrize("talk", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_answer_is_none_and_in_time(
    leaf: Issued, monkeypatch: pytest.MonkeyPatch, talk: Talk
) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", SECONDS)
    with HostileServer(leaf, talk) as server:
        began = time.monotonic()
        found = ask(server)
        assert time.monotonic() - began < SECONDS + SLACK
    assert isinstance(found, NoAnswer), found
    assert found.words.isprintable()


def test_a_port_where_nothing_listens_is_no_answer(leaf: Issued) -> None:
    with HostileServer(leaf) as gone:
        where = url(gone)
    found = Doh(where).ask(question(NAME, dns.rdatatype.TXT))
    assert isinstance(found, NoAnswer)


def test_the_environments_proxy_is_used_as_for_the_ca(
    leaf: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostileServer(leaf, served(txt(VALUE))) as server, HostileServer(leaf) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("NO_PROXY", "")
        assert isinstance(ask(server), NoAnswer)
        assert (server.connections, proxy.connections) == (0, 1)


def test_where_port_53_is_closed_doh_proves_it_and_the_proof_is_called_weaker(
    leaf: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", SECONDS)
    lines: list[str] = []
    with (
        HostileServer(leaf, served(txt("one", authoritative=False))) as server,
        Scripted() as closed,
        Scripted(nothing()) as resolver,
    ):
        client(closed, resolvers=[resolver], doh=[url(server)]).wait_for(
            {NAME: ("one",)}, timedelta(seconds=3), lines.append
        )
        # A resolver tells the alias, so that no "not there" stays where the proof is to come from.
        assert {query.question[0].rdtype for query in resolver.asked} == {dns.rdatatype.CNAME}
        assert {
            dns.message.from_wire(one.partition(b"\r\n\r\n")[2]).question[0].rdtype
            for one in server.received
        } == {dns.rdatatype.TXT}
    assert f"DNS over HTTPS at {server.address} shows the challenge" in lines[-1]
    assert "weaker" in lines[-1]
