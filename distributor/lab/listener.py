"""A port on loopback that can be closed and opened again with other certificates.

TLS begins at once, or on demand after some talk in the clear, or never.
Each connection has a thread of its own, handshake included, so that a slow or broken client holds
up nobody.
"""

import contextlib
import selectors
import socket
import ssl
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from distributor.lab.material import Material

_PATIENCE = 20.0  # seconds a silent client is kept, as nginx on DSM does (Keep-Alive: timeout=20)
_JOIN = 5.0  # seconds a worker has to end once its connection was cut
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds
_WARNINGS = threading.Lock()

Serve = Callable[[ssl.SSLSocket, str], None]
Clear = Callable[[socket.socket, str], bool]
"""Talks in the clear; says whether TLS begins now."""


class _Socket(ssl.SSLSocket):
    def getpeername(self) -> Any:
        try:
            return super().getpeername()
        except OSError:
            self.close()  # the client has gone, and wrap_socket would leave the socket open
            raise


def _straight_to_tls(_connection: socket.socket, _peer: str) -> bool:
    return True


def server_context(
    material: Material,
    by_name: Mapping[str, Material] | None = None,
    *,
    old_tls: bool = False,
) -> ssl.SSLContext:
    """Return a context that presents `material`, or what `by_name` holds for the name asked by SNI.

    With two pairs the client's signature algorithms decide which of them it sees. `old_tls` speaks
    TLS 1.0 and 1.1 only. OpenSSL reads keys from files only: they lie in a folder of mode 0700 for
    as long as it reads.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = _Socket
    if old_tls:
        _speak_old_tls(context)
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    for pair in (material, material.rsa_pair):
        if pair is not None:
            _load(context, pair)
    contexts = {
        name.lower(): server_context(one, old_tls=old_tls) for name, one in (by_name or {}).items()
    }

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None and name.lower() in contexts:
            connection.context = contexts[name.lower()]

    if contexts:
        context.sni_callback = choose
    return context


def _load(context: ssl.SSLContext, pair: Material) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        certificate, key = Path(folder, "fullchain.pem"), Path(folder, "privkey.pem")
        for path, content in ((certificate, pair.served_pem), (key, pair.key_pem)):
            path.touch(mode=0o600)
            path.write_bytes(content)
        context.load_cert_chain(certificate, key)


def _speak_old_tls(context: ssl.SSLContext) -> None:
    """Limit a context to TLS 1.0 and 1.1; Python warns of these versions, which are meant here."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # their signatures are made with SHA-1 and MD5


def cut(connection: socket.socket) -> NoReturn:
    """End a connection by a TCP reset: raises the ConnectionError that ends its worker."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    raise ConnectionAbortedError("cut on purpose")


class Listener:
    """One port. From the first `open()` to `end()` it is kept, whether it listens or not."""

    def __init__(
        self,
        address: str,
        port: int,
        serve: Serve,
        before_handshake: Callable[[], object] = bool,
        clear: Clear = _straight_to_tls,
    ) -> None:
        """`clear` talks before TLS, if anything is to be said then; `serve` talks inside it."""
        self._serve = serve
        self._before_handshake = before_handshake
        self._clear = clear
        self._lock = threading.Lock()
        self._opening = threading.Lock()  # one thread opens or closes at a time
        self._connections: set[socket.socket] = set()
        self._workers: set[threading.Thread] = set()
        self._socket: socket.socket | None = None
        self._wake: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._context: ssl.SSLContext | None = None
        self._reservation: socket.socket | None = None
        self._address = address
        self.port = port
        """The port; 0 until a free one was found by `open()`."""

    def open(self, context: ssl.SSLContext) -> None:
        """Listen, presenting what `context` holds."""
        with self._opening:
            if self._reservation is None:
                self._reserve()
            listening = _bound(self._address, self.port, shares=True)
            listening.listen(128)
            listening.setblocking(False)
            wake, woken = socket.socketpair()
            self._socket, self._wake, self._context = listening, wake, context
            self._acceptor = threading.Thread(
                target=self._accept, args=(listening, woken), name=f"lab-{self.port}", daemon=True
            )
            self._acceptor.start()

    def close(self) -> None:
        """Refuse connections from now on and cut those that are there."""
        with self._opening:
            if self._wake is not None and self._acceptor is not None and self._socket is not None:
                self._wake.close()
                self._acceptor.join()
                self._socket.close()
                self._wake = self._acceptor = self._socket = None
        self._cut_all()

    def end(self) -> None:
        """Close for good; raise RuntimeError if a worker thread does not end."""
        self.close()
        if self._reservation is not None:
            self._reservation.close()
        with self._lock:
            workers = tuple(self._workers)
        for worker in workers:
            worker.join(_JOIN)
            if worker.is_alive():
                raise RuntimeError(f"a connection of lab port {self.port} does not end")

    def _reserve(self) -> None:
        """Keep the port from being given to someone else, a connecting client for one, in between.

        Only Linux lets a socket be bound to a port and another one listen there. With SO_REUSEADDR
        the reservation would yield to any server that sets it, too, while nobody listens here.
        """
        _bound(self._address, self.port).close()  # fails for a port that is somebody else's
        self._reservation = _bound(self._address, self.port, is_reservation=True, shares=True)
        self.port = self._reservation.getsockname()[1]
        if sys.platform != "linux":
            self._reservation.close()

    def _cut_all(self) -> None:
        with self._lock:
            for connection in self._connections:
                # The plain socket's method: ssl's own would drop the TLS state another thread uses.
                with contextlib.suppress(OSError):  # the client was faster
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while all(key.fileobj is listening for key, _ in selector.select()):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    self._welcome(*listening.accept())

    def _welcome(self, raw: socket.socket, peer: tuple[str, int]) -> None:
        context = self._context
        if context is None:
            raise RuntimeError("a lab port accepts before it was opened")
        raw.setblocking(True)
        raw.settimeout(_PATIENCE)
        worker = threading.Thread(
            target=self._work, args=(raw, context, peer[0]), name=f"lab-{self.port}-", daemon=True
        )
        with self._lock:
            self._connections.add(raw)
            self._workers.add(worker)
        worker.start()

    def _work(self, raw: socket.socket, context: ssl.SSLContext, peer: str) -> None:
        connection = raw
        try:
            # A client that leaves, stays silent or talks nonsense ends its own connection only.
            with contextlib.suppress(OSError):
                # As nginx does: else an answer waits for the client to acknowledge session tickets.
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._clear(raw, peer):
                    self._before_handshake()
                    connection = secured = self._secured(raw, context)
                    secured.do_handshake()
                    self._serve(secured, peer)
                    secured.settimeout(0)  # say goodbye, and do not wait for the reply
                    secured.unwrap()
        finally:
            with self._lock:
                self._connections.discard(connection)
                connection.close()
                self._workers.discard(threading.current_thread())

    def _secured(self, raw: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Take a connection over into TLS, without a moment in which it could not be cut."""
        with self._lock:
            self._connections.discard(raw)
            secured = context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            self._connections.add(secured)
            return secured


def _bound(
    address: str, port: int, *, is_reservation: bool = False, shares: bool = False
) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if shares and sys.platform == "linux":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if not is_reservation:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
