"""Orders: what is asked for, what is made of a refusal, how one ends, and is taken back."""

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from distributor.clients.acme_renewal_info import certificate_id
from distributor.clients.certificate_authority import CertificateAuthority, make_csr
from distributor.model.errors import CaUnreachable, IssuanceError, OrderFailed, RateLimited
from distributor.model.secret import Secret
from tests.certs import hierarchy, key_pem, private_key
from tests.unit.scripted_authority import Clock, ScriptedAuthority

KEY = Secret(key_pem(private_key()).decode())
CSR = make_csr(KEY, ["example.com", "*.example.com"])
LEAF = hierarchy(1).issue(["example.com"]).leaf


@pytest.fixture
def with_profiles(script: ScriptedAuthority) -> None:
    script.resources["meta"] = {"profiles": {"classic": "the usual", "shortlived": "six days"}}


@pytest.fixture
def with_renewal_info(script: ScriptedAuthority) -> None:
    script.resources["renewalInfo"] = f"{script.url}/renewalInfo"


def made(script: ScriptedAuthority, **more: Any) -> Any:
    return (201, {"Location": f"{script.url}/order/1"}, script.order("pending", **more))


def test_an_order_names_what_the_request_names_and_nothing_else(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    ca.new_order(CSR)
    wanted = [{"type": "dns", "value": name} for name in ("example.com", "*.example.com")]
    assert script.sent_to("/newOrder") == [{"identifiers": wanted}]


def test_the_url_of_an_order_is_known_before_anything_is_asked_about_it(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    order = ca.new_order(CSR)
    assert order.uri == f"{script.url}/order/1"
    assert script.asked == ["/dir", "/newNonce", "/newOrder"]


def test_an_order_without_a_url_is_none(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    script.replies["/newOrder"] = [(201, {}, script.order("pending"))]
    with pytest.raises(CaUnreachable, match="not ACME"):
        ca.new_order(CSR)


class TestProfiles:
    @pytest.mark.usefixtures("with_profiles")
    def test_a_profile_that_is_offered_is_ordered(
        self, ca: CertificateAuthority, script: ScriptedAuthority, caplog: pytest.LogCaptureFixture
    ) -> None:
        script.replies["/newOrder"] = [made(script, profile="shortlived")]
        assert ca.new_order(CSR, profile="shortlived").body.profile == "shortlived"
        assert script.sent_to("/newOrder")[0]["profile"] == "shortlived"
        assert caplog.records == []

    @pytest.mark.usefixtures("with_profiles")
    def test_one_that_is_not_offered_is_refused_before_any_order(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        with pytest.raises(OrderFailed, match=r"profile tlsserver.*classic, shortlived") as caught:
            ca.new_order(CSR, profile="tlsserver")
        assert "`profile`" in str(caught.value.hint)
        assert script.asked == ["/dir"]

    def test_a_ca_without_profiles_has_none(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        with pytest.raises(OrderFailed, match="none at all"):
            ca.new_order(CSR, profile="classic")
        assert "/newOrder" not in script.asked

    @pytest.mark.usefixtures("with_profiles")
    def test_another_profile_than_the_one_asked_for_is_refused(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/newOrder"] = [made(script, profile="classic")]
        with pytest.raises(OrderFailed, match="classic instead of shortlived"):
            ca.new_order(CSR, profile="shortlived")

    @pytest.mark.usefixtures("with_profiles")
    def test_a_ca_that_offers_it_and_does_not_repeat_it_is_taken_at_its_word(
        self, ca: CertificateAuthority, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert ca.new_order(CSR, profile="shortlived").uri
        assert "event=profile-not-confirmed wanted=shortlived" in caplog.text

    @pytest.mark.usefixtures("with_profiles")
    def test_a_profile_that_this_account_may_not_use_is_refused_in_the_cas_words(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/newOrder"] = [script.problem(403, "unauthorized", "not permitted to use")]
        with pytest.raises(OrderFailed, match="not permitted to use"):
            ca.new_order(CSR, profile="shortlived")
        script.replies["/newOrder"] = [script.problem(400, "invalidProfile", "not with these")]
        with pytest.raises(OrderFailed, match="not with these") as caught:
            ca.new_order(CSR, profile="shortlived")
        assert "`profile`" in str(caught.value.hint)


@pytest.mark.usefixtures("with_renewal_info")
class TestReplacement:
    def test_the_predecessor_is_named(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        ca.new_order(CSR, replaces=LEAF)
        assert [one["replaces"] for one in script.sent_to("/newOrder")] == [certificate_id(LEAF)]

    def test_a_ca_without_renewal_information_is_told_nothing(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        del script.resources["renewalInfo"]
        ca.new_order(CSR, replaces=LEAF)
        assert "replaces" not in script.sent_to("/newOrder")[0]

    @pytest.mark.parametrize(
        ("status", "name"),
        [
            (409, "alreadyReplaced"),
            (409, "malformed"),
            (400, "alreadyReplaced"),
            (400, "malformed"),
            (403, "unauthorized"),
            (404, "malformed"),
            (404, "unheardOf"),
            (409, "conflict"),
            (400, "conflict"),
        ],
    )
    def test_a_refusal_for_its_sake_costs_one_more_try_without(
        self,
        ca: CertificateAuthority,
        script: ScriptedAuthority,
        caplog: pytest.LogCaptureFixture,
        status: int,
        name: str,
    ) -> None:
        script.replies["/newOrder"] = [script.problem(status, name, "replaced"), made(script)]
        assert ca.new_order(CSR, replaces=LEAF).uri == f"{script.url}/order/1"
        first, second = script.sent_to("/newOrder")
        assert first.pop("replaces")
        assert first == second
        assert f"event=ordered-without-replaces status={status} type={name}" in caplog.text

    def test_the_second_refusal_is_the_last(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/newOrder"] = [script.problem(409, "alreadyReplaced")]
        with pytest.raises(OrderFailed, match="alreadyReplaced"):
            ca.new_order(CSR, replaces=LEAF)
        assert script.asked.count("/newOrder") == 2

    @pytest.mark.parametrize(
        ("status", "name"),
        [
            (429, "rateLimited"),
            (503, "rateLimited"),
            (500, "serverInternal"),
            (500, "malformed"),
            (503, "unauthorized"),
            (400, "accountDoesNotExist"),
            (400, "rejectedIdentifier"),
            (403, "userActionRequired"),
            (400, "invalidProfile"),
        ],
    )
    def test_other_refusals_are_not_tried_without(
        self, ca: CertificateAuthority, script: ScriptedAuthority, status: int, name: str
    ) -> None:
        script.replies["/newOrder"] = [script.problem(status, name)]
        with pytest.raises(IssuanceError):
            ca.new_order(CSR, replaces=LEAF)
        assert script.asked.count("/newOrder") == 1

    def test_without_a_predecessor_a_conflict_is_told_as_it_is(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/newOrder"] = [script.problem(409, "conflict")]
        with pytest.raises(OrderFailed):
            ca.new_order(CSR)
        assert script.asked.count("/newOrder") == 1

    def test_a_predecessor_that_cannot_be_named_is_left_out(
        self,
        ca: CertificateAuthority,
        script: ScriptedAuthority,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        root = hierarchy(0).certificate
        ca.new_order(CSR, replaces=root)
        assert "replaces" not in script.sent_to("/newOrder")[0]
        assert "event=ordered-without-replaces" in caplog.text


class TestEndings:
    """How a CA that dawdles or fails at the end is met."""

    def soon(self, clock: Clock) -> datetime:
        return clock.now() + timedelta(minutes=5)

    def test_a_day_long_wait_while_processing_is_cut_to_a_minute(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
    ) -> None:
        day = {"Retry-After": "86400"}
        script.replies["/order/1"] = [
            (200, day, script.order("processing")),
            (200, day, script.order("processing")),
            (200, {}, script.order("valid", certificate=f"{script.url}/certificate/1")),
        ]
        script.replies["/certificate/1"] = [(200, {}, "a chain")]
        order = ca.new_order(CSR)
        assert ca.finish(order, self.soon(clock)) == "a chain"
        assert clock.slept == [60, 60]

    def test_nothing_is_waited_for_beyond_the_deadline(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
    ) -> None:
        script.replies["/order/1"] = [(200, {"Retry-After": "86400"}, script.order("processing"))]
        order, deadline = ca.new_order(CSR), self.soon(clock)
        with pytest.raises(CaUnreachable, match="in time"):
            ca.finish(order, deadline)
        assert clock.now() == deadline

    def test_a_ca_that_is_not_ready_after_all_is_asked_again(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
    ) -> None:
        script.replies["/order/1"] = [
            (200, {}, script.order("ready")),
            (200, {}, script.order("ready")),
            (200, {}, script.order("valid", certificate=f"{script.url}/certificate/1")),
        ]
        script.replies["/finalize/1"] = [
            script.problem(403, "orderNotReady", Retry_After="7"),
            (200, {}, script.order("processing")),
        ]
        script.replies["/certificate/1"] = [(200, {}, "a chain")]
        assert ca.finish(ca.new_order(CSR), self.soon(clock)) == "a chain"
        assert clock.slept == [7, 0.25]

    def test_a_ca_that_is_never_ready_is_left_at_the_deadline(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
    ) -> None:
        script.replies["/order/1"] = [(200, {}, script.order("ready"))]
        script.replies["/finalize/1"] = [script.problem(403, "orderNotReady")]
        with pytest.raises(CaUnreachable, match="in time"):
            ca.finish(ca.new_order(CSR), clock.now() + timedelta(seconds=5))
        assert sum(clock.slept) == 5

    @pytest.mark.parametrize("status", [500, 503])
    def test_a_request_that_the_ca_fails_on_is_sent_once(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, status: int
    ) -> None:
        script.replies["/order/1"] = [(200, {}, script.order("ready"))]
        script.replies["/finalize/1"] = [(status, {"Retry-After": "120"}, "<html>")]
        with pytest.raises(CaUnreachable) as caught:
            ca.finish(ca.new_order(CSR), self.soon(clock))
        assert caught.value.retry_at == clock.now() + timedelta(seconds=120)
        assert script.asked.count("/finalize/1") == 1

    @pytest.mark.parametrize("name", ["serverInternal", "rateLimited"])
    def test_an_order_that_died_of_the_cas_own_fault_is_the_cas_own_failure(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, name: str
    ) -> None:
        error = script.problem(500, name, "trouble here")[2]
        script.replies["/order/1"] = [(200, {}, script.order("invalid", error=error))]
        with pytest.raises((CaUnreachable, RateLimited), match="gave the order up: trouble here"):
            ca.finish(ca.new_order(CSR), self.soon(clock))

    def test_a_validation_that_died_of_the_cas_own_fault_is_the_cas_own_failure(
        self, ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
    ) -> None:
        error = script.problem(500, "serverInternal", "trouble here")[2]
        script.replies["/authorization/1"] = [(200, {}, script.authorization("invalid", error))]
        with pytest.raises(CaUnreachable, match=r"example\.com .*: trouble here"):
            ca.wait_until_valid(ca.new_order(CSR), self.soon(clock))


class TestRevocation:
    def test_certificate_and_reason_are_sent(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/revokeCert"] = [(200, {}, "")]
        ca.revoke(LEAF, 4)
        (sent,) = script.sent_to("/revokeCert")
        assert sent["reason"] == 4

    def test_what_is_revoked_already_is_done_and_said(
        self, ca: CertificateAuthority, script: ScriptedAuthority, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        script.replies["/revokeCert"] = [script.problem(400, "alreadyRevoked")]
        ca.revoke(LEAF, 0)
        assert f"event=already-revoked serial={LEAF.serial_number:x}" in caplog.text

    def test_a_reason_that_the_ca_does_not_take_is_told(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        script.replies["/revokeCert"] = [script.problem(400, "badRevocationReason", "not 7")]
        with pytest.raises(OrderFailed, match="not 7") as caught:
            ca.revoke(LEAF, 7)
        assert "another reason" in str(caught.value.hint)

    def test_a_ca_that_does_not_revoke_by_acme_is_not_asked(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        del script.resources["revokeCert"]
        with pytest.raises(OrderFailed, match="does not revoke"):
            ca.revoke(LEAF, 0)
