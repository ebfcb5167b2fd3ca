"""A CA, or somebody in its place, that never comes to an end costs bounded time and memory."""

import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
import requests

from distributor.clients import acme_network
from distributor.clients.acme_network import ANSWER_LIMIT, Network
from tests.certs import hierarchy, pem
from tests.integration.hostile_server import (
    CHUNKED,
    HEAD,
    SLACK,
    HostileServer,
    Talk,
    Talking,
    dribble,
    flood,
    say,
    silent,
)

CA = hierarchy(0)
LEAF = CA.issue(["127.0.0.1"])
DEADLINE = 1.0
PIECE = b"x" * 65536


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setattr(acme_network, "REQUEST_SECONDS", DEADLINE)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pem(CA.root))
    made = Network(None, ca_bundle=roots, sleep=lambda _seconds: None)
    yield made
    made.close()


def get(network: Network, talk: Talk) -> requests.Response:
    with HostileServer(LEAF, talk) as server:
        return network.get(f"https://{server.address}/directory")


def packed(size: int) -> Talk:
    body = gzip.compress(b" " * size + b"{}")
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    return say(head + body)


def test_an_answer_up_to_the_limit_is_read_whole(network: Network) -> None:
    body = b" " * (ANSWER_LIMIT - 2) + b"{}"
    response = get(network, lambda client: client.answer(body, "Content-Type: application/json"))
    assert response.content == body


def test_what_a_ca_sends_packed_is_unpacked(network: Network) -> None:
    assert get(network, packed(1000)).content == b" " * 1000 + b"{}"


@pytest.mark.parametrize(
    "talk",
    [
        flood(HEAD + b"\r\n", PIECE),
        flood(CHUNKED, b"10000\r\n" + PIECE + b"\r\n"),
        flood(CHUNKED, b"1" * 65536),
        flood(HEAD + b"Content-Length: 99999999999\r\n\r\n", PIECE),
        flood(b"", PIECE),
        flood(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        packed(1 << 28),
    ],
    ids=["no length", "chunks", "a chunk's size", "long", "a line", "continue", "packed"],
)
def test_an_answer_without_end_is_given_up_in_bounded_memory(network: Network, talk: Talk) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(requests.RequestException):
            get(network, talk)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def slow_headers(client: Talking) -> None:
    client.receive()
    client.send(HEAD)
    client.trickle(b"X-A: b\r\n" * 1000)


@pytest.mark.parametrize(
    "talk",
    [
        silent,
        slow_headers,
        dribble(HEAD + b"Content-Length: 1000\r\n\r\n", b" " * 1000),
        dribble(CHUNKED, b"1\r\n \r\n" * 1000),
        dribble(b"", b"H" * 1000),
    ],
    ids=["silent", "headers", "body", "chunks", "status"],
)
def test_a_ca_that_dawdles_is_left_at_the_deadline(network: Network, talk: Talk) -> None:
    began = monotonic()
    with pytest.raises(requests.RequestException):
        get(network, talk)
    assert monotonic() - began < DEADLINE + SLACK
