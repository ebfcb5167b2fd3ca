"""What a bad host may cost is bounded: memory by a limit, time by the deadline."""

import gc
import gzip
import re
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from distributor.clients.http import ANSWER_LIMIT
from distributor.model.errors import HostError, ProtocolError, Unreachable
from tests.certs import self_signed
from tests.integration.hostile_server import (
    CHUNKED,
    HEAD,
    SLACK,
    HostileServer,
    Talk,
    ask,
    dribble,
    flood,
    silent,
)

LEAF = self_signed(["nas.example.com"])


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    yield
    gc.collect()  # a socket that was left open warns when it is collected, and that fails the test


@pytest.mark.parametrize(
    "talk",
    [
        flood(HEAD + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536),
        flood(HEAD + b"\r\n", b"x" * 65536),
        flood(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        flood(CHUNKED, b"1" * 65536),
        flood(HEAD, b"X-More: " + b"x" * 65536 + b"\r\n"),
        flood(HEAD, b"X-More: x\r\n"),
        flood(b"", b"x" * 65536),
    ],
    ids=["length", "no length", "chunks", "chunk size", "header", "headers", "status line"],
)
def test_a_flood_is_given_up_in_bounded_memory(talk: Talk) -> None:
    with HostileServer(LEAF, talk) as server:
        tracemalloc.start()
        try:
            started = monotonic()
            with pytest.raises(HostError):
                ask(server, seconds=4)
            assert monotonic() - started < 4 + SLACK
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 5 * ANSWER_LIMIT


def test_an_answer_up_to_the_limit_is_read_whole() -> None:
    with HostileServer(LEAF, lambda client: client.answer(b"x" * ANSWER_LIMIT)) as server:
        assert len(ask(server)[1]) == ANSWER_LIMIT


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_compressed_bomb_is_not_unpacked(rounds: int) -> None:
    bomb = b"\0" * (64 << 20)
    for _ in range(rounds):
        bomb = gzip.compress(bomb)
    coding = "Content-Encoding: " + ", ".join(["gzip"] * rounds)
    with HostileServer(LEAF, lambda client: client.answer(bomb, coding)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError, match="gzip"):
                ask(server)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < ANSWER_LIMIT
        assert re.search(rb"(?i)accept-encoding: identity\r\n", server.received[0])


@pytest.mark.parametrize(
    "talk",
    [
        silent,
        lambda client: client.linger(),
        dribble(b"", HEAD + b"X: " + b"y" * 100),
        dribble(HEAD + b"Content-Length: 100\r\n\r\n", b"z" * 100),
        dribble(HEAD + b"\r\n", b"z" * 100),
        dribble(CHUNKED, b"1\r\nz\r\n" * 100),
        dribble(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    ],
    ids=["no answer", "deaf", "header", "body", "body of no length", "chunks", "continue"],
)
def test_a_peer_that_dawdles_is_left_at_the_deadline(talk: Talk) -> None:
    with HostileServer(LEAF, talk) as server:
        started = monotonic()
        with pytest.raises(Unreachable, match=r"in time|within"):
            ask(server, seconds=0.7)
        assert 0.5 < monotonic() - started < 0.7 + SLACK


def hang(plain: socket.socket, stopping: threading.Event) -> bool:
    stopping.wait(10)
    return False


def drip(plain: socket.socket, stopping: threading.Event) -> bool:
    plain.sendall(b"\x16\x03\x03\x40\x00")  # a TLS record of 16 KiB begins
    while not stopping.wait(0.1):
        plain.sendall(b"\x00")
    return False


@pytest.mark.parametrize("raw", [hang, drip])
def test_a_handshake_without_end_is_left_at_the_deadline(
    raw: Callable[[socket.socket, threading.Event], bool],
) -> None:
    with HostileServer(LEAF, raw=raw) as server:
        started = monotonic()
        with pytest.raises(Unreachable):
            ask(server, seconds=0.7)
        assert monotonic() - started < 0.7 + SLACK
