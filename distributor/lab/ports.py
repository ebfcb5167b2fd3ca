"""The TLS ports of a virtual DiskStation and their restarts.

The web server is two ports: DSM's own, and the one where reverse-proxy names are told apart by SNI.
Every other service has a port of its own. A port presents what was bound when it last opened.
"""

import contextlib
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

from distributor.lab.box_state import DSM_DESKTOP, BoxState
from distributor.lab.knobs import Knobs
from distributor.lab.listener import Listener, server_context

_LOG = logging.getLogger(__name__)

Serve = Callable[[ssl.SSLSocket, str], None]


@dataclass(frozen=True, slots=True)
class Restart:
    """What has to present something else: the web server, and services with ports of their own."""

    web: bool
    services: frozenset[str]


class Ports:
    """All listeners of one box. Restarts run one after the other, in threads that `end()` joins."""

    def __init__(
        self,
        state: BoxState,
        address: str,
        port: int,
        serve: tuple[Serve, Serve, Serve],
        before_handshake: Callable[[], object],
        stopping: threading.Event,
    ) -> None:
        """`serve` talks on DSM's port, on the port of the reverse proxies, and on all others."""
        self._state = state
        self._stopping = stopping
        dsm, proxied, service = serve
        self._one_at_a_time = threading.Lock()
        self._idle = threading.Condition()
        self._is_open = False
        self._pending = 0
        self._restarts = 0
        self._threads: list[threading.Thread] = []
        self.is_away = False
        """Whether the web server answers 502 just now."""
        self.dsm = Listener(address, port, dsm, before_handshake)
        self.https = Listener(address, 0, proxied, before_handshake)
        self.services = {
            one.key: Listener(address, 0, service, before_handshake)
            for one in state.services
            if not one.is_web
        }

    def open(self) -> None:
        """Listen on every port."""
        self._is_open = True
        self._open(Restart(web=True, services=frozenset(self.services)))

    def end(self) -> None:
        """Close every port and wait for every thread, once the box is stopping."""
        self._is_open = False
        with self._idle:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join()
        with contextlib.ExitStack() as ends:
            for listener in (self.dsm, self.https, *self.services.values()):
                ends.callback(listener.end)

    @property
    def restarts(self) -> int:
        """How many restarts are over."""
        with self._idle:
            return self._restarts

    def wait_until_idle(self, timeout: float) -> bool:
        """Whether no restart is pending any more, waiting `timeout` seconds for it at most."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._pending, timeout)

    def needed(self, *, web: bool, touched: frozenset[str]) -> Restart | None:
        """Say what must restart when the web server is touched, or these services are."""
        services = touched & self.services.keys()
        return Restart(web, services) if web or services else None

    def restart_later(
        self, restart: Restart, sent: threading.Event, knobs: Knobs, when_down: Callable[[], object]
    ) -> None:
        """Restart in a thread of its own once `sent` is set and the knobs' delay is over."""
        thread = threading.Thread(
            target=self._restart_later, args=(restart, sent, knobs, when_down), daemon=True
        )
        with self._idle:
            self._pending += 1
            self._threads.append(thread)
        thread.start()

    def reload(self) -> None:
        """Present what is bound now, on every port that is open, before returning."""
        if not self._is_open:
            return
        with self._one_at_a_time:
            everything = Restart(web=True, services=frozenset(self.services))
            for listener in self._meant(everything):
                listener.close()
            self._open(everything)
        with self._idle:
            self._restarts += 1

    def _restart_later(
        self,
        restart: Restart,
        sent: threading.Event,
        knobs: Knobs,
        when_down: Callable[[], object],
    ) -> None:
        try:
            while not sent.wait(0.1) and not self._stopping.is_set():
                pass
            self._stopping.wait(knobs.restart_delay)
            with self._one_at_a_time:
                self._restart(restart, knobs, when_down)
        finally:
            with self._idle:
                self._pending -= 1
                self._restarts += 1
                self._idle.notify_all()

    def _restart(self, restart: Restart, knobs: Knobs, when_down: Callable[[], object]) -> None:
        """Go down, stay away, come back with what is bound then."""
        _LOG.debug("restart web=%s services=%s", restart.web, sorted(restart.services))
        self.is_away = restart.web and knobs.restart_answers_502
        stays = self.dsm if knobs.restart_answers_502 else None
        for listener in self._meant(restart):
            if listener is not stays:
                listener.close()
        if restart.web:
            when_down()
        self._stopping.wait(knobs.restart_seconds)
        if restart.web:
            self.dsm.close()
        self.is_away = False
        if not self._stopping.is_set():
            self._open(restart)

    def _meant(self, restart: Restart) -> list[Listener]:
        web = [self.dsm, self.https] if restart.web else []
        return web + [self.services[key] for key in sorted(restart.services)]

    def _open(self, restart: Restart) -> None:
        if restart.web:
            desktop = self._state.presented(DSM_DESKTOP.key)
            names = {
                one.display_name: self._state.presented(one.key)
                for one in self._state.services
                if one.subscriber == "ReverseProxy"
            }
            self.dsm.open(server_context(desktop))
            self.https.open(server_context(desktop, names))
        for key in restart.services:
            self.services[key].open(server_context(self._state.presented(key)))
