"""What web servers answer without a login: redirects, customised domains, clocks, odd peers."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from distributor.checking.online import check_online
from distributor.clients import web
from distributor.clients.http import PinnedHttp
from distributor.clients.web import LIMIT, front, plain_answer
from distributor.inventory import load
from distributor.lab.factory import factory_certificate
from distributor.model.bundle import Certificate, fingerprint
from distributor.model.errors import DistributorError, Untrusted
from distributor.model.hosts import AcmeSource, Host, SocketAddress
from distributor.model.trust import Trust
from distributor.model.web import PlainAnswer
from distributor.store import Store
from distributor.targets.contract import Target
from distributor.wiring import Workshop
from distributor.wiring.checks import CheckTools
from tests.integration.checking.conftest import Lab

DOMAIN = "nas.example.test"
ASKED: list[str] = []
"""The Host headers of all requests."""
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class _Dsm(BaseHTTPRequestHandler):
    """Answers 404 to its customised domain, redirects on plain HTTP, and has a clock of its own."""

    protocol_version = "HTTP/1.1"
    redirect = ""

    def do_GET(self) -> None:
        ASKED.append(self.headers["Host"])
        name = self.headers["Host"].rpartition(":")[0]
        self.send_response(302 if self.redirect else 404 if name == DOMAIN else 200)
        if self.redirect:
            self.send_header("Location", self.redirect)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - the base's
        return (NOW + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(*, tls: bool, redirect: str = "", folder: Path | None = None) -> Iterator[int]:
    """Serve as a box would; give the port."""
    handler = type("Handler", (_Dsm,), {"redirect": redirect})
    server = HTTPServer(("127.0.0.1", 0), handler)
    if tls:
        assert folder is not None
        made = factory_certificate("nas")
        (folder / "pair.pem").write_bytes(made.cert_pem + made.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pair.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(*chunks: bytes) -> Iterator[int]:
    """Send these bytes to whoever connects, and close; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            for chunk in chunks:
                try:
                    connection.sendall(chunk)
                except OSError:  # it has heard enough
                    return

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


def test_a_redirect_is_told_and_not_followed() -> None:
    with serving(tls=False, redirect="https://127.0.0.1:5001/x") as port:
        answer = plain_answer(SocketAddress("127.0.0.1", port))
    assert answer is not None
    assert (answer.status, answer.location) == (302, "https://127.0.0.1:5001/x")


def test_where_nothing_listens_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert plain_answer(SocketAddress("127.0.0.1", port)) is None


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (b"220 ready\r\n",),
        (b"\x15\x03\x01\x00\x02\x02\x46",),
        (b"HTTP/1.1 9999 odd\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 2000 + b"\r\n",),
        (b"a" * LIMIT,) * 8,
    ],
)
def test_what_does_not_speak_http_has_no_answer(chunks: tuple[bytes, ...]) -> None:
    with answering(*chunks) as port:
        assert plain_answer(SocketAddress("127.0.0.1", port)) is None


def test_one_name_of_a_pinned_port_is_asked_for_and_the_clock_compared(tmp_path: Path) -> None:
    leaf = factory_certificate("nas").leaf
    with serving(tls=True, folder=tmp_path) as port:
        # The factory's key is the process's, its certificate is made anew each time.
        trust = Trust(host="nas", leaves=frozenset({_served(port)}))
        with PinnedHttp(SocketAddress("127.0.0.1", port), trust, None) as http:
            ASKED.clear()
            own = front(http, SocketAddress("127.0.0.1", port), lambda: NOW)
            custom = front(http, SocketAddress(DOMAIN, port), lambda: NOW)
        assert [f"127.0.0.1:{port}", f"{DOMAIN}:{port}"] == ASKED
        stranger = Trust(host="nas", leaves=frozenset({fingerprint(leaf)}))
        with (
            PinnedHttp(SocketAddress("127.0.0.1", port), stranger, None) as http,
            pytest.raises(Untrusted),
        ):
            front(http, SocketAddress("127.0.0.1", port), lambda: NOW)
    assert (own.status, custom.status) == (200, 404)
    assert own.skew == timedelta(hours=1)


@pytest.mark.parametrize(
    "date",
    [
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2026 99999999999999999999:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999999999999999",
        "Wed, 21 Oct 2026 07:28:00 +9999",
        "Wed, 21 Oct 2026 07:28:00",
        "9" * 5000,
        "soon",
        "",
    ],
)
def test_a_date_that_is_none_tells_nothing_of_the_clock(date: str) -> None:
    assert web._skew(date, NOW) is None


def test_the_plain_port_of_a_usual_box_is_asked(make_lab: Callable[[int], Lab]) -> None:
    lab = make_lab(1)
    box = lab.range.boxes["attic"]
    inventory, store, stop = load(lab.range.inventory), Store(lab.range.state), threading.Event()
    with ExitStack() as running:
        port = running.enter_context(serving(tls=False))
        tools = CheckTools(Workshop(inventory, store, stop), plain_ports={box.port: port})
        found = check_online(inventory, {}, tools, lambda _what, _text: None, stop)
    assert [(one.name, one.is_finding) for one in found] == [("plain-http", False)]
    assert CheckTools(Workshop(inventory, store, stop)).plain_ports == {5001: 5000, 8001: 8000}


class _Broken(CheckTools):
    """Has a mistake in all that it does for one host, its CA and its zone."""

    def target(self, host: Host, certificates: Mapping[str, Certificate]) -> Target:
        if host.name == "attic":
            raise ZeroDivisionError("secret")
        return super().target(host, certificates)

    def plain(self, host: Host) -> PlainAnswer | None:
        if host.name == "cellar":
            raise ZeroDivisionError("secret")
        return super().plain(host)

    def reach_ca(self, source: AcmeSource) -> None:
        raise ZeroDivisionError(f"secret of {source}")

    def rehearse(
        self, certificate: str, progress: Callable[[str], None]
    ) -> Mapping[str, DistributorError]:
        progress(f"looking at {certificate}")
        raise ZeroDivisionError("secret")


def test_a_mistake_in_one_check_ends_no_other(make_lab: Callable[[int], Lab]) -> None:
    lab = make_lab(3)
    inventory, stop = load(lab.range.inventory), threading.Event()
    tools = _Broken(Workshop(inventory, Store(lab.range.state), stop))
    found = check_online(inventory, {}, tools, lambda _what, _text: None, stop)
    assert [(one.name, one.about) for one in found] == [
        ("ca", "certificate home"),
        ("dns", "certificate home"),
        ("host", "host attic"),
        ("host", "host cellar"),
    ]
    assert all("ZeroDivisionError" in one.message for one in found)
    assert not any("secret" in one.message + one.hint for one in found)
    assert lab.range.boxes["garage"].logins == 1


def test_once_stopped_nothing_is_begun(make_lab: Callable[[int], Lab]) -> None:
    lab = make_lab(1)
    inventory, stop = load(lab.range.inventory), threading.Event()
    stop.set()
    tools = CheckTools(Workshop(inventory, Store(lab.range.state), stop))
    updates = lab.nameserver.updates
    assert check_online(inventory, {}, tools, lambda _what, _text: None, stop) == ()
    assert lab.range.boxes["attic"].logins == 0
    assert lab.nameserver.updates == updates


def _served(port: int) -> str:
    from distributor.clients.tls import served_chain

    return fingerprint(served_chain(SocketAddress("127.0.0.1", port), None)[0])
