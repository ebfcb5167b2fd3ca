"""What paramiko and the system raise, in our own errors."""

import errno
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

_OFF: Final = (
    "is this its SSH port, and is SSH switched on? DSM: Control Panel > Terminal & SNMP; "
    "SRM: Control Panel > Services > SSH"
)
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
        return Unreachable(f"{peer}: the connection is refused", hint=_OFF, step="connect")
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
        return Unreachable(f"{peer}: no such address", hint=_OFF, step="connect")
    return Unreachable(
        f"{peer}: no connection: {printable(error.strerror or error)}",
        hint="is the host on, and is this its SSH port?",
        step="connect",
    )


def timed_out(peer: str, seconds: float | None = None) -> Unreachable:
    """Return the error for a server that does not answer in time."""
    within = f" within {seconds:g} s" if seconds is not None else " in time"
    return Unreachable(
        f"{peer}: no answer{within}",
        hint="is the host on, and is this its SSH port?",
        step="connect",
    )
