"""What paramiko and the system raise, in our own errors."""

import errno
import re
import socket
import struct
import zlib
from typing import Final

import cryptography.exceptions
import paramiko
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import IncompatiblePeer

from distributor.model.errors import DeviceRefused, HostError, ProtocolError, Unreachable
from distributor.model.text import printable

_BANNER: Final = b"SSH-"
FOREIGN: Final = (
    paramiko.SSHException,
    UnknownKeyType,
    EOFError,
    OSError,
    # paramiko reads packets in a thread of its own, and raises in ours whatever a malformed one led
    # to there: a key that is none, text that is no UTF-8, a number without a meaning.
    cryptography.exceptions.InvalidSignature,
    cryptography.exceptions.UnsupportedAlgorithm,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""All that a call into paramiko raises. Nothing but such a call stands where it is caught."""

_SWITCH: Final = "DSM: Control Panel > Terminal & SNMP; SRM: Control Panel > Services > SSH"
OFF: Final = f"is this its SSH port, and is SSH switched on? {_SWITCH}"
"""What to do where nobody listens."""
_SILENT: Final = (
    "is the host on, and is this its address and SSH port? Behind a firewall that drops packets, "
    f"SSH that is switched off is as silent: {_SWITCH}"
)
"""What to do where not even a refusal comes back."""
_OTHERS: Final = (
    (re.compile(rb"HTTP/|\s*<"), "a web server"),
    (re.compile(rb"[\x15\x16]\x03"), "a port that speaks TLS"),
    (re.compile(rb"220[ -]"), "an FTP or mail server"),
)
"""How others greet, or answer to SSH's own greeting."""
_TOO_OLD: Final = (
    "its SSH server is too old, or set to old algorithms alone: update DSM or SRM, or use "
    'via = "api"; nothing here allows SHA-1 or DSA keys'
)


def translate(error: Exception, peer: str) -> HostError:
    """Return the error of our tree for one that paramiko or the system raised.

    `peer` is the address. Of the steps, `handshake` means that the server hung up by itself before
    anybody logged in.
    """
    if isinstance(error, IncompatiblePeer):
        return ProtocolError(
            f"{peer}: no SSH algorithm in common: {printable(error)}",
            hint=_TOO_OLD,
            step="connect",
        )
    if isinstance(error, paramiko.ChannelException):
        return DeviceRefused(
            f"{peer}: the server opens no channel: {printable(error.text or 'no reason given')}",
            hint="may this account run commands there?",
            step="command",
            code=error.code,
        )
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return _not_connected(error, peer)
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"{peer}: the connection is refused", hint=OFF, step="connect")
    if isinstance(error, EOFError | ConnectionError) or _has_no_banner(error):
        return Unreachable(
            f"{peer}: the server ended the connection",
            hint="it may be restarting, or take no more connections for now; is this its SSH port?",
            step="handshake",
        )
    if isinstance(error, paramiko.SSHException):
        return ProtocolError(
            f"{peer}: {printable(error) or type(error).__name__}",
            hint="is this the port of an SSH server?",
            step="connect",
        )
    return ProtocolError(
        f"{peer}: the answer is no SSH that can be read ({type(error).__name__})",
        hint="is this the port of an SSH server?",
        step="connect",
    )


def _has_no_banner(error: Exception) -> bool:
    """Tell whether the server hung up before it said who it is; paramiko has a text for that."""
    return type(error) is paramiko.SSHException and "SSH protocol banner" in str(error)


def _not_connected(error: OSError, peer: str) -> Unreachable:
    if isinstance(error, socket.gaierror):
        return Unreachable(
            f"{peer}: the name has no address",
            hint="correct `address` in the inventory, or the DNS record",
            step="connect",
        )
    if isinstance(error, TimeoutError):
        return timed_out(peer)
    if error.errno == errno.EADDRNOTAVAIL:
        return Unreachable(f"{peer}: no such address", hint=OFF, step="connect")
    return Unreachable(
        f"{peer}: no connection: {printable(error.strerror or error)}",
        hint=_SILENT,
        step="connect",
    )


def timed_out(peer: str, seconds: float | None = None, *, greeted: bool = False) -> Unreachable:
    """Return the error for a server that does not answer in time, or not any more."""
    within = f" within {seconds:g} s" if seconds is not None else " in time"
    hint = "something answers there, but is slow or busy; try again" if greeted else _SILENT
    return Unreachable(f"{peer}: no answer{within}", hint=hint, step="connect")


def no_ssh(greeting: bytes, peer: str) -> ProtocolError | None:
    """Return the error for a port that greets as no SSH server does (RFC 4253 section 4.2).

    None where one does, among lines of its own, or where too little came to tell.
    """
    lines = greeting.splitlines()
    if any(line.startswith(_BANNER) for line in lines) or _BANNER.startswith(greeting[:4]):
        return None
    known = [name for words, name in _OTHERS if words.match(greeting)]
    said = f"something that says '{printable(lines[0].decode('utf-8', 'replace'), 80)}'"
    return ProtocolError(
        f"{peer}: no SSH server answers there, but {known[0] if known else said}",
        hint=f"write its SSH port as `port`: 22, unless it was changed; {OFF}",
        step="connect",
    )
