"""Chains of several intermediates to choose from, by a real CA."""

import base64
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography import x509

from distributor.clients.acme_chains import topmost_issuer
from distributor.clients.certificate_authority import CertificateAuthority, OrderResource, make_csr
from distributor.lab.authority import Authority
from distributor.lab.nameserver import Nameserver
from distributor.lab.pebble import PebbleOptions
from distributor.model.bundle import prove
from distributor.model.keys import new_private_key
from tests.certs import pem as pem_of
from tests.e2e.issuing import client, soon, validate
from tests.e2e.servers import Issued, MakePebble, verify

SECRET = base64.b64encode(b"s" * 32).decode()
NAMES = ["example.test", "*.example.test"]
KEY = new_private_key("ec256")
CSR = make_csr(KEY, NAMES)


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Nameserver]:
    with Nameserver(["example.test"], key_name="key", key_secret=SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def pebble(nameserver: Nameserver, make_pebble: MakePebble) -> Authority:
    options = PebbleOptions(nonce_reject_percent=20, alternate_roots=2, chain_length=3)
    return make_pebble(dns=nameserver.address, options=options)


@pytest.fixture(scope="module")
def ca(pebble: Authority) -> Iterator[CertificateAuthority]:
    with client(pebble) as made:
        made.register(None)
        yield made


@pytest.fixture(scope="module")
def order(ca: CertificateAuthority, nameserver: Nameserver) -> OrderResource:
    """Issued once: its chains are there to be had again and again."""
    order = ca.new_order(CSR)
    validate(ca, nameserver, order)
    ca.finish(order, soon())
    return order


@pytest.mark.parametrize("number", [0, 1, 2])
def test_any_chain_on_offer_is_had_by_the_name_of_its_root(
    ca: CertificateAuthority,
    order: OrderResource,
    pebble: Authority,
    number: int,
) -> None:
    root = x509.load_pem_x509_certificates(pebble.root_pem().encode())[number]
    name = str(next(iter(root.subject)).value)
    pem = ca.finish(order, soon(), preferred_chain=name)
    assert topmost_issuer(pem) == name
    leaf, *chain = x509.load_pem_x509_certificates(pem.encode())
    assert len(chain) == 3
    for one, issuer in zip([leaf, *chain], [*chain, root], strict=True):
        one.verify_directly_issued_by(issuer)
    bundle = prove(
        certificate=pem.encode(),
        private_key=KEY.reveal().encode(),
        names=NAMES,
        now=datetime.now(UTC),
    )
    assert list(bundle.chain) == chain
    assert bundle.certificate("home", [root]).trusted
    verify(Issued((leaf, *chain), pem), pem_of(root).decode(), "nas.example.test")


def test_a_root_that_is_not_on_offer_gives_the_default_and_a_warning(
    ca: CertificateAuthority,
    order: OrderResource,
    caplog: pytest.LogCaptureFixture,
    pebble: Authority,
) -> None:
    assert ca.finish(order, soon(), preferred_chain="ISRG Root X1") == ca.finish(order, soon())
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    for root in x509.load_pem_x509_certificates(pebble.root_pem().encode()):
        assert str(next(iter(root.subject)).value) in record.message
