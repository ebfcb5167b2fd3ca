"""A small TLS server on loopback, as bad as a test wants, that remembers what it got."""

import contextlib
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from distributor.clients.http import PinnedHttp
from distributor.model.bundle import fingerprint
from distributor.model.hosts import SocketAddress
from distributor.model.trust import Trust
from tests.certs import Issued

Talk = Callable[["Talking"], None]

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = "correct-horse-battery"
SLACK = 1.5
"""Seconds: what a busy computer may take beyond a deadline."""

_PATIENCE = 10.0


class Talking:
    """One connection as the script of a test sees it."""

    def __init__(self, server: "HostileServer", connection: socket.socket) -> None:
        self._server = server
        self._connection = connection

    def receive(self) -> bytes:
        """Read one whole request, or what there is until the client leaves; it is remembered."""
        got = bytearray()
        with contextlib.suppress(OSError):
            while not _is_whole(got):
                piece = self._connection.recv(65536)
                if not piece:
                    break
                got += piece
        self._server.received.append(bytes(got))
        return bytes(got)

    def send(self, content: bytes) -> None:
        self._connection.sendall(content)

    def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        """Receive a request and answer it properly."""
        self.receive()
        lines = (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", "")
        self.send("\r\n".join(lines).encode() + body)

    def trickle(self, content: bytes, seconds: float = 0.2) -> None:
        """Send a byte now and then until the client leaves or the test ends."""
        for number in range(len(content)):
            self.send(content[number : number + 1])
            if self._server.stopping.wait(seconds):
                return

    def linger(self) -> None:
        """Say nothing more until the test ends."""
        self._server.stopping.wait(_PATIENCE)


class HostileServer:
    """Serves `talk` on a free port; a context manager that closes what it opened.

    `by_name` gives other certificates to clients that send that SNI. `raw` is called with each
    connection before any TLS; one that returns False keeps TLS from being spoken at all.
    """

    def __init__(
        self,
        issued: Issued,
        talk: Talk = lambda connection: connection.answer(b"{}"),
        *,
        by_name: Mapping[str, Issued] | None = None,
        raw: Callable[[socket.socket, threading.Event], bool] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.talk = talk
        self.received: list[bytes] = []
        """What came after each handshake, one item for each `receive`."""
        self.handshakes = 0
        self.connections = 0
        self.server_names: list[str | None] = []
        self.stopping = threading.Event()
        self._raw = raw
        self._by_name = {name: _context(own) for name, own in (by_name or {}).items()}
        self.use(issued)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family)
        self._listening.settimeout(0.05)
        self.address = SocketAddress(host, int(self._listening.getsockname()[1]))
        self._threads = [threading.Thread(target=self._accept, name="hostile-accept")]

    def use(self, issued: Issued) -> None:
        """Serve another certificate from the next connection on."""
        self.issued = issued
        self._tls = _context(issued)
        self._tls.sni_callback = self._choose

    @property
    def trust(self) -> Trust:
        return Trust(host="nas", leaves=frozenset({fingerprint(self.issued.leaf)}))

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._threads[0].join()
        self._listening.close()
        for thread in self._threads[1:]:
            thread.join(_PATIENCE)
            assert not thread.is_alive()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def all_over(self) -> None:
        """Wait until every connection so far has come to its end."""
        self.wait_for(lambda: not any(thread.is_alive() for thread in self._threads[1:]))

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> None:
        self.server_names.append(name)
        if name is not None and name in self._by_name:
            connection.context = self._by_name[name]

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="hostile-work")
            self._threads.append(thread)
            self.connections += 1
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with plain:
            plain.settimeout(_PATIENCE)
            # A client that leaves is what most of these tests are about.
            with contextlib.suppress(OSError):
                if self._raw is not None and not self._raw(plain, self.stopping):
                    return
                with self._tls.wrap_socket(plain, server_side=True) as secured:
                    self.handshakes += 1
                    self.talk(Talking(self, secured))


def _is_whole(got: bytearray) -> bool:
    head, end, body = bytes(got).partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return True


def _context(issued: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.pem"
        path.touch(mode=0o600)
        path.write_bytes(issued.private_key_pem + issued.fullchain_pem)
        context.load_cert_chain(path)
    return context


def ask(
    server: HostileServer, trust: Trust | None = None, seconds: float = 5.0
) -> tuple[int, bytes]:
    with PinnedHttp(server.address, trust or server.trust, None) as http:
        answer = http.request(
            "POST",
            "/webapi/entry.cgi",
            form={"passwd": SECRET},
            headers={"Cookie": f"id={SECRET}"},
            seconds=seconds,
        )
    return answer.status, answer.body


def say(first: bytes) -> Talk:
    def talk(client: Talking) -> None:
        client.receive()
        client.send(first)

    return talk


def flood(first: bytes, piece: bytes) -> Talk:
    def talk(client: Talking) -> None:
        client.receive()
        client.send(first)
        while True:
            client.send(piece)

    return talk


def dribble(first: bytes, then: bytes) -> Talk:
    def talk(client: Talking) -> None:
        client.receive()
        client.send(first)
        client.trickle(then)

    return talk


def silent(client: Talking) -> None:
    client.receive()
    client.linger()


def listen(client: Talking) -> None:
    """Take what comes, and answer nothing."""
    client.receive()


def leave(_client: Talking) -> None:
    """End the connection after the handshake."""
