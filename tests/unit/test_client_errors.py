"""Every exception that a library can raise has a translation into our own tree."""

import errno
import inspect
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType

import acme.errors
import acme.messages
import dns.dnssec
import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.resolver
import dns.tsig
import dns.update
import dns.xfr
import dns.zone
import josepy.errors
import pytest
import requests.exceptions
import urllib3.exceptions
from hypothesis import example, given
from hypothesis import strategies as st

from distributor.clients import acme_errors, dns_errors, http_errors
from distributor.model.errors import (
    AccountUnknown,
    AuthorizationFailed,
    CaUnreachable,
    DnsRefused,
    HostError,
    IssuanceError,
    OrderFailed,
    ProtocolError,
    RateLimited,
    Unreachable,
)
from distributor.model.text import printable

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def errors_of(*modules: ModuleType) -> list[type[Exception]]:
    """Return the exceptions that modules define; warnings are no errors."""
    return [
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception)
        and not issubclass(kind, Warning)
        and kind.__module__.partition(".")[0] == module.__name__.partition(".")[0]
    ]


def descendants(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def bare(kind: type[Exception]) -> Exception:
    """Make an exception without its constructor, which may want a whole connection pool."""
    error = kind.__new__(kind)
    if isinstance(error, dns.exception.DNSException):
        error.kwargs = {}
    return error


SYSTEM: list[Exception] = [
    OSError(errno.EHOSTUNREACH, "no route"),
    ConnectionResetError(),
    BrokenPipeError(),
    TimeoutError(),
    ssl.SSLError(),
    ssl.SSLEOFError(),
    ssl.SSLZeroReturnError(),
]
HTTP_ERRORS = errors_of(requests.exceptions, urllib3.exceptions)
ACME_ERRORS = errors_of(acme.errors, josepy.errors, requests.exceptions)
DNS_ERRORS = sorted(set(descendants(dns.exception.DNSException)), key=str)


def test_the_walks_found_something() -> None:
    assert len(HTTP_ERRORS) > 40
    assert len(ACME_ERRORS) > 35
    assert len(DNS_ERRORS) > 60


@pytest.mark.parametrize("kind", HTTP_ERRORS, ids=str)
def test_http_errors_are_translated(kind: type[Exception]) -> None:
    error = http_errors.translate(bare(kind), "nas:5001")
    assert isinstance(error, Unreachable | ProtocolError)
    assert error.message.startswith("nas:5001: ")
    assert error.hint


@pytest.mark.parametrize("system", SYSTEM, ids=repr)
def test_errors_of_the_system_are_translated(system: Exception) -> None:
    assert isinstance(http_errors.translate(system, "nas:5001"), HostError)
    if isinstance(system, ssl.SSLError):
        return
    assert isinstance(dns_errors.translate(system, "192.0.2.53", "asking"), DnsRefused)


def test_what_may_be_tried_again_is_unreachable_and_nothing_else() -> None:
    for away in (requests.ConnectTimeout(), requests.ReadTimeout(), requests.ConnectionError()):
        assert isinstance(http_errors.translate(away, "nas"), Unreachable)
    for odd in (requests.exceptions.SSLError(), requests.exceptions.InvalidURL()):
        assert isinstance(http_errors.translate(odd, "nas"), ProtocolError)


@pytest.mark.parametrize("kind", ACME_ERRORS, ids=str)
def test_acme_errors_are_translated(kind: type[Exception]) -> None:
    error = acme_errors.translate(bare(kind), "https://ca.example/dir", NOW)
    assert isinstance(error, IssuanceError)
    assert "https://ca.example/dir" in error.message
    assert error.hint


@pytest.mark.parametrize("kind", [TypeError, AttributeError, KeyError, ValueError, OverflowError])
def test_json_of_another_shape_is_translated(kind: type[Exception]) -> None:
    assert isinstance(acme_errors.translate(kind(), "https://ca.example/dir", NOW), CaUnreachable)


@pytest.mark.parametrize("kind", DNS_ERRORS, ids=str)
def test_dns_errors_are_translated(kind: type[Exception]) -> None:
    error = dns_errors.translate(bare(kind), "192.0.2.53", "asking")
    assert isinstance(error, DnsRefused)
    assert "192.0.2.53" in error.message
    assert error.hint


def test_a_mistake_of_our_own_is_not_passed_off_as_the_peers() -> None:
    with pytest.raises(TypeError, match="ZeroDivisionError"):
        http_errors.translate(ZeroDivisionError(), "peer")
    with pytest.raises(TypeError, match="ZeroDivisionError"):
        acme_errors.translate(ZeroDivisionError(), "peer", NOW)
    with pytest.raises(TypeError, match="ZeroDivisionError"):
        dns_errors.translate(ZeroDivisionError(), "peer", "asking")


KNOWN_TYPES = sorted(set(acme.messages.ERROR_CODES) | {"alreadyReplaced", "userActionRequired"})


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500, 503])
@pytest.mark.parametrize("name", [*KNOWN_TYPES, "unheardOf", ""])
def test_every_problem_document_has_an_error_with_the_cas_words(name: str, status: int) -> None:
    document = {"type": acme_errors.PREFIX + name, "detail": "because\x1b[2J"}
    error = acme_errors.from_problem(acme_errors.Problem(status, document), "the CA", NOW)
    assert isinstance(error, IssuanceError)
    assert "because\\x1b[2J" in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rateLimited", RateLimited),
        ("accountDoesNotExist", AccountUnknown),
        ("rejectedIdentifier", OrderFailed),
        ("caa", AuthorizationFailed),
        ("dns", AuthorizationFailed),
        ("unauthorized", OrderFailed),
        ("badNonce", CaUnreachable),
        ("serverInternal", CaUnreachable),
    ],
)
def test_kinds_of_problems_are_told_apart(name: str, kind: type[IssuanceError]) -> None:
    problem = acme_errors.Problem(500, {"type": acme_errors.PREFIX + name})
    assert type(acme_errors.from_problem(problem, "the CA", NOW)) is kind


@given(st.dictionaries(st.sampled_from(["type", "detail", "title"]), st.text() | st.integers()))
def test_a_document_of_any_content_is_a_problem(document: dict[str, object]) -> None:
    problem = acme_errors.Problem(400, document)
    assert acme_errors.from_problem(problem, "the CA", NOW).message


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "detail", "subproblems", "identifier", "value", "instance"]
                ),
                inner,
            )
        ),
    )
)
def test_subproblems_of_any_content_are_told(content: object) -> None:
    problem = acme_errors.Problem(400, {"subproblems": content, "instance": content})
    message = acme_errors.from_problem(problem, "the CA", NOW).message
    assert printable(message, len(message)) == message


def subproblem(name: str, value: str) -> dict[str, object]:
    identifier = {"type": "dns", "value": value}
    return {"type": acme_errors.PREFIX + name, "detail": f"{name}!", "identifier": identifier}


def compound(*names: str) -> acme_errors.Problem:
    listed = [subproblem(name, f"n{number}.test") for number, name in enumerate(names)]
    document = {"type": acme_errors.PREFIX + "compound", "detail": "many", "subproblems": listed}
    return acme_errors.Problem(403, document)


def test_every_name_of_a_compound_problem_is_told() -> None:
    error = acme_errors.from_problem(compound("caa", "rejectedIdentifier"), "the CA", NOW)
    assert "many; n0.test: caa!; n1.test: rejectedIdentifier!" in error.message
    many = acme_errors.from_problem(compound(*["dns"] * 25), "the CA", NOW)
    assert "n9.test" in many.message
    assert many.message.endswith("and 15 more")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["caa", "dns"], AuthorizationFailed),
        (["serverInternal", "dns"], AuthorizationFailed),
        (["rateLimited", "rejectedIdentifier"], OrderFailed),
        (["serverInternal", "serverInternal"], CaUnreachable),
        (["rateLimited"], RateLimited),
        (["unheardOf"], OrderFailed),
        ([], OrderFailed),
    ],
)
def test_a_compound_problem_is_the_cas_own_only_when_all_of_it_is(
    names: list[str], kind: type[IssuanceError]
) -> None:
    assert type(acme_errors.from_problem(compound(*names), "the CA", NOW)) is kind


def test_a_long_link_of_the_ca_is_shown_whole() -> None:
    link = f"https://portal.ca.example/unpause?jwt={'x' * 900}"
    document = {"type": acme_errors.PREFIX + "rateLimited", "detail": f"Please visit: {link}"}
    error = acme_errors.from_problem(acme_errors.Problem(429, document), "the CA", NOW)
    assert error.message.endswith(link)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_ca_in_trouble_says_when_to_come_back(status: int) -> None:
    problem = acme_errors.Problem(status, {}, {"Retry-After": "90"})
    error = acme_errors.from_problem(problem, "the CA", NOW)
    assert isinstance(error, CaUnreachable)
    assert error.retry_at == NOW + timedelta(seconds=90)


def test_too_many_requests_are_a_rate_limit_whoever_says_so() -> None:
    problem = acme_errors.Problem(429, {}, {"Retry-After": "Sat, 21 Nov 2026 12:01:00 GMT"})
    error = acme_errors.from_problem(problem, "the CA", NOW)
    assert isinstance(error, RateLimited)
    assert error.retry_at == NOW + timedelta(minutes=1)


def test_a_challenge_that_was_not_found_is_the_dns_and_an_account_that_may_not_is_not() -> None:
    document = {"type": acme_errors.PREFIX + "unauthorized", "detail": "no TXT"}
    of_name = acme_errors.of_authorization("*.example.com", "invalid", document)
    assert type(of_name) is AuthorizationFailed
    assert of_name.message == "the CA could not validate *.example.com (invalid): no TXT"
    of_order = acme_errors.of_order(document)
    assert type(of_order) is OrderFailed


def test_a_rate_limit_says_when_to_come_back() -> None:
    document = {"type": acme_errors.PREFIX + "rateLimited", "detail": "slow down"}
    problem = acme_errors.Problem(429, document, {"Retry-After": "0"})
    error = acme_errors.from_problem(problem, "the CA", NOW)
    assert isinstance(error, RateLimited)
    assert error.retry_at == NOW
    assert "2026-11-21 12:00 UTC" in error.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 5 ", 5),
        ("0", 0),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 14:01:00 +0200", 60),
        ("Sat, 21 Nov 2026 11:00:00 GMT", -3600),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(
    value: str | None, seconds: int | None
) -> None:
    wanted = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert acme_errors.retry_after(value, NOW) == wanted


def test_an_endless_retry_after_is_cut_to_a_year() -> None:
    assert acme_errors.retry_after("9" * 15, NOW) == NOW + timedelta(days=366)


@given(
    st.text(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,30} \d{2}:\d{2}:\d{2} \S{0,6}")
)
@example("9" * 5000)
@example("Mon, 01 Jan 0001 00:00:00 +2300")
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2300")
def test_any_retry_after_is_a_time_or_nothing(value: str) -> None:
    when = acme_errors.retry_after(value, NOW)
    assert when is None or when.tzinfo is UTC


@pytest.mark.parametrize("ended", [ssl.SSLEOFError(), ssl.SSLZeroReturnError()], ids=repr)
def test_tls_that_ends_in_the_middle_is_a_connection_that_broke_off(ended: ssl.SSLError) -> None:
    wrapped = requests.exceptions.SSLError()
    wrapped.__context__ = ended
    for error in (ended, wrapped):
        assert isinstance(http_errors.translate(error, "nas"), Unreachable)
