"""Every exception that paramiko can raise has a translation into our own tree."""

import errno
import importlib
import inspect
import pkgutil
import socket
import struct
import zlib

import cryptography.exceptions
import paramiko
import pytest
from paramiko.ssh_exception import IncompatiblePeer

from distributor.clients import ssh_errors
from distributor.model.errors import DeviceRefused, HostError, ProtocolError, Unreachable

PEER = "attic:22"
NOT_ON_A_CONNECTION = {
    # Raised and caught inside of paramiko's own loop.
    "paramiko.packet.NeedRekeyException",
    # Of parts that are not used: known_hosts and ssh_config files, SFTP, GSSAPI, BER, strategies.
    "paramiko.hostkeys.InvalidHostKey",
    "paramiko.ber.BERException",
    "paramiko.auth_strategy.AuthFailure",
    "paramiko.sftp.SFTPError",
}


def exceptions() -> list[type[Exception]]:
    """Every exception that paramiko defines, in any of its modules."""
    found = set()
    for module in pkgutil.iter_modules(paramiko.__path__, "paramiko."):
        if "win" in module.name:  # imports what only Windows has
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__.startswith("paramiko."):
                found.add(kind)
    return sorted(found, key=str)


KINDS = exceptions()


def test_the_walk_found_something() -> None:
    assert len(KINDS) > 15
    assert {f"{kind.__module__}.{kind.__name__}" for kind in KINDS} >= {
        "paramiko.ssh_exception.SSHException",
        "paramiko.ssh_exception.IncompatiblePeer",
        "paramiko.buffered_pipe.PipeTimeout",
        "paramiko.pkey.UnknownKeyType",
    }


KEY = paramiko.PKey()
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "BadAuthenticationType": ("no", ["publickey"]),
    "BadHostKeyException": ("attic", KEY, KEY),
    "ChannelException": (1, "no"),
    "NoValidConnectionsError": ({("attic", 22): OSError()},),
    "PartialAuthentication": (["publickey"],),
    "ProxyCommandFailure": ("nc", "1"),
    "UnknownKeyType": ("ssh-dss", b""),
}
"""Of those whose constructor wants more than a text."""


def bare(kind: type[Exception]) -> Exception:
    if f"{kind.__module__}.{kind.__name__}" in NOT_ON_A_CONNECTION:
        return kind.__new__(kind)
    return kind(*ARGUMENTS.get(kind.__name__, ()))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_paramiko_s_errors_are_translated(kind: type[Exception]) -> None:
    error = bare(kind)
    if f"{kind.__module__}.{kind.__name__}" in NOT_ON_A_CONNECTION:
        assert not isinstance(error, ssh_errors.FOREIGN) or kind.__module__.endswith("strategy")
        return
    assert isinstance(error, ssh_errors.FOREIGN)
    ours = ssh_errors.translate(error, PEER)
    assert isinstance(ours, HostError)
    assert ours.message.startswith(f"{PEER}: ")
    assert ours.hint
    assert ours.step


@pytest.mark.parametrize(
    "error",
    [
        EOFError(),
        OSError("Socket is closed"),
        socket.gaierror(-2, "unknown"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text"),
        KeyError(200),
        struct.error("short"),
        zlib.error("bad"),
        cryptography.exceptions.InvalidSignature(),
        cryptography.exceptions.UnsupportedAlgorithm("curve"),
        AssertionError(),
        OverflowError(),
        ValueError("no such point"),
    ],
    ids=repr,
)
def test_what_a_malformed_packet_leads_to_is_translated(error: Exception) -> None:
    assert isinstance(error, ssh_errors.FOREIGN)
    assert isinstance(ssh_errors.translate(error, PEER), HostError)


@pytest.mark.parametrize(
    ("error", "kind", "step"),
    [
        (EOFError(), Unreachable, "handshake"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Unreachable, "handshake"),
        (paramiko.SSHException("Error reading SSH protocol banner"), Unreachable, "handshake"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Unreachable, "connect"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), Unreachable, "connect"),
        (socket.gaierror(-2, "unknown"), Unreachable, "connect"),
        (TimeoutError(), Unreachable, "connect"),
        (IncompatiblePeer("(no acceptable kex algorithm)"), ProtocolError, "connect"),
        (paramiko.SSHException('Indecipherable protocol version "HTTP"'), ProtocolError, "connect"),
        (paramiko.ChannelException(1, "Administratively prohibited"), DeviceRefused, "command"),
    ],
    ids=repr,
)
def test_only_what_may_be_tried_again_is_unreachable(
    error: Exception, kind: type[HostError], step: str
) -> None:
    ours = ssh_errors.translate(error, PEER)
    assert type(ours) is kind
    assert ours.step == step


def test_a_refused_connection_says_where_ssh_is_switched_on() -> None:
    hint = ssh_errors.translate(ConnectionRefusedError(), PEER).hint or ""
    assert "Control Panel > Terminal & SNMP" in hint
    assert "Control Panel > Services > SSH" in hint


def test_a_server_that_is_too_old_says_what_to_do() -> None:
    ours = ssh_errors.translate(IncompatiblePeer("Incompatible ssh peer"), PEER)
    assert 'via = "api"' in (ours.hint or "")


def test_words_of_the_server_are_made_printable() -> None:
    error = paramiko.SSHException("\x1b[31mred\u202e")
    assert "\x1b" not in ssh_errors.translate(error, PEER).message
