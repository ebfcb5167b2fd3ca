"""A handshake shows what an endpoint serves, good or bad, and ends in time whatever is there."""

import base64
import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from distributor.clients.tls import load_roots, probe, served_chain, verified_leaf
from distributor.model.bundle import fingerprint
from distributor.model.errors import (
    HostError,
    InventoryError,
    ProtocolError,
    Unreachable,
    Untrusted,
)
from distributor.model.hosts import Endpoint, SocketAddress
from tests.certs import DAY, NOW, Issued, hierarchy, pem, self_signed
from tests.integration.hostile_server import SLACK, HostileServer, leave

NAME = "nas.example.com"
INTERMEDIATE = hierarchy(1)
assert INTERMEDIATE.parent is not None
ROOT = INTERMEDIATE.parent
GOOD = INTERMEDIATE.issue([NAME, "127.0.0.1"])


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    yield
    gc.collect()  # a socket that was left open warns when it is collected, and that fails the test


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The root of `GOOD`, as a file."""
    root = ROOT.certificate
    path = tmp_path / "root.pem"
    path.write_bytes(pem(root))
    return path


@pytest.mark.parametrize("intermediates", [0, 1, 3])
def test_the_chain_is_shown_as_it_is_served(intermediates: int) -> None:
    issued = hierarchy(intermediates).issue([NAME])
    assert len(issued.chain) == intermediates
    with HostileServer(issued, leave) as server:
        assert served_chain(server.address, None) == (issued.leaf, *issued.chain)
        served = probe(Endpoint(address=server.address, certificate="home"))
    assert served.error is None
    assert served.certificate is not None
    assert served.certificate.leaf == fingerprint(issued.leaf)
    assert served.certificate.chain == tuple(map(fingerprint, issued.chain))


def test_a_wrong_order_and_a_stranger_in_the_chain_are_shown_unmended() -> None:
    good, stranger = hierarchy(2).issue([NAME]), self_signed(["stranger"]).leaf
    odd = Issued(leaf=good.leaf, chain=(*reversed(good.chain), stranger), key=good.key)
    with HostileServer(odd, leave) as server:
        assert served_chain(server.address, None) == (odd.leaf, *odd.chain)


@pytest.mark.parametrize(
    "issued",
    [
        self_signed([NAME]),
        self_signed([NAME], not_before=NOW - 9 * DAY, not_after=NOW - DAY),
        self_signed([NAME], not_before=NOW + DAY),
        hierarchy(1).issue(["other.example.net"]),
        hierarchy(1).issue([], common_name=None),
        self_signed([NAME], key="rsa2048"),
    ],
    ids=["self-signed", "expired", "not yet", "wrong name", "no name", "rsa"],
)
def test_what_no_verifier_would_pass_is_shown(issued: Issued) -> None:
    with HostileServer(issued, leave) as server:
        served = probe(Endpoint(address=server.address, certificate="home", server_name=NAME))
    assert served.certificate is not None
    assert served.certificate.leaf == fingerprint(issued.leaf)


def test_the_certificate_goes_by_the_name_that_is_sent() -> None:
    other = self_signed(["other.example.com"])
    with HostileServer(GOOD, leave, by_name={"other.example.com": other}) as server:
        assert served_chain(server.address, "other.example.com")[0] == other.leaf
        assert served_chain(server.address, NAME)[0] == GOOD.leaf
        assert served_chain(server.address, None)[0] == GOOD.leaf
        assert served_chain(server.address, "127.0.0.1")[0] == GOOD.leaf
        assert server.server_names == ["other.example.com", NAME, None, None]


def test_an_endpoint_on_ipv6_is_asked() -> None:
    with HostileServer(GOOD, leave, host="::1") as server:
        assert served_chain(server.address, None)[0] == GOOD.leaf


def test_a_certificate_that_cannot_be_read_is_a_protocol_error() -> None:
    der = GOOD.leaf.public_bytes(Encoding.DER).replace(
        b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1
    )
    pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % base64.encodebytes(der)

    class Odd(Issued):
        @property
        def fullchain_pem(self) -> bytes:
            return pem

    with HostileServer(Odd(leaf=GOOD.leaf, chain=(), key=GOOD.key), leave) as server:
        with pytest.raises(ProtocolError, match="cannot be read"):
            served_chain(server.address, None)
        served = probe(Endpoint(address=server.address, certificate="home"))
    assert isinstance(served.error, ProtocolError)
    assert served.certificate is None


def hang(plain: socket.socket, stopping: threading.Event) -> bool:
    stopping.wait(10)
    return False


def drip(plain: socket.socket, stopping: threading.Event) -> bool:
    plain.sendall(b"\x16\x03\x03\x40\x00")  # a TLS record of 16 KiB begins
    while not stopping.wait(0.1):
        plain.sendall(b"\x00")
    return False


def no_tls(plain: socket.socket, stopping: threading.Event) -> bool:
    plain.sendall(b"220 ftp.example.com ready\r\n")
    plain.recv(65536)
    return False


def close(plain: socket.socket, stopping: threading.Event) -> bool:
    plain.recv(65536)
    return False


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(hang, Unreachable), (drip, Unreachable), (no_tls, ProtocolError), (close, Unreachable)],
)
def test_what_does_not_shake_hands_is_left_in_time(
    raw: object, kind: type[HostError], roots: Path
) -> None:
    with HostileServer(GOOD, raw=raw) as server:  # type: ignore[arg-type]  # each is of that type
        started = monotonic()
        with pytest.raises(kind) as caught:
            served_chain(server.address, None, 0.6)
        assert str(server.address) in caught.value.message
        assert caught.value.hint
        with pytest.raises(kind):
            verified_leaf(server.address, NAME, roots, 0.6)
        assert monotonic() - started < 1.2 + SLACK


def test_nobody_at_the_port_and_no_address_for_the_name_are_told_apart() -> None:
    with HostileServer(GOOD) as server:
        pass
    with pytest.raises(Unreachable, match="no connection"):
        served_chain(server.address, None)
    for name in ("nobody.invalid", "a..b", "x" * 64 + ".example"):
        with pytest.raises(Unreachable, match="has no address"):
            served_chain(SocketAddress(name, 443), None)
    served = probe(Endpoint(address=server.address, certificate="home"))
    assert isinstance(served.error, Unreachable)


def test_a_server_name_that_cannot_be_sent_is_a_host_error() -> None:
    with HostileServer(GOOD, leave) as server, pytest.raises(HostError):
        served_chain(server.address, "a..b")


def test_a_ca_vouches_for_the_right_name(roots: Path) -> None:
    with HostileServer(GOOD, leave) as server:
        assert verified_leaf(server.address, NAME, roots) == fingerprint(GOOD.leaf)


@pytest.mark.parametrize(
    ("issued", "name"),
    [
        (GOOD, "other.example.com"),
        (self_signed([NAME]), NAME),
        (Issued(leaf=GOOD.leaf, chain=(), key=GOOD.key), NAME),
        (INTERMEDIATE.issue([NAME], not_before=NOW - 9 * DAY, not_after=NOW - DAY), NAME),
        (hierarchy(1).issue([NAME]), NAME),
    ],
    ids=["wrong name", "self-signed", "no intermediate", "expired", "other root"],
)
def test_a_ca_vouches_for_nothing_else(issued: Issued, name: str, roots: Path) -> None:
    with HostileServer(issued, leave) as server:
        with pytest.raises(Untrusted, match=f"not verified as {name}") as caught:
            verified_leaf(server.address, name, roots)
        assert caught.value.hint
        with pytest.raises(Untrusted):
            verified_leaf(server.address, name, None)


def test_roots_that_cannot_be_read_are_a_problem_of_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "odd.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n")
    with HostileServer(GOOD, leave) as server:
        for path in (tmp_path / "missing.pem", tmp_path / "empty.pem", tmp_path / "odd.pem"):
            with pytest.raises(InventoryError):
                verified_leaf(server.address, NAME, path)
            with pytest.raises(InventoryError):
                load_roots(path)


def test_the_usual_roots_are_many() -> None:
    assert len(load_roots(None)) > 100
