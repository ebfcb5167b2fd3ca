"""A scripted CA, a clock that only sleep moves, and the client between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from distributor.clients.certificate_authority import CertificateAuthority
from distributor.model.secret import Secret
from tests.certs import key_pem, private_key
from tests.unit.scripted_authority import Clock, ScriptedAuthority


@pytest.fixture
def script(tmp_path: Path) -> Iterator[ScriptedAuthority]:
    with ScriptedAuthority(tmp_path) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def account_key() -> Secret:
    return Secret(key_pem(private_key()).decode())


@pytest.fixture
def ca(
    script: ScriptedAuthority, clock: Clock, account_key: Secret
) -> Iterator[CertificateAuthority]:
    client = CertificateAuthority(
        script.directory,
        account_key,
        ca_bundle=script.ca_bundle,
        sleep=clock.sleep,
        now=clock.now,
    )
    client.use_account(f"{script.url}/account/1")
    yield client
    client.close()
