"""The product's ACME client, against Pebble and acme2certifier."""

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography import x509

from distributor.clients.certificate_authority import CertificateAuthority, make_csr
from distributor.clients.nameservers import Nameservers
from distributor.lab.authority import Authority, Engine
from distributor.lab.nameserver import Nameserver
from distributor.lab.pebble import PebbleOptions
from distributor.model.bundle import prove
from distributor.model.errors import AuthorizationFailed, CaUnreachable
from distributor.model.hosts import SocketAddress
from distributor.model.keys import new_private_key
from tests.e2e.issuing import client, soon, validate
from tests.e2e.servers import Bind, MakeBind, Zone

SECRET = base64.b64encode(b"s" * 32).decode()
NAMES = ("example.test", "*.example.test")
ENGINES: list[Engine] = ["pebble", "acme2certifier"]


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Nameserver]:
    with Nameserver(["example.test"], key_name="key", key_secret=SECRET) as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def authority(
    request: pytest.FixtureRequest, nameserver: Nameserver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    options = PebbleOptions(nonce_reject_percent=20, chain_length=2, authorization_reuse_percent=0)
    with Authority(
        engine=request.param,
        dns=nameserver.address,
        folder=tmp_path_factory.mktemp("ca"),
        options=options if request.param == "pebble" else None,
    ) as running:
        yield running


@pytest.fixture
def ca(authority: Authority) -> Iterator[CertificateAuthority]:
    with client(authority) as made:
        made.register(None)
        yield made


def test_an_order_comes_to_a_proved_bundle(
    ca: CertificateAuthority, authority: Authority, nameserver: Nameserver
) -> None:
    key = new_private_key("rsa2048")
    csr = make_csr(key, NAMES)
    order = ca.new_order(csr)
    challenges = ca.challenges(order)
    assert {challenge.name for challenge in challenges} == {"_acme-challenge.example.test"}
    assert len(challenges) == 2

    validate(ca, nameserver, order)
    ready = ca.order(str(order.uri), csr)
    assert ready is not None
    assert ca.challenges(ready) == ()
    pem = ca.finish(ready, soon())

    bundle = prove(
        certificate=pem.encode(),
        private_key=key.reveal().encode(),
        names=NAMES,
        now=datetime.now(UTC),
    )
    assert len(bundle.chain) == (2 if authority.engine == "pebble" else 1)
    roots = x509.load_pem_x509_certificates(authority.root_pem().encode())
    assert bundle.certificate("home", roots).trusted


def test_a_finished_order_gives_the_same_chain_again(
    ca: CertificateAuthority, nameserver: Nameserver
) -> None:
    csr = make_csr(new_private_key("ec256"), ["again.example.test"])
    order = ca.new_order(csr)
    validate(ca, nameserver, order)
    first = ca.finish(ca.order(str(order.uri), csr) or order, soon())
    known = ca.order(str(order.uri), csr)
    assert known is not None
    assert ca.finish(known, soon()) == first


def test_a_challenge_that_is_not_there_fails_the_authorization(
    ca: CertificateAuthority,
) -> None:
    order = ca.new_order(make_csr(new_private_key("ec256"), ["absent.example.test"]))
    for challenge in ca.challenges(order):
        ca.answer(challenge)
    with pytest.raises(AuthorizationFailed, match=r"absent\.example\.test \(invalid\)"):
        ca.wait_until_valid(order, soon())


def test_an_order_that_never_was_is_none(ca: CertificateAuthority, authority: Authority) -> None:
    base = authority.directory_url.rsplit("/", 1)[0]
    path = "/my-order/nothing" if authority.engine == "pebble" else "/acme/order/nothing"
    assert ca.order(base + path, b"") is None


def test_a_ca_whose_own_certificate_is_of_a_stranger_is_not_asked(authority: Authority) -> None:
    # The root that it issues from is not that of its HTTPS.
    with (
        client(authority, roots=authority.root) as made,
        pytest.raises(CaUnreachable, match="is not trusted") as caught,
    ):
        made.register(None)
    assert "ca_bundle" in str(caught.value.hint)


@pytest.fixture(scope="module")
def aliased(make_bind: MakeBind) -> Bind:
    """BIND with an alias on the way up, a delegated challenge, and a zone below another."""
    return make_bind(
        Zone(
            "example.test",
            lines=(
                "www IN CNAME other.test.",
                "_acme-challenge.nas IN CNAME nas.other.test.",
                "ns1 IN AAAA ::1",
            ),
        ),
        Zone("sub.example.test"),
        Zone("other.test"),
    )


def test_zone_cuts_and_aliases_are_found_by_bind_too(aliased: Bind) -> None:
    here = SocketAddress(*aliased.endpoint)
    names = Nameservers(resolvers=(here,), sleep=time.sleep, now=lambda: datetime.now(UTC))
    assert names.follow("_acme-challenge.nas.example.test") == "nas.other.test"
    assert names.follow("_acme-challenge.www.example.test") == "_acme-challenge.www.example.test"
    for name, server in {
        "_acme-challenge.example.test": "ns1.example.test",
        "_acme-challenge.www.example.test": "ns1.example.test",
        "_acme-challenge.a.sub.example.test": "ns1.sub.example.test",
        "nas.other.test": "ns1.other.test",
    }.items():
        assert {each.server for each in names.authorities(name)} == {server}, name
    addresses = {each.address.host for each in names.authorities("_acme-challenge.example.test")}
    assert addresses == {"127.0.0.1", "::1"}
