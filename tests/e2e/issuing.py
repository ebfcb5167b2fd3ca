"""The product's ACME client on its way to a certificate, for tests against real CAs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from distributor.clients.certificate_authority import CertificateAuthority, OrderResource, make_csr
from distributor.lab.authority import Authority
from distributor.lab.nameserver import Nameserver
from distributor.model.keys import new_private_key
from distributor.model.secret import Secret


@contextmanager
def client(
    authority: Authority, key: Secret | None = None, roots: Path | None = None
) -> Iterator[CertificateAuthority]:
    """A client of an account key, a new one if none is given; no account is registered."""
    made = CertificateAuthority(
        authority.directory_url,
        key or new_private_key("ec256"),
        ca_bundle=roots or authority.ca_bundle,
        sleep=time.sleep,
        now=lambda: datetime.now(UTC),
    )
    try:
        yield made
    finally:
        made.close()


def soon(seconds: float = 15) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def validate(ca: CertificateAuthority, nameserver: Nameserver, order: OrderResource) -> None:
    """Publish what the order wants, and wait until the CA has seen it."""
    challenges = ca.challenges(order)
    values: dict[str, list[str]] = {}
    for challenge in challenges:
        values.setdefault(challenge.name, []).append(f'"{challenge.value}"')
    for name, texts in values.items():
        nameserver.put(name, "TXT", *texts)
    for challenge in challenges:
        ca.answer(challenge)
    ca.wait_until_valid(order, soon())


def get_leaf(
    ca: CertificateAuthority,
    nameserver: Nameserver,
    names: Sequence[str],
    *,
    profile: str | None = None,
    replaces: x509.Certificate | None = None,
) -> x509.Certificate:
    """Go the whole way, with a new key."""
    csr = make_csr(new_private_key("ec256"), names)
    order = ca.new_order(csr, profile=profile, replaces=replaces)
    validate(ca, nameserver, order)
    return x509.load_pem_x509_certificate(ca.finish(order, soon()).encode())
