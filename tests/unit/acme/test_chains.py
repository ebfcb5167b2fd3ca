"""The chain that is preferred among those that a CA offers for one leaf."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from distributor.clients.acme_chains import MOST_ALTERNATES, topmost_issuer
from distributor.clients.certificate_authority import CertificateAuthority, make_csr
from distributor.model.errors import CaUnreachable
from distributor.model.secret import Secret
from tests.certs import authority, hierarchy, key_pem, pem, private_key
from tests.unit.scripted_authority import Clock, ScriptedAuthority

CSR = make_csr(Secret(key_pem(private_key()).decode()), ["example.com"])
LONG = hierarchy(3).issue(["example.com"])
OLD_ROOT = authority("Old root")
SHORT = authority("Intermediate", parent=OLD_ROOT).issue(["example.com"])

Finish = Callable[[str | None], str]


@pytest.fixture
def finish(ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock) -> Finish:
    url = f"{script.url}/certificate/1"
    script.replies["/order/1"] = [(200, {}, script.order("valid", certificate=url))]
    links = ", ".join(f'<{url}/{number}>;rel="alternate"' for number in (1, 2))
    header = {"Link": f'<{script.directory}>;rel="index", {links}'}
    script.replies["/certificate/1"] = [(200, header, LONG.fullchain_pem.decode())]
    script.replies["/certificate/1/1"] = [(200, {}, SHORT.fullchain_pem.decode())]
    script.replies["/certificate/1/2"] = [(200, {}, pem(LONG.leaf, *LONG.chain[:1]).decode())]

    def finish(preferred: str | None) -> str:
        return ca.finish(ca.new_order(CSR), clock.now() + timedelta(seconds=9), preferred)

    return finish


def issuer_of(chain: bytes) -> str:
    return topmost_issuer(chain.decode())


def test_without_a_preference_no_other_chain_is_asked_for(
    finish: Finish, script: ScriptedAuthority
) -> None:
    assert finish(None).encode() == LONG.fullchain_pem
    assert not any(path.startswith("/certificate/1/") for path in script.asked)


def test_the_default_is_taken_when_it_is_the_preferred_one(
    finish: Finish, script: ScriptedAuthority
) -> None:
    assert finish(issuer_of(LONG.fullchain_pem)).encode() == LONG.fullchain_pem
    assert "/certificate/1/1" not in script.asked


def test_an_alternate_is_taken_by_the_issuer_of_its_topmost_certificate(
    finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    assert finish("Old root").encode() == SHORT.fullchain_pem
    shortened = pem(LONG.leaf, *LONG.chain[:1])
    assert finish(issuer_of(shortened)).encode() == shortened
    assert caplog.records == []


def test_when_none_is_preferred_the_default_is_taken_and_the_log_names_all(
    finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    assert finish("No such root").encode() == LONG.fullchain_pem
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for name in ("No such root", "Old root", issuer_of(LONG.fullchain_pem)):
        assert repr(name) in record.message


def test_a_chain_of_several_intermediates_stays_in_order(finish: Finish) -> None:
    assert len(LONG.chain) == 3
    assert finish("Old root").encode() == pem(SHORT.leaf, *SHORT.chain)
    assert finish("No such root").encode() == pem(LONG.leaf, *LONG.chain)


def test_an_alternate_that_is_not_to_be_had_is_left_out(
    finish: Finish, script: ScriptedAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    script.replies["/certificate/1/1"] = [script.problem(404, "malformed")]
    assert finish("Old root").encode() == LONG.fullchain_pem
    assert "event=chain-not-to-be-had status=404" in caplog.text
    assert "event=preferred-chain-not-offered" in caplog.text


def test_a_bounded_number_of_chains_is_asked_for(finish: Finish, script: ScriptedAuthority) -> None:
    url = f"{script.url}/certificate/1/2"
    header = {"Link": ", ".join([f'<{url}>;rel="alternate"'] * (MOST_ALTERNATES + 9))}
    script.replies["/certificate/1"] = [(200, header, LONG.fullchain_pem.decode())]
    finish("No such root")
    assert script.asked.count("/certificate/1/2") == MOST_ALTERNATES


def test_what_is_no_chain_is_said_to_be_none(finish: Finish, script: ScriptedAuthority) -> None:
    script.replies["/certificate/1"] = [(200, {}, "<html>")]
    with pytest.raises(CaUnreachable, match="not ACME"):
        finish("Old root")
