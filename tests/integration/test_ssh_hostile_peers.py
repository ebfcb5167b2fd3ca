"""A bad SSH server costs no more than its deadline, and is told apart from one that is away."""

import contextlib
import gc
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributor.clients import ssh_connection
from distributor.clients.ssh_connection import connect
from distributor.model.errors import HostError, ProtocolError, Unreachable
from distributor.model.host_keys import HostKeyTrust
from distributor.model.hosts import SocketAddress
from tests.certs import self_signed
from tests.integration.hostile_server import SLACK, HostileServer

LEAF = self_signed(["nas.example.com"])
TRUST = HostKeyTrust(host="attic", fingerprints=frozenset({"SHA256:" + "a" * 43}))
BANNER = b"SSH-2.0-OpenSSH_7.4\r\n"
DEADLINE = 2.0

Behaviour = Callable[[socket.socket, threading.Event], None]


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ssh_connection, "CONNECT_SECONDS", DEADLINE)
    monkeypatch.setattr(ssh_connection, "HANDSHAKE_SECONDS", DEADLINE)
    yield
    gc.collect()  # a socket that was left open warns when it is collected, and that fails the test
    assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


def serving(behave: Behaviour) -> HostileServer:
    def raw(plain: socket.socket, stopping: threading.Event) -> bool:
        behave(plain, stopping)
        return False

    return HostileServer(LEAF, raw=raw)


def met(server: HostileServer) -> HostError:
    with pytest.raises(HostError) as caught:
        connect(server.address, TRUST, below=None, sleep=lambda _seconds: None)
    return caught.value


def packet(payload: bytes) -> bytes:
    """A binary packet before any key exchange (RFC 4253 section 6)."""
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def flood(piece: bytes, first: bytes = b"") -> Behaviour:
    def behave(plain: socket.socket, stopping: threading.Event) -> None:
        plain.sendall(first)
        while not stopping.is_set():
            plain.sendall(piece)

    return behave


def drip(first: bytes, piece: bytes) -> Behaviour:
    def behave(plain: socket.socket, stopping: threading.Event) -> None:
        plain.sendall(first)
        while not stopping.wait(0.1):
            plain.sendall(piece)

    return behave


def mute(plain: socket.socket, stopping: threading.Event) -> None:
    stopping.wait(10)


def said(words: bytes) -> Behaviour:
    def behave(plain: socket.socket, stopping: threading.Event) -> None:
        plain.sendall(words)
        with contextlib.suppress(OSError):
            while plain.recv(4096):
                pass

    return behave


def leaving(words: bytes = b"") -> Behaviour:
    def behave(plain: socket.socket, _stopping: threading.Event) -> None:
        plain.sendall(words)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        mute,
        drip(b"", b"S"),
        drip(b"", b"a line before the banner\r\n"),
        drip(BANNER + struct.pack(">I", 30_004), b"\0"),
        drip(BANNER, packet(b"\x02" + struct.pack(">I", 0))),
        said(BANNER),
    ],
    ids=["mute", "banner drips", "lines drip", "packet drips", "packets drip", "banner alone"],
)
def test_a_server_that_is_slow_ends_at_the_deadline(behave: Behaviour) -> None:
    with serving(behave) as server:
        started = monotonic()
        error = met(server)
        assert monotonic() - started < DEADLINE + SLACK
        assert isinstance(error, Unreachable)
        assert "no answer within 2 s" in error.message
        assert server.connections == 1


@pytest.mark.parametrize(
    "behave",
    [flood(b"x" * 65536), flood(b"x" * 100 + b"\n"), flood(b"\xff" * 65536, BANNER)],
    ids=["banner", "lines", "packet"],
)
def test_a_flood_is_given_up(behave: Behaviour) -> None:
    with serving(behave) as server:
        started = monotonic()
        assert isinstance(met(server), ProtocolError)
        assert monotonic() - started < DEADLINE + SLACK


@pytest.mark.parametrize("words", [b"", BANNER])
def test_a_server_that_hangs_up_is_tried_again_a_few_times(words: bytes) -> None:
    with serving(leaving(words)) as server:
        error = met(server)
        assert isinstance(error, Unreachable)
        assert "ended the connection" in error.message
        assert server.connections == 3


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x\r\n" * 200,
        b"220 ftp ready\r\n" * 200,
        b"SSH-1.5-old\r\n",
        b"SSH-\r\n",
        b"SSH-2.0\r\n",
        b"\xff\xfe\r\n",
        BANNER + packet(b"\x14" + bytes(16) + struct.pack(">I", 1 << 30)),
        BANNER + packet(b"\x14"),
        BANNER + packet(b"\xc8"),
        BANNER + packet(b""),
        BANNER + bytes(64),
    ],
)
def test_what_is_no_ssh_is_told_so(words: bytes) -> None:
    with serving(said(words)) as server:
        error = met(server)
        assert isinstance(error, ProtocolError | Unreachable)
        assert error.hint


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "a web server"),
        (b"<html>no</html>", "a web server"),
        (b"220 ftp ready\r\n", "an FTP or mail server"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "a port that speaks TLS"),
        (b"+OK \x1b[31mready\r\n", "something that says '+OK \\x1b[31mready'"),
        (b"\r\n", "something that says ''"),
    ],
)
@pytest.mark.parametrize("then", [said, leaving])
def test_who_answers_instead_of_ssh_is_told_and_not_asked_again(
    words: bytes, who: str, then: Callable[[bytes], Behaviour]
) -> None:
    with serving(then(words)) as server:
        error = met(server)
        assert isinstance(error, ProtocolError | Unreachable)
        if "no answer within" in error.message:  # it hung on, without a whole line
            assert "something answers there" in (error.hint or "")
        else:
            assert error.message.endswith(f"no SSH server answers there, but {who}")
            assert "Terminal & SNMP" in (error.hint or "")
            assert "`port`" in (error.hint or "")
        assert server.connections == 1


@pytest.mark.parametrize("words", [b"", b"S", b"SSH-", BANNER, b"Welcome\r\nto\r\n" + BANNER])
def test_what_may_be_an_ssh_server_is_not_called_another(words: bytes) -> None:
    with serving(leaving(words)) as server:
        assert "no SSH server answers there" not in met(server).message


def test_a_port_that_drops_packets_is_explained_as_ssh_that_may_be_off() -> None:
    # A queue that is full drops further connections, as a firewall does that says nothing.
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = SocketAddress("127.0.0.1", int(listening.getsockname()[1]))
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address.host, address.port))
        started = monotonic()
        with pytest.raises(Unreachable) as caught:
            connect(address, TRUST, below=None, sleep=lambda _seconds: None)
        assert monotonic() - started < DEADLINE + SLACK
    assert "no answer within 2 s" in caught.value.message
    hint = caught.value.hint or ""
    assert "firewall" in hint
    assert "Control Panel > Terminal & SNMP" in hint
    assert "Control Panel > Services > SSH" in hint


@settings(max_examples=40)
@given(words=st.binary(max_size=200), kind=st.integers(0, 255))
def test_any_packet_ends_in_our_own_error(words: bytes, kind: int) -> None:
    with serving(leaving(BANNER + packet(bytes([kind]) + words))) as server:
        assert isinstance(met(server), HostError)


def test_a_port_where_nobody_listens_says_where_ssh_is_switched_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    with pytest.raises(Unreachable) as caught:
        connect(SocketAddress("127.0.0.1", port), TRUST, below=None, sleep=lambda _seconds: None)
    assert "the connection is refused" in caught.value.message
    assert "Terminal & SNMP" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "does-not-exist.invalid"])
def test_a_name_without_address_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # nobody outside is asked
    with pytest.raises(Unreachable, match="the name has no address"):
        connect(SocketAddress(name, 22), TRUST, below=None, sleep=lambda _seconds: None)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_nothing_is_left_open_by_many_failures() -> None:
    with serving(leaving()) as server:
        before = open_files()
        for _ in range(10):
            met(server)
        server.all_over()
        gc.collect()
        assert open_files() <= before + 2
