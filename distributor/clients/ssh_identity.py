"""Keys to log in with: a private key that the inventory names, or those of an agent."""

import base64
import io
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.agent import AgentSSH, get_agent_connection

from distributor.model.errors import SecretError
from distributor.model.pkcs12_cost import MOST, rounds
from distributor.model.secret import Secret

_MOST_ROUNDS: Final = 2000
"""Of bcrypt, of which each takes some ten milliseconds; `ssh-keygen` asks for 24."""
_OPENSSH: Final = b"openssh-key-v1\0"
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
AGENT_SECONDS: Final = 30.0
"""How long an agent may take, which may ask a person first."""
_HINT: Final = "make one with: ssh-keygen -t ed25519"
_ENCRYPTED: Final = "give its passphrase as `identity_passphrase`"


def private_key(text: Secret, passphrase: Secret | None) -> paramiko.PKey:
    """Return the private key that stands in `text`, in OpenSSH's form or as PEM.

    Raises SecretError, which never quotes it, for what is none or cannot be decrypted.
    """
    data = text.reveal().encode("utf-8")
    password = passphrase.reveal().encode("utf-8") if passphrase is not None else None
    if _is_endless(data):
        raise SecretError(
            "the private key asks to hash its passphrase so often that it would take hours",
            hint="set a usual number: ssh-keygen -p -a 100 -f FILE",
            step="secret",
        )
    try:
        key = _loaded(data, password)
    except TypeError:
        # From None: the library's error has the passphrase in its frames' variables.
        wanted = password is None
        raise SecretError(
            "the private key is encrypted" if wanted else "the private key is not encrypted",
            hint=_ENCRYPTED if wanted else "take `identity_passphrase` out of the inventory",
            step="secret",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        encrypted = b"ENCRYPTED" in data or password is not None
        raise SecretError(
            "the private key cannot be decrypted: wrong passphrase, or no private key"
            if encrypted
            else "`identity` holds no private key that can be read",
            hint="correct `identity_passphrase`, or `identity`" if encrypted else _HINT,
            step="secret",
        ) from None
    return _as_paramiko(key)


def _is_endless(data: bytes) -> bool:
    """Tell whether a key asks to hash its passphrase for hours, in which nothing interrupts it.

    What cannot be read asks for nothing.
    """
    for label, body in _BLOCK.findall(data):
        try:
            content = base64.b64decode(b"".join(body.split()), validate=True)
        except ValueError:
            continue
        if label == b"OPENSSH PRIVATE KEY":
            if _openssh_rounds(content) > _MOST_ROUNDS:
                return True
        elif rounds(content) > MOST:
            return True
    return False


def _openssh_rounds(content: bytes) -> int:
    """Return how often bcrypt is to hash a passphrase (PROTOCOL.key of OpenSSH)."""
    message = paramiko.Message(content.removeprefix(_OPENSSH))
    cipher, function = message.get_binary(), message.get_binary()
    if not content.startswith(_OPENSSH) or cipher == b"none" or function != b"bcrypt":
        return 0
    options = paramiko.Message(message.get_binary())
    options.get_binary()
    return options.get_int()


def _loaded(data: bytes, password: bytes | None) -> Any:
    if b"BEGIN OPENSSH PRIVATE KEY" in data:
        return serialization.load_ssh_private_key(data, password)
    return serialization.load_pem_private_key(data, password)


def _as_paramiko(key: Any) -> paramiko.PKey:
    kinds: tuple[tuple[type[Any], type[paramiko.PKey]], ...] = (
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (rsa.RSAPrivateKey, paramiko.RSAKey),
    )
    for kind, ours in kinds:
        if isinstance(key, kind):
            plain = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            return ours.from_private_key(io.StringIO(plain.decode("ascii")))
    raise SecretError("`identity` is a key of a type that is not used", hint=_HINT, step="secret")


class _Agent(AgentSSH):
    """The agent of the environment, which answers in time or not at all."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self._connect(connection)  # type: ignore[attr-defined]  # left out of the stubs

    def _send_message(self, msg: Any) -> tuple[int, paramiko.Message]:
        # paramiko's reader, in whose thread a key signs, survives no other error than its own.
        try:
            answer: tuple[int, paramiko.Message] = super()._send_message(msg)  # type: ignore[misc]  # the same
        except OSError as error:
            raise paramiko.SSHException("the agent did not answer") from error
        return answer


def _agent_connection() -> Any:
    """Return a connection to the agent, or None where there is none."""
    if sys.platform == "win32":
        return get_agent_connection()
    name = os.environ.get("SSH_AUTH_SOCK")
    if not name:
        return None
    # Not paramiko's: that leaves the socket open when nobody answers at its name.
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(AGENT_SECONDS)
    try:
        connection.connect(name)
    except OSError:
        connection.close()
        return None
    return connection


@contextmanager
def agent_keys() -> Iterator[tuple[paramiko.PKey, ...]]:
    """Give the keys of the agent that the environment names (SSH_AUTH_SOCK); none without one."""
    connection = _agent_connection()
    if connection is None:
        yield ()
        return
    try:
        try:
            keys = _Agent(connection).get_keys()
        except paramiko.SSHException as error:
            raise SecretError(
                "the agent that SSH_AUTH_SOCK names does not answer",
                hint="end it, or give `identity` or `password`",
                step="secret",
            ) from error
        yield keys
    finally:
        connection.close()
