"""Accounts with real CAs: found, lost, bound, given another key; their orders and revocations."""

import base64
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
from cryptography import x509

from distributor.clients.acme_directory import directory_facts
from distributor.clients.certificate_authority import (
    CertificateAuthority,
    ExternalAccountKey,
    make_csr,
)
from distributor.lab.authority import Authority, Engine
from distributor.lab.nameserver import Nameserver
from distributor.lab.pebble import PebbleOptions
from distributor.model.errors import AccountUnknown, OrderFailed
from distributor.model.keys import new_private_key
from distributor.model.secret import Secret
from tests.e2e.issuing import client, get_leaf, soon
from tests.e2e.servers import MakePebble

SECRET = base64.b64encode(b"s" * 32).decode()
MAC_KEY = base64.urlsafe_b64encode(b"\xfb\xff" + b"m" * 30).decode()
ENGINES: list[Engine] = ["pebble", "acme2certifier"]
NAMES = ["example.test", "*.example.test"]
CSR = make_csr(new_private_key("ec256"), NAMES)


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Nameserver]:
    with Nameserver(["example.test"], key_name="key", key_secret=SECRET) as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def authority(
    request: pytest.FixtureRequest, nameserver: Nameserver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    options = PebbleOptions(
        nonce_reject_percent=20, authorization_reuse_percent=0, orders_per_page=2
    )
    with Authority(
        engine=request.param,
        dns=nameserver.address,
        folder=tmp_path_factory.mktemp("ca"),
        options=options if request.param == "pebble" else None,
    ) as running:
        yield running


def test_the_account_of_a_key_is_found_again(authority: Authority) -> None:
    key = new_private_key("ec384")
    with client(authority, key) as first:
        assert first.find_account() is None
        url = first.register("a@example.com")
    with client(authority, key) as again:
        assert again.register("a@example.com") == url
    with client(authority, key) as looking:
        assert looking.find_account() == url
        assert looking.new_order(CSR).uri
    with client(authority, key) as known:
        known.use_account(url)
        assert known.new_order(CSR).uri


def test_every_call_tells_of_an_account_that_the_ca_does_not_know(authority: Authority) -> None:
    with client(authority) as other:
        url = other.register(None)
        order = other.new_order(CSR)
    leaf = x509.load_pem_x509_certificate(authority.ca_bundle.read_bytes())
    with client(authority) as lost:
        lost.use_account(f"{url}lost")
        for call in (
            lambda: lost.new_order(CSR),
            lambda: lost.open_order(NAMES),
            lambda: lost.order(str(order.uri), CSR),
            lambda: lost.challenges(order),
            lambda: lost.wait_until_valid(order, soon()),
            lambda: lost.finish(order, soon()),
            lambda: lost.revoke(leaf, 0),
            lambda: lost.roll_over(new_private_key("ec256")),
        ):
            with pytest.raises(AccountUnknown):
                call()


def test_the_order_of_another_account_is_none_of_ours(authority: Authority) -> None:
    with client(authority) as one, client(authority) as other:
        one.register(None)
        other.register(None)
        order = one.new_order(CSR)
        assert one.order(str(order.uri), CSR) is not None
        assert other.order(str(order.uri), CSR) is None


@pytest.mark.parametrize("kind", ["ec256", "rsa2048"])
def test_the_key_of_an_account_is_changed(
    authority: Authority, nameserver: Nameserver, kind: Literal["ec256", "rsa2048"]
) -> None:
    old, new = new_private_key("ec256"), new_private_key(kind)
    with client(authority, old) as ca:
        url = ca.register(None)
        ca.roll_over(new)
        get_leaf(ca, nameserver, [f"{kind}.rolled.example.test"])
        with pytest.raises(OrderFailed):
            ca.roll_over(new)
    with client(authority, new) as changed:
        assert changed.find_account() == url
    with client(authority, old) as stale:
        assert stale.find_account() is None


def test_a_certificate_is_revoked_and_then_is_revoked_already(
    authority: Authority, nameserver: Nameserver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with client(authority) as ca:
        ca.register(None)
        leaf = get_leaf(ca, nameserver, ["revoked.example.test"])
        with pytest.raises(OrderFailed, match="reason"):
            ca.revoke(leaf, 7)
        ca.revoke(leaf, 4)
        assert "already-revoked" not in caplog.text
        ca.revoke(leaf, 4)
        assert "already-revoked" in caplog.text


def test_an_open_order_is_found_where_the_ca_lists_them(authority: Authority) -> None:
    with client(authority) as ca:
        ca.register(None)
        for number in range(4):
            ca.new_order(make_csr(new_private_key("ec256"), [f"n{number}.example.test"]))
        mine = str(ca.new_order(CSR).uri)
        found = ca.open_order(list(reversed(NAMES)))
        # acme2certifier has no such list, as Let's Encrypt.
        assert found == (mine if authority.engine == "pebble" else None)
        assert ca.open_order(NAMES, besides=[mine]) is None
        assert ca.open_order(NAMES[:1]) is None
        assert ca.open_order(NAMES, profile="classic") is None
    with client(authority) as other:
        other.register(None)
        assert other.open_order(NAMES) is None


def test_an_order_that_failed_is_not_open(authority: Authority) -> None:
    with client(authority) as ca:
        ca.register(None)
        order = ca.new_order(make_csr(new_private_key("ec256"), ["absent.example.test"]))
        for challenge in ca.challenges(order):
            ca.answer(challenge)
        with pytest.raises(Exception, match="could not validate"):
            ca.wait_until_valid(order, soon())
        assert ca.open_order(["absent.example.test"]) is None


def test_a_ca_that_lost_everything_is_registered_with_anew(
    nameserver: Nameserver, make_pebble: MakePebble
) -> None:
    pebble = make_pebble(dns=nameserver.address, options=PebbleOptions(nonce_reject_percent=20))
    with client(pebble) as ca:
        url = ca.register(None)
        order = ca.new_order(CSR)
        pebble.restart()
        with pytest.raises(AccountUnknown, match="does not know the account"):
            ca.new_order(CSR)
        with pytest.raises(AccountUnknown):
            ca.order(str(order.uri), CSR)
        assert ca.find_account() is None
        assert ca.register(None) != url
        assert ca.order(str(order.uri), CSR) is None
        get_leaf(ca, nameserver, NAMES)


@pytest.fixture(scope="module")
def wants_external(nameserver: Nameserver, make_pebble: MakePebble) -> Authority:
    options = PebbleOptions(
        nonce_reject_percent=20, external_accounts={"kid-1": MAC_KEY.rstrip("=")}
    )
    return make_pebble(dns=nameserver.address, options=options)


@pytest.fixture
def unbound(wants_external: Authority) -> Iterator[CertificateAuthority]:
    with client(wants_external) as made:
        yield made


@pytest.mark.parametrize("hmac", [MAC_KEY, MAC_KEY.rstrip("=")])
def test_an_account_is_bound_and_used(
    unbound: CertificateAuthority, wants_external: Authority, nameserver: Nameserver, hmac: str
) -> None:
    assert directory_facts(
        wants_external.directory_url, ca_bundle=wants_external.ca_bundle
    ).external_account_required
    url = unbound.register("a@example.com", ExternalAccountKey("kid-1", Secret(hmac)))
    assert unbound.find_account() == url
    assert unbound.register("a@example.com") == url
    get_leaf(unbound, nameserver, NAMES)
    unbound.roll_over(new_private_key("ec256"))
    assert unbound.new_order(CSR).uri


def test_without_one_nothing_is_registered(unbound: CertificateAuthority) -> None:
    with pytest.raises(OrderFailed, match="wants an external account") as caught:
        unbound.register("a@example.com")
    assert "`eab`" in str(caught.value.hint)


@pytest.mark.parametrize(
    "external",
    [
        ExternalAccountKey("kid-2", Secret(MAC_KEY)),
        ExternalAccountKey("kid-1", Secret(MAC_KEY[:-4] + "AAA=")),
    ],
)
def test_a_wrong_one_is_refused_and_its_key_stays_unsaid(
    unbound: CertificateAuthority,
    external: ExternalAccountKey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(OrderFailed, match=f"external account {external.kid}") as caught:
        unbound.register("a@example.com", external)
    assert external.hmac.reveal()[:20] not in str(caught.value) + caplog.text
    assert unbound.find_account() is None
