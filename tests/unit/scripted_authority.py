"""A scripted ACME server: no CA, but the answers that no CA of the lab can be brought to give."""

import base64
import json
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distributor.lab.signing import Signed, make_authority, make_server

Reply = tuple[int, dict[str, str], Any]
"""Status, headers (an empty one is left out), and a body: text as it is, all else as JSON."""
CUT: Reply = (0, {}, None)
"""The connection ends where an answer is due."""


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.time += timedelta(seconds=seconds)


class ScriptedAuthority:
    """Answers each path by its script, one reply after the other; the last one stays.

    Without a script it takes an order for example.com, whose authorization is pending. `folder`
    keeps the certificate of its HTTPS, which verifies against `ca_bundle`.
    """

    def __init__(self, folder: Path) -> None:
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = False
        self.ca_bundle, self._server.context = _https(folder)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self.directory = f"{self.url}/dir"
        self.asked: list[str] = []
        """Paths in the order they were asked for."""
        self.sent: list[tuple[str, Any]] = []
        """Path and content of every signed request that had any."""
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
        self.resources: dict[str, Any] = {name: f"{self.url}/{name}" for name in names}
        """The directory; what is added here is in it."""
        self.replies: dict[str, list[Reply]] = {
            "/dir": [(200, {}, self.resources)],
            "/newNonce": [(200, {}, "")],
            "/newAccount": [(201, {"Location": f"{self.url}/account/1"}, {"status": "valid"})],
            "/newOrder": [(201, {"Location": f"{self.url}/order/1"}, self.order("pending"))],
            "/order/1": [(200, {}, self.order("pending"))],
            "/authorization/1": [(200, {}, self.authorization("pending"))],
            "/finalize/1": [(200, {}, self.order("processing"))],
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def order(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "status": status,
            "identifiers": [{"type": "dns", "value": "example.com"}],
            "authorizations": [f"{self.url}/authorization/1"],
            "finalize": f"{self.url}/finalize/1",
            **more,
        }

    def authorization(self, status: str, error: Any = None, kind: str = "dns-01") -> dict[str, Any]:
        challenge = {
            "type": kind,
            "url": f"{self.url}/challenge/1",
            "status": "pending",
            "token": base64.urlsafe_b64encode(b"t" * 32).decode().rstrip("="),
        }
        return {
            "status": status,
            "identifier": {"type": "dns", "value": "example.com"},
            "challenges": [challenge if error is None else {**challenge, "error": error}],
        }

    def problem(self, status: int, name: str, detail: str = "", **headers: str) -> Reply:
        kind = f"urn:ietf:params:acme:error:{name}"
        return (
            status,
            {name.replace("_", "-"): value for name, value in headers.items()},
            {
                "type": kind,
                "detail": detail or f"the words on {name}",
            },
        )

    def sent_to(self, path: str) -> list[Any]:
        """What the signed requests to a path held."""
        return [content for where, content in self.sent if where == path]


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the request's own thread, so that nobody waits for another."""
        request.settimeout(5)
        with self.context.wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that went away or do not trust us."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedAuthority
    number = 0
    protocol_version = "HTTP/1.1"
    timeout = 5

    def _reply(self) -> None:
        script = self.script
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if content and (payload := json.loads(content)["payload"]):
            script.sent.append((self.path, json.loads(_decoded(payload))))
        script.asked.append(self.path)
        replies = script.replies.get(self.path) or [(404, {}, "no such page")]
        status, headers, body = replies.pop(0) if len(replies) > 1 else replies[0]
        if not status:
            self.close_connection = True
            return
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, str) else "application/json"
        nonce = base64.urlsafe_b64encode(len(script.asked).to_bytes(8, "big")).decode()
        standard = {"Content-Type": kind, "Replay-Nonce": nonce.rstrip("="), "Connection": "close"}
        for name, value in {**standard, **headers, "Content-Length": str(len(content))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = _reply  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


@cache
def _signed() -> tuple[Signed, Signed]:
    root = make_authority("Scripted HTTPS root")
    return root, make_server(root)


def _https(folder: Path) -> tuple[Path, ssl.SSLContext]:
    root, server = _signed()
    bundle, certificate, key = (folder / name for name in ("root.pem", "https.pem", "https.key"))
    bundle.write_bytes(root.pem())
    certificate.write_bytes(server.pem())
    server.write_key(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return bundle, context


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
