"""The real servers of the end-to-end tests start, answer and refuse as the tests rely on."""

import base64

import dns.name
import dns.rcode
import dns.tsig
import dns.update
import pytest

from distributor.lab.authority import Authority
from tests.e2e.servers import Bind, ask, issue, publish_in, send_update, verify

NAME = dns.name.from_text("_acme-challenge.example.test")


def add_hello(update: dns.update.UpdateMessage) -> None:
    update.add(NAME, 60, "TXT", '"hello"')


def delete_all(update: dns.update.UpdateMessage) -> None:
    update.delete(NAME, "TXT")


def test_named_takes_a_signed_update(bind: Bind) -> None:
    rcode = send_update(bind.endpoint, "example.test", bind.key.keyring(), add_hello)

    assert rcode == dns.rcode.NOERROR
    assert bind.txt("_acme-challenge.example.test") == {"hello"}

    send_update(bind.endpoint, "example.test", bind.key.keyring(), delete_all)
    assert bind.txt("_acme-challenge.example.test") == set()


def test_named_refuses_an_update_of_another_name(bind: Bind) -> None:
    def add_elsewhere(update: dns.update.UpdateMessage) -> None:
        update.add(dns.name.from_text("www.example.test"), 60, "TXT", '"hello"')

    rcode = send_update(bind.endpoint, "example.test", bind.key.keyring(), add_elsewhere)

    assert rcode == dns.rcode.REFUSED
    assert bind.txt("www.example.test") == set()


def test_named_refuses_an_unsigned_update(bind: Bind) -> None:
    assert send_update(bind.endpoint, "example.test", None, add_hello) == dns.rcode.REFUSED


def test_named_refuses_a_key_with_another_secret(bind: Bind) -> None:
    wrong = dns.tsig.Key(bind.key_name, b"x" * 32, "hmac-sha256")

    with pytest.raises(dns.tsig.PeerBadSignature):
        send_update(bind.endpoint, "example.test", wrong, add_hello)


def test_named_refuses_a_key_it_does_not_know(bind: Bind) -> None:
    unknown = dns.tsig.Key("stranger", base64.b64decode(bind.key_secret), "hmac-sha256")

    with pytest.raises(dns.tsig.PeerBadKey):
        send_update(bind.endpoint, "example.test", unknown, add_hello)


def test_named_asks_nobody_outside(bind: Bind) -> None:
    assert ask(bind.endpoint, "elsewhere.invalid", "A").rcode() == dns.rcode.NXDOMAIN


def test_pebble_issues_apex_and_wildcard_through_named(bind: Bind, pebble: Authority) -> None:
    publish = publish_in(bind.endpoint, "example.test", bind.key.keyring())

    issued = issue(
        pebble.directory_url, pebble.ca_bundle, ["example.test", "*.example.test"], publish
    )

    assert issued.names == {"example.test", "*.example.test"}
    verify(issued, pebble.root_pem(), "nas.example.test")
    assert len(bind.txt("_acme-challenge.example.test")) == 2
    send_update(bind.endpoint, "example.test", bind.key.keyring(), delete_all)
