"""A host that lies, breaks off or talks nonsense gives one clear error, and gets no secret."""

import base64
import gc
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from distributor.clients.http import PinnedHttp
from distributor.model.bundle import fingerprint
from distributor.model.errors import HostError, ProtocolError, Unreachable, Untrusted
from distributor.model.trust import Trust
from distributor.protocol import dsm
from tests.certs import DAY, NOW, Issued, self_signed
from tests.integration.hostile_server import (
    CHUNKED,
    HEAD,
    SECRET,
    HostileServer,
    Talk,
    Talking,
    ask,
    flood,
    leave,
    listen,
    say,
    silent,
)

LEAF = self_signed(["nas.example.com"])


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    yield
    gc.collect()  # a socket that was left open warns when it is collected, and that fails the test


def test_a_pinned_leaf_is_answered_though_nobody_vouches_for_it() -> None:
    with HostileServer(LEAF, lambda client: client.answer(b"hello")) as server:
        assert ask(server) == (200, b"hello")
        assert SECRET.encode() in server.received[0]


def test_a_host_on_ipv6_is_asked() -> None:
    with HostileServer(LEAF, host="::1") as server:
        assert ask(server) == (200, b"{}")
        assert f"Host: [::1]:{server.address.port}".encode() in server.received[0]


def test_a_leaf_that_is_not_pinned_gets_not_one_byte() -> None:
    other = Trust(host="nas", leaves=frozenset({fingerprint(self_signed(["other"]).leaf)}))
    with HostileServer(LEAF, listen) as server:
        with pytest.raises(Untrusted) as caught:
            ask(server, other)
        server.all_over()
        assert server.handshakes == 1
        assert server.received == [b""]
    assert fingerprint(LEAF.leaf) in caught.value.message


def test_nobody_is_trusted_by_an_empty_trust() -> None:
    with HostileServer(LEAF, listen) as server:
        with pytest.raises(Untrusted):
            ask(server, Trust(host="nas"))
        server.all_over()
        assert server.received == [b""]


def test_a_leaf_that_changed_in_between_gets_not_one_byte() -> None:
    with (
        HostileServer(LEAF, lambda client: client.answer(b"first")) as server,
        PinnedHttp(server.address, server.trust, None) as http,
    ):
        assert http.request("GET", "/").body == b"first"
        server.all_over()
        server.use(self_signed(["nas.example.com"]))
        server.talk = listen
        with pytest.raises(Untrusted):
            http.request("POST", "/", form={"passwd": SECRET})
        server.all_over()
        assert len(server.received) == 2
        assert server.received[1] == b""


@pytest.mark.parametrize("days", [1, 29])
def test_a_pinned_leaf_that_expired_lately_still_identifies_its_host(days: int) -> None:
    late = self_signed(["nas"], not_before=NOW - 400 * DAY, not_after=NOW - days * DAY)
    with HostileServer(late) as server:
        assert ask(server) == (200, b"{}")


def test_a_pinned_leaf_that_expired_long_ago_gets_not_one_byte() -> None:
    ended = NOW - timedelta(days=30, minutes=1)
    late = self_signed(["nas"], not_before=NOW - 400 * DAY, not_after=ended)
    with HostileServer(late, listen) as server:
        with pytest.raises(Untrusted, match="more than 30 days ago"):
            ask(server)
        server.all_over()
        assert server.received == [b""]


def test_a_certificate_that_cannot_be_read_is_a_protocol_error_and_gets_nothing() -> None:
    der = LEAF.leaf.public_bytes(Encoding.DER).replace(
        b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1
    )
    pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % base64.encodebytes(der)

    class Odd(Issued):
        @property
        def fullchain_pem(self) -> bytes:
            return pem

    odd = Odd(leaf=LEAF.leaf, chain=(), key=LEAF.key)
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_certificate(der)
    with HostileServer(odd, listen) as server:
        with pytest.raises(ProtocolError, match="cannot be read"):
            ask(server)
        server.all_over()
        assert server.received == [b""]


def test_a_redirect_is_not_followed() -> None:
    def redirect(client: Talking) -> None:
        client.answer(b"", "Location: https://127.0.0.1:1/\x1b[2Jx", status="302 Found")

    with HostileServer(LEAF, redirect) as server:
        with pytest.raises(ProtocolError, match=r"redirects to https://127\.0\.0\.1:1/") as caught:
            ask(server)
        assert server.connections == 1
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("place", ["https://[::1:5001/", "https://[", "//[x]/", "\xff://"])
def test_a_redirect_to_no_place_is_told(place: str) -> None:
    def redirect(client: Talking) -> None:
        client.answer(b"", f"Location: {place}", status="302 Found")

    with HostileServer(LEAF, redirect) as server:
        with pytest.raises(ProtocolError, match="redirects to"):
            ask(server)
        assert server.connections == 1


def test_a_page_of_html_is_no_answer_of_the_web_api() -> None:
    with HostileServer(LEAF, lambda client: client.answer(b"<html>\x1b[2J</html>")) as server:
        status, body = ask(server)
    with pytest.raises(ProtocolError, match="not from the Web API"):
        dsm.parse_answer(status, body)


def test_a_list_is_understood_whatever_its_type_is_called() -> None:
    answer = b'{"data":{"certificates":[]},"success":true}'
    kind = 'Content-Type: text/plain; charset="UTF-8"'  # as DSM 6 sends it
    with HostileServer(LEAF, lambda client: client.answer(answer, kind)) as server:
        assert dsm.parse_answer(*ask(server)) == {"certificates": []}


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        (leave, Unreachable),
        (listen, Unreachable),
        (say(HEAD + b"Content-Length: 10\r\n\r\nabc"), Unreachable),
        (say(CHUNKED + b"5\r\nabc"), Unreachable),
        (say(CHUNKED + b"no number\r\nabc"), HostError),
        (say(b"220 ftp.example.com ready\r\n"), ProtocolError),
        (say(b"\x00\xff\x00\xff\r\n\r\n"), ProtocolError),
        (say(b"HTTP/1.1 wrong\r\n\r\n"), ProtocolError),
        (say(HEAD + b"X: y\r\n" * 200 + b"\r\n"), ProtocolError),
    ],
)
def test_a_peer_that_breaks_off_or_talks_nonsense_is_told_apart(
    talk: Talk, kind: type[HostError]
) -> None:
    with HostileServer(LEAF, talk) as server, pytest.raises(kind) as caught:
        ask(server)
    assert str(server.address) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
    ids=["http", "ssh", "alert"],
)
def test_a_port_without_tls_is_a_protocol_error(words: bytes) -> None:
    def raw(plain: socket.socket, stopping: threading.Event) -> bool:
        plain.sendall(words)
        plain.recv(65536)
        return False

    with HostileServer(LEAF, raw=raw) as server, pytest.raises(ProtocolError, match="TLS"):
        ask(server)


def test_a_handshake_that_breaks_off_is_what_a_restart_looks_like() -> None:
    def raw(plain: socket.socket, stopping: threading.Event) -> bool:
        plain.recv(65536)
        return False

    with HostileServer(LEAF, raw=raw) as server, pytest.raises(Unreachable, match="broke off"):
        ask(server)


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with HostileServer(LEAF) as server:
        pass
    with pytest.raises(Unreachable, match="no connection"):
        ask(server)


def test_the_environment_never_applies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"default login somebody password {SECRET}\n")
    (tmp_path / ".netrc").chmod(0o600)
    missing = str(tmp_path / "missing.pem")
    settings = {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / ".netrc"),
        "REQUESTS_CA_BUNDLE": missing,
        "CURL_CA_BUNDLE": missing,
        "SSL_CERT_FILE": missing,
    }
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        settings |= {name: "http://127.0.0.1:1", name.lower(): "http://127.0.0.1:1"}
    settings |= {"NO_PROXY": "", "no_proxy": ""}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with (
        HostileServer(LEAF) as server,
        PinnedHttp(server.address, server.trust, None) as http,
    ):
        assert http.request("GET", "/").status == 200
        assert b"authorization" not in server.received[0].lower()


def test_a_connection_that_was_closed_in_between_is_made_anew() -> None:
    with (
        HostileServer(LEAF, lambda client: client.answer(b"{}")) as server,
        PinnedHttp(server.address, server.trust, None) as http,
    ):
        for _ in range(3):
            assert http.request("GET", "/").body == b"{}"
            server.all_over()
        assert server.connections == 3


def test_a_connection_is_used_again_and_forgotten_when_told_so() -> None:
    def talk(client: Talking) -> None:
        while client.receive():
            client.send(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with (
        HostileServer(LEAF, talk) as server,
        PinnedHttp(server.address, server.trust, None) as http,
    ):
        http.request("GET", "/")
        http.request("GET", "/")
        assert server.connections == 1
        http.fresh()
        http.request("GET", "/")
        assert server.connections == 2


def test_a_server_name_is_sent_and_an_address_is_not() -> None:
    with HostileServer(LEAF) as server:
        with PinnedHttp(server.address, server.trust, "nas.example.com") as http:
            http.request("GET", "/")
        ask(server)
        assert server.server_names == ["nas.example.com", None]


@pytest.mark.parametrize(
    "talk",
    [
        leave,
        silent,
        say(b"nonsense\r\n\r\n"),
        say(HEAD + b"Content-Encoding: gzip\r\n\r\n"),
        flood(HEAD + b"\r\n", b"x" * 65536),
        lambda client: client.answer(b"", "Location: /elsewhere", status="301 Moved"),
    ],
)
def test_no_secret_is_in_what_goes_wrong(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with HostileServer(LEAF, talk) as server, pytest.raises(HostError) as caught:
        ask(server, seconds=0.7)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
    assert SECRET not in told


def test_text_that_cannot_be_sent_is_an_error_without_the_text() -> None:
    with (
        HostileServer(LEAF) as server,
        PinnedHttp(server.address, server.trust, None) as http,
        pytest.raises(ProtocolError) as caught,
    ):
        http.request("POST", "/", form={"passwd": f"{SECRET}\ud800"})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
