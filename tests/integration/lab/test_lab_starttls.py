"""Clients of the standard library reach the certificate of a service by TLS on demand."""

import contextlib
import ftplib
import imaplib
import smtplib
import socket
import ssl

import pytest

from distributor.lab.box_state import DSM_DESKTOP, FTPS, LDAP, MAIL
from distributor.lab.diskstation import DiskStation
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import Issued, issue
from tests.integration.lab.plain_client import Client, served, unverified

START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"


@pytest.fixture
def box(make_box: MakeBox) -> DiskStation:
    return make_box(services=[DSM_DESKTOP, FTPS, MAIL, LDAP])


def bound(box: DiskStation, service: str) -> bytes:
    """Bind a new certificate to one service by the API; return the leaf, as DER."""
    fresh = issue()
    entry_id = box.import_entry(*fresh.files)
    assert Client(box).admin().bind(service, entry_id)["success"]
    box.wait_until_serving()
    return der_of(fresh)


def der_of(issued: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert_pem.decode())


def leaf_of(connection: socket.socket | None) -> bytes | None:
    assert isinstance(connection, ssl.SSLSocket)
    return connection.getpeercert(binary_form=True)


def ftp_leaf(port: int) -> bytes | None:
    with ftplib.FTP_TLS(context=unverified()) as client:  # noqa: S321 - by TLS, to loopback
        client.connect("127.0.0.1", port, timeout=5)
        client.auth()
        leaf = leaf_of(client.sock)
        client.prot_p()
        client.quit()
        return leaf


def smtp_leaf(port: int) -> bytes | None:
    with smtplib.SMTP("127.0.0.1", port, "lab", timeout=5) as client:
        client.starttls(context=unverified())
        client.ehlo()
        assert not client.has_extn("starttls")
        return leaf_of(client.sock)


def imap_leaf(port: int) -> bytes | None:
    client = imaplib.IMAP4("127.0.0.1", port, timeout=5)
    try:
        client.starttls(unverified())
        leaf = leaf_of(client.socket())
        client.logout()
    finally:
        client.sock.close()
    return leaf


def ldap_leaf(port: int) -> bytes | None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(START_TLS)
        assert raw.recv(64) == bytes.fromhex("300c02010178070a010004000400")
        with unverified().wrap_socket(raw) as tls:
            return leaf_of(tls)


WAYS = {
    ("FTPS", "ftp"): ftp_leaf,
    ("MailPlus Server", "smtp"): smtp_leaf,
    ("MailPlus Server", "imap"): imap_leaf,
    ("LDAP Server", "ldap"): ldap_leaf,
}


@pytest.mark.parametrize(("service", "protocol"), list(WAYS))
def test_tls_on_demand_shows_what_is_bound_to_the_service(
    box: DiskStation, service: str, protocol: str
) -> None:
    (port,) = (found for key, found in box.starttls_ports.items() if key == (service, protocol))
    leaf = WAYS[service, protocol]
    factory = leaf(port)
    fresh = bound(box, service)
    assert leaf(port) == fresh != factory
    others = WAYS.keys() - {key for key in WAYS if key[0] == service}
    ports = {key: number for key, number in box.starttls_ports.items() if key in others}
    assert {WAYS[key](number) for key, number in ports.items()} == {factory}


def test_the_port_with_tls_from_the_start_is_beside_it(box: DiskStation) -> None:
    bound(box, "MailPlus Server")
    assert box.service_ports.keys() == {"FTPS", "MailPlus Server", "LDAP Server"}
    assert box.starttls_ports.keys() == WAYS.keys()
    assert served(box.service_ports["MailPlus Server"]) != served(box.port)


@pytest.mark.parametrize(
    ("key", "said", "answered"),
    [
        (("FTPS", "ftp"), b"USER u\r\n", b"530 "),
        (("MailPlus Server", "smtp"), b"MAIL FROM:<u>\r\n", b"502 "),
        (("MailPlus Server", "imap"), b"a1 LOGIN u p\r\n", b"a1 BAD "),
    ],
)
def test_nothing_but_the_way_to_tls_is_known_in_the_clear(
    box: DiskStation, key: tuple[str, str], said: bytes, answered: bytes
) -> None:
    port = dict(box.starttls_ports.items())[key]  # type: ignore[index]  # the key is one of WAYS
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        raw.makefile("rb") as lines,
    ):
        assert lines.readline()
        raw.sendall(said)
        assert lines.readline().startswith(answered)


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n", b"\x30\x84", b"\x30\x03\x02\x01\x01", START_TLS[:-1] + b"8"],
)
def test_what_is_no_ldap_request_for_tls_ends_the_connection(box: DiskStation, said: bytes) -> None:
    port = box.starttls_ports["LDAP Server", "ldap"]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(said)
        with contextlib.suppress(ConnectionResetError):  # it closes with some of it unread
            assert raw.recv(64) == b""


def test_clients_that_leave_in_the_middle_hold_up_nobody(box: DiskStation) -> None:
    for (_, protocol), port in box.starttls_ports.items():
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(START_TLS[:-1] if protocol == "ldap" else b"half a line")
    for key, port in box.starttls_ports.items():
        assert WAYS[key](port)


def test_clients_that_wait_in_the_clear_are_cut_at_a_restart_and_at_the_end(
    box: DiskStation,
) -> None:
    port = box.starttls_ports["FTPS", "ftp"]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        assert raw.recv(64) == b"220 ready\r\n"
        bound(box, "FTPS")
        assert raw.recv(64) == b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        assert raw.recv(64) == b"220 ready\r\n"
        box.stop()
        assert raw.recv(64) == b""
