"""SSH servers that send what no server sends: before the keys are exchanged, and after."""

import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from socket import socket
from typing import Final

import paramiko
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from distributor.clients.ssh import SshSession
from distributor.clients.ssh_connection import connect
from distributor.clients.ssh_identity import private_key
from distributor.clients.ssh_login import SshAccount
from distributor.model.errors import AuthRefused, HostError, SecretError
from distributor.model.host_keys import HostKeyTrust
from distributor.model.secret import Secret
from tests import certs
from tests.fuzz.judging import Target, only
from tests.fuzz.wires import PATIENCE, peer, saying

_BANNER: Final = b"SSH-2.0-OpenSSH_7.4\r\n"
_BETWEEN: Final = b"\n--\n"
_PASSWORD: Final = Secret("the-password-of-certs")
_STRANGER: Final = HostKeyTrust(host="attic", fingerprints=frozenset({"SHA256:" + "a" * 43}))


class _Forgetful:
    """Remembers no refusal."""

    def refusal(self, _user: str, _password: Secret) -> AuthRefused | None:
        """Return None."""

    def note_refusal(self, _user: str, _password: Secret, _error: AuthRefused) -> None:
        """Do nothing."""


def _no_pause(_seconds: float) -> None:
    """Do not wait."""


def _greeting(data: bytes) -> None:
    with peer(saying(data)) as address, only(HostError):
        connect(address, _STRANGER, below=None, sleep=_no_pause).close()


@cache
def _host_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


class _Server(paramiko.ServerInterface):
    """Lets everybody in, and goes wrong at one stage."""

    def __init__(self, transport: paramiko.Transport, stage: int, rest: bytes) -> None:
        self._transport = transport
        self._stage = stage
        self._rest = rest

    def get_allowed_auths(self, _username: str) -> str:
        """Return what it takes."""
        self.reach(0)
        return "password"

    def check_auth_password(self, _username: str, _password: str) -> int:
        """Take it."""
        self.reach(1)
        return AUTH_SUCCESSFUL

    def check_channel_request(self, _kind: str, _number: int) -> int:
        """Take it."""
        self.reach(2)
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, _command: bytes) -> bool:
        """Take it, and print the rest where it is meant for that."""
        self.reach(3)
        if self._stage > 3:
            threading.Thread(target=self._print, args=(channel,)).start()
        return True

    def reach(self, stage: int) -> None:
        """Send the messages of the stage, and leave."""
        if stage != self._stage:
            return
        with suppress(OSError, EOFError, paramiko.SSHException):
            for payload in self._rest.split(_BETWEEN):
                if payload:
                    self._transport._send_message(paramiko.Message(payload))  # type: ignore[attr-defined]  # the only way to send what is none
        threading.Thread(target=self._transport.close).start()

    def _print(self, channel: paramiko.Channel) -> None:
        with suppress(OSError, paramiko.SSHException):
            channel.sendall(self._rest)
            channel.sendall_stderr(self._rest)
            channel.send_exit_status(0)
        channel.close()


def _session(data: bytes) -> None:
    """Sign in and run a command; the first byte tells where the rest is sent."""
    stage, rest = (data[0] % 5, data[1:]) if data else (0, b"")

    def talk(connection: socket) -> None:
        transport = paramiko.Transport(connection)
        try:
            transport.add_server_key(_host_key())
            server = _Server(transport, stage, rest)
            transport.start_server(event=threading.Event(), server=server)
            transport.join(PATIENCE)
        finally:
            transport.close()

    trust = HostKeyTrust(host="attic", fingerprints=frozenset({_host_key().fingerprint}))
    account = SshAccount(user="certs", refusals=_Forgetful(), password=lambda: _PASSWORD)
    with (
        peer(talk) as address,
        only(HostError),
        SshSession(address, account, trust, sleep=_no_pause) as session,
    ):
        session.run(["true"], as_root=True, seconds=PATIENCE)


def _identity(data: bytes) -> None:
    for passphrase in (None, Secret("x")):
        with only(SecretError):
            private_key(Secret(data.decode("utf-8", "replace")), passphrase)


def _text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _packet(payload: bytes) -> bytes:
    """Return a binary packet before any key exchange (RFC 4253 section 6)."""
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def _proposal() -> bytes:
    """Return a KEXINIT (RFC 4253 section 7.1)."""
    lists = (
        *(b"curve25519-sha256@libssh.org", b"ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256"),
        *(b"aes128-ctr", b"aes128-ctr", b"hmac-sha2-256", b"hmac-sha2-256"),
        *(b"none", b"none", b"", b""),
    )
    return b"\x14" + bytes(16) + b"".join(map(_text, lists)) + bytes(5)


def _greetings() -> tuple[bytes, ...]:
    key = _text(_text(b"ssh-ed25519") + _text(bytes(32)))
    signature = _text(_text(b"ssh-ed25519") + _text(bytes(64)))
    reply = b"\x1f" + key + _text(b"\x09" * 32) + signature
    leave = b"\x01" + struct.pack(">I", 2) + _text(b"Too many connections") + _text(b"")
    return (
        _BANNER + _packet(_proposal()) + _packet(reply) + _packet(b"\x15"),
        _BANNER + _packet(leave),
        b"Not allowed at this time\r\n" + _BANNER + _packet(b"\x02" + _text(b"ignore")),
        b"SSH-1.99-dropbear\r\n" + _packet(_proposal()),
    )


def _conversations() -> tuple[bytes, ...]:
    number = struct.pack(">I", 0)
    methods = b"\x33" + _text(b"publickey,password") + b"\0"
    question = b"\x3c" + _text(b"") * 3 + struct.pack(">I", 1) + _text(b"Password: ") + b"\0"
    opened = b"\x5b" + number + number + struct.pack(">II", 1 << 18, 1 << 15)
    refused = b"\x5c" + number + struct.pack(">I", 1) + _text(b"no") + _text(b"")
    said = b"\x5e" + number + _text(b"0\n")
    status = b"\x62" + number + _text(b"exit-status") + b"\0" + number
    leave = b"\x01" + struct.pack(">I", 14) + _text(b"enough") + _text(b"")
    return (
        b"\0" + _BETWEEN.join((methods, b"\x35" + _text(b"Hello\r\n") + _text(b""), leave)),
        b"\1" + _BETWEEN.join((question, b"\x34")),
        b"\2" + _BETWEEN.join((opened, said, status)),
        b"\2" + _BETWEEN.join((refused, b"\x50" + _text(b"keepalive@openssh.com") + b"\1")),
        b"\3" + _BETWEEN.join((b"\x63" + number, said, b"\x60" + number, b"\x61" + number)),
        b"\4This is an appliance.\r\nChoose 1-9:",
    )


def _identities() -> tuple[bytes, ...]:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = certs.private_key()
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"x")),
        certs.key_pem(key),
        certs.key_pem(key, password=b"x"),
    )


TARGETS: Final[Mapping[str, Target]] = {
    "peer-ssh-greeting": Target(harness=_greeting, samples=_greetings, examples=12, takes=False),
    "peer-ssh-session": Target(harness=_session, samples=_conversations, examples=12, takes=False),
    "ssh-identity": Target(
        harness=_identity, samples=_identities, form="pem", examples=15, takes=False
    ),
}
