"""Peers at the other end of a connection: TLS, HTTP, DNS and STARTTLS that anybody may speak."""

import contextlib
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, get_args

import dns.message
import dns.rdatatype

from distributor.clients import dns_queries
from distributor.clients.acme_directory import read_directory
from distributor.clients.acme_errors import FOREIGN, translate
from distributor.clients.acme_network import Network
from distributor.clients.dns_queries import NoAnswer, question
from distributor.clients.http import PinnedHttp
from distributor.clients.tls import probe, verified_leaf
from distributor.clients.web import front, plain_answer
from distributor.dns_providers.contract import Receipt
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.model.bundle import fingerprint
from distributor.model.errors import DnsRefused, HostError, IssuanceError
from distributor.model.hosts import (
    Endpoint,
    PlainSecret,
    Rfc2136Settings,
    SocketAddress,
    StartTls,
)
from distributor.model.secret import Secret
from distributor.model.trust import Trust
from tests.certs import Authority, Issued, hierarchy, pem
from tests.fuzz import nameserving
from tests.fuzz.judging import Target, only, require_harmless, require_shown
from tests.fuzz.wires import drain, heard, peer, saying
from tests.integration.hostile_server import _context

_NAME: Final = "_acme-challenge.example.com"
_KEY: Final = Secret("c2VjcmV0")


def _handshake(data: bytes) -> None:
    with peer(saying(data)) as address:
        served = probe(Endpoint(address=address, certificate="home"))
        assert served.certificate is None
        assert served.error is not None
        require_shown(served.error)
        with only(HostError):
            verified_leaf(address, "localhost", None)
        with only(HostError), PinnedHttp(address, Trust(host="nas"), None) as http:
            http.request("GET", "/", seconds=5.0)


def _starttls(data: bytes) -> None:
    with peer(saying(data)) as address:
        for protocol in get_args(StartTls):
            served = probe(Endpoint(address=address, certificate="home", starttls=protocol))
            assert served.error is not None
            require_shown(served.error)


def _plain_http(data: bytes) -> None:
    with peer(saying(data)) as address:
        answer = plain_answer(address)
    if answer is not None:
        assert 100 <= answer.status <= 599


@cache
def _ca() -> Authority:
    return hierarchy(0)


@cache
def _issued() -> Issued:
    return _ca().issue(["127.0.0.1"])


@cache
def _tls() -> ssl.SSLContext:
    return _context(_issued())


@contextmanager
def _answering(data: bytes) -> Iterator[SocketAddress]:
    """Serve it to every request, inside of TLS that is as it should be."""

    def talk(connection: socket.socket) -> None:
        with _tls().wrap_socket(connection, server_side=True) as secured:
            if heard(secured):
                secured.sendall(data)
                secured.settimeout(0.05)  # a client may keep the connection for later
                secured.unwrap()

    with peer(talk) as address:
        yield address


def _https(data: bytes) -> None:
    with _answering(data) as address, _pinned(address) as http:
        with only(HostError):
            answer = http.request("POST", "/webapi/entry.cgi", form={"a": "b"}, seconds=5.0)
            assert answer.status >= 100
        with only(HostError):
            seen = front(http, address, lambda: datetime.now(UTC))
            assert seen.status


def _pinned(address: SocketAddress) -> PinnedHttp:
    leaves = frozenset({fingerprint(_issued().leaf)})
    return PinnedHttp(address, Trust(host="nas", leaves=leaves), None)


def _https_of_a_ca(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, _answering(data) as address:
        roots = Path(folder, "roots.pem")
        roots.write_bytes(pem(_ca().root))
        network = Network(None, ca_bundle=roots, sleep=lambda _seconds: None)
        try:
            with only(IssuanceError):
                read_directory(network, f"https://{address}/directory")
        except FOREIGN as error:
            require_harmless(str(translate(error, str(address), datetime.now(UTC))))
        finally:
            network.close()


def _nameserver(data: bytes) -> None:
    """Ask a nameserver by UDP and TCP, and change a zone there."""
    with _serving_dns(data) as address:
        for kind in (dns.rdatatype.TXT, dns.rdatatype.SOA):
            answer = dns_queries.ask(question(_NAME, kind), address)
            if isinstance(answer, NoAnswer):
                require_harmless(answer.words)
        settings = Rfc2136Settings(
            server=address, key_name="key", key_algorithm="hmac-sha256", key=PlainSecret(_KEY)
        )
        provider = Rfc2136(settings, lambda: _KEY)
        for work in (provider.present, provider.cleanup):
            with only(DnsRefused):
                work(Receipt(_NAME, ("value",)))


@contextmanager
def _serving_dns(data: bytes) -> Iterator[SocketAddress]:
    """Answer every question with these bytes, its own number in front where there is one."""

    def answered(wire: bytes) -> bytes:
        with contextlib.suppress(ValueError, IndexError):
            return wire[:2] + data[2:] if data[:2] == b"\0\0" else data
        return data

    def talk(connection: socket.socket) -> None:
        wire = connection.recv(1 << 16)
        reply = answered(wire[2:])
        connection.sendall(struct.pack(">H", len(reply) & 0xFFFF) + reply)
        connection.shutdown(socket.SHUT_WR)
        drain(connection)

    def listen() -> None:
        while True:
            wire, sender = udp.recvfrom(1 << 16)
            if wire == b"over":
                return
            udp.sendto(answered(wire)[:60_000], sender)

    with peer(talk) as address, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address.host, address.port))
        thread = threading.Thread(target=listen, name="fuzz-udp")
        thread.start()
        try:
            yield address
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"over", (address.host, address.port))
            thread.join()


def _first_flights() -> tuple[bytes, ...]:
    """Return what servers say first: an alert, and flights of TLS 1.2 and 1.3 to other clients."""
    flights = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.maximum_version = version
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = client.wrap_bio(to_client, to_server)
        serving = _tls().wrap_bio(to_server, to_client, server_side=True)
        for side in (asking, serving):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        flights.append(to_client.read())
    return (*flights, b"\x15\x03\x03\x00\x02\x02\x28", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"")


_BODY: Final = b'{"success": true, "data": {}}'
_ANSWERS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n" + _BODY,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n" + _BODY + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: id=a; expires=Wed, 21 Oct 2026 07:28:00 GMT; path=/\r\n"
    b"Date: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n" + _BODY,
    b"HTTP/1.1 301 Moved\r\nLocation: https://[::1]:5001/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n{}",
    b'HTTP/1.1 200 OK\r\nLink: <https://ca.example>;rel="up"\r\nReplay-Nonce: eA\r\n\r\n{}',
)
_SAID: Final = (
    b"220 ready\r\n234 go on\r\n",
    b"220-hello\r\n220 mail\r\n250-a\r\n250 STARTTLS\r\n220 go on\r\n",
    b"* OK [CAPABILITY STARTTLS] ready\r\na1 OK begin\r\n",
    b"* PREAUTH x\r\n* more\r\na1 BAD no\r\n",
    bytes.fromhex("300c02010178070a010004000400"),
    bytes.fromhex("3084000000100201017884000000070a010004000400"),
)


def _on_the_wire(harness: Callable[[bytes], None], samples: tuple[bytes, ...]) -> Target:
    return Target(harness=harness, samples=lambda: samples, examples=12)


TARGETS: Final[Mapping[str, Target]] = {
    "peer-tls": Target(harness=_handshake, samples=_first_flights, examples=12, takes=False),
    "peer-starttls": _on_the_wire(_starttls, _SAID),
    "peer-plain-http": _on_the_wire(_plain_http, _ANSWERS),
    "peer-https": _on_the_wire(_https, _ANSWERS),
    "peer-https-of-a-ca": _on_the_wire(_https_of_a_ca, _ANSWERS),
    "peer-nameserver": Target(
        harness=_nameserver, samples=nameserving._samples, examples=8, takes=False
    ),
}
