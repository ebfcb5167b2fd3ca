"""A scripted ACME server: no CA, but the answers that no CA of the lab can be brought to give."""

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, and a body: text as it is, anything else as JSON."""


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

    Without a script it takes an order for example.com, whose authorization is pending.
    """

    def __init__(self) -> None:
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.directory = f"{self.url}/dir"
        self.asked: list[str] = []
        """Paths in the order they were asked for."""
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
        self.replies: dict[str, list[Reply]] = {
            "/dir": [(200, {}, {name: f"{self.url}/{name}" for name in names})],
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


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedAuthority
    number = 0
    protocol_version = "HTTP/1.1"
    timeout = 5

    def _reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        script = self.script
        script.asked.append(self.path)
        replies = script.replies.get(self.path) or [(404, {}, "no such page")]
        status, headers, body = replies.pop(0) if len(replies) > 1 else replies[0]
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, str) else "application/json"
        nonce = base64.urlsafe_b64encode(len(script.asked).to_bytes(8, "big")).decode()
        standard = {"Content-Type": kind, "Replay-Nonce": nonce.rstrip("="), "Connection": "close"}
        for name, value in {**standard, **headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = _reply  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""
