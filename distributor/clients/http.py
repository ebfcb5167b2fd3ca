"""HTTPS to a host whose leaf is pinned: checked before a byte of HTTP, bounded in size and time."""

import logging
import socket
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import requests
from cryptography import x509
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from distributor.clients import legacy_tls
from distributor.clients.http_errors import FOREIGN, translate
from distributor.clients.hurried import Direct
from distributor.clients.tls_socket import TlsSocket
from distributor.model.errors import ProtocolError, Unreachable
from distributor.model.hosts import SocketAddress
from distributor.model.text import printable
from distributor.model.trust import Trust
from distributor.protocol.forms import Part

log = logging.getLogger(__name__)

ANSWER_LIMIT: Final = 8 << 20
"""Bytes. The largest honest answer, a list of certificates or an archive, is far below."""
CONNECT_SECONDS: Final = 10.0
_CUT_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PinnedHttp:
    """Requests to one host, over connections whose leaf passed `trust.check`.

    The environment (proxies, netrc, CA variables) never applies, redirects are not followed, an
    answer is read up to `ANSWER_LIMIT` bytes, and a request ends at its deadline even if the peer
    sends a byte now and then.
    """

    def __init__(
        self,
        address: SocketAddress,
        trust: Trust,
        server_name: str | None,
        *,
        legacy: bool = False,
    ) -> None:
        self._base = f"https://{address}"
        self._address = address
        self._open = _Connections()
        self._session = Direct()
        self._session.trust_env = False
        # What is compressed can be small on the wire and without end in memory.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.mount("https://", _PinnedAdapter(trust, server_name, self._open, legacy))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def fresh(self) -> None:
        """Forget the connections that are open: the next request makes, and checks, a new one."""
        for adapter in self._session.adapters.values():
            adapter.close()

    def request(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        parts: Sequence[Part] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 60.0,
    ) -> Answer:
        """Send a request and return the answer.

        Raises Untrusted before anything is sent when the leaf is not the pinned one; Unreachable
        for no connection, no answer in `seconds`, or one that breaks off; ProtocolError for an
        answer that is too large, compressed, no HTTP, or redirects elsewhere.
        """
        with self._translated(), self._deadline(seconds):
            with self._session.request(
                method,
                self._base + path,
                params=dict(query or {}),
                data=dict(form) if form is not None else None,
                files=list(parts) if parts is not None else None,
                headers=dict(headers or {}),
                timeout=(min(CONNECT_SECONDS, seconds), seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                answer = Answer(response.status_code, response.headers, self._body(response))
            log.debug(
                "http host=%s path=%s status=%d bytes=%d",
                self._address,
                path,
                answer.status,
                len(answer.body),
            )
        if 300 <= answer.status < 400:  # noqa: PLR2004 - the class of redirects
            where = printable(answer.headers.get("Location", "nowhere"))
            raise ProtocolError(
                f"{self._address} redirects to {where}",
                hint="set `port` to the port of its HTTPS user interface",
                step="http",
            )
        return answer

    def _body(self, response: requests.Response) -> bytes:
        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            raise ProtocolError(
                f"{self._address} answers in the encoding {printable(coding)}: nobody asked for it",
                hint="is this the port of its user interface?",
                step="http",
            )
        body = bytearray()
        # Not iter_content: urllib3's own reader of chunks takes a line of any length.
        while chunk := response.raw.read(64 << 10, decode_content=False):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise ProtocolError(
                    f"{self._address} answered more than {ANSWER_LIMIT} bytes",
                    hint="is this the port of its user interface?",
                    step="http",
                )
        return bytes(body)

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        # A time-out of requests counts from the last byte; a peer that sends one now and then
        # would hold us for ever. From the deadline on the socket is shut down under the request,
        # again and again, since a new one may be made in between.
        done, expired = threading.Event(), threading.Event()

        def watch() -> None:
            wait = seconds
            while not done.wait(wait):
                expired.set()
                self._open.cut()
                wait = _CUT_SECONDS

        late = Unreachable(
            f"{self._address} did not finish its answer within {seconds:g} s",
            hint="it may be overloaded; the next run tries again",
            step="http",
        )
        watcher = threading.Thread(target=watch, name="http-deadline", daemon=True)
        watcher.start()
        try:
            yield
        except FOREIGN as error:
            if expired.is_set():
                raise late from error
            raise
        else:
            # An answer of no stated length ends where its connection does: here, by our own cut.
            if expired.is_set():
                raise late
        finally:
            done.set()
            watcher.join()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError:
            # Not chained: the exception carries the text, which may be a password.
            raise ProtocolError(
                f"{self._address} cannot be sent a text that is no Unicode",
                hint="correct user name, password and description in the inventory",
                step="http",
            ) from None
        except FOREIGN as error:
            raise translate(error, str(self._address)) from error


_VERIFICATION: Final = frozenset({"cert_reqs", "ca_certs", "ca_cert_dir"})


class _PinnedAdapter(HTTPAdapter):
    """Makes connections that check the leaf between the handshake and the first request."""

    def __init__(
        self, trust: Trust, server_name: str | None, known: "_Connections", legacy: bool
    ) -> None:
        self._legacy = legacy
        self._pinned_pool = _pool_class(trust, known)
        self._server_name = server_name
        super().__init__(max_retries=0, pool_maxsize=1)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        # The leaf may be self-signed, expired or for another name: it is the pin that decides.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = TlsSocket
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self._legacy:
            legacy_tls.allow(context)
        options |= {"ssl_context": context, "assert_hostname": False}
        if self._server_name is not None:
            options["server_hostname"] = self._server_name
        super().init_poolmanager(connections, maxsize, block, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": self._pinned_pool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context as it is: requests would switch its own verification on."""

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        # What requests adds for its own verification would take the place of our context.
        return host, {name: value for name, value in pool.items() if name not in _VERIFICATION}


def _pool_class(trust: Trust, known: "_Connections") -> type[HTTPSConnectionPool]:
    class PinnedConnection(HTTPSConnection):
        def connect(self) -> None:
            known.add(self)  # has the socket while it shakes hands
            super().connect()
            secured = cast("ssl.SSLSocket", self.sock)
            known.add(secured)  # outlives the connection when the answer ends with it
            try:
                trust.check(_leaf_of(secured), datetime.now(UTC))
            except Exception:
                self.close()
                raise
            self.is_verified = True

    class PinnedPool(HTTPSConnectionPool):
        ConnectionCls = PinnedConnection

    return PinnedPool


def _leaf_of(secured: ssl.SSLSocket) -> x509.Certificate:
    leaf = secured.getpeercert(binary_form=True)
    if leaf is None:
        raise ProtocolError("the host sent no certificate", hint="is this the right port?")
    try:
        return x509.load_der_x509_certificate(leaf)
    except (ValueError, x509.InvalidVersion) as error:
        raise ProtocolError(
            "the host's certificate cannot be read", hint="is this the right port?"
        ) from error


class _Connections:
    """The connections that are there, to be cut from another thread."""

    def __init__(self) -> None:
        self._known: weakref.WeakSet[HTTPSConnection | socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, one: HTTPSConnection | socket.socket) -> None:
        with self._lock:
            self._known.add(one)

    def cut(self) -> None:
        with self._lock:
            known = list(self._known)
        for one in known:
            sock = one.sock if isinstance(one, HTTPSConnection) else one
            if sock is None:
                continue
            try:
                # The plain socket's method: ssl's own drops what the other thread is using.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                log.debug("http cut=late")
