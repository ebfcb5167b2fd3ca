"""Challenges are waited for at real nameservers: BIND, and Knot as a secondary that is behind."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from distributor.clients.nameservers import Nameservers
from distributor.dns_providers.challenges import Challenges
from distributor.dns_providers.contract import Receipt
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.lab.authority import Authority
from distributor.model.errors import DnsRefused, PropagationTimeout
from distributor.model.hosts import PlainSecret, Rfc2136Settings, SocketAddress
from distributor.model.secret import Secret
from distributor.store import OrderJournal
from distributor.store import Publisher as PublishedBy
from tests.certs import hierarchy, pem
from tests.e2e.secondary import Knot
from tests.e2e.servers import Bind, MakeBind, Zone, ask
from tests.integration.cli.house import ZONE, House
from tests.integration.hostile_server import HostileServer, Talking

NAME = "_acme-challenge.example.test"
DELEGATED = ("_acme-challenge.one.example.test", "_acme-challenge.two.example.test")
END = "both.acme.test"
HERE = PublishedBy("home", "rfc2136", "the primary")
MINUTE = timedelta(minutes=1)
VALUE, OTHER = "v" * 43, "w" * 43


@pytest.fixture(scope="module")
def primary(make_bind: MakeBind) -> Bind:
    """Two zones, each with a grant of its own; a resolver may keep a negative answer for long."""
    return make_bind(
        Zone(
            "example.test",
            lines=(
                *(f"{name}. IN CNAME {END}." for name in DELEGATED),
                "_acme-challenge.ring IN CNAME a.acme.test.",
                "*.home IN CNAME nas.dyndns.test.",
            ),
            grants=(f"name {NAME}. TXT", "name _acme-challenge.home.example.test. TXT"),
            negative=900,
        ),
        Zone(
            "acme.test",
            lines=("a IN CNAME b.acme.test.", "b IN CNAME _acme-challenge.ring.example.test."),
            grants=(f"name {END}. TXT",),
        ),
    )


@pytest.fixture(scope="module")
def knot(primary: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    with Knot(tmp_path_factory.mktemp("knot"), primary) as running:
        yield running


@pytest.fixture(scope="module")
def resolver(make_bind: MakeBind, primary: Bind) -> Bind:
    """A resolver with a cache, which asks the primary."""
    return make_bind(Zone("resolver.test"), forward_to=primary.endpoint)


class SpiedRfc2136(Rfc2136):
    """Remembers what was presented."""

    def __init__(self, settings: Rfc2136Settings) -> None:
        super().__init__(settings, lambda: settings.key.value)  # type: ignore[union-attr]  # it is plain
        self.presented: list[Receipt] = []

    def present(self, receipt: Receipt) -> None:
        self.presented.append(receipt)
        super().present(receipt)


@dataclass
class Publisher:
    """Challenges at a primary, waited for at some servers; what is said goes to `lines`."""

    primary: Bind
    journal: OrderJournal
    lines: list[str] = field(default_factory=list)
    heard: Callable[[str], None] = lambda _line: None
    provider: SpiedRfc2136 = field(init=False)

    def __post_init__(self) -> None:
        self.provider = SpiedRfc2136(
            Rfc2136Settings(
                server=SocketAddress(*self.primary.endpoint),
                key_name=self.primary.key_name,
                key_algorithm="hmac-sha256",
                key=PlainSecret(Secret(self.primary.key_secret)),
            )
        )

    def at(
        self,
        *nameservers: tuple[str, int],
        resolver: tuple[str, int] | None = None,
        doh: Sequence[str] = (),
        timeout: timedelta = MINUTE,
    ) -> Challenges:
        where = [SocketAddress(*one) for one in nameservers]
        names = Nameservers(
            resolvers=[SocketAddress(*resolver)] if resolver is not None else where[:1],
            nameservers=where,
            doh=doh,
            sleep=time.sleep,
            now=lambda: datetime.now(UTC),
        )
        return Challenges(
            certificate="home",
            journal=self.journal,
            publisher=HERE,
            provider=self.provider,
            find=lambda _publisher: None,
            nameservers=names,
            timeout=timeout,
        )

    def progress(self, line: str) -> None:
        self.lines.append(line)
        self.heard(line)


@pytest.fixture
def publisher(primary: Bind, tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(primary, OrderJournal(tmp_path / "orders"))
    yield made
    assert made.at(primary.endpoint).remove() == ()
    for receipt in made.provider.presented:
        assert primary.txt(receipt.name) == set()


def test_a_secondary_that_is_behind_is_waited_for_and_named(
    publisher: Publisher, primary: Bind, knot: Knot
) -> None:
    here = f"127.0.0.1:{knot.port}"

    def refresh_when_named(line: str) -> None:
        if line.startswith("waiting for"):
            assert here in line
            assert primary.txt(NAME) == {VALUE}
            assert knot.txt(NAME) == set()
            knot.refresh()

    publisher.heard = refresh_when_named
    publisher.at(primary.endpoint, knot.endpoint).publish([(NAME, VALUE)], publisher.progress)

    assert knot.txt(NAME) == {VALUE}
    waiting = [line for line in publisher.lines if line.startswith("waiting for")]
    assert len(waiting) == 1
    assert f"{here}: 1 of 1 values not there yet; its zone is old (serial " in waiting[0]
    assert waiting[0].endswith("s left")
    assert str(primary.port) not in waiting[0]


def test_the_nameservers_that_the_zone_names_itself_are_asked(
    publisher: Publisher, primary: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.clients.nameservers.PORT", primary.port)
    publisher.at(resolver=primary.endpoint).publish(
        [(NAME, VALUE), (DELEGATED[0], OTHER)], publisher.progress
    )
    assert [receipt.name for receipt in publisher.provider.presented] == [NAME, END]
    assert not any("weaker" in line for line in publisher.lines)


def test_a_secondary_that_stays_behind_is_named_at_the_deadline(
    publisher: Publisher, primary: Bind, knot: Knot
) -> None:
    challenges = publisher.at(primary.endpoint, knot.endpoint, timeout=timedelta(seconds=1))
    with pytest.raises(PropagationTimeout) as caught:
        challenges.publish([(NAME, OTHER)], publisher.progress)
    assert f"127.0.0.1:{knot.port}" in caught.value.message
    assert str(primary.port) not in caught.value.message
    assert "propagation_timeout" in str(caught.value.hint)


def test_no_resolver_hears_of_a_challenge_before_the_slowest_authority_has_it(
    publisher: Publisher, primary: Bind, knot: Knot, resolver: Bind
) -> None:
    publisher.heard = lambda line: knot.refresh() if "waiting for" in line else None
    publisher.at(primary.endpoint, knot.endpoint, resolver=resolver.endpoint).publish(
        [("_acme-challenge.home.example.test", VALUE)], publisher.progress
    )
    # Had it been asked too early it would not know the name now, for a quarter of an hour.
    assert resolver.txt("_acme-challenge.home.example.test") == {VALUE}
    assert not any("resolver" in line for line in publisher.lines)


def test_a_resolver_with_an_older_answer_is_told_of_and_hinders_nothing(
    publisher: Publisher, primary: Bind, resolver: Bind
) -> None:
    assert ask(resolver.endpoint, NAME, "TXT").rcode() == dns.rcode.NXDOMAIN
    publisher.at(primary.endpoint, resolver=resolver.endpoint).publish(
        [(NAME, VALUE)], publisher.progress
    )
    assert resolver.txt(NAME) == set()
    assert f"resolver 127.0.0.1:{resolver.port} does not show {NAME} yet" in publisher.lines[-1]
    assert "has an older answer in its cache, for " in publisher.lines[-1]


def test_two_names_that_lead_into_another_zone_are_published_in_one_call(
    publisher: Publisher, primary: Bind, knot: Knot
) -> None:
    publisher.heard = lambda line: knot.refresh() if "waiting for" in line else None
    challenges = publisher.at(primary.endpoint, knot.endpoint)
    challenges.publish([(DELEGATED[0], VALUE), (DELEGATED[1], OTHER)], publisher.progress)
    assert publisher.provider.presented == [Receipt(END, (VALUE, OTHER))]
    for name in DELEGATED:
        assert primary.txt(name) == {VALUE, OTHER}
    assert publisher.journal.challenges("home") == {HERE: {END: (VALUE, OTHER)}}


def test_aliases_in_a_ring_are_refused_before_anything_is_published(
    publisher: Publisher, primary: Bind
) -> None:
    ring = "_acme-challenge.ring.example.test"
    with pytest.raises(DnsRefused, match="loop"):
        publisher.at(primary.endpoint).publish([(NAME, VALUE), (ring, OTHER)], publisher.progress)
    assert publisher.provider.presented == []
    assert publisher.journal.challenges("home") == {}


def test_a_wildcard_alias_does_not_lead_a_challenge_away(
    publisher: Publisher, primary: Bind
) -> None:
    name = "_acme-challenge.home.example.test"
    found = ask(primary.endpoint, name, "CNAME").answer
    assert "nas.dyndns.test." in str(found[0])
    publisher.at(primary.endpoint).publish([(name, VALUE)], publisher.progress)
    assert primary.txt(name) == {VALUE}


def silent_port() -> Iterator[tuple[str, int]]:
    """A place where everything is dropped, as a firewall does it, until the generator ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield "127.0.0.1", udp.getsockname()[1]


closed = pytest.fixture(silent_port)


@pytest.fixture
def shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions that nobody answers cost little."""
    monkeypatch.setattr("distributor.clients.dns_queries.SECONDS", 0.6)


@pytest.mark.usefixtures("shortly")
def test_an_authority_that_is_dead_is_named_beside_one_that_lives(
    publisher: Publisher, primary: Bind, closed: tuple[str, int]
) -> None:
    challenges = publisher.at(closed, primary.endpoint, timeout=timedelta(seconds=1))
    with pytest.raises(PropagationTimeout) as caught:
        challenges.publish([(NAME, VALUE)], publisher.progress)
    assert f"127.0.0.1:{closed[1]}: no answer" in caught.value.message
    assert str(primary.port) not in caught.value.message


@pytest.mark.usefixtures("shortly")
def test_where_port_53_is_closed_doh_shows_what_the_primary_serves(
    publisher: Publisher,
    primary: Bind,
    closed: tuple[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = hierarchy(1)
    (tmp_path / "roots.pem").write_bytes(pem(issuer.root))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "roots.pem"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    kinds = []

    def over_https(connection: Talking) -> None:
        query = dns.message.from_wire(connection.receive().partition(b"\r\n\r\n")[2])
        kinds.append(query.question[0].rdtype)
        answer = dns.query.udp(query, primary.address, 5.0, primary.port).to_wire()
        head = f"Content-Type: application/dns-message\r\nContent-Length: {len(answer)}\r\n\r\n"
        connection.send(b"HTTP/1.1 200 OK\r\n" + head.encode() + answer)

    with HostileServer(issuer.issue(["127.0.0.1"]), over_https) as server:
        challenges = publisher.at(
            closed,
            resolver=primary.endpoint,
            doh=[f"https://{server.address}/dns-query"],
            timeout=timedelta(seconds=3),
        )
        challenges.publish([(NAME, VALUE)], publisher.progress)
    assert set(kinds) == {dns.rdatatype.TXT}
    assert f"DNS over HTTPS at {server.address} shows the challenge" in publisher.lines[-1]
    assert "weaker" in publisher.lines[-1]


def test_an_authority_is_asked_at_its_ipv6_address_too(publisher: Publisher, primary: Bind) -> None:
    """Where this computer has no IPv6 loopback it has no route to it, and that hinders nothing."""
    six = ("::1", primary.port)
    publisher.at(primary.endpoint, six).publish([(NAME, VALUE)], publisher.progress)
    untold = f"[::1]:{primary.port} was not asked: no route to it from here"
    if has_ipv6():
        assert untold not in publisher.lines
        publisher.at(six, resolver=primary.endpoint).publish([(NAME, OTHER)], publisher.progress)
        assert not any("weaker" in line for line in publisher.lines)
    else:
        assert untold in publisher.lines


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture
def house(
    tmp_path: Path, primary: Bind, knot: Knot, make_pebble: Callable[..., Authority]
) -> House:
    """No host: a certificate is obtained only."""
    pebble = make_pebble(dns=primary.endpoint)
    made = House(
        folder=tmp_path,
        boxes={},
        directory_url=pebble.directory_url,
        ca_bundle=pebble.ca_bundle,
        root=pebble.root,
        nameserver=f"{primary.address}:{primary.port}",
        key_name=primary.key_name,
    )
    made.write("tsig.key", primary.key_secret)
    made.write_inventory()
    both = f'nameservers = ["{made.nameserver}", "127.0.0.1:{knot.port}"]'
    made.rewrite(f'nameservers = ["{made.nameserver}"]', both)
    return made


def test_a_certificate_is_issued_only_once_the_secondary_has_the_challenge(
    house: House, primary: Bind, knot: Knot
) -> None:
    challenge = f"_acme-challenge.{ZONE}"
    house.rewrite('propagation_timeout = "20s"', 'propagation_timeout = "1s"')
    ran = house.run("issue", "--json")
    assert ran.code == 3
    error = ran.report["certificates"][0]["error"]
    assert error["kind"] == "PropagationTimeout"
    assert f"127.0.0.1:{knot.port}" in error["message"]
    assert f"waiting for 127.0.0.1:{knot.port}" in ran.err
    assert primary.txt(challenge) == set()

    def spread() -> None:
        until = time.monotonic() + 15
        while not primary.txt(challenge) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        knot.refresh()

    house.rewrite('propagation_timeout = "1s"', 'propagation_timeout = "20s"')
    spreading = threading.Thread(target=spread)
    spreading.start()
    try:
        ran = house.run("issue", "home")
    finally:
        spreading.join()
    assert ran.code == 0, ran.said
    assert primary.txt(challenge) == set()
