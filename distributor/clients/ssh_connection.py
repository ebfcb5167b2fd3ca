"""An SSH connection as far as the host key: nobody has logged in, nothing secret was sent."""

import logging
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import paramiko
import tenacity
from paramiko.packet import Packetizer
from paramiko.ssh_exception import IncompatiblePeer

from distributor.clients.ssh_errors import FOREIGN, OFF, no_ssh, timed_out, translate
from distributor.clients.ssh_wire import Wire
from distributor.model.errors import DeviceRefused, HostError, ProtocolError, Unreachable
from distributor.model.host_keys import HostKey, HostKeyTrust
from distributor.model.hosts import SocketAddress

# Without any handler Python prints a library's warnings to stderr, in the middle of our own.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_SECONDS: Final = 10.0
HANDSHAKE_SECONDS: Final = 20.0
"""From the connection to the host key; key exchange is slow on small boxes."""
_HANDSHAKE_BYTES: Final = 1 << 18
_KEEPALIVE_SECONDS: Final = 15
_ATTEMPTS: Final = 3
_FORBIDDEN: Final = 1  # RFC 4254 section 5.1: administratively prohibited
_FAMILIES: Final[Mapping[str, Sequence[str]]] = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Types of host keys, the best first, and the algorithms to ask for each by."""


class SshTransport(paramiko.Transport):
    """paramiko's, which also remembers how the server took its leave."""

    farewell: tuple[int, str] | None = None
    """Code and words of the server's disconnect message (RFC 4253 section 11.1)."""

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        self.farewell = (m.get_int(), m.get_text())


class _Packets(Packetizer):
    def start_handshake(self, timeout: float) -> None:
        """Start no timer: the wire has a deadline, and a timer's thread outlives a failure."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection whose host key may be trusted or not: that is for the caller to say."""

    address: SocketAddress
    transport: SshTransport
    wire: Wire
    host_key: HostKey
    below: "Connection | None" = field(default=None, repr=False)
    """The connection that this one runs through."""

    def close(self) -> None:
        """End it, and what it runs through."""
        self.transport.close()
        self.wire.close()
        if self.below is not None:
            self.below.close()

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Do what is inside, what paramiko raises becoming our own errors.

        Nothing but calls into paramiko may stand inside.
        """
        try:
            yield
        except FOREIGN as error:
            raise self.out_of_bounds() or self._ended(error) from error

    def _ended(self, error: Exception) -> HostError:
        lost = (paramiko.SSHException, EOFError, OSError)
        if self.transport.is_active() or not isinstance(error, lost):
            return translate(error, str(self.address))
        return Unreachable(
            f"{self.address}: the connection has ended",
            hint="the host may be restarting; try again",
            step="command",
        )

    def out_of_bounds(self) -> HostError | None:
        """Return what it means that the wire has come to one of its bounds; None if it has not."""
        return _out_of_bounds(self.wire, self.address)


def connect(
    address: SocketAddress,
    trust: HostKeyTrust,
    *,
    below: Connection | None,
    sleep: Callable[[float], None],
) -> Connection:
    """Return a connection to a server that showed a key which `trust` accepts.

    Raises Untrusted for another key, Unreachable and ProtocolError where there is no connection or
    no SSH. With `below` it runs through that one.
    """
    found = search(address, trust.accepts, sorted(trust.types), below=below, sleep=sleep)
    try:
        trust.check(found.host_key)
    except BaseException:
        found.transport.close()
        raise
    found.transport.set_keepalive(_KEEPALIVE_SECONDS)
    return found


def search(
    address: SocketAddress,
    accepts: Callable[[HostKey], bool],
    types: Collection[str],
    *,
    below: Connection | None,
    sleep: Callable[[float], None],
) -> Connection:
    """Return a connection on which the server showed a key that `accepts` takes, if it has one.

    Otherwise the connection shows the key that it prefers. A server has a key of each type and
    shows one of them: the `types` that are known are asked for first, and where none is known, one
    after the other until a key fits. Each time it is a connection of its own.
    """
    left = list(_FAMILIES)
    known = [one for one in left if one in types]
    asked = known or left
    first: Connection | None = None
    while asked:
        found = _shaken(address, asked, below, sleep)
        if found is None:
            left = [one for one in left if one not in asked]
        elif accepts(found.host_key):
            if first is not None:
                first.transport.close()
            return found
        else:
            left = [one for one in left if one != found.host_key.type]
            if first is None:
                first = found
            else:
                found.transport.close()
            if asked is known:
                break
        asked = left
    if first is None:
        raise translate(IncompatiblePeer("no host key"), str(address))
    return first


def _shaken(
    address: SocketAddress,
    types: Sequence[str],
    below: Connection | None,
    sleep: Callable[[float], None],
) -> Connection | None:
    """Return a connection after the key exchange, or None when the server has no such key.

    A server that hangs up at once, as one does that is restarting or has too many visitors, is
    tried again: nobody has logged in yet.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Unreachable) and error.step == "handshake"
        ),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=0.5, max=2),
        sleep=sleep,
        reraise=True,
    )
    result: Connection | None = attempts(_shake, address, types, below)
    return result


def _shake(
    address: SocketAddress, types: Sequence[str], below: Connection | None
) -> Connection | None:
    wire = Wire(_dialled(address, below))
    transport = SshTransport(
        wire,  # type: ignore[arg-type]  # anything like a socket will do, says its documentation
        packetizer_class=_Packets,
    )
    try:
        transport.get_security_options().key_types = tuple(
            algorithm for one in types for algorithm in _FAMILIES[one]
        )
        key = _key_shown(transport, wire, address)
    except BaseException:
        transport.close()
        wire.close()
        raise
    if key is None:
        transport.close()
        wire.close()
        return None
    return Connection(address, transport, wire, key, below)


def _key_shown(transport: SshTransport, wire: Wire, address: SocketAddress) -> HostKey | None:
    with wire.within(HANDSHAKE_SECONDS, _HANDSHAKE_BYTES):
        try:
            # paramiko's own deadline starts anew with each byte; the wire's does not, and decides.
            transport.banner_timeout = 2 * HANDSHAKE_SECONDS
            transport.start_client()
            key = transport.get_remote_server_key()
        except FOREIGN as error:
            if isinstance(error, IncompatiblePeer) and "host key" in str(error):
                return None
            ours = _out_of_bounds(wire, address) or no_ssh(wire.greeting, str(address))
            raise ours or translate(error, str(address)) from error
    return HostKey(key.get_name(), key.fingerprint)


def _out_of_bounds(wire: Wire, address: SocketAddress) -> HostError | None:
    if wire.ended_by == "time":
        return timed_out(str(address), wire.seconds, greeted=bool(wire.greeting))
    if wire.ended_by == "size":
        return ProtocolError(
            f"{address}: the server sends more than anybody asked for",
            hint="is this the port of an SSH server?",
            step="connect",
        )
    return None


def _dialled(address: SocketAddress, below: Connection | None) -> socket.socket | paramiko.Channel:
    if below is not None:
        return _forwarded(address, below)
    try:
        return socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS)
    except UnicodeError as error:  # no name that DNS could hold
        raise translate(socket.gaierror(), str(address)) from error
    except TimeoutError as error:
        raise timed_out(str(address), CONNECT_SECONDS) from error
    except OSError as error:
        raise translate(error, str(address)) from error


def _forwarded(address: SocketAddress, below: Connection) -> paramiko.Channel:
    """Return a channel through another host; raises Unreachable where that goes no further."""
    try:
        with below.wire.within(CONNECT_SECONDS, _HANDSHAKE_BYTES), below.translating():
            return below.transport.open_channel(
                "direct-tcpip",
                (address.host, address.port),
                ("127.0.0.1", 0),
                timeout=CONNECT_SECONDS,
            )
    except DeviceRefused as error:
        forbidden = error.code == _FORBIDDEN
        raise Unreachable(
            f"{address}: {below.address} does not connect to it: {error.message}",
            hint="allow it there (AllowTcpForwarding in sshd_config)"
            if forbidden
            else f"is the host on, seen from there, and {OFF}",
            step="connect",
        ) from error
