"""HTTPS to a host whose leaf is pinned: checked before a byte of HTTP, bounded in size and time."""

import logging
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import requests
import urllib3
from cryptography import x509
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from distributor.model.errors import HostError, ProtocolError, Unreachable
from distributor.model.hosts import SocketAddress
from distributor.model.text import printable
from distributor.model.trust import Trust

log = logging.getLogger(__name__)

ANSWER_LIMIT: Final = 8 << 20
"""Bytes. The largest honest answer, a list of certificates or an archive, is far below."""
CONNECT_SECONDS: Final = 10.0

Part = tuple[str, tuple[str | None, bytes | str, str] | tuple[None, bytes | str]]
"""A part of a form: its name, and (file name, content, type) or (None, text)."""


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

    def __init__(self, address: SocketAddress, trust: Trust, server_name: str | None) -> None:
        self._base = f"https://{address}"
        self._address = address
        self._open: weakref.WeakSet[HTTPSConnection] = weakref.WeakSet()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", _PinnedAdapter(trust, server_name, self._open))

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
        answer that is too large or redirects elsewhere.
        """
        with self._translated(), self._deadline(seconds):
            with self._session.request(
                method,
                self._base + path,
                params=dict(query or {}),
                data=dict(form) if form is not None else None,
                files=list(parts) if parts is not None else None,
                headers=dict(headers or {}),
                timeout=(CONNECT_SECONDS, seconds),
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
        body = bytearray()
        for chunk in response.iter_content(64 << 10):
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
        # would hold us for ever. At the deadline the socket is shut down under the request.
        expired = threading.Event()
        ends = monotonic() + seconds

        def cut() -> None:
            expired.set()
            for connection in list(self._open):
                _shut_down(connection)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if expired.is_set() or monotonic() > ends:
                raise Unreachable(
                    f"{self._address} did not finish its answer within {seconds:g} s",
                    hint="it may be overloaded; the next run tries again",
                    step="http",
                ) from error
            raise
        finally:
            timer.cancel()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise translate(error, str(self._address)) from error


def translate(error: Exception, peer: str) -> HostError:
    """Return the error of our tree for one that requests, urllib3 or the system raised."""
    for kinds, ours, message, hint in _TRANSLATIONS:
        if isinstance(error, kinds):
            return ours(f"{peer}: {message}", hint=hint, step="http")
    raise TypeError(f"no translation for {type(error).__name__}") from error


_VERIFICATION: Final = frozenset({"cert_reqs", "ca_certs", "ca_cert_dir"})

# The first line that fits decides. Nearly all that requests raises is an OSError too, so the plain
# OSError of the system comes last.
_TRANSLATIONS: Final[tuple[tuple[tuple[type[Exception], ...], type[HostError], str, str], ...]] = (
    (
        (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError),
        ProtocolError,
        "no TLS handshake",
        "is this the port of its HTTPS user interface?",
    ),
    (
        (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError),
        Unreachable,
        "no answer in time",
        "is the host on, and is this its port?",
    ),
    (
        (
            requests.exceptions.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.ProtocolError,
            urllib3.exceptions.MaxRetryError,
        ),
        Unreachable,
        "no connection, or it broke off",
        "is the host on, and is this its port?",
    ),
    (
        (requests.exceptions.RequestException, urllib3.exceptions.HTTPError),
        ProtocolError,
        "the answer is no HTTP that can be read",
        "is this the port of its user interface?",
    ),
    (
        (OSError,),
        Unreachable,
        "no connection, or it broke off",
        "is the host on, and is this its port?",
    ),
)


class _PinnedAdapter(HTTPAdapter):
    """Makes connections that check the leaf between the handshake and the first request."""

    def __init__(
        self, trust: Trust, server_name: str | None, known: "weakref.WeakSet[HTTPSConnection]"
    ) -> None:
        self._pinned_pool = _pool_class(trust, known)
        self._server_name = server_name
        super().__init__(max_retries=0, pool_maxsize=1)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        # The leaf may be self-signed, expired or for another name: it is the pin that decides.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
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


def _pool_class(
    trust: Trust, known: "weakref.WeakSet[HTTPSConnection]"
) -> type[HTTPSConnectionPool]:
    class PinnedConnection(HTTPSConnection):
        def connect(self) -> None:
            known.add(self)
            super().connect()
            secured = cast("ssl.SSLSocket", self.sock)
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
    except ValueError as error:
        raise ProtocolError(
            "the host's certificate cannot be read", hint="is this the right port?"
        ) from error


def _shut_down(connection: HTTPSConnection) -> None:
    import socket

    sock = connection.sock
    if sock is None:
        return
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        log.debug("http cut=late host=%s", connection.host)
