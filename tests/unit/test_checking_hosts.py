"""What is said of one host, judged from what was seen of it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.checking.hosts import HostFacts, judge_host
from distributor.checking.names import judge_names
from distributor.checking.remarks import Remark
from distributor.model.endpoints import Served
from distributor.model.errors import (
    AuthRefused,
    DeviceRefused,
    DistributorError,
    DnsRefused,
    ProtocolError,
    SecretError,
    Unreachable,
    Untrusted,
)
from distributor.model.hosts import (
    ApiAccess,
    Delivery,
    Endpoint,
    EnvSecret,
    Host,
    SocketAddress,
)
from distributor.model.state import CERTIFICATE, Address, State
from distributor.model.web import Front, PlainAnswer
from distributor.reading import Reading

NAME = "attic.example.com"
CERTIFICATES = {"home": ("example.com", "*.example.com")}


def endpoint(port: int = 5001, name: str | None = NAME, host: str = "192.168.1.11") -> Endpoint:
    return Endpoint(address=SocketAddress(host, port), certificate="home", server_name=name)


def host(address: str = "192.168.1.11", *endpoints: Endpoint) -> Host:
    return Host(
        name="attic",
        kind="diskstation",
        via="api",
        address=address,
        access=ApiAccess(port=5001, user="certs", password=EnvSecret("P")),
        deliveries=(Delivery(certificate="home"),),
        endpoints=endpoints or (endpoint(),),
    )


def said(
    error: DistributorError | None = None,
    *,
    box: Host | None = None,
    state: State | None = None,
    served: tuple[Served, ...] = (),
    fronts: Mapping[str, Front] | None = None,
    plain: PlainAnswer | None = None,
) -> list[Remark]:
    reading = Reading(
        host=box or host(), served=served, error=error, state=None if error else state or State({})
    )
    facts = HostFacts(
        reading=reading,
        own=("192.168.1.11",),
        names={NAME: ("192.168.1.11",)},
        fronts=fronts or {},
        plain=plain,
    )
    return list(judge_host(facts, CERTIFICATES))


def only(*args: Any, **more: Any) -> Remark:
    (remark,) = said(*args, **more)
    assert remark.about == "host attic"
    assert remark.message
    assert remark.hint
    return remark


def test_of_a_sound_host_nothing_is_said() -> None:
    good = Front(status=200, skew=timedelta(seconds=3))
    redirect = PlainAnswer(status=302, location="https://192.168.1.11:5001/")
    assert said(fronts={"192.168.1.11": good, NAME: good}, plain=redirect) == []


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Untrusted("never pinned", hint="pin it"), "not-trusted"),
        (AuthRefused("no", hint="correct it", code=400), "login"),
        (Unreachable("away", hint="turn it on"), "unreachable"),
        (SecretError("none", hint="set it"), "secret"),
        (DeviceRefused("list: odd", hint="look", code=100), "host"),
        (ProtocolError("odd", hint="look", code=502), "host"),
    ],
)
def test_an_error_is_a_finding_with_its_own_words(error: DistributorError, name: str) -> None:
    remark = only(error)
    assert (remark.name, remark.message, remark.hint) == (name, error.message, error.hint)
    assert remark.is_finding


@pytest.mark.parametrize("code", [105, 117, 160])
def test_an_account_without_the_right_is_told_what_it_lacks(code: int) -> None:
    remark = only(DeviceRefused("list: no", code=code))
    assert remark.name == "rights"
    assert "'certs'" in remark.message
    assert "administrators" in remark.hint


def test_a_login_that_meets_404_is_explained_by_the_customised_domain() -> None:
    remark = only(ProtocolError("odd", code=404), box=host(NAME, endpoint(host=NAME)))
    assert remark.name == "customised-domain"
    assert remark.is_finding
    assert "server_name" in remark.hint


def test_a_name_that_dsm_serves_on_443_only_is_a_note() -> None:
    fronts = {"192.168.1.11": Front(status=200, skew=None), NAME: Front(status=404, skew=None)}
    remark = only(fronts=fronts)
    assert remark.name == "customised-domain"
    assert not remark.is_finding
    assert f"https://{NAME}/" in remark.hint


def test_404_for_every_name_is_no_customised_domain() -> None:
    missing = Front(status=404, skew=None)
    assert said(fronts={"192.168.1.11": missing, NAME: missing}) == []


@pytest.mark.parametrize(
    ("minutes", "words"), [(-6, "6 minutes behind"), (90, "90 minutes ahead of")]
)
def test_a_clock_that_is_off_is_a_finding(minutes: int, words: str) -> None:
    remark = only(fronts={"192.168.1.11": Front(status=200, skew=timedelta(minutes=minutes))})
    assert remark.name == "clock"
    assert words in remark.message


def test_endpoints_that_cannot_be_asked_are_named_each() -> None:
    silent = [
        Served(endpoint=endpoint(port), error=Unreachable(f"no answer from {port}", hint="look"))
        for port in (990, 5001)
    ]
    found = said(served=tuple(silent))
    assert [one.message for one in found] == ["no answer from 990", "no answer from 5001"]
    assert all(one.name == "endpoint" for one in found)
    dead = said(Unreachable("away", hint="look"), served=tuple(silent))
    assert [one.name for one in dead] == ["unreachable", "endpoint"]


@pytest.mark.parametrize(
    ("plain", "name"),
    [
        (PlainAnswer(status=200, location=None), "plain-http"),
        (PlainAnswer(status=302, location="http://192.168.1.11:5000/x"), "plain-http"),
        (PlainAnswer(status=302, location="https://other.example.com:5001/"), "redirect"),
        (PlainAnswer(status=301, location="https://other.example.com"), "redirect"),
    ],
)
def test_a_plain_port_that_does_not_lead_to_the_proved_name_is_a_note(
    plain: PlainAnswer, name: str
) -> None:
    remark = only(plain=plain)
    assert remark.name == name
    assert not remark.is_finding


@pytest.mark.parametrize(
    "plain",
    [
        None,
        PlainAnswer(status=404, location=None),
        PlainAnswer(status=302, location=f"https://{NAME}:5001/"),
        PlainAnswer(status=302, location=f"HTTPS://{NAME.upper()}"),
        PlainAnswer(status=302, location="https://192.168.1.11:5001/webman/"),
    ],
)
def test_a_plain_port_that_leads_to_a_proved_name_is_well(plain: PlainAnswer | None) -> None:
    assert said(plain=plain) == []


@pytest.mark.parametrize("there", ["https://[2001:db8::1]:5001/", "https://[2001:db8::1]"])
def test_a_redirect_to_an_ipv6_address_is_understood(there: str) -> None:
    box = host("2001:db8::1", endpoint(host="2001:db8::1"))
    assert said(plain=PlainAnswer(status=302, location=there), box=box) == []


@pytest.mark.parametrize("there", ["https://[broken/", "https://", "//x", "javascript:1"])
def test_a_redirect_that_is_no_https_url_is_no_redirect_to_https(there: str) -> None:
    assert only(plain=PlainAnswer(status=302, location=there)).name == "plain-http"


ENTRY = Address("certificate", "home", "abc")


@pytest.mark.parametrize(
    ("rule", "proposed"),
    [
        ("git.example.com", True),
        ("Git.Example.com", True),
        (NAME, False),
        ("git.other.net", False),
        ("a.b.example.com", False),
        ("*", False),
        ("", False),
        ("192.168.1.11", False),
        ('x", server_name = "evil', False),
    ],
)
def test_reverse_proxies_that_the_certificate_covers_are_proposed(
    rule: str, proposed: bool
) -> None:
    service = Address("service", rule, "ReverseProxy/0b7c0d6e")
    found = said(state=State({service: {CERTIFICATE: ENTRY}, ENTRY: {}}))
    assert [one.name for one in found] == ["reverse-proxy"] * proposed
    for one in found:
        assert not one.is_finding
        assert (
            '{ address = "192.168.1.11:443", server_name = "git.example.com", '
            'service = "git.example.com" }'
        ) in one.hint


def test_another_service_of_that_name_is_no_reverse_proxy() -> None:
    service = Address("service", "git.example.com", "AppPortal/x")
    assert said(state=State({service: {CERTIFICATE: ENTRY}, ENTRY: {}})) == []


def names_said(own: tuple[str, ...], found: tuple[str, ...] | DistributorError) -> list[Remark]:
    return list(judge_names(host(), own, {NAME: found}))


def test_a_name_without_address_comes_with_the_records_to_set() -> None:
    (remark,) = names_said(("192.168.1.11", "fd00::1"), ())
    assert remark.name == "no-address"
    assert f"{NAME}. A 192.168.1.11, {NAME}. AAAA fd00::1" in remark.hint


@pytest.mark.parametrize(
    ("own", "found", "name"),
    [
        (("192.168.1.11",), ("192.168.1.12",), "other-address"),
        (("192.168.1.11",), ("192.168.1.11", "192.168.1.12"), "other-address"),
        (("192.168.1.11",), ("8.8.8.8",), "public-address"),
        (("192.168.1.11",), ("8.8.8.8", "192.168.1.12"), "other-address"),
        (("9.9.9.9",), ("8.8.8.8",), "other-address"),
        (("fd00::1",), ("fd00::2", "192.168.1.12"), "other-address"),
    ],
)
def test_a_name_that_leads_elsewhere_is_named(
    own: tuple[str, ...], found: tuple[str, ...], name: str
) -> None:
    (remark,) = names_said(own, found)
    assert remark.name == name
    assert remark.is_finding is (name == "other-address")
    assert f"{NAME}. {'AAAA' if ':' in own[0] else 'A'} {own[0]}" in remark.hint


@pytest.mark.parametrize(
    ("own", "found"),
    [
        (("192.168.1.11",), ("192.168.1.11",)),
        (("192.168.1.11",), ("192.168.1.11", "2001:db8::1")),
        (("192.168.1.11",), ("2001:db8::1",)),
        (("192.168.1.11", "192.168.1.12"), ("192.168.1.12",)),
        (("fd00::1",), ("fd00:0::1",)),
        ((), ("8.8.8.8",)),
        ((), ()),
    ],
)
def test_a_name_that_leads_to_the_host_or_cannot_be_compared_is_well(
    own: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert names_said(own, found) == []


def test_a_look_up_that_fails_is_named() -> None:
    (remark,) = names_said(("192.168.1.11",), DnsRefused("no answer", hint="is it on?"))
    assert (remark.name, remark.message, remark.hint) == ("dns-lookup", "no answer", "is it on?")


ADDRESSES = st.lists(st.ip_addresses().map(str), min_size=1, max_size=3).map(tuple)


@given(ADDRESSES)
def test_a_name_with_the_hosts_own_addresses_is_always_well(own: tuple[str, ...]) -> None:
    assert names_said(own, own) == []


@given(ADDRESSES, ADDRESSES)
def test_what_is_wrong_always_comes_with_a_record_to_set(
    own: tuple[str, ...], found: tuple[str, ...]
) -> None:
    for remark in names_said(own, found):
        assert all(f"{NAME}. A" in remark.hint for _ in own)
