"""A CA that refuses, dawdles or talks nonsense gives one clear error, in bounded time."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from distributor.clients.acme_network import NONCE_TRIES, READ_TRIES
from distributor.clients.certificate_authority import (
    ISSUE_SECONDS,
    CertificateAuthority,
    OrderResource,
    make_csr,
)
from distributor.model.errors import (
    AccountUnknown,
    AuthorizationFailed,
    CaUnreachable,
    IssuanceError,
    OrderFailed,
    RateLimited,
)
from distributor.model.secret import Secret
from tests.certs import key_pem, private_key
from tests.unit.scripted_authority import Clock, Reply, ScriptedAuthority

MALFORMED = {"type": "urn:ietf:params:acme:error:malformed", "detail": "what is that"}
KEY = Secret(key_pem(private_key()).decode())
CSR = make_csr(KEY, ["example.com"])


@pytest.fixture
def order(ca: CertificateAuthority) -> OrderResource:
    return ca.new_order(CSR)


def soon(clock: Clock, seconds: float = 30) -> datetime:
    return clock.now() + timedelta(seconds=seconds)


def test_an_order_and_its_challenge_are_understood(
    ca: CertificateAuthority, script: ScriptedAuthority, order: OrderResource
) -> None:
    assert order.uri == f"{script.url}/order/1"
    (challenge,) = ca.challenges(order)
    assert challenge.name == "_acme-challenge.example.com"
    assert len(challenge.value) == 43


def test_an_account_is_registered_or_found(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    assert ca.register("a@example.com") == f"{script.url}/account/1"
    for status in (200, 409):  # RFC 8555 7.3.1 says 200
        known = {"Location": f"{script.url}/account/{status}"}
        script.replies["/newAccount"] = [(status, known, {"status": "valid"})]
        assert ca.register(None) == f"{script.url}/account/{status}"


def test_a_conflict_that_names_no_account_is_refused(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    script.replies["/newAccount"] = [script.problem(409, "malformed", "two of them")]
    with pytest.raises(OrderFailed, match="two of them"):
        ca.register(None)


def test_an_account_that_the_ca_lost_is_told_apart(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    script.replies["/newOrder"] = [script.problem(400, "accountDoesNotExist")]
    with pytest.raises(AccountUnknown, match="words on accountDoesNotExist"):
        ca.new_order(CSR)


@pytest.mark.parametrize(
    ("error", "words"),
    [(None, "no reason"), ({"type": "urn:ietf:params:acme:error:dns", "detail": "NX"}, "NX")],
)
def test_an_invalid_authorization_is_seen_with_and_without_reason(
    ca: CertificateAuthority,
    script: ScriptedAuthority,
    clock: Clock,
    order: OrderResource,
    error: Any,
    words: str,
) -> None:
    script.replies["/authorization/1"] = [(200, {}, script.authorization("invalid", error))]
    with pytest.raises(AuthorizationFailed, match=words) as caught:
        ca.wait_until_valid(order, soon(clock))
    assert "example.com (invalid)" in caught.value.message
    assert clock.slept == []


@pytest.mark.parametrize("status", ["deactivated", "expired", "revoked"])
def test_an_authorization_that_is_over_is_no_success(
    ca: CertificateAuthority,
    script: ScriptedAuthority,
    clock: Clock,
    order: OrderResource,
    status: str,
) -> None:
    script.replies["/authorization/1"] = [(200, {}, script.authorization(status))]
    with pytest.raises(AuthorizationFailed, match=status):
        ca.wait_until_valid(order, soon(clock))


def test_a_challenge_that_the_ca_is_at_is_not_answered_again(
    ca: CertificateAuthority, script: ScriptedAuthority, order: OrderResource
) -> None:
    body = script.authorization("pending")
    body["challenges"][0]["status"] = "processing"
    script.replies["/authorization/1"] = [(200, {}, body)]
    (challenge,) = ca.challenges(order)
    ca.answer(challenge)
    assert "/challenge/1" not in script.asked


@pytest.mark.parametrize("status", ["processing", "valid", "invalid"])
def test_an_answer_that_comes_after_the_ca_looked_is_no_mistake(
    ca: CertificateAuthority, script: ScriptedAuthority, order: OrderResource, status: str
) -> None:
    (challenge,) = ca.challenges(order)
    script.replies["/challenge/1"] = [(400, {}, MALFORMED), (200, {}, {"status": status})]
    ca.answer(challenge)
    assert script.asked.count("/challenge/1") == 2


@pytest.mark.parametrize("second", [(200, {}, {"status": "pending"}), (404, {}, {})])
def test_an_answer_that_is_refused_otherwise_is_told_in_the_cas_words(
    ca: CertificateAuthority, script: ScriptedAuthority, order: OrderResource, second: Reply
) -> None:
    (challenge,) = ca.challenges(order)
    script.replies["/challenge/1"] = [(400, {}, MALFORMED), second]
    with pytest.raises(OrderFailed, match="what is that"):
        ca.answer(challenge)


def test_the_ca_says_how_long_to_wait_in_seconds_or_as_a_date(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    pending = script.authorization("pending")
    date = (clock.now() + timedelta(seconds=10)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    script.replies["/authorization/1"] = [
        (200, {"Retry-After": "3"}, pending),
        (200, {"Retry-After": date}, pending),
        (200, {}, pending),
        (200, {"Retry-After": "soon"}, pending),
        (200, {}, script.authorization("valid")),
    ]
    ca.wait_until_valid(order, soon(clock))
    assert clock.slept == [3, 7, 1, 1]


def test_a_ca_that_names_no_wait_or_one_that_is_over_is_not_asked_all_the_time(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    past = (clock.now() - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    for said in ("0", "-5", past):
        clock.slept.clear()
        script.replies["/authorization/1"] = [
            (200, {"Retry-After": said}, script.authorization("pending"))
        ]
        with pytest.raises(CaUnreachable, match="in time"):
            ca.wait_until_valid(order, soon(clock))
        assert clock.slept == [1] * 30


def test_the_last_wait_ends_at_the_deadline(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    script.replies["/authorization/1"] = [
        (200, {"Retry-After": "0"}, script.authorization("pending"))
    ]
    with pytest.raises(CaUnreachable, match="in time"):
        ca.wait_until_valid(order, clock.now() + timedelta(seconds=1.5))
    assert clock.slept == [1, 0.5]


def test_a_wait_beyond_the_deadline_ends_at_the_deadline(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    script.replies["/authorization/1"] = [
        (200, {"Retry-After": "86400"}, script.authorization("pending"))
    ]
    with pytest.raises(CaUnreachable, match="in time"):
        ca.wait_until_valid(order, soon(clock))
    assert clock.slept == [30]


def test_an_order_without_dns_challenge_or_pending_authorization_is_refused(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    for authorization in (
        script.authorization("pending", kind="http-01"),
        script.authorization("pending", kind="dns-unheard-of-09"),
        script.authorization("invalid"),
    ):
        script.replies["/authorization/1"] = [(200, {}, authorization)]
        with pytest.raises(AuthorizationFailed, match="no DNS-01 challenge"):
            ca.challenges(ca.new_order(CSR))
    script.replies["/authorization/1"] = [(200, {}, script.authorization("valid"))]
    assert ca.challenges(ca.new_order(CSR)) == ()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("path", ["/dir", "/newNonce", "/newOrder", "/authorization/1"])
def test_a_fault_of_the_ca_is_its_own(
    ca: CertificateAuthority, script: ScriptedAuthority, status: int, path: str
) -> None:
    script.replies[path] = [(status, {}, "<html>Bad Gateway</html>")]
    with pytest.raises(CaUnreachable, match=f"HTTP {status}") as caught:
        ca.challenges(ca.new_order(CSR))
    assert (caught.value.code, caught.value.retry_at) == (status, None)
    # What makes something is sent once; what only reads is worth another try.
    assert script.asked.count(path) == (1 if path == "/newOrder" else READ_TRIES)


def test_a_rate_limit_says_when_to_come_back(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
) -> None:
    script.replies["/newOrder"] = [
        script.problem(429, "rateLimited", "too many", Retry_After="3600")
    ]
    with pytest.raises(RateLimited, match="too many") as caught:
        ca.new_order(CSR)
    assert caught.value.retry_at == clock.now() + timedelta(hours=1)
    assert script.asked.count("/newOrder") == 1


@pytest.mark.parametrize(
    "directory",
    [
        "<html>It works!</html>",
        "",
        [],
        5,
        None,
        "x",
        {},
        {"meta": 5},
        {"newNonce": 5},
        ["newOrder"],
    ],
)
def test_what_is_no_directory_is_said_to_be_none(
    ca: CertificateAuthority, script: ScriptedAuthority, directory: Any
) -> None:
    script.replies["/dir"] = [(200, {}, directory)]
    with pytest.raises(CaUnreachable) as caught:
        ca.new_order(CSR)
    assert "directory" in str(caught.value.hint)


@pytest.mark.parametrize("body", [[], 5, "x", {}, {"status": "unheard-of"}, {"authorizations": 5}])
@pytest.mark.parametrize("path", ["/newOrder", "/authorization/1"])
def test_answers_of_another_shape_are_an_error_of_ours(
    ca: CertificateAuthority, script: ScriptedAuthority, path: str, body: Any
) -> None:
    script.replies[path] = [(200, {}, body)]
    with pytest.raises(IssuanceError):
        ca.challenges(ca.new_order(CSR))


def test_a_nonce_is_replaced_a_few_times_and_not_for_ever(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    bad = script.problem(400, "badNonce")
    script.replies["/newOrder"] = [bad] * (NONCE_TRIES - 1) + script.replies["/newOrder"]
    assert ca.new_order(CSR).uri
    script.asked.clear()
    script.replies["/newOrder"] = [bad]
    with pytest.raises(CaUnreachable, match="badNonce"):
        ca.new_order(CSR)
    assert script.asked.count("/newOrder") == NONCE_TRIES


def test_an_order_that_stays_in_process_is_left_at_the_deadline(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    script.replies["/order/1"] = [(200, {}, script.order("processing"))]
    with pytest.raises(CaUnreachable, match="in time") as caught:
        ca.finish(order, soon(clock, 10))
    assert sum(clock.slept) == 10
    assert "takes the order up" in str(caught.value.hint)
    assert "/finalize/1" not in script.asked


def test_a_request_is_sent_once_even_if_the_order_stays_ready(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    script.replies["/order/1"] = [(200, {}, script.order("ready"))]
    with pytest.raises(CaUnreachable, match="in time"):
        ca.finish(order, soon(clock, 5))
    assert script.asked.count("/finalize/1") == 1
    assert sum(clock.slept) == 5


def test_a_valid_order_without_certificate_is_left_at_the_deadline(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    script.replies["/order/1"] = [(200, {}, script.order("valid"))]
    with pytest.raises(CaUnreachable, match="in time"):
        ca.finish(order, soon(clock, 5))


def test_an_order_is_finished_after_some_waiting(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    script.replies["/order/1"] = [
        (200, {}, script.order("ready")),
        (200, {"Retry-After": "4"}, script.order("processing")),
        (200, {}, script.order("valid", certificate=f"{script.url}/certificate/1")),
    ]
    script.replies["/certificate/1"] = [(200, {}, "-----BEGIN CERTIFICATE-----\n")]
    assert ca.finish(order, soon(clock)) == "-----BEGIN CERTIFICATE-----\n"
    assert clock.slept == [ISSUE_SECONDS, 4]


def test_an_order_that_the_ca_gives_up_says_why(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, order: OrderResource
) -> None:
    error = script.problem(400, "caa", "forbidden\x1b[2J")[2]
    script.replies["/order/1"] = [(200, {}, script.order("invalid", error=error))]
    with pytest.raises(OrderFailed, match=r"gave the order up: forbidden\\x1b"):
        ca.finish(order, soon(clock))


def test_an_earlier_order_is_taken_up_or_known_to_be_gone(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    url = f"{script.url}/order/1"
    found = ca.order(url, CSR)
    assert found is not None
    assert len(ca.challenges(found)) == 1
    gone = script.problem(404, "malformed", "no such thing")
    script.replies["/authorization/1"] = [gone]
    assert ca.order(url, CSR) is None
    script.replies["/order/1"] = [gone]
    assert ca.order(url, CSR) is None
    script.replies["/order/1"] = [script.problem(500, "serverInternal")]
    with pytest.raises(CaUnreachable):
        ca.order(url, CSR)
    script.replies["/order/1"] = [script.problem(429, "rateLimited")]
    with pytest.raises(RateLimited):
        ca.order(url, CSR)


def test_a_ca_that_is_down_is_unreachable(clock: Clock, tmp_path: Path) -> None:
    with ScriptedAuthority(tmp_path) as script:
        pass
    client = CertificateAuthority(
        script.directory, KEY, ca_bundle=script.ca_bundle, sleep=clock.sleep, now=clock.now
    )
    try:
        with pytest.raises(CaUnreachable, match="cannot be reached"):
            client.register(None)
    finally:
        client.close()
    assert clock.slept == []
