"""What the inventory says, as values."""

import pytest

from distributor.model.hosts import (
    KNOWN_CAS,
    ApiAccess,
    Delivery,
    Endpoint,
    EnvSecret,
    Host,
    PlainSecret,
    SocketAddress,
)
from distributor.model.secret import Secret


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("attic.example.com", "attic.example.com:5001"),
        ("192.0.2.1", "192.0.2.1:5001"),
        ("2001:db8::1", "[2001:db8::1]:5001"),
    ],
)
def test_an_address_is_shown_so_that_host_and_port_can_be_told_apart(host: str, shown: str) -> None:
    address = SocketAddress(host, 5001)
    assert str(address) == shown
    assert str(Endpoint(address=address, certificate="home")) == shown


def test_a_host_names_each_of_its_certificates_once_in_order() -> None:
    host = Host(
        name="attic",
        kind="diskstation",
        via="api",
        address="192.0.2.1",
        access=ApiAccess(port=5001, user="certs", password=EnvSecret("PASSWORD")),
        deliveries=tuple(Delivery(certificate=name) for name in ("work", "home", "work")),
        endpoints=(),
    )
    assert host.certificates == ("work", "home")


def test_a_plain_secret_is_not_shown() -> None:
    assert repr(PlainSecret(Secret("hunter2"))) == "PlainSecret(value=<secret>)"


def test_every_known_ca_is_asked_over_https() -> None:
    assert all(url.startswith("https://") for url in KNOWN_CAS.values())
