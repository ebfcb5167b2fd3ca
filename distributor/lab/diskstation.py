"""A virtual DiskStation on loopback: its Web API, its TLS ports, its restarts, and what it saw.

It behaves as the dsm-web-api facts say and shares no encoder with the product. What an
administrator would do at the box's own pages (bind, import, remove a chain) is offered as methods
that go around HTTP.
"""

import contextlib
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from distributor.lab.accounts import Account, Accounts
from distributor.lab.box_state import (
    DSM_DESKTOP,
    FTPS,
    BoxState,
    Change,
    Entry,
    Service,
    new_entry_id,
)
from distributor.lab.calls import Call, HttpRequest, html_page, read_call
from distributor.lab.factory import factory_certificate
from distributor.lab.http_port import Reply, serve_http
from distributor.lab.knobs import DSM72, Fault, Knobs, Profile
from distributor.lab.material import Material, read_upload
from distributor.lab.ports import Ports
from distributor.lab.webapi import WRITES, WebApi

_CREDENTIALS = frozenset({"account", "passwd", "otp_code", "device_id"})
ADMIN = Account("admin", "correct horse & battery staple")


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the box saw it. Of the body only the names of its parameters are kept."""

    method: str
    target: str
    """Path and query exactly as sent: a secret found here went over the wire in a URL."""
    api: str
    api_method: str
    names: tuple[str, ...]
    content_length: int
    at: datetime
    credentials_in_query: bool


class DiskStation:
    """One virtual box; a context manager. Ports are free ones of loopback unless given.

    `port` is DSM's own (5001 on a real box), `https_port` the one where reverse-proxy names are
    told apart by SNI (443), `service_ports` has an implicit-TLS port for each other service, by
    display name. `factory` is the certificate the box comes with; by default one is made.
    """

    def __init__(
        self,
        name: str,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        profile: Profile = DSM72,
        accounts: Sequence[Account] = (ADMIN,),
        services: Sequence[Service] = (DSM_DESKTOP, FTPS),
        knobs: Knobs | None = None,
        factory: Material | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.profile = profile
        self.knobs = knobs or Knobs()
        expired = self.knobs.expired_at_start
        self.factory_certificate = factory or factory_certificate(name, expired=expired)
        first = Entry(new_entry_id(), self.knobs.description, self.factory_certificate)
        self._state = BoxState(first, services)
        if self.knobs.twins:
            twin = factory_certificate(name, expired=expired)
            self._state.add(self._state.new_entry(twin, self.knobs.description))
        self._accounts = Accounts(accounts)
        self._lock = threading.Lock()
        self._requests: list[Seen] = []
        self._counted = {"writes": 0, "requests": 0}
        self._writes = 0
        self._stopping = threading.Event()
        self._api = WebApi(
            self._state, self._accounts, profile, lambda: self.knobs, self._stopping.wait
        )
        self._ports = Ports(
            self._state,
            address,
            port,
            (self._serve_dsm, self._serve_page, self._serve_banner),
            self._before_handshake,
            self._stopping,
        )

    def start(self) -> Self:
        """Open all ports, or none: raises OSError when a given port is taken."""
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            self._ports.open()
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Close all ports and wait for every thread; raise RuntimeError if one does not end."""
        self._stopping.set()
        self._ports.end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """DSM's own port; 0 before the start."""
        return self._ports.dsm.port

    @property
    def https_port(self) -> int:
        """The port of the reverse proxies, told apart by SNI; 0 before the start."""
        return self._ports.https.port

    @property
    def service_ports(self) -> Mapping[str, int]:
        """Port of each service that has one of its own, by display name."""
        return {
            self._state.find_service(key).display_name: listener.port
            for key, listener in self._ports.services.items()
        }

    # -- what it saw ---------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[Seen, ...]:
        """All requests on DSM's port, in order."""
        with self._lock:
            return tuple(self._requests)

    @property
    def writes(self) -> int:
        """How many state-changing calls (import, set, delete, Service set) succeeded."""
        with self._lock:
            return self._writes

    @property
    def restarts(self) -> int:
        """How often the web server or a service came back with what it should present now."""
        return self._ports.restarts

    @property
    def logins(self) -> int:
        """How many logins succeeded."""
        return self._accounts.logins

    @property
    def failed_logins(self) -> int:
        """How many logins were refused, for whatever reason."""
        return self._accounts.failed_logins

    @property
    def sessions_open(self) -> int:
        """How many sessions are open now."""
        return self._accounts.sessions_open

    @property
    def credentials_in_urls(self) -> bool:
        """Whether an account, password, code or device id was ever in a query string."""
        return any(seen.credentials_in_query for seen in self.requests)

    def snapshot(self) -> dict[str, Any]:
        """Entries, default and bindings as plain data, see BoxState.snapshot."""
        return self._state.snapshot()

    def wait_until_serving(self, timeout: float = 10.0) -> None:
        """Return when no restart is pending; raise TimeoutError after `timeout` seconds."""
        if not self._ports.wait_until_idle(timeout):
            raise TimeoutError(f"the web server of {self.name} does not come back")

    # -- what an administrator does at the box itself ------------------------------------------

    def bind(self, selector: str, entry_id: str) -> None:
        """Move one service (`subscriber/service` or display name) to an entry, and serve it."""
        service = self._state.find_service(selector)
        self._state.move(service, entry_id)
        self._ports.reload()

    def import_entry(
        self,
        cert_pem: bytes,
        key_pem: bytes,
        chain_pem: bytes | None = None,
        *,
        desc: str = "",
        entry_id: str = "",
        default: bool = False,
        renewable: bool = False,
        user_deletable: bool = True,
    ) -> str:
        """Put an entry on the box, or replace `entry_id`, and serve it; return its id.

        Unlike an import, an `entry_id` that is new is taken as it is. Raises UploadError.
        """
        material = read_upload(cert_pem, key_pem, chain_pem)
        entry = self._state.new_entry(material, desc)
        entry = replace(entry, renewable=renewable, user_deletable=user_deletable)
        if entry_id:
            entry = replace(entry, id=entry_id)
        self._state.add(entry)
        self._state.describe_as(entry.id, desc=desc, default=default)
        self._ports.reload()
        return entry.id

    def remove_chain(self, entry_id: str) -> None:
        """Leave an entry its leaf and key only, and serve that."""
        entry = self._state.entry(entry_id)
        self._state.add(replace(entry, material=entry.material.without_chain()))
        self._ports.reload()

    def end_sessions(self) -> None:
        """Log everybody out."""
        self._accounts.forget_sessions()

    def forget_devices(self) -> None:
        """Revoke all trusted devices of two-factor logins."""
        self._accounts.forget_devices()

    # -- requests ------------------------------------------------------------------------------

    def _before_handshake(self) -> None:
        if self.knobs.hang == "handshake":
            self._stopping.wait()

    def _serve_dsm(self, connection: ssl.SSLSocket, peer: str) -> None:
        serve_http(connection, peer, self._reply)

    def _serve_page(self, connection: ssl.SSLSocket, peer: str) -> None:
        serve_http(connection, peer, lambda _: Reply(html_page(200)))

    def _serve_banner(self, connection: ssl.SSLSocket, _peer: str) -> None:
        connection.sendall(b"220 ready\r\n")
        while connection.recv(4096):
            pass

    def _reply(self, request: HttpRequest) -> Reply:
        knobs = self.knobs
        call = read_call(request)
        self._record(request, call)
        is_write = (call.api, call.method) in WRITES
        faults = self._faults(knobs, is_write=is_write)
        if knobs.hang == "answer":
            self._stopping.wait()
            return Reply(html_page(502), arrives=0)
        if self._ports.is_away:
            return Reply(html_page(502))
        if knobs.html_status is not None:
            return Reply(html_page(knobs.html_status))
        if "before" in faults:
            return Reply(html_page(502), arrives=0)
        answer = self._api.answer(call)
        reply = Reply(answer, arrives=0 if "after" in faults else 1)
        return self._restarted(reply, answer.change, knobs) if answer.change else reply

    def _restarted(self, reply: Reply, change: Change, knobs: Knobs) -> Reply:
        """Count a write, and let what presents something else now restart once it is answered."""
        with self._lock:
            self._writes += 1
        web = self._api.restarts_web_server(change)
        restart = self._ports.needed(web=web, touched=change.services)
        if restart is None:
            return reply
        sent = threading.Event()
        self._ports.restart_later(restart, sent, knobs, self._when_down)
        overtaken = web and knobs.restart_drops_answer
        return replace(
            reply, arrives=reply.arrives / 2 if overtaken else reply.arrives, then=sent.set
        )

    def _when_down(self) -> None:
        if self.knobs.restart_ends_sessions:
            self._accounts.forget_sessions()

    def _record(self, request: HttpRequest, call: Call) -> None:
        seen = Seen(
            method=request.method,
            target=request.target,
            api=call.api,
            api_method=call.method,
            names=call.body_names,
            content_length=len(request.body),
            at=datetime.now(UTC),
            credentials_in_query=bool(_CREDENTIALS & call.query.keys()),
        )
        with self._lock:
            self._requests.append(seen)

    def _faults(self, knobs: Knobs, *, is_write: bool) -> frozenset[str]:
        """Count a request and return when it is to be cut."""
        with self._lock:
            self._counted["requests"] += 1
            self._counted["writes"] += is_write
            counts = {"requests": self._counted["requests"]}
            if is_write:
                counts["writes"] = self._counted["writes"]

        def strikes(fault: Fault) -> bool:
            return counts.get(fault.counted) == fault.nth

        return frozenset(fault.when for fault in knobs.faults if strikes(fault))
