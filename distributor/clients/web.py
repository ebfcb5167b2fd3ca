"""What a host's web server answers, asked once for one name and with nothing that is secret."""

import http.client
import io
import logging
import re
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Final

from distributor.clients.http import PinnedHttp
from distributor.clients.tls import connected
from distributor.model.errors import Unreachable
from distributor.model.hosts import SocketAddress
from distributor.model.web import Front, PlainAnswer

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""How long the whole of it may take."""
LIMIT: Final = 16 << 10
"""Bytes: status line and headers of an honest answer are far shorter."""
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |$)")


def plain_answer(address: SocketAddress) -> PlainAnswer | None:
    """Return what `http://address/` answers; None when nothing there answers as HTTP does.

    A redirect is not followed, and the body is not read.
    """
    try:
        with connected(address, SECONDS) as plain:
            head = _head(plain, f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        status = _STATUS.match(line)
        if status is None:
            return None
        headers = http.client.parse_headers(io.BytesIO(rest + b"\r\n\r\n"))
    except (Unreachable, OSError, http.client.HTTPException) as error:
        log.debug("plain http address=%s answer=none error=%s", address, type(error).__name__)
        return None
    return PlainAnswer(status=int(status[1]), location=headers["Location"])


def front(http: PinnedHttp, asked: SocketAddress, now: Callable[[], datetime]) -> Front:
    """Ask the Web API's discovery over a pinned connection, with `asked` as the Host header.

    The connection goes where `http` goes. Raises HostError.
    """
    answer = http.request(
        "GET",
        "/webapi/query.cgi",
        query={"api": "SYNO.API.Info", "version": "1", "method": "query", "query": "SYNO.API.Auth"},
        headers={"Host": str(asked)},
        seconds=SECONDS,
    )
    return Front(status=answer.status, skew=_skew(answer.headers.get("Date"), now()))


def _skew(date: str | None, now: datetime) -> timedelta | None:
    """Return how far an HTTP date (RFC 9110 section 5.6.7) is ahead of `now`; None for no date."""
    try:
        then = parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):
        return None
    return then - now if then.tzinfo is not None else None


def _head(plain: socket.socket, request: str) -> bytes:
    ends = monotonic() + SECONDS
    plain.sendall(request.encode("ascii"))
    received = bytearray()
    while b"\r\n\r\n" not in received and len(received) < LIMIT:
        left = ends - monotonic()
        if left <= 0:
            raise TimeoutError
        plain.settimeout(left)
        chunk = plain.recv(4096)
        if not chunk:
            break
        received += chunk
    return bytes(received).partition(b"\r\n\r\n")[0]
