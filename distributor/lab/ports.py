"""The ports of a virtual box and their restarts.

The web server is three ports: DSM's own, the one where reverse-proxy names are told apart by SNI,
and the one without TLS. Every other service has a port of its own, and one more for each protocol
where TLS begins on demand. A port presents what was bound when it last opened.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from distributor.lab.box_state import DSM_DESKTOP, BoxState, Starttls
from distributor.lab.knobs import Knobs
from distributor.lab.listener import Clear, Listener, Serve, server_context
from distributor.lab.starttls import upgrades

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Talk:
    """Who talks on which port."""

    dsm: Serve
    proxied: Serve
    service: Serve
    clear: Clear
    """On the web server's port without TLS."""
    before_handshake: Callable[[], object]


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
        talk: Talk,
        knobs: Callable[[], Knobs],
        stopping: threading.Event,
    ) -> None:
        self._state = state
        self._knobs = knobs
        self._stopping = stopping
        self._one_at_a_time = threading.Lock()
        self._idle = threading.Condition()
        self._is_open = False
        self._pending = 0
        self._restarts = 0
        self._threads: list[threading.Thread] = []
        self.is_away = False
        """Whether the web server answers 502 just now."""
        wait = talk.before_handshake
        self.dsm = Listener(address, port, talk.dsm, wait)
        self.https = Listener(address, 0, talk.proxied, wait)
        self.http = Listener(address, 0, talk.dsm, wait, talk.clear)
        apart = [one for one in state.services if not one.is_web]
        self.services = {one.key: Listener(address, 0, talk.service, wait) for one in apart}
        said = upgrades()
        self.starttls: dict[tuple[str, Starttls], Listener] = {
            (one.key, how): Listener(address, 0, said[how].serve, wait, said[how].clear)
            for one in apart
            for how in one.starttls
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
            for listener in self._all():
                ends.callback(listener.end)

    def vanish(self) -> None:
        """Refuse everything from now on, once the box is stopping."""
        with self._one_at_a_time:
            self._is_open = False
            for listener in self._all():
                listener.close()

    def _all(self) -> tuple[Listener, ...]:
        web = (self.dsm, self.https, self.http)
        return (*web, *self.services.values(), *self.starttls.values())

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
        web = [self.dsm, self.https, self.http] if restart.web else []
        return web + [one for key in sorted(restart.services) for one in self._of_service(key)]

    def _of_service(self, key: str) -> list[Listener]:
        on_demand = [one for (owner, _), one in self.starttls.items() if owner == key]
        return [self.services[key], *on_demand]

    def _open(self, restart: Restart) -> None:
        old_tls = self._knobs().old_tls
        if restart.web:
            desktop = self._state.presented(DSM_DESKTOP.key)
            names = {
                one.display_name: self._state.presented(one.key)
                for one in self._state.services
                if one.subscriber == "ReverseProxy"
            }
            context = server_context(desktop, old_tls=old_tls)
            self.dsm.open(context)
            self.http.open(context)
            self.https.open(server_context(desktop, names, old_tls=old_tls))
        for key in restart.services:
            context = server_context(self._state.presented(key), old_tls=old_tls)
            for listener in self._of_service(key):
                listener.open(context)
