"""HTTPS with verification, on which one exchange ends in time, however slowly a peer sends.

A time-out of requests counts from the last byte on: a peer that sends one now and then would hold
us for ever.
"""

import io
import ssl
from time import monotonic
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from distributor.clients.tls_socket import TlsSocket

_PIECE: Final = 1 << 16


class Direct(requests.Session):
    """A session that follows no redirect.

    Told so for a request, requests still works out where it would lead, and raises ValueError for a
    place that is none.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests'
        """Return None: there is nowhere to go."""
        return None


class HurriedAdapter(HTTPAdapter):
    """Connections of a session, used by one thread; every exchange may take `seconds` in all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = monotonic() + seconds
        self._context = self._hurried_context()
        super().__init__(max_retries=0, pool_maxsize=1)

    @property
    def seconds_left(self) -> float:
        """How long the exchange may go on; negative once it is over."""
        return self._ends - monotonic()

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request; its time begins now."""
        self._ends = monotonic() + self._seconds
        return super().send(*arguments, **options)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        """Make what connects directly; its connections end in time."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """Return what connects through a proxy, which ends as the rest does."""
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def _hurried_context(self) -> ssl.SSLContext:
        adapter = self

        class Hurried(TlsSocket):
            def recv_into(self, *arguments: Any, **options: Any) -> int:
                if adapter.seconds_left <= 0:
                    raise TimeoutError
                self.settimeout(adapter.seconds_left)
                return super().recv_into(*arguments, **options)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and wants TLS 1.2 at least
        context.sslsocket_class = Hurried
        return context


class BoundedAdapter(HurriedAdapter):
    """The same for answers that are read whole, and refused where they are larger than `largest`.

    Sends raise what `requests` would raise for a body that breaks off or cannot be decoded; so they
    do for one that is too large: ContentDecodingError.
    """

    def __init__(self, seconds: float, largest: int) -> None:
        super().__init__(seconds)
        self._largest = largest

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request, and read all of its answer."""
        response = super().send(*arguments, **options)
        try:
            response.raw = io.BytesIO(self._body(response))
        except BaseException:
            response.close()
            raise
        return response

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        try:
            # Not iter_content: urllib3's own reader of chunks takes a line of any length.
            while piece := response.raw.read(_PIECE, decode_content=True):
                body += piece
                if len(body) > self._largest:
                    raise requests.exceptions.ContentDecodingError("an answer without end")
        except urllib3.exceptions.ProtocolError as error:
            raise requests.exceptions.ChunkedEncodingError(error) from error
        except urllib3.exceptions.DecodeError as error:
            raise requests.exceptions.ContentDecodingError(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(error) from error
        return bytes(body)
