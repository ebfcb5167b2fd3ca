"""HTTP/1.1 on one connection: requests in, answers out, as much of it as DSM's nginx shows."""

import email.utils
import http
import http.client
import io
import socket
from collections.abc import Callable
from dataclasses import dataclass

from distributor.lab.calls import Answer, HttpRequest, html_page
from distributor.lab.listener import cut

_LONGEST_LINE = 65536
_LARGEST_BODY = 8 * 1024 * 1024
_ALWAYS = (
    ("Server", "nginx"),
    ("Keep-Alive", "timeout=20"),
    ("Cache-Control", "no-store"),
    ("P3P", 'CP="IDC DSP COR ADM DEVi TAIi PSA PSD IVAi IVDi CONi HIS OUR IND CNT"'),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and how much of it the client gets; `then` runs when that was sent."""

    answer: Answer
    arrives: float = 1.0
    """Share of the bytes that are sent; below 1 the connection is reset after them."""
    then: Callable[[], object] = bool


def serve_http(
    connection: socket.socket, peer: str, reply_to: Callable[[HttpRequest], Reply]
) -> None:
    """Answer requests until the client leaves, asks to close, or is cut; raises OSError then."""
    with connection.makefile("rb") as stream:
        while (request := _read(stream, connection, peer)) is not None:
            if isinstance(request, Answer):
                connection.sendall(_encode(request, closing=True))
                return
            reply = reply_to(request)
            closing = request.headers.get("connection", "").lower() == "close"
            data = _encode(reply.answer, closing=closing)
            try:
                connection.sendall(data[: int(len(data) * reply.arrives)])
            finally:
                reply.then()
            if reply.arrives < 1:
                cut(connection)
            if closing:
                return


def _read(
    stream: io.BufferedReader, connection: socket.socket, peer: str
) -> HttpRequest | Answer | None:
    """Return the next request, None at the end, or the error page for what cannot be read."""
    line = stream.readline(_LONGEST_LINE)
    if not line:
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method target version
        return html_page(400)
    try:
        message = http.client.parse_headers(stream)
    except http.client.HTTPException:
        return html_page(400)
    headers = {name.lower(): value for name, value in message.items()}
    method, target = words[0], words[1]
    if method not in {"GET", "POST"}:
        return html_page(405)
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdigit():
        return html_page(411)
    if int(length) > _LARGEST_BODY:
        return html_page(413)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = stream.read(int(length))
    if len(body) < int(length):
        return None
    return HttpRequest(method, target, headers, body, peer)


def _encode(answer: Answer, *, closing: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}",
        f"Date: {email.utils.formatdate(usegmt=True)}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'close' if closing else 'keep-alive'}",
        *(f"{name}: {value}" for name, value in (*_ALWAYS, *answer.headers)),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + answer.body
