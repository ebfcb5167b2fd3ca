"""A rig around Pebble and the lab's nameservers, and ways to cut a run short."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import dns.tsig
import pytest
from cryptography import x509

from distributor.clients.certificate_authority import (
    CertificateAuthority,
    ExternalAccountKey,
    OrderResource,
)
from distributor.clients.nameservers import Nameservers
from distributor.dns_providers.contract import DnsProvider, Receipt
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.lab.authority import Authority
from distributor.lab.nameserver import Nameserver
from distributor.lab.pebble import PebbleOptions
from distributor.model.errors import (
    Interrupted,
    SecretError,
)
from distributor.model.hosts import (
    AcmeSource,
    PlainSecret,
    Rfc2136Settings,
    SocketAddress,
    WantedCertificate,
)
from distributor.model.secret import Secret
from distributor.sources.acme import Acme
from distributor.sources.contract import Source
from distributor.store import PendingOrder, Publisher, Store
from tests.contract.source_laws import NAMES, SourceRig
from tests.e2e.servers import send_update

SECRET = base64.b64encode(b"the lab's own TSIG key, 32 bytes").decode()
AT_LAB = Publisher("lab", "rfc2136", "the lab")
CHALLENGE = "_acme-challenge.example.test"


def short_sleep(seconds: float) -> None:
    """Wait as the product does, but no longer than servers on loopback need."""
    time.sleep(min(seconds, 0.05))


def killed() -> Interrupted:
    return Interrupted("killed", hint="on purpose", step="test")


@dataclass(frozen=True)
class Servers:
    nameserver: Nameserver
    """Pebble asks this one."""
    unseen: Nameserver
    """Serves the same zone, and Pebble does not know of it."""
    pebble: Authority
    other_pebble: Authority


@contextmanager
def acme_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Two Pebbles that ask one of two nameservers."""
    zones = ["example.test", "acme.test"]
    with ExitStack() as running:

        def nameserver() -> Nameserver:
            server = Nameserver(zones, key_name="lab-key", key_secret=SECRET)
            return running.enter_context(server)

        seen, unseen = nameserver(), nameserver()

        def pebble() -> Authority:
            options = PebbleOptions(authorization_reuse_percent=0)
            folder = tmp_path_factory.mktemp("pebble")
            authority = Authority(engine="pebble", dns=seen.address, folder=folder, options=options)
            return running.enter_context(authority)

        yield Servers(seen, unseen, pebble(), pebble())


@dataclass
class Spied:
    """Calls to the CA that made or took up something."""

    orders: list[str] = field(default_factory=list)
    replaced: list[x509.Certificate | None] = field(default_factory=list)
    registrations: int = 0


class SpiedAuthority(CertificateAuthority):
    spied: Spied

    def new_order(
        self,
        csr_pem: bytes,
        *,
        profile: str | None = None,
        replaces: x509.Certificate | None = None,
    ) -> OrderResource:
        order = super().new_order(csr_pem, profile=profile, replaces=replaces)
        self.spied.orders.append(str(order.uri))
        self.spied.replaced.append(replaces)
        return order

    def register(
        self, email: str | None, external_account: ExternalAccountKey | None = None
    ) -> str:
        self.spied.registrations += 1
        return super().register(email, external_account)


class KilledBeforeFinish(SpiedAuthority):
    def finish(
        self,
        order: OrderResource,  # noqa: ARG002 - the client's
        deadline: datetime,  # noqa: ARG002 - the client's
        preferred_chain: str | None = None,  # noqa: ARG002 - the client's
    ) -> str:
        raise killed()


class KilledAfterFinish(SpiedAuthority):
    def finish(
        self, order: OrderResource, deadline: datetime, preferred_chain: str | None = None
    ) -> str:
        super().finish(order, deadline, preferred_chain)
        raise killed()


class KilledAfterOrdering(SpiedAuthority):
    def new_order(
        self,
        csr_pem: bytes,
        *,
        profile: str | None = None,
        replaces: x509.Certificate | None = None,
    ) -> OrderResource:
        super().new_order(csr_pem, profile=profile, replaces=replaces)
        raise killed()


class KilledAfterRollOver(SpiedAuthority):
    def roll_over(self, new_key: Secret) -> None:
        super().roll_over(new_key)
        raise killed()


class KilledAfterRegistering(SpiedAuthority):
    def register(
        self, email: str | None, external_account: ExternalAccountKey | None = None
    ) -> str:
        super().register(email, external_account)
        raise killed()


class KilledAfterValidation(SpiedAuthority):
    def wait_until_valid(self, order: OrderResource, deadline: datetime) -> None:
        super().wait_until_valid(order, deadline)
        raise killed()


def noted(store: Store) -> dict[str, tuple[str, ...]]:
    """Values by name, as they are noted on the disk."""
    return dict(Store(store.folder).orders.challenges("wild").get(AT_LAB, {}))


class FailingProvider:
    """Publishes by another one, and raises at the n-th call of a method."""

    def __init__(self, real: DnsProvider, method: str, error: Exception, nth: int = 1) -> None:
        self._real, self._method, self._error, self._left = real, method, error, nth

    def present(self, receipt: Receipt) -> None:
        self._call("present", receipt)

    def cleanup(self, receipt: Receipt) -> None:
        self._call("cleanup", receipt)

    def is_ready(self, receipt: Receipt) -> bool | None:
        return self._real.is_ready(receipt)

    def _call(self, method: str, receipt: Receipt) -> None:
        if method == self._method:
            self._left -= 1
            if self._left <= 0:
                raise self._error
        getattr(self._real, method)(receipt)


class SeesJournal:
    """Publishes by another one, after it looked into the journal as it is on the disk."""

    def __init__(self, real: DnsProvider, store: Store) -> None:
        self._real, self._store = real, store
        self.noted: list[dict[str, tuple[str, ...]]] = []
        self.urls: list[str | None] = []

    def present(self, receipt: Receipt) -> None:
        (pending,) = Store(self._store.folder).orders.all("wild")
        self.urls.append(pending.url)
        self.noted.append(noted(self._store))
        assert set(receipt.values) <= set(self.noted[-1][receipt.name])
        self._real.present(receipt)

    def is_ready(self, receipt: Receipt) -> bool | None:
        return self._real.is_ready(receipt)

    def cleanup(self, receipt: Receipt) -> None:
        self._real.cleanup(receipt)


class AcmeRig(SourceRig):
    name = "wild"

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers = servers
        self.store = Store(folder)
        self.spied = Spied()
        self.runs = 0
        """Runs so far. Each is hours later, so that one failure keeps no other run from trying."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=2 * self.runs)

    def pending(self) -> PendingOrder | None:
        """The order under way at the first CA, as it is on the disk."""
        url = self.servers.pebble.directory_url
        return Store(self.store.folder).orders.load(self.name, url)

    def source(self) -> Source:
        return self.acme()

    def acme(self, **other: Any) -> Acme:
        """A source as `wiring` makes it, with a part replaced; its run is hours after the last."""
        self.runs += 1
        since = timedelta(hours=2 * self.runs)
        known: dict[str, Any] = {
            "wanted": WantedCertificate(
                name=self.name, source=self.settings(), names=NAMES, key_type="ec256"
            ),
            "source": self.settings(),
            "store": self.store,
            "connect": self.connect(),
            "ask_window": lambda _source, _leaf: None,
            "external_account": lambda _source: None,
            "publisher": AT_LAB,
            "provider": self.provider(),
            "find_provider": lambda _publisher: None,
            "nameservers": self.nameservers(),
            "propagation_timeout": timedelta(seconds=10),
            "roots": lambda: (),
            "now": lambda: datetime.now(UTC) + since,
        }
        return Acme(**(known | other))

    def settings(self, url: str | None = None) -> AcmeSource:
        return AcmeSource(
            ca="lab",
            directory_url=url or self.servers.pebble.directory_url,
            email="admin@example.test",
            agree_tos=True,
            dns="lab",
            ca_bundle=self.servers.pebble.ca_bundle,
        )

    def at(self, url: str, ca_bundle: Path | None = None) -> Acme:
        """The source with another CA."""
        settings = self.settings(url)
        if ca_bundle is not None:
            settings = replace(settings, ca_bundle=ca_bundle)
        wanted = replace(self.acme().wanted, source=settings)
        return self.acme(wanted=wanted, source=settings)

    def connect(
        self,
        kind: type[SpiedAuthority] = SpiedAuthority,
        sleep: Callable[[float], None] = short_sleep,
        patient_sleep: Callable[[float], None] = short_sleep,
    ) -> Callable[[AcmeSource, Secret], CertificateAuthority]:
        def connect(source: AcmeSource, key: Secret) -> CertificateAuthority:
            authority = kind(
                source.directory_url,
                key,
                ca_bundle=source.ca_bundle,
                sleep=sleep,
                patient_sleep=patient_sleep,
                now=self.now,
            )
            authority.spied = self.spied
            return authority

        return connect

    def provider(self, server: Nameserver | None = None, key_name: str = "lab-key") -> DnsProvider:
        address = SocketAddress(*(server or self.servers.nameserver).address)
        settings = Rfc2136Settings(
            server=address,
            key_name=key_name,
            key_algorithm="hmac-sha256",
            key=PlainSecret(Secret(SECRET)),
        )
        return Rfc2136(settings, lambda: Secret(SECRET))

    def nameservers(
        self,
        server: Nameserver | None = None,
        sleep: Callable[[float], None] = short_sleep,
    ) -> Nameservers:
        address = SocketAddress(*(server or self.servers.nameserver).address)
        return Nameservers(
            resolvers=[address], nameservers=[address], sleep=sleep, now=lambda: datetime.now(UTC)
        )

    def failures(self) -> dict[str, Callable[[], Source]]:
        real = self.provider
        return {
            "the CA is down": lambda: self.at(dead_url()),
            "that is no CA": lambda: self.at(f"{self.servers.pebble.directory_url}/nothing"),
            "the CA is not trusted": lambda: self.at(
                self.servers.other_pebble.directory_url, self.servers.pebble.ca_bundle
            ),
            "DNS refuses the key": lambda: self.acme(provider=real(key_name="nobody")),
            "the key of DNS is not to be had": lambda: self.acme(
                provider=FailingProvider(real(), "present", SecretError("not set", hint="set it"))
            ),
            "the values do not spread": lambda: self.acme(
                provider=real(self.servers.unseen), propagation_timeout=timedelta(0)
            ),
            "the CA does not see the values": lambda: self.acme(
                provider=real(self.servers.unseen),
                nameservers=self.nameservers(self.servers.unseen),
            ),
            "killed": lambda: self.acme(connect=self.connect(KilledBeforeFinish)),
        }

    def outside(self) -> object:
        servers = (self.servers.nameserver, self.servers.unseen)
        return [server.records(CHALLENGE, "TXT") for server in servers]

    @property
    def published(self) -> set[str]:
        return self.servers.nameserver.records(CHALLENGE, "TXT")


class Gate:
    """What Pebble asks instead of a nameserver: it passes questions on once it is open."""

    def __init__(self, behind: Nameserver) -> None:
        self.is_open = threading.Event()
        self._behind = behind.address
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._serving = threading.Thread(target=self._serve)
        self._passing = ThreadPoolExecutor(32)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._udp.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.is_open.set()
        self._udp.sendto(b"", self.address)
        self._serving.join()
        self._passing.shutdown()
        self._udp.close()

    def _serve(self) -> None:
        while True:
            wire, peer = self._udp.recvfrom(65_535)
            if not wire:
                return
            self._passing.submit(self._pass, wire, peer)

    def _pass(self, wire: bytes, peer: tuple[str, int]) -> None:
        self.is_open.wait()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as behind:
            behind.settimeout(5)
            behind.sendto(wire, self._behind)
            self._udp.sendto(behind.recv(65_535), peer)


def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"https://127.0.0.1:{unused.getsockname()[1]}/dir"


@contextmanager
def acme_rig(servers: Servers, folder: Path) -> Iterator[AcmeRig]:
    rig = AcmeRig(servers, folder)
    try:
        yield rig
        assert rig.outside() == [set(), set()]
    finally:
        servers.nameserver.lag = 0.0
        for server in (servers.nameserver, servers.unseen):
            forget_challenges(server)


def forget_challenges(server: Nameserver) -> None:
    """Remove whatever stands at the challenge's name, as its zone's owner would."""
    key = dns.tsig.Key("lab-key", base64.b64decode(SECRET), "hmac-sha256")
    send_update(server.address, "example.test", key, lambda u: u.delete(f"{CHALLENGE}.", "TXT"))


def hush(_line: str) -> None:
    """Take a line of progress, for nobody."""
