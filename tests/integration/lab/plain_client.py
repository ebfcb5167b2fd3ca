"""A client for the lab's boxes that shares no code with the product: http.client and ssl only."""

import http.client
import json
import socket
import ssl
import urllib.parse
from dataclasses import dataclass
from typing import Any, Self

from OpenSSL import SSL

from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import Knobs
from tests.integration.lab.issued import Issued, fingerprint

CRT = "SYNO.Core.Certificate.CRT"
SERVICE = "SYNO.Core.Certificate.Service"
QUICK = Knobs(restart_delay=0.01, restart_seconds=0.05)
BOUNDARY = "----lab-test-boundary"


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    port: int,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout: float = 5,
    source: str = "127.0.0.1",
) -> Response:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=timeout, context=unverified(), source_address=(source, 0)
    )
    try:
        connection.request(method, target, body, {"Connection": "close", **(headers or {})})
        with connection.getresponse() as response:
            return Response(
                response.status,
                dict(response.getheaders()),
                response.headers.get_all("Set-Cookie") or [],
                response.read(),
            )
    finally:
        connection.close()


def multipart(files: dict[str, tuple[str, bytes]], fields: dict[str, str]) -> bytes:
    sections = [
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        for name, (filename, content) in files.items()
    ]
    sections += [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode()
        for name, text in fields.items()
    ]
    line = f"--{BOUNDARY}".encode()
    return b"".join(line + b"\r\n" + one + b"\r\n" for one in sections) + line + b"--\r\n"


def served(port: int, server_name: str | None = None) -> list[str]:
    """Fingerprints of leaf and chain as the handshake shows them."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.settimeout(None)
        connection = SSL.Connection(context, raw)
        if server_name is not None:
            connection.set_tlsext_host_name(server_name.encode())
        connection.set_connect_state()
        connection.do_handshake()
        chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    return [fingerprint(one) for one in chain]


def code(answer: Any) -> int:
    assert answer["success"] is False
    number: int = answer["error"]["code"]
    return number


@dataclass(slots=True)
class Client:
    box: DiskStation
    sid: str = ""
    token: str = ""
    version: int = 7
    source: str = "127.0.0.1"

    def call(self, api: str, method: str, *, path: str = "entry.cgi", **parameters: Any) -> Any:
        return self.raw(api, method, path=path, **parameters).json

    def raw(self, api: str, method: str, *, path: str = "entry.cgi", **parameters: Any) -> Response:
        fields = {"api": api, "method": method, "version": 1, **parameters}
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self._session()}
        body = urllib.parse.urlencode(fields).encode()
        target = f"/webapi/{path}"
        return request(self.box.port, "POST", target, body, headers, source=self.source)

    def login(self, account: str, password: str, **more: str) -> Any:
        answer = self.call(
            "SYNO.API.Auth",
            "login",
            version=self.version,
            account=account,
            passwd=password,
            **{"format": "sid", "enable_syno_token": "yes", **more},
        )
        if answer["success"]:
            self.sid = answer["data"]["sid"]
            self.token = answer["data"].get("synotoken", "")
        return answer

    def admin(self) -> Self:
        assert self.login("admin", "correct horse & battery staple")["success"]
        return self

    def upload(
        self, issued: Issued, *, entry_id: str = "", desc: str = "", as_default: str = ""
    ) -> Any:
        files = {
            "key": ("privkey.pem", issued.key_pem),
            "cert": ("cert.pem", issued.cert_pem),
            "inter_cert": ("chain.pem", issued.chain_pem),
        }
        return self.post_form(files, {"id": entry_id, "desc": desc, "as_default": as_default})

    def post_form(
        self,
        files: dict[str, tuple[str, bytes]],
        fields: dict[str, str],
        content_type: str = f"multipart/form-data; boundary={BOUNDARY}",
    ) -> Any:
        return request(
            self.box.port,
            "POST",
            "/webapi/entry.cgi?api=SYNO.Core.Certificate&method=import&version=1",
            multipart(files, fields),
            {"Content-Type": content_type, **self._session()},
        ).json

    def entries(self) -> list[dict[str, Any]]:
        answer = self.call("SYNO.Core.Certificate.CRT", "list")
        assert answer["success"], answer
        entries: list[dict[str, Any]] = answer["data"]["certificates"]
        return entries

    def bind(self, display_name: str, new_id: str, **changed: Any) -> Any:
        for entry in self.entries():
            for service in entry["services"]:
                if service["display_name"] == display_name:
                    move = {"service": service | changed, "old_id": entry["id"], "id": new_id}
                    return self.call(
                        "SYNO.Core.Certificate.Service", "set", settings=json.dumps([move])
                    )
        raise LookupError(display_name)

    def _session(self) -> dict[str, str]:
        return {"Cookie": f"id={self.sid}", "X-SYNO-TOKEN": self.token}
