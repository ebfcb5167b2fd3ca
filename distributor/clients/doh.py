"""DNS over HTTPS (RFC 8484): questions where port 53 is closed."""

import ssl
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import dns.message
import requests
from requests.adapters import HTTPAdapter

from distributor.clients import dns_queries
from distributor.clients.dns_queries import Answer, Cause, NoAnswer
from distributor.clients.http_errors import FOREIGN
from distributor.clients.tls_socket import TlsSocket
from distributor.model.text import printable

MEDIA_TYPE: Final = "application/dns-message"
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Doh:
    """One server. Its URL is not shown whole: the path can be what a customer is known by.

    TLS is verified, and the environment's proxies and CA bundle apply as they do for the CA: a
    network that closes port 53 is often one that can be left by a proxy only.
    """

    url: str

    def __str__(self) -> str:
        return f"DNS over HTTPS at {printable(urlsplit(self.url).netloc)}"

    def ask(self, query: dns.message.Message) -> Answer | NoAnswer:
        """Ask once, within `dns_queries.SECONDS`."""
        # Section 4.1 asks for the id 0. A POST's answer is in no HTTP cache on the way.
        query.id = 0
        ends = monotonic() + dns_queries.SECONDS
        with requests.Session() as session:
            session.mount("https://", _Adapter(ends))
            try:
                return self._exchange(session, query, ends)
            except FOREIGN as error:
                return NoAnswer(Cause.SILENT, f"no answer ({type(error).__name__})")

    def _exchange(
        self, session: requests.Session, query: dns.message.Message, ends: float
    ) -> Answer | NoAnswer:
        with session.post(
            self.url,
            data=query.to_wire(),
            headers={
                "Accept": MEDIA_TYPE,
                "Accept-Encoding": "identity",
                "Content-Type": MEDIA_TYPE,
            },
            timeout=dns_queries.SECONDS,
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != _OK:
                return NoAnswer(Cause.UNREADABLE, f"it answers HTTP {response.status_code}")
            kind = response.headers.get("Content-Type", "")
            if kind.partition(";")[0].strip().lower() != MEDIA_TYPE:
                return NoAnswer(Cause.UNREADABLE, "its answer is no DNS message")
            wire = bytearray()
            while piece := response.raw.read(dns_queries.LARGEST, decode_content=False):
                wire += piece
                if len(wire) > dns_queries.LARGEST or monotonic() > ends:
                    return NoAnswer(Cause.UNREADABLE, "its answer has no end")
        return dns_queries.read(query, bytes(wire))


class _Adapter(HTTPAdapter):
    """Connections whose reading ends at a moment, however slowly a peer sends."""

    def __init__(self, ends: float) -> None:
        self._context = _context(ends)
        super().__init__(max_retries=0, pool_maxsize=1)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """Return what connects through a proxy, which ends as the rest does."""
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)


def _context(ends: float) -> ssl.SSLContext:
    class Hurried(TlsSocket):
        def recv_into(self, *arguments: Any, **options: Any) -> int:
            # A time-out of the system's counts from the last byte on: from now to the end instead.
            left = ends - monotonic()
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            return super().recv_into(*arguments, **options)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and wants TLS 1.2 at least
    context.sslsocket_class = Hurried
    return context
