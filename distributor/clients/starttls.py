"""Plain connections brought to the point where TLS begins: STARTTLS of FTP, SMTP, IMAP and LDAP.

The dialogue up to there is the standard library's, wherever it has the protocol.
"""

import ftplib
import imaplib
import smtplib
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Final

from distributor.model.errors import ProtocolError
from distributor.model.hosts import SocketAddress, StartTls
from distributor.model.text import printable

_LDAP_START: Final = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
"""An ExtendedRequest with the OID of StartTLS (RFC 4511 section 4.14), message number 1."""
_LDAP_LIMIT: Final = 1024
_EXTENDED_RESPONSE: Final = b"\x78"
_SUCCESS: Final = b"\x0a\x01\x00"
"""The enumerated result code 0 in BER."""
_READY_FOR_TLS: Final = 220
"""SMTP's answer to STARTTLS (RFC 3207 section 4)."""


@contextmanager
def upgraded(protocol: StartTls, address: SocketAddress, timeout: float) -> Iterator[socket.socket]:
    """Give a connection on which the server waits for a TLS handshake; closed at the end.

    Each answer may take `timeout` seconds. Raises OSError for no connection or no answer, and
    ProtocolError when the server does not begin TLS there.
    """
    with _UPGRADES[protocol](address, timeout) as plain:
        yield plain


@contextmanager
def _ftp(address: SocketAddress, timeout: float) -> Iterator[socket.socket]:
    # Nothing is sent in the clear but the wish for TLS.
    with closing(ftplib.FTP(timeout=timeout)) as session:  # noqa: S321 - see the line above
        with _understood("FTP", address):
            session.connect(address.host, address.port)
            session.voidcmd("AUTH TLS")  # RFC 4217 section 4
        yield _socket_of(session.sock)


@contextmanager
def _smtp(address: SocketAddress, timeout: float) -> Iterator[socket.socket]:
    # A name of our own given here saves the look-up of this computer's.
    with closing(smtplib.SMTP(timeout=timeout, local_hostname="localhost")) as session:
        with _understood("SMTP", address):
            session.connect(address.host, address.port)
            session.ehlo()
            code, answer = session.docmd("STARTTLS")
            if code != _READY_FOR_TLS:
                raise smtplib.SMTPResponseException(code, answer)
        yield _socket_of(session.sock)


@contextmanager
def _imap(address: SocketAddress, timeout: float) -> Iterator[socket.socket]:
    with _understood("IMAP", address):
        session = imaplib.IMAP4(address.host, address.port, timeout=timeout)
    try:
        with _understood("IMAP", address):
            result, _ = session.xatom("STARTTLS")  # RFC 9051 section 6.2.1
            if result != "OK":
                raise imaplib.IMAP4.error(result)
        yield _socket_of(session.sock)
    finally:
        session.shutdown()


@contextmanager
def _ldap(address: SocketAddress, timeout: float) -> Iterator[socket.socket]:
    with socket.create_connection((address.host, address.port), timeout=timeout) as plain:
        plain.sendall(_LDAP_START)
        answer = plain.recv(_LDAP_LIMIT)
        if _EXTENDED_RESPONSE not in answer or _SUCCESS not in answer:
            raise _no_tls("LDAP", address, "it does not answer with success")
        yield plain


_UPGRADES: Final[
    Mapping[StartTls, Callable[[SocketAddress, float], AbstractContextManager[socket.socket]]]
] = {"ftp": _ftp, "smtp": _smtp, "imap": _imap, "ldap": _ldap}


@contextmanager
def _understood(protocol: str, address: SocketAddress) -> Iterator[None]:
    try:
        yield
    except (ftplib.Error, smtplib.SMTPException, imaplib.IMAP4.error, EOFError) as error:
        raise _no_tls(protocol, address, printable(error)) from error


def _socket_of(sock: socket.socket | None) -> socket.socket:
    if sock is None:
        raise ConnectionResetError("the connection was closed")
    return sock


def _no_tls(protocol: str, address: SocketAddress, reason: str) -> ProtocolError:
    return ProtocolError(
        f"{address} does not begin TLS by {protocol}: {reason}",
        hint="is TLS switched on for this service, and is it the port of this protocol?",
        step="handshake",
    )
