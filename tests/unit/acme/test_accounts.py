"""Accounts: made, bound to an external one, found, lost, and given another key."""

import base64
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.acme_network import signer
from distributor.clients.certificate_authority import (
    CertificateAuthority,
    ExternalAccountKey,
    make_csr,
)
from distributor.model.errors import (
    AccountUnknown,
    CaUnreachable,
    DistributorError,
    OrderFailed,
    RateLimited,
)
from distributor.model.secret import Secret
from tests.certs import hierarchy, key_pem, private_key
from tests.unit.scripted_authority import Clock, ScriptedAuthority

KEY = Secret(key_pem(private_key()).decode())
CSR = make_csr(KEY, ["example.com"])
LEAF = hierarchy(1).issue(["example.com"]).leaf
HMAC = base64.urlsafe_b64encode(b"\xfb\xff the external MAC key, secret!").decode()
EXTERNAL = ExternalAccountKey("kid-1", Secret(HMAC))


def never_heard(script: ScriptedAuthority) -> Any:
    return script.problem(400, "accountDoesNotExist")


def test_an_account_is_found_by_its_key_without_making_one(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    found = {"Location": f"{script.url}/account/7"}
    script.replies["/newAccount"] = [(200, found, {"status": "valid"})]
    assert ca.find_account() == f"{script.url}/account/7"
    assert script.sent_to("/newAccount") == [{"onlyReturnExisting": True}]


@pytest.mark.parametrize("answer", ["accountDoesNotExist", "externalAccountRequired"])
def test_a_key_that_the_ca_does_not_know_has_no_account(
    ca: CertificateAuthority, script: ScriptedAuthority, answer: str
) -> None:
    script.replies["/newAccount"] = [script.problem(400, answer)]
    assert ca.find_account() is None


def test_looking_in_vain_leaves_the_account_that_is_in_use(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    script.replies["/newAccount"] = [never_heard(script)]
    assert ca.find_account() is None
    script.replies["/account/1"] = [(200, {}, {"status": "valid"})]
    assert ca.open_order(["example.com"]) is None
    assert "/account/1" in script.asked


@pytest.mark.parametrize(("status", "name"), [(403, "unauthorized"), (400, "malformed")])
def test_a_refusal_to_look_is_no_verdict_on_the_key(
    ca: CertificateAuthority, script: ScriptedAuthority, status: int, name: str
) -> None:
    script.replies["/newAccount"] = [script.problem(status, name, "the account is deactivated")]
    with pytest.raises(OrderFailed, match="deactivated") as caught:
        ca.find_account()
    assert not isinstance(caught.value, AccountUnknown)


CALLS: dict[str, Callable[[CertificateAuthority, ScriptedAuthority, Clock], object]] = {
    "new_order": lambda ca, _, __: ca.new_order(CSR),
    "open_order": lambda ca, _, __: ca.open_order(["example.com"]),
    "order": lambda ca, script, _: ca.order(f"{script.url}/order/1", CSR),
    "challenges": lambda ca, script, _: ca.challenges(_order(ca, script)),
    "answer": lambda ca, script, _: ca.answer(ca.challenges(_order(ca, script))[0]),
    "wait_until_valid": lambda ca, script, clock: ca.wait_until_valid(
        _order(ca, script), clock.now() + timedelta(seconds=9)
    ),
    "finish": lambda ca, script, clock: ca.finish(
        _order(ca, script), clock.now() + timedelta(seconds=9)
    ),
    "revoke": lambda ca, _, __: ca.revoke(LEAF, 0),
    "roll_over": lambda ca, _, __: ca.roll_over(KEY),
}
PATHS = {
    "new_order": "/newOrder",
    "open_order": "/account/1",
    "order": "/order/1",
    "challenges": "/authorization/1",
    "answer": "/challenge/1",
    "wait_until_valid": "/authorization/1",
    "finish": "/order/1",
    "revoke": "/revokeCert",
    "roll_over": "/keyChange",
}


def _order(ca: CertificateAuthority, _: ScriptedAuthority) -> Any:
    return ca.new_order(CSR)


@pytest.mark.parametrize("call", CALLS)
def test_every_call_tells_that_the_account_is_lost(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, call: str
) -> None:
    script.replies[PATHS[call]] = [never_heard(script)]
    with pytest.raises(AccountUnknown, match="words on accountDoesNotExist"):
        CALLS[call](ca, script, clock)


def test_without_an_account_there_is_none_to_change_or_to_ask(
    script: ScriptedAuthority, clock: Clock
) -> None:
    client = CertificateAuthority(
        script.directory, KEY, ca_bundle=script.ca_bundle, sleep=clock.sleep, now=clock.now
    )
    try:
        with pytest.raises(AccountUnknown, match="no account"):
            client.roll_over(KEY)
        with pytest.raises(AccountUnknown, match="no account"):
            client.open_order(["example.com"])
    finally:
        client.close()


class TestExternalAccounts:
    @pytest.fixture(autouse=True)
    def wanted(self, script: ScriptedAuthority) -> None:
        script.resources["meta"] = {"externalAccountRequired": True}
        script.replies["/newAccount"] = [never_heard(script), *script.replies["/newAccount"]]

    @pytest.mark.parametrize("hmac", [HMAC, HMAC.rstrip("=")])
    def test_the_account_is_bound(
        self, ca: CertificateAuthority, script: ScriptedAuthority, hmac: str
    ) -> None:
        url = ca.register("a@example.com", ExternalAccountKey("kid-1", Secret(hmac)))
        assert url == f"{script.url}/account/1"
        looked, made = script.sent_to("/newAccount")
        assert looked == {"onlyReturnExisting": True}
        assert (made["termsOfServiceAgreed"], made["contact"]) == (True, ["mailto:a@example.com"])
        protected = _json(made["externalAccountBinding"]["protected"])
        assert protected == {"alg": "HS256", "kid": "kid-1", "url": f"{script.url}/newAccount"}
        assert _json(made["externalAccountBinding"]["payload"])["kty"] == "EC"

    def test_an_account_that_exists_uses_no_binding_up(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        found = {"Location": f"{script.url}/account/5"}
        script.replies["/newAccount"] = [(200, found, {"status": "valid"})]
        assert ca.register(None, EXTERNAL) == f"{script.url}/account/5"
        assert ca.register(None) == f"{script.url}/account/5"
        assert script.sent_to("/newAccount") == [{"onlyReturnExisting": True}] * 2

    def test_none_set_is_said_before_anything_is_made(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        with pytest.raises(OrderFailed, match="wants an external account") as caught:
            ca.register("a@example.com")
        assert "`eab`" in str(caught.value.hint)
        assert script.sent_to("/newAccount") == [{"onlyReturnExisting": True}]

    @pytest.mark.parametrize(
        ("status", "name"),
        [(400, "externalAccountRequired"), (401, "unauthorized"), (400, "malformed")],
    )
    def test_one_that_the_ca_does_not_take_is_named(
        self, ca: CertificateAuthority, script: ScriptedAuthority, status: int, name: str
    ) -> None:
        script.replies["/newAccount"][1:] = [script.problem(status, name, "no such key")]
        with pytest.raises(OrderFailed, match=f"kid-1 .{name}.: no such key") as caught:
            ca.register(None, EXTERNAL)
        assert "`email`" in str(caught.value.hint)

    def test_other_refusals_are_what_they_are(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/newAccount"][1:] = [script.problem(429, "rateLimited")]
        with pytest.raises(RateLimited):
            ca.register(None, EXTERNAL)
        script.replies["/newAccount"] = [script.problem(400, "invalidContact", "example.com")]
        with pytest.raises(OrderFailed, match="e-mail"):
            ca.register("a@example.com", EXTERNAL)

    @pytest.mark.parametrize("hmac", ["", "=", "A", "AAAAA", "AAA A", "AA+/", "AAAA===", "é"])
    def test_a_mac_key_that_is_none_is_refused_unsaid(
        self, ca: CertificateAuthority, script: ScriptedAuthority, hmac: str
    ) -> None:
        with pytest.raises(OrderFailed, match="external account kid-1 is not base64url") as caught:
            ca.register("a@example.com", ExternalAccountKey("kid-1", Secret(hmac)))
        assert len(hmac) < 3 or hmac not in str(caught.value)
        assert script.sent_to("/newAccount") == [{"onlyReturnExisting": True}]

    def test_no_log_error_or_repr_shows_the_mac_key_or_the_binding(
        self,
        ca: CertificateAuthority,
        script: ScriptedAuthority,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        script.replies["/newAccount"][1:] = [script.problem(401, "unauthorized")]
        with pytest.raises(OrderFailed) as caught:
            ca.register("a@example.com", EXTERNAL)
        signature = script.sent_to("/newAccount")[1]["externalAccountBinding"]["signature"]
        for text in (caplog.text, str(caught.value), repr(EXTERNAL), repr(ca)):
            assert HMAC.rstrip("=") not in text
            assert signature not in text


@given(st.binary(min_size=1, max_size=70), st.booleans())
def test_any_mac_key_is_understood_with_and_without_padding(octets: bytes, padded: bool) -> None:
    import hmac as macs

    from distributor.clients.acme_external_account import binding

    text = base64.urlsafe_b64encode(octets).decode()
    external = ExternalAccountKey("kid", Secret(text if padded else text.rstrip("=")))
    bound = binding(external, signer(KEY), "https://ca.example/newAccount")
    signed = f"{bound['protected']}.{bound['payload']}".encode()
    assert _bytes(bound["signature"]) == macs.digest(octets, signed, "sha256")


class TestKeyChange:
    def test_the_new_key_signs_the_change_and_all_that_follows(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        old = ca._signer.key.public_key().to_json()
        script.replies["/keyChange"] = [(200, {}, {})]
        ca.roll_over(Secret(key_pem(private_key("ec384")).decode()))
        ((inner),) = script.sent_to("/keyChange")
        protected, payload = _json(inner["protected"]), _json(inner["payload"])
        assert payload == {"account": f"{script.url}/account/1", "oldKey": old}
        assert protected["url"] == f"{script.url}/keyChange"
        assert (protected["alg"], protected["jwk"]["crv"]) == ("ES384", "P-384")
        assert "nonce" not in protected
        assert ca._network.key == ca._signer.key
        assert ca._network.key.public_key().to_json() == protected["jwk"]

    @pytest.mark.parametrize("status", [409, 500])
    def test_a_change_that_is_refused_leaves_the_old_key_in_use(
        self, ca: CertificateAuthority, script: ScriptedAuthority, status: int
    ) -> None:
        before = ca._network.key
        script.replies["/keyChange"] = [script.problem(status, "malformed", "in use")]
        with pytest.raises(OrderFailed, match="in use"):
            ca.roll_over(Secret(key_pem(private_key()).decode()))
        assert ca._network.key == before
        assert script.asked.count("/keyChange") == 1

    def test_a_ca_that_has_no_such_thing_is_not_asked(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        del script.resources["keyChange"]
        with pytest.raises(OrderFailed, match="does not let an account change its key"):
            ca.roll_over(KEY)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("ec256", "ES256"), ("ec384", "ES384"), ("ec521", "ES512"), ("rsa2048", "RS256")],
)
def test_account_keys_of_every_usual_kind_sign(kind: Any, algorithm: str) -> None:
    made = signer(Secret(key_pem(private_key(kind)).decode()))
    assert made.algorithm.name == algorithm
    assert made.algorithm.sign(made.key.key, b"x")


@pytest.mark.parametrize("key", [private_key("secp256k1"), ed25519.Ed25519PrivateKey.generate()])
def test_an_account_key_of_another_kind_is_refused(key: Any) -> None:
    with pytest.raises(OrderFailed, match="account key"):
        signer(Secret(key_pem(key).decode()))


def test_terms_that_have_to_be_read_are_shown_with_their_page(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    status, headers, document = script.problem(403, "userActionRequired", "terms have changed")
    document["instance"] = "https://ca.example/terms/2027"
    script.replies["/newOrder"] = [(status, headers, document)]
    with pytest.raises(
        OrderFailed, match=r"terms have changed; see https://ca\.example/terms/2027"
    ):
        ca.new_order(CSR)


def test_an_account_without_a_url_is_no_account(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    script.replies["/newAccount"] = [(201, {}, {"status": "valid"})]
    with pytest.raises(CaUnreachable, match="not ACME"):
        ca.register(None)


def test_what_makes_an_account_is_sent_once(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
) -> None:
    script.replies["/newAccount"] = [(502, {}, "<html>Bad Gateway</html>")]
    with pytest.raises(DistributorError):
        ca.register(None)
    assert script.asked.count("/newAccount") == 1
    assert clock.slept == []


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(text: str) -> Any:
    return json.loads(_bytes(text))
