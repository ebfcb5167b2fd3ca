"""A virtual DiskStation or router on loopback: its Web API, its ports, its restarts, what it saw.

It behaves as the dsm-web-api facts say and shares no encoder with the product. What an
administrator would do at the box's own pages (bind, import, remove a chain) is offered as methods
that go around HTTP.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from distributor.lab.accounts import Account, Accounts
from distributor.lab.box_state import (
    DSM_DESKTOP,
    FTPS,
    SRM_DESKTOP,
    BoxState,
    Entry,
    Service,
    Starttls,
    new_entry_id,
)
from distributor.lab.dsm_calls import DsmApi
from distributor.lab.factory import factory_certificate
from distributor.lab.front import Front, Seen
from distributor.lab.knobs import DSM72, Knobs, Profile
from distributor.lab.material import Material, read_upload
from distributor.lab.srm_calls import SrmApi
from distributor.lab.webapi import Inside, WebApi

ADMIN = Account("admin", "correct horse & battery staple")


class DiskStation:
    """One virtual box; a context manager. Ports are free ones of loopback unless given.

    With the profile of an SRM release it is a router: one certificate serves everything. `port` is
    DSM's own (5001 on a real box, 8001 on a router), `http_port` the one without TLS (5000, 8000),
    `https_port` the one where reverse-proxy names are told apart by SNI (443). `service_ports` has
    an implicit-TLS port for each other service, `starttls_ports` one for each protocol where TLS
    begins on demand. `factory` is the certificate the box comes with; by default one is made.
    `clock` gives seconds since 1970; one-time codes and idle sessions go by it.
    """

    def __init__(
        self,
        name: str,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        profile: Profile = DSM72,
        accounts: Sequence[Account] = (ADMIN,),
        services: Sequence[Service] | None = None,
        knobs: Knobs | None = None,
        factory: Material | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.address = address
        self.profile = profile
        self.knobs = knobs or Knobs()
        self.factory_certificate = factory or self._made_in_the_factory()
        self._state = self._first_state(services)
        is_router = profile.system == "srm"
        self._accounts = Accounts(accounts, clock, only_first=is_router)
        self._stopping = threading.Event()
        inside = Inside(
            self._state, self._accounts, profile, lambda: self.knobs, self._stopping.wait
        )
        self._api: WebApi = SrmApi(inside) if is_router else DsmApi(inside)
        self._front = Front(inside, self._api, self._stopping)
        self._ports = self._front.listen_at(address, port)

    def _made_in_the_factory(self) -> Material:
        return factory_certificate(
            self.name,
            expired=self.knobs.expired_at_start,
            is_router=self.profile.system == "srm",
        )

    def _first_state(self, services: Sequence[Service] | None) -> BoxState:
        is_router = self.profile.system == "srm"
        if services is None:
            services = (SRM_DESKTOP,) if is_router else (DSM_DESKTOP, FTPS)
        if self.profile.system == "dsm6":  # which does not know these keys of a service
            services = [replace(one, multiple_cert=None, user_setable=None) for one in services]
        first = Entry(new_entry_id(), self.knobs.description, self.factory_certificate)
        state = BoxState(first, services)
        if self.knobs.twins and not is_router:
            state.add(state.new_entry(self._made_in_the_factory(), self.knobs.description))
        return state

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
    def http_port(self) -> int:
        """The port without TLS; 0 before the start."""
        return self._ports.http.port

    @property
    def starttls_ports(self) -> Mapping[tuple[str, Starttls], int]:
        """Port of each protocol with TLS on demand, by display name of its service and protocol."""
        return {
            (self._state.find_service(key).display_name, how): listener.port
            for (key, how), listener in self._ports.starttls.items()
        }

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
        """All requests to the web server, in order; those to other reverse-proxy names not."""
        return self._front.requests

    @property
    def writes(self) -> int:
        """How many state-changing calls (import, set, delete, Service set) succeeded."""
        return self._front.writes

    @property
    def counted(self) -> Mapping[str, int]:
        """How many "requests" and "writes" came, whether they succeeded or not, see Fault."""
        return self._front.counted

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

    def unbind(self, selector: str) -> None:
        """Leave one service without a certificate of its own, and serve that."""
        self._state.unbind(self._state.find_service(selector))
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

        Unlike an import, an `entry_id` that is new is taken as it is; a router has one entry, which
        is replaced. Raises UploadError.
        """
        material = read_upload(cert_pem, key_pem, chain_pem, self._api.upload_rules())
        if self.profile.system == "srm":
            entry_id = self._state.default
        entry = self._state.new_entry(material, desc)
        entry = replace(entry, renewable=renewable, user_deletable=user_deletable)
        if entry_id:
            entry = replace(entry, id=entry_id)
        self._state.add(entry)
        self._state.describe_as(entry.id, desc=desc, default=default)
        self._ports.reload()
        return entry.id

    def add_rsa_pair(
        self, entry_id: str, cert_pem: bytes, key_pem: bytes, chain_pem: bytes | None = None
    ) -> None:
        """Give an entry with an ECC pair an RSA pair as well, as DSM 7.3 has, and serve both."""
        entry = self._state.entry(entry_id)
        pair = read_upload(cert_pem, key_pem, chain_pem)
        self._state.add(replace(entry, material=replace(entry.material, rsa_pair=pair)))
        self._ports.reload()

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
