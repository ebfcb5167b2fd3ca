"""Which service answers at an endpoint: the one it names, else the one of its server name."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.choice import resolve, services_behind
from distributor.model.errors import Ambiguous
from distributor.model.hosts import Endpoint, SocketAddress, StartTls
from distributor.model.state import BEHIND, CERTIFICATE, NAMES, Address, FactValue, State

OLD = Address("certificate", "old", "aaaaaa")
HOME = Address("certificate", "home", "bbbbbb")
DSM = Address("service", "DSM Desktop Service", "system/default")
CUSTOM = Address("service", "DSM", "system/nas.example.test")
GIT = Address("service", "Git.example.test", "ReverseProxy/1")
FTPS = Address("service", "git.example.test", "smbftpd/ftpd")
SERVICES = (DSM, CUSTOM, GIT, FTPS)


def observed(services: Iterable[Address] = SERVICES) -> State:
    facts: dict[Address, dict[str, FactValue]] = {OLD: {NAMES: ("a",)}, HOME: {NAMES: ("b",)}}
    return State(facts | {one: {CERTIFICATE: OLD} for one in services})


def endpoint(
    name: str | None, *, service: str | None = None, starttls: StartTls | None = None
) -> Endpoint:
    return Endpoint(
        address=SocketAddress("192.0.2.1", 443),
        certificate="home",
        server_name=name,
        service=service,
        starttls=starttls,
    )


def desired(*behind: str, more: State | None = None) -> State:
    facts: dict[Address, dict[str, FactValue]] = {
        Address("certificate", "home"): {NAMES: ("b",), BEHIND: behind}
    }
    return State(facts | {a: dict(f) for a, f in (more.facts if more else {}).items()})


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("git.example.test", (GIT,)),  # not FTPS, whatever it is called
        ("GIT.EXAMPLE.TEST", (GIT,)),
        ("nas.example.test", (CUSTOM,)),
        ("default", (DSM,)),
        ("other.example.test", ()),
        (None, ()),
    ],
)
def test_a_server_name_means_the_service_that_the_web_server_shows_under_it(
    name: str | None, behind: tuple[Address, ...]
) -> None:
    assert services_behind(observed(), endpoint(name)) == behind


def test_a_service_that_is_named_wins_over_the_server_name() -> None:
    told = endpoint("git.example.test", service="smbftpd/ftpd")
    assert services_behind(observed(), told) == (FTPS,)


def test_a_port_that_begins_in_plain_text_is_no_web_server() -> None:
    assert services_behind(observed(), endpoint("git.example.test", starttls="imap")) == ()


def test_what_answers_to_the_name_is_bound_to_the_entry() -> None:
    bound = resolve(observed(), desired("git.example.test"))
    assert bound.get(GIT, CERTIFICATE) == HOME
    assert FTPS not in bound.facts
    assert bound.get(HOME, BEHIND) is None


def test_a_service_that_is_listed_for_another_certificate_keeps_to_that() -> None:
    other = Address("certificate", "old")
    listed = State({other: {NAMES: ("a",)}, Address("service", GIT.id): {CERTIFICATE: other}})
    bound = resolve(observed(), desired("git.example.test", more=listed))
    assert bound.get(GIT, CERTIFICATE) == OLD


def test_two_certificates_behind_one_name_are_ambiguous() -> None:
    other = State({Address("certificate", "old"): {NAMES: ("a",), BEHIND: ("git.example.test",)}})
    with pytest.raises(Ambiguous, match="behind endpoints of two certificates"):
        resolve(observed(), desired("git.example.test", more=other))


@given(st.text(max_size=20), st.sets(st.sampled_from(SERVICES)))
def test_a_name_that_nothing_answers_to_binds_nothing(name: str, services: set[Address]) -> None:
    state = observed(services)
    if not services_behind(state, endpoint(name)):
        assert resolve(state, desired(name)) == resolve(state, desired())
