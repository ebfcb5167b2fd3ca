"""What a virtual box says on its ports: answers, records of requests, faults, restarts."""

import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from distributor.lab.box_state import Change
from distributor.lab.calls import Answer, Call, HttpRequest, host_of, html_page, read_call
from distributor.lab.http_port import Reply, serve_http
from distributor.lab.knobs import Fault, Knobs
from distributor.lab.ports import Ports, Talk
from distributor.lab.webapi import WRITES, Inside, WebApi

_CREDENTIALS = frozenset({"account", "passwd", "otp_code", "device_id"})
_CUT = Reply(html_page(502), arrives=0)


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
    in_clear: bool
    """It came without TLS."""


class Front:
    """Talks to clients for one box; `listen_at` comes first."""

    def __init__(self, inside: Inside, api: WebApi, stopping: threading.Event) -> None:
        self._inside = inside
        self._api = api
        self._stopping = stopping
        self._lock = threading.Lock()
        self._requests: list[Seen] = []
        self._counted = {"writes": 0, "requests": 0}
        self._writes = 0

    def listen_at(self, address: str, port: int) -> Ports:
        """Return the ports of the box, not yet open."""
        talk = Talk(
            dsm=lambda connection, peer: serve_http(connection, peer, self._reply),
            proxied=lambda connection, peer: serve_http(connection, peer, self._reply_proxied),
            service=_serve_banner,
            clear=self._serve_in_the_clear,
            before_handshake=self._before_handshake,
        )
        inside = self._inside
        self._ports = Ports(inside.state, address, port, talk, inside.knobs, self._stopping)
        return self._ports

    @property
    def requests(self) -> tuple[Seen, ...]:
        """All requests to the Web API, in order."""
        with self._lock:
            return tuple(self._requests)

    @property
    def writes(self) -> int:
        """How many state-changing calls succeeded."""
        with self._lock:
            return self._writes

    @property
    def counted(self) -> Mapping[str, int]:
        """How many requests and state-changing calls came, whether they succeeded or not."""
        with self._lock:
            return dict(self._counted)

    def _before_handshake(self) -> None:
        if self._inside.knobs().hang == "handshake":
            self._stopping.wait()

    def _serve_in_the_clear(self, connection: socket.socket, peer: str) -> bool:
        serve_http(connection, peer, self._reply_in_the_clear)
        return False

    def _reply_in_the_clear(self, request: HttpRequest) -> Reply:
        call = self._recorded(request, in_clear=True)
        if self._inside.knobs().http_redirects:
            there = f"https://{host_of(request)}:{self._ports.dsm.port}{request.target}"
            return Reply(replace(html_page(302), headers=(("Location", there),)))
        if self._is_for_customised_domain(request):
            return Reply(html_page(404))
        return self._answered(call)

    def _reply_proxied(self, request: HttpRequest) -> Reply:
        if self._is_for_customised_domain(request):
            return self._answered(self._recorded(request))
        return Reply(html_page(200))

    def _reply(self, request: HttpRequest) -> Reply:
        call = self._recorded(request)
        if self._is_for_customised_domain(request):
            return Reply(html_page(404))
        return self._answered(call)

    def _is_for_customised_domain(self, request: HttpRequest) -> bool:
        domain = self._inside.knobs().customised_domain
        return bool(domain) and host_of(request) == domain.lower()

    def _answered(self, call: Call) -> Reply:
        """Do what is asked, unless a knob or a fault is in the way."""
        knobs = self._inside.knobs()
        faults = self._faults(knobs, is_write=(call.api, call.method) in WRITES)
        if knobs.hang == "answer":
            self._stopping.wait()
            return _CUT
        if self._ports.is_away or "page" in faults:
            return Reply(html_page(502))
        if knobs.html_status is not None:
            return Reply(html_page(knobs.html_status))
        if "gone" in faults:
            self._stopping.set()
            self._ports.vanish()
        if faults & {"before", "gone"}:
            return _CUT
        if "session" in faults:
            self._inside.accounts.forget_sessions()
        if "slow" in faults:
            self._stopping.wait(knobs.slow_seconds)
        answer = self._done(call, stays="nothing" in faults)
        reply = Reply(answer, arrives=0 if "after" in faults else 1)
        return self._restarted(reply, answer.change, knobs) if answer.change else reply

    def _done(self, call: Call, *, stays: bool) -> Answer:
        """Do what is asked, or only say so."""
        if not stays:
            return self._api.answer(call)
        with self._inside.state.undone():
            return replace(self._api.answer(call), change=None)

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
        if self._inside.knobs().restart_ends_sessions:
            self._inside.accounts.forget_sessions()

    def _recorded(self, request: HttpRequest, *, in_clear: bool = False) -> Call:
        call = read_call(request)
        seen = Seen(
            method=request.method,
            target=request.target,
            api=call.api,
            api_method=call.method,
            names=call.body_names,
            content_length=len(request.body),
            at=datetime.now(UTC),
            credentials_in_query=bool(_CREDENTIALS & call.query.keys()),
            in_clear=in_clear,
        )
        with self._lock:
            self._requests.append(seen)
        return call

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

        return frozenset(fault.how for fault in knobs.faults if strikes(fault))


def _serve_banner(connection: ssl.SSLSocket, _peer: str) -> None:
    connection.sendall(b"220 ready\r\n")
    while connection.recv(4096):
        pass
