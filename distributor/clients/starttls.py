"""The dialogue that brings a plain connection to the point where TLS begins: STARTTLS.

FTP, SMTP, IMAP and LDAP. Nothing is sent but the wish for TLS. All of it happens within one
deadline and a bounded number of bytes, which the standard library's clients do not offer.
"""

import socket
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from distributor.model.errors import ProtocolError
from distributor.model.hosts import SocketAddress, StartTls
from distributor.model.text import printable

LIMIT: Final = 16_384
"""Bytes that a server may say before TLS begins."""
_CHUNK: Final = 1024
_TAG: Final = b"a1"
_LDAP_START: Final = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
"""An ExtendedRequest with the OID of StartTLS (RFC 4511 section 4.14), message number 1."""
_SEQUENCE: Final = 0x30
_FIRST_RESPONSE: Final = bytes.fromhex("02010178")
"""Message number 1, and the tag of an ExtendedResponse."""
_RESULT_CODE: Final = bytes.fromhex("0a01")
_LONG_LENGTH: Final = 0x80
_LENGTH_BYTES: Final = 4


def begin_tls(
    protocol: StartTls, plain: socket.socket, address: SocketAddress, deadline: float
) -> None:
    """Speak `protocol` on a fresh connection until the server waits for a TLS handshake.

    `deadline` is a value of `time.monotonic`. Raises TimeoutError when it is over, OSError when the
    connection ends, and ProtocolError when the server does not begin TLS there.
    """
    dialogue = _Dialogue(protocol, plain, address, deadline)
    _BEGINNINGS[protocol](dialogue)
    dialogue.require_silence()


class _Dialogue:
    """What is said on one connection; reads no byte more than arrived with the last answer."""

    def __init__(
        self, protocol: StartTls, plain: socket.socket, address: SocketAddress, deadline: float
    ) -> None:
        self._protocol = protocol
        self._plain = plain
        self._address = address
        self._deadline = deadline
        self._heard = b""
        self._count = 0

    def say(self, words: bytes) -> None:
        self._plain.settimeout(self._left())
        self._plain.sendall(words)

    def line(self) -> bytes:
        """Return the next line without its end."""
        while b"\n" not in self._heard:
            self._hear()
        line, _, self._heard = self._heard.partition(b"\n")
        return line.removesuffix(b"\r")

    def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._heard) < count:
            self._hear()
        found, self._heard = self._heard[:count], self._heard[count:]
        return found

    def require(self, answer: bytes, *begins: bytes) -> None:
        """Raise ProtocolError with the server's words unless they begin as they should."""
        if not answer.upper().startswith(begins):
            raise self.refusal(f"it says '{printable(answer.decode('utf-8', 'replace'))}'")

    def require_silence(self) -> None:
        """Raise ProtocolError when the server said more: it would be taken for part of TLS."""
        if self._heard:
            raise self.refusal("it goes on in plain text after it agreed")

    def refusal(self, reason: str) -> ProtocolError:
        return ProtocolError(
            f"{self._address} does not begin TLS by {self._protocol.upper()}: {reason}",
            hint="is TLS switched on for this service, and is it the port of this protocol?",
            step="handshake",
        )

    def _hear(self) -> None:
        self._plain.settimeout(self._left())
        more = self._plain.recv(_CHUNK)
        if not more:
            raise ConnectionResetError("the connection was closed")
        self._heard += more
        self._count += len(more)
        if self._count > LIMIT:
            raise self.refusal(f"it says more than {LIMIT} bytes")

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _ftp(dialogue: _Dialogue) -> None:
    dialogue.require(_reply(dialogue), b"220")
    dialogue.say(b"AUTH TLS\r\n")
    dialogue.require(_reply(dialogue), b"234")  # RFC 4217 section 4


def _smtp(dialogue: _Dialogue) -> None:
    dialogue.require(_reply(dialogue), b"220")
    dialogue.say(b"EHLO localhost\r\n")
    dialogue.require(_reply(dialogue), b"250")
    dialogue.say(b"STARTTLS\r\n")
    dialogue.require(_reply(dialogue), b"220")  # RFC 3207 section 4


def _reply(dialogue: _Dialogue) -> bytes:
    """Return the last line of a reply (RFC 959 section 4.2, RFC 5321 section 4.2)."""
    line = first = dialogue.line()
    if first[3:4] == b"-":
        while not line.startswith(first[:3] + b" ") and line != first[:3]:
            line = dialogue.line()
    return line


def _imap(dialogue: _Dialogue) -> None:
    dialogue.require(dialogue.line(), b"* OK", b"* PREAUTH")
    dialogue.say(_TAG + b" STARTTLS\r\n")  # RFC 9051 section 6.2.1
    while not (answer := dialogue.line()).startswith(_TAG + b" "):
        dialogue.require(answer, b"*")
    dialogue.require(answer, _TAG.upper() + b" OK")


def _ldap(dialogue: _Dialogue) -> None:
    dialogue.say(_LDAP_START)
    tag, length = dialogue.exactly(2)
    if tag == _SEQUENCE and length > _LONG_LENGTH:
        size = length - _LONG_LENGTH
        length = int.from_bytes(dialogue.exactly(size)) if size <= _LENGTH_BYTES else LIMIT + 1
    if tag != _SEQUENCE or length > LIMIT:
        raise dialogue.refusal("it does not answer in LDAP")
    answer = dialogue.exactly(length)
    if not answer.startswith(_FIRST_RESPONSE) or len(answer) == len(_FIRST_RESPONSE):
        raise dialogue.refusal("it does not answer the request")
    # The length of the response may be written in several bytes, too (X.690 section 8.1.3).
    start = len(_FIRST_RESPONSE) + 1 + max(0, answer[len(_FIRST_RESPONSE)] - _LONG_LENGTH)
    if answer[start : start + 2] != _RESULT_CODE or len(answer) <= start + 2:
        raise dialogue.refusal("its answer has no result")
    if code := answer[start + 2]:
        raise dialogue.refusal(f"result code {code} (RFC 4511 section 4.1.9)")


_BEGINNINGS: Final[Mapping[StartTls, Callable[[_Dialogue], None]]] = {
    "ftp": _ftp,
    "smtp": _smtp,
    "imap": _imap,
    "ldap": _ldap,
}
