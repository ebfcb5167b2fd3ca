"""What a CA says about when to renew is understood, bounded, and doubted where it must be."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.acme_renewal_info import certificate_id, renewal_info
from distributor.model.errors import CaUnreachable, OrderFailed, RateLimited
from distributor.model.renewal_window import RenewalInfo
from tests.certs import hierarchy
from tests.unit.scripted_authority import ScriptedAuthority

LEAF = hierarchy(1).issue(["example.com"]).leaf
NOW = datetime.now(UTC)
PATH = f"/renewalInfo/{certificate_id(LEAF)}"
WINDOW = {"start": "2027-01-02T04:00:00Z", "end": "2027-01-03T04:00:00.123456789+01:00"}


@pytest.fixture(autouse=True)
def offered(script: ScriptedAuthority) -> None:
    script.resources["renewalInfo"] = f"{script.url}/renewalInfo"
    script.replies[PATH] = [(200, {}, {"suggestedWindow": WINDOW})]


def ask(script: ScriptedAuthority, leaf: x509.Certificate = LEAF) -> RenewalInfo | None:
    return renewal_info(script.directory, leaf, ca_bundle=script.ca_bundle, now=NOW)


def answered(script: ScriptedAuthority) -> RenewalInfo:
    info = ask(script)
    assert info is not None
    return info


def test_the_window_is_read_and_asked_for_again_in_six_hours(script: ScriptedAuthority) -> None:
    info = answered(script)
    assert info.start == datetime(2027, 1, 2, 4, tzinfo=UTC)
    assert info.end == datetime(2027, 1, 3, 3, 0, 0, 123456, tzinfo=UTC)
    assert info.start.tzinfo is UTC
    assert info.end.tzinfo is UTC
    assert info.explanation_url is None
    assert info.ask_again == NOW + timedelta(hours=6)
    assert script.asked == ["/dir", PATH]


def test_a_window_that_is_past_is_given_with_its_explanation(script: ScriptedAuthority) -> None:
    window = {"start": "2020-01-02T04:00:00Z", "end": "2020-01-03T04:00:00Z"}
    document = {"suggestedWindow": window, "explanationURL": "https://ca.example/why\x1b[2J"}
    script.replies[PATH] = [(200, {"Retry-After": "21600"}, document)]
    info = answered(script)
    assert info.end < NOW
    assert info.explanation_url == r"https://ca.example/why\x1b[2J"


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("21600", timedelta(hours=6)),
        ("0", timedelta(minutes=1)),
        ("59", timedelta(minutes=1)),
        ("86401", timedelta(days=1)),
        ("99999999999999", timedelta(days=1)),
        ("Mon, 01 Jan 2001 00:00:00 GMT", timedelta(minutes=1)),
        ("soon", timedelta(hours=6)),
    ],
)
def test_the_time_to_ask_again_is_bounded(
    script: ScriptedAuthority, header: str, wait: timedelta
) -> None:
    script.replies[PATH] = [(200, {"Retry-After": header}, {"suggestedWindow": WINDOW})]
    assert answered(script).ask_again == NOW + wait


@pytest.mark.parametrize("end", [WINDOW["start"], "2027-01-01T00:00:00Z"])
def test_a_window_that_ends_before_it_begins_is_no_answer(
    script: ScriptedAuthority, end: str
) -> None:
    window = {"start": WINDOW["start"], "end": end}
    script.replies[PATH] = [(200, {}, {"suggestedWindow": window})]
    with pytest.raises(CaUnreachable, match="no time at all"):
        ask(script)


@pytest.mark.parametrize(
    "document",
    [
        "<html>",
        [],
        5,
        None,
        {},
        {"suggestedWindow": 5},
        {"suggestedWindow": {}},
        {"suggestedWindow": {"start": WINDOW["start"]}},
        {"suggestedWindow": {"start": "2027-01-02T04:00:00", "end": "2027-01-03T04:00:00"}},
        {"suggestedWindow": {"start": 1, "end": 2}},
        {"suggestedWindow": {"start": WINDOW["start"], "end": "9999-12-31T23:59:59-23:59"}},
    ],
)
def test_an_answer_of_another_shape_is_said_to_be_one(
    script: ScriptedAuthority, document: Any
) -> None:
    script.replies[PATH] = [(200, {}, document)]
    with pytest.raises(CaUnreachable, match="not ACME"):
        ask(script)


def test_a_ca_without_renewal_information_has_none(script: ScriptedAuthority) -> None:
    for nothing in (None, ""):
        script.resources["renewalInfo"] = nothing
        assert ask(script) is None


def test_an_expired_certificate_is_not_asked_about(script: ScriptedAuthority) -> None:
    gone = hierarchy(1).issue(["example.com"], not_after=NOW - timedelta(days=1)).leaf
    assert ask(script, gone) is None
    assert script.asked == []


def test_a_certificate_that_the_ca_does_not_know_is_refused(script: ScriptedAuthority) -> None:
    script.replies[PATH] = [script.problem(404, "malformed", "certificate not found")]
    with pytest.raises(OrderFailed, match="certificate not found") as caught:
        ask(script)
    assert caught.value.step == "renewal info"


def test_a_ca_that_is_busy_says_when_to_come_back(script: ScriptedAuthority) -> None:
    script.replies[PATH] = [script.problem(429, "rateLimited", Retry_After="60")]
    with pytest.raises(RateLimited) as limited:
        ask(script)
    assert limited.value.retry_at == NOW + timedelta(minutes=1)
    script.replies[PATH] = [(503, {"Retry-After": "60"}, "<html>")]
    with pytest.raises(CaUnreachable) as busy:
        ask(script)
    assert busy.value.retry_at == NOW + timedelta(minutes=1)


def test_a_certificate_that_names_no_issuers_key_cannot_be_asked_about(
    script: ScriptedAuthority,
) -> None:
    with pytest.raises(OrderFailed, match="authority key identifier"):
        ask(script, hierarchy(0).certificate)


def named(key: bytes, serial: int) -> Any:
    """As much of a certificate as its id is made of."""
    identifier = x509.AuthorityKeyIdentifier(key, None, None)
    found = SimpleNamespace(value=identifier)
    extensions = SimpleNamespace(get_extension_for_class=lambda _: found)
    return SimpleNamespace(extensions=extensions, serial_number=serial)


def test_the_id_is_that_of_the_rfcs_own_example() -> None:
    key = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    assert certificate_id(named(key, 0x87654321)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@given(st.binary(min_size=1, max_size=20), st.integers(min_value=1, max_value=2**160))
def test_the_serial_of_an_id_is_a_positive_integer_as_der_writes_it(
    key: bytes, serial: int
) -> None:
    import base64

    issuer, _, octets = certificate_id(named(key, serial)).partition(".")
    decoded = base64.urlsafe_b64decode(octets + "=" * (-len(octets) % 4))
    assert int.from_bytes(decoded, "big", signed=True) == serial
    assert len(decoded) == 1 or int.from_bytes(decoded[1:], "big", signed=True) != serial
    assert base64.urlsafe_b64decode(issuer + "=" * (-len(issuer) % 4)) == key
