"""A CA in memory that behaves as the facts describe Let's Encrypt, and notes what we ask of it.

It stands where `CertificateAuthority` does, above HTTP. Its limits are enforced twice: by buckets
that strangers use too, and by buckets that only our own requests fill, which tell what we could
have known.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from random import Random
from typing import cast

from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from distributor.clients.certificate_authority import (
    STATUS_INVALID,
    STATUS_PENDING,
    STATUS_READY,
    Challenge,
    ExternalAccountKey,
    OrderResource,
)
from distributor.model.errors import AuthorizationFailed, CaUnreachable, OrderFailed, RateLimited
from distributor.model.renewal_window import RenewalInfo
from distributor.model.secret import Secret
from tests.certs import Authority, authority, pem
from tests.simulation.clock import Clock, Spans
from tests.simulation.rate_limits import RateLimits
from tests.simulation.virtual_zone import Zone

LONG_AGO = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
STATUS_VALID = messages.Status("valid")
BACKDATED = timedelta(hours=1)
ORDER_LIFE = timedelta(days=7)
AUTHORIZATION_LIFE = timedelta(hours=7)
"""How long a validation is used again: the shortest of Let's Encrypt's profiles."""
SHORT_LIFE = timedelta(days=10)
ASK_AGAIN = timedelta(hours=6)
REVOKED_AFTER = timedelta(days=5)
"""From an incident to the end of what was issued before (Baseline Requirements 4.9.1.1)."""


class Killed(BaseException):
    """The process ends here."""


@cache
def issuer() -> Authority:
    root = authority("Root", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=7300))
    return authority(
        "Intermediate",
        parent=root,
        not_before=LONG_AGO,
        not_after=LONG_AGO + timedelta(days=7300),
    )


@dataclass
class Issued:
    leaf: x509.Certificate
    names: frozenset[str]
    at: datetime
    is_replaced: bool = False
    ask_again: datetime = LONG_AGO
    """Its window is not to be asked for before."""

    @property
    def start(self) -> datetime:
        return self.leaf.not_valid_before_utc

    @property
    def end(self) -> datetime:
        return self.leaf.not_valid_after_utc


@dataclass
class Order:
    url: str
    names: tuple[str, ...]
    made: datetime
    renewal: bool
    status: messages.Status = STATUS_PENDING
    chain: str | None = None


@dataclass(frozen=True)
class Body:
    status: messages.Status


@dataclass(frozen=True)
class Resource:
    """What of an OrderResource the source looks at."""

    uri: str
    body: Body
    csr_pem: bytes

    def update(self, csr_pem: bytes) -> "Resource":
        return Resource(self.uri, self.body, csr_pem)


@dataclass
class VirtualCa:
    url: str
    clock: Clock
    zone: Zone
    random: Random
    lifetimes: Sequence[tuple[datetime, timedelta]]
    """From when on certificates live how long."""
    has_ari: bool = True
    outages: Spans = field(default_factory=Spans)
    says_when_back: bool = False
    """In an outage it answers 503 with Retry-After, and not just nothing."""
    incidents: Sequence[datetime] = ()
    """When all certificates issued until then are to be replaced at once."""
    strangers: list[datetime] = field(default_factory=list)
    """When somebody else obtains as many certificates with our names as there may be."""
    limits: RateLimits = field(default_factory=RateLimits)
    ours: RateLimits = field(default_factory=RateLimits)
    """The limits as they would be if nobody else used them."""
    issued: list[Issued] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    validated: dict[str, datetime] = field(default_factory=dict)
    told_to_wait: dict[frozenset[str], datetime] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    """What a client should not have done."""
    refused: int = 0
    undelivered: int = 0
    """Certificates that were not downloaded in the run that they were issued in."""
    faults: list[str] = field(default_factory=list)
    """What befalls the next calls of this run, if anything."""
    on_request: Callable[[str], None] = lambda _what: None
    """Hears of each request before it arrives, and may end the process."""

    def lifetime(self, now: datetime) -> timedelta:
        return [lifetime for since, lifetime in self.lifetimes if since <= now][-1]

    def incident(self, one: Issued, now: datetime) -> datetime | None:
        """Return since when the certificate is to be replaced at once, if it is."""
        return min((at for at in self.incidents if one.at <= at <= now), default=None)

    def usable_until(self, one: Issued) -> datetime:
        """Return when it expires, or is revoked some days after an incident."""
        incident = self.incident(one, one.end)
        return one.end if incident is None else min(one.end, incident + REVOKED_AFTER)

    def window(self, one: Issued, now: datetime) -> tuple[datetime, datetime, str | None]:
        incident = self.incident(one, now)
        if incident is not None:
            start = incident - timedelta(hours=1)
            return start, start + timedelta(minutes=30), "https://ca.test/incident"
        life = one.end - one.start
        middle = one.start + life * (1 / 2 if life < SHORT_LIFE else 2 / 3)
        return middle - life / 100, middle + life / 100, None

    def is_exempt(self, replaces: x509.Certificate | None, now: datetime) -> bool:
        known = self._known(replaces)
        if not self.has_ari or known is None or known.is_replaced:
            return False
        start, end, _ = self.window(known, now)
        return start <= now < end

    def would_issue(
        self, account: str, names: Collection[str], replaces: x509.Certificate | None
    ) -> bool:
        """Tell whether it would take an order of somebody who may use the last token."""
        now = self.clock.now()
        if self.outages.has(now) or self.outages.has(now + timedelta(minutes=5)):
            return False
        if self.told_to_wait.get(frozenset(names), now) > now:
            return False
        return self.limits.wait(account, names, now, exempt=self.is_exempt(replaces, now)) is None

    def ask_window(self, leaf: x509.Certificate) -> RenewalInfo | None:
        now = self.reached("renewalInfo")
        if not self.has_ari:
            return None
        known = self._known(leaf)
        assert known is not None, "asked for another CA's certificate"
        if now < known.ask_again - timedelta(seconds=1):
            self.complaints.append(f"{now}: asked for the window before {known.ask_again}")
        known.ask_again = now + ASK_AGAIN * self.random.uniform(0.8, 1.2)
        start, end, because = self.window(known, now)
        return RenewalInfo(start=start, end=end, explanation_url=because, ask_again=known.ask_again)

    def reached(self, what: str) -> datetime:
        """Let a request arrive: time passes, or it does not get through."""
        self.on_request(what)
        now = self.clock.pass_by(timedelta(seconds=self.random.uniform(0.1, 3)))
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "killed":
            raise Killed(what)
        if self.outages.has(now) or fault == "lost":
            back = now + timedelta(hours=1) if self.says_when_back else None
            raise CaUnreachable(f"no {what}", retry_at=back, hint="wait", step="order")
        return now

    def make_order(
        self, account: str, names: tuple[str, ...], replaces: x509.Certificate | None
    ) -> Order:
        now = self.reached("newOrder")
        key = frozenset(names)
        if now < self.told_to_wait.get(key, now):
            self.complaints.append(f"{now}: ordered before {self.told_to_wait[key]}")
        is_exempt = self.is_exempt(replaces, now)
        renewal = is_exempt or self.limits.is_renewal(names, now)
        known = self.ours.order(account, names, now, exempt=is_exempt)
        wait = self.limits.order(account, names, now, exempt=is_exempt)
        if known is not None:
            self.complaints.append(f"{now}: ordered in spite of a limit that was known")
        if wait is not None:
            self.refused += 1
            self.told_to_wait[key] = wait
            raise RateLimited("too many", retry_at=wait, hint="wait", step="order")
        predecessor = self._known(replaces)
        if is_exempt and predecessor is not None:
            predecessor.is_replaced = True
        order = Order(f"{self.url}/order/{len(self.orders)}", names, now, renewal)
        self.orders[order.url] = order
        self._let_be_ready(order, now)
        return order

    def validate(self, order: Order, account: str) -> None:
        now = self.reached("validation")
        for name in self.unvalidated(order, now):
            if self.zone.is_seen_at(now, f"{order.url} {name}"):
                self.validated[name] = now
            else:
                order.status = STATUS_INVALID
                self.limits.fail(account, name, now)
                self.ours.fail(account, name, now)
        if order.status == STATUS_INVALID:
            raise AuthorizationFailed("not found", hint="look", step="authorization")
        self._let_be_ready(order, now)

    def issue(self, order: Order, csr_pem: bytes) -> str:
        now = self.reached("finalize")
        if order.chain is None:
            if order.status != STATUS_READY:
                raise OrderFailed("not ready", hint="order anew", step="finalize")
            request = x509.load_pem_x509_csr(csr_pem)
            start = (now - BACKDATED).replace(microsecond=0)
            end = start + self.lifetime(now) - timedelta(seconds=1)
            leaf = self._signed(request, start, end)
            self.issued.append(Issued(leaf, frozenset(order.names), now))
            self.limits.issue(order.names, now, renewal=order.renewal)
            self.ours.issue(order.names, now, renewal=order.renewal)
            order.status, order.chain = STATUS_VALID, pem(leaf, *issuer().chain).decode()
            self.undelivered += 1
            self.reached("download")
            self.undelivered -= 1
        return order.chain

    def let_strangers_issue(self, names: tuple[str, ...], now: datetime) -> None:
        """Let somebody else use up what the CA gives for these names."""
        while self.strangers and self.strangers[0] <= now:
            moment = self.strangers.pop(0)
            for _ in range(self.limits.duplicates):
                self.limits.issue(names, moment, renewal=True)

    def _signed(
        self, request: x509.CertificateSigningRequest, start: datetime, end: datetime
    ) -> x509.Certificate:
        key = request.public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ca = issuer()
        builder = (
            x509.CertificateBuilder(
                issuer_name=ca.certificate.subject,
                subject_name=request.subject,
                public_key=key,
                serial_number=x509.random_serial_number(),
                not_valid_before=start,
                not_valid_after=end,
            )
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()),
                critical=False,
            )
        )
        return builder.sign(ca.key, SHA256())

    def _let_be_ready(self, order: Order, now: datetime) -> None:
        if not self.unvalidated(order, now):
            order.status = STATUS_READY

    def unvalidated(self, order: Order, now: datetime) -> list[str]:
        since = now - AUTHORIZATION_LIFE
        return [name for name in order.names if self.validated.get(name, LONG_AGO) <= since]

    def _known(self, leaf: x509.Certificate | None) -> Issued | None:
        if leaf is None:
            return None
        return next((one for one in self.issued if one.leaf == leaf), None)


class VirtualClient:
    """One account with a virtual CA: what `CertificateAuthority` is to a real one."""

    def __init__(self, ca: VirtualCa, key: Secret) -> None:
        self._ca = ca
        self._account = f"{ca.url}/account/{sha256(key.reveal().encode()).hexdigest()[:8]}"

    def use_account(self, url: str) -> None:
        assert url == self._account

    def find_account(self) -> str | None:
        self._ca.reached("newAccount")
        return self._account

    def register(self, _email: str | None, _external: ExternalAccountKey | None = None) -> str:
        self._ca.reached("newAccount")
        return self._account

    def open_order(self, _names: Sequence[str], **_other: object) -> str | None:
        self._ca.reached("orders")
        return None  # as Let's Encrypt, which has no list of orders

    def new_order(
        self,
        csr_pem: bytes,
        *,
        profile: str | None = None,
        replaces: x509.Certificate | None = None,
    ) -> OrderResource:
        assert profile is None
        request = x509.load_pem_x509_csr(csr_pem)
        sans = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(sans.get_values_for_type(x509.DNSName))
        return self._resource(self._ca.make_order(self._account, names, replaces), csr_pem)

    def order(self, url: str, csr_pem: bytes) -> OrderResource | None:
        now = self._ca.reached("order")
        order = self._ca.orders[url]
        if now - order.made > ORDER_LIFE and order.chain is None:
            order.status = STATUS_INVALID
        return self._resource(order, csr_pem)

    def challenges(self, order: OrderResource) -> tuple[Challenge, ...]:
        now = self._ca.reached("authorization")
        url = str(order.uri)
        return tuple(
            Challenge(
                f"_acme-challenge.{name.removeprefix('*.')}",
                f"{url} {name}",
                cast("messages.ChallengeBody", None),
            )
            for name in self._ca.unvalidated(self._ca.orders[url], now)
        )

    def answer(self, _challenge: Challenge) -> None:
        self._ca.reached("challenge")

    def wait_until_valid(self, order: OrderResource, _deadline: datetime) -> None:
        self._ca.validate(self._ca.orders[str(order.uri)], self._account)

    def finish(
        self, order: OrderResource, _deadline: datetime, _preferred_chain: str | None = None
    ) -> str:
        return self._ca.issue(self._ca.orders[str(order.uri)], order.csr_pem)

    def uninterrupted(self) -> AbstractContextManager[None]:
        """Nobody interrupts."""
        return nullcontext()

    def close(self) -> None:
        """Nothing is open."""

    def _resource(self, order: Order, csr_pem: bytes) -> OrderResource:
        return cast("OrderResource", Resource(order.url, Body(order.status), csr_pem))
