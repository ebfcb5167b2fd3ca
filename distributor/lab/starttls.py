"""What servers of mail, files and directories say before TLS begins on demand, and after.

As much as a client needs to get there and to leave: FTP (RFC 4217), SMTP (RFC 3207), IMAP
(RFC 9051 §6.2.1), LDAP (RFC 4511 §4.14). Nothing said in the clear counts after TLS has begun.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from distributor.lab.box_state import Starttls
from distributor.lab.listener import Clear, Serve

_LONGEST = 1024  # bytes of a line or message that a client may send
_START_TLS_OID: Final = b"1.3.6.1.4.1.1466.20037"

Say = Callable[[str, bool], tuple[str, bool]]
"""A line and whether TLS is on, to the answer and whether the talk is over: then TLS begins, or,
where it has, the connection ends."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The two halves of a port with TLS on demand."""

    clear: Clear
    serve: Serve


def upgrades() -> Mapping[Starttls, Upgrade]:
    """Return what is said by protocol."""
    return {
        "ftp": _by_lines(_ftp, "220 ready"),
        "smtp": _by_lines(_smtp, "220 lab ESMTP"),
        "imap": _by_lines(_imap, "* OK ready"),
        "ldap": Upgrade(_ldap_clear, _ldap_secured),
    }


def _by_lines(say: Say, greeting: str) -> Upgrade:
    def clear(connection: socket.socket, _peer: str) -> bool:
        _send(connection, greeting)
        return _talk(connection, say, secured=False)

    def serve(connection: ssl.SSLSocket, _peer: str) -> None:
        _talk(connection, say, secured=True)

    return Upgrade(clear, serve)


def _talk(connection: socket.socket, say: Say, *, secured: bool) -> bool:
    """Answer line by line; say whether the talk ended as it should, not by the client's leaving."""
    while line := _line(connection):
        answer, is_over = say(line, secured)
        _send(connection, answer)
        if is_over:
            return True
    return False


def _line(connection: socket.socket) -> str:
    """Read one line byte by byte, so that nothing sent behind it is taken out of TLS's mouth."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        byte = connection.recv(1)
        if not byte:
            return ""
        line += byte
    return line.decode("latin-1")


def _send(connection: socket.socket, text: str) -> None:
    connection.sendall(text.encode("ascii") + b"\r\n")


def _ftp(line: str, secured: bool) -> tuple[str, bool]:
    words = line.upper().split()
    match words:
        case ["AUTH", "TLS" | "TLS-C"] if not secured:
            return "234 AUTH TLS successful", True
        case ["FEAT"]:
            return "211-Features\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n211 End", False
        case ["PBSZ" | "PROT", _] if secured:
            return f"200 {words[0]} accepted", False
        case ["QUIT"] if secured:
            return "221 bye", True
    return "530 not here", False


def _smtp(line: str, secured: bool) -> tuple[str, bool]:
    match line.upper().split():
        case ["EHLO", *_]:
            return ("250 lab", False) if secured else ("250-lab\r\n250 STARTTLS", False)
        case ["STARTTLS"] if not secured:
            return "220 go ahead", True
        case ["QUIT"] if secured:
            return "221 bye", True
    return "502 not here", False


def _imap(line: str, secured: bool) -> tuple[str, bool]:
    words = line.split()
    tag = words[0] if words else "*"
    match [word.upper() for word in words[1:]]:
        case ["CAPABILITY"]:
            more = "" if secured else " STARTTLS"
            return f"* CAPABILITY IMAP4rev1{more}\r\n{tag} OK done", False
        case ["STARTTLS"] if not secured:
            return f"{tag} OK begin", True
        case ["LOGOUT"] if secured:
            return f"* BYE\r\n{tag} OK bye", True
    return f"{tag} BAD not here", False


def _ldap_clear(connection: socket.socket, _peer: str) -> bool:
    """Answer one StartTLS request; anything else ends the connection."""
    message = _element(connection)
    wanted = b"\x80" + bytes([len(_START_TLS_OID)]) + _START_TLS_OID
    request = b"\x77" + bytes([len(wanted)]) + wanted
    number, found, rest = message.partition(request)
    if not found or rest or not number.startswith(b"\x02"):
        return False
    # ExtendedResponse: resultCode success, matchedDN and diagnosticMessage empty.
    response = number + b"\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
    connection.sendall(b"\x30" + bytes([len(response)]) + response)
    return True


def _element(connection: socket.socket) -> bytes:
    """Return what one SEQUENCE of less than 128 bytes holds, b"" for everything else."""
    tag, length = connection.recv(1), connection.recv(1)
    if tag != b"\x30" or not b"\x00" < length < b"\x80":
        return b""
    missing, content = length[0], b""
    while missing and (more := connection.recv(missing)):
        content += more
        missing -= len(more)
    return content


def _ldap_secured(connection: ssl.SSLSocket, _peer: str) -> None:
    while connection.recv(_LONGEST):
        pass
