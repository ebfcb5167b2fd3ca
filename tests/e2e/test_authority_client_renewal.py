"""Profiles, and when to renew and what is replaced, as a real CA has them."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from distributor.clients.acme_directory import directory_facts
from distributor.clients.acme_renewal_info import renewal_info
from distributor.clients.certificate_authority import CertificateAuthority, make_csr
from distributor.lab.acme2certifier import Acme2certifierOptions
from distributor.lab.authority import Authority
from distributor.lab.nameserver import Nameserver
from distributor.model.errors import IssuanceError, OrderFailed
from distributor.model.keys import new_private_key
from tests.e2e.issuing import client, get_leaf
from tests.e2e.servers import MakePebble

SECRET = base64.b64encode(b"s" * 32).decode()
NAMES = ["example.test", "*.example.test"]

CSR = make_csr(new_private_key("ec256"), NAMES)
PROFILES = {"classic": "the usual", "shortlived": "six days"}


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Nameserver]:
    with Nameserver(["example.test"], key_name="key", key_secret=SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def authority(
    nameserver: Nameserver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    options = Acme2certifierOptions(
        profiles=PROFILES, renewal_threshold_percent=60, ask_again_seconds=1234
    )
    with Authority(
        engine="acme2certifier",
        dns=nameserver.address,
        folder=tmp_path_factory.mktemp("ca"),
        validity_seconds=90 * 86_400,
        options=options,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def ca(authority: Authority) -> Iterator[CertificateAuthority]:
    with client(authority) as made:
        made.register(None)
        yield made


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority, nameserver: Nameserver) -> x509.Certificate:
    return get_leaf(ca, nameserver, NAMES, profile="classic")


def test_the_window_and_the_time_to_ask_again_are_the_cas(
    authority: Authority, leaf: x509.Certificate
) -> None:
    now = datetime.now(UTC)
    info = renewal_info(authority.directory_url, leaf, ca_bundle=authority.ca_bundle, now=now)
    assert info is not None
    assert info.start - leaf.not_valid_before_utc == timedelta(days=54)
    assert info.end == leaf.not_valid_after_utc
    assert info.ask_again == now + timedelta(seconds=1234)


def test_about_a_certificate_of_another_ca_there_is_none(authority: Authority) -> None:
    stranger = x509.load_pem_x509_certificate((authority.folder / "https.pem").read_bytes())
    with pytest.raises(IssuanceError, match="certificate not found"):
        renewal_info(
            authority.directory_url,
            stranger,
            ca_bundle=authority.ca_bundle,
            now=datetime.now(UTC),
        )


def test_a_ca_without_renewal_information_gives_none(
    nameserver: Nameserver, make_pebble: MakePebble, leaf: x509.Certificate
) -> None:
    pebble = make_pebble(dns=nameserver.address)
    assert (
        renewal_info(pebble.directory_url, leaf, ca_bundle=pebble.ca_bundle, now=datetime.now(UTC))
        is None
    )


def test_a_successor_is_ordered_with_its_predecessor_named(
    ca: CertificateAuthority,
    nameserver: Nameserver,
    leaf: x509.Certificate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # acme2certifier 0.46.3 takes the field and makes nothing of it.
    successor = get_leaf(ca, nameserver, NAMES, replaces=leaf)
    assert successor.serial_number != leaf.serial_number
    assert "ordered-without-replaces" not in caplog.text


def test_profiles_are_told_and_ordered(
    ca: CertificateAuthority, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    facts = directory_facts(authority.directory_url, ca_bundle=authority.ca_bundle)
    assert facts.profiles == PROFILES
    assert ca.new_order(CSR, profile="shortlived").uri
    # acme2certifier leaves the profile out of its answer.
    assert "event=profile-not-confirmed wanted=shortlived" in caplog.text


def test_an_unknown_profile_is_refused_here_and_would_be_there(ca: CertificateAuthority) -> None:
    with pytest.raises(OrderFailed, match="only classic, shortlived"):
        ca.new_order(CSR, profile="tlsserver")
    from distributor.clients import acme_orders

    with pytest.raises(OrderFailed, match="refuses the profile"), ca._translated("order"):
        ca._post(ca._directory.new_order, acme_orders.request(CSR, "tlsserver", None))


def test_a_profile_is_refused_where_there_are_none(
    nameserver: Nameserver, make_pebble: MakePebble
) -> None:
    with client(make_pebble(dns=nameserver.address)) as ca:
        ca.register(None)
        with pytest.raises(OrderFailed, match="none at all"):
            ca.new_order(CSR, profile="classic")
        assert ca.open_order(NAMES) is None
