"""Which services use which certificate, and what proves it."""

from distributor.model.bindings import bindings
from distributor.model.bundle import forecast
from distributor.model.endpoints import Served
from distributor.model.errors import Unreachable
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.state import CERTIFICATE, LEAF, UNREADABLE, Address, State

ENTRY = Address("certificate", "home", "abc")
OTHER = Address("certificate", "", "def")
DESKTOP = Address("service", "DSM Desktop Service", "system/default")
FTPS = Address("service", "FTPS", "smbftpd/ftpd")
LOST = Address("service", "Lost", "x/lost")
STATE = State(
    {
        ENTRY: {LEAF: "sha256:1"},
        OTHER: {LEAF: UNREADABLE},
        DESKTOP: {CERTIFICATE: ENTRY},
        FTPS: {CERTIFICATE: OTHER},
        LOST: {CERTIFICATE: UNREADABLE},
    }
)


def served(port: int, service: str | None, *, silent: bool = False) -> Served:
    endpoint = Endpoint(address=SocketAddress("attic", port), certificate="home", service=service)
    if silent:
        return Served(endpoint=endpoint, error=Unreachable("no answer"))
    return Served(endpoint=endpoint, certificate=forecast("home", ("x",), "ec256", "ca"))


def test_a_service_is_proved_by_the_endpoints_that_name_it() -> None:
    desktop, ftps, silent = (
        served(5001, "system/default"),
        served(990, "ftps"),
        served(991, "FTPS", silent=True),
    )
    unnamed = served(443, None)
    found = {one.service: one for one in bindings(STATE, (desktop, ftps, unnamed, silent))}
    assert found[DESKTOP].proved_by == (desktop,)
    assert found[DESKTOP].leaf == "sha256:1"
    assert found[DESKTOP].entry == ENTRY
    assert found[FTPS].proved_by == (ftps, silent)


def test_a_reverse_proxy_is_proved_by_the_endpoint_that_asks_for_its_name() -> None:
    proxy = Address("service", "git.example.com", "ReverseProxy/0b7c0d6e")
    state = State({ENTRY: {LEAF: "sha256:1"}, proxy: {CERTIFICATE: ENTRY}})
    endpoint = Endpoint(
        address=SocketAddress("attic", 443), certificate="home", server_name="git.example.com"
    )
    shown = Served(endpoint=endpoint, certificate=forecast("home", ("x",), "ec256", "ca"))
    (found,) = bindings(state, (shown, served(443, None)))
    assert found.proved_by == (shown,)


def test_what_nothing_tells_is_not_made_up() -> None:
    found = {one.service: one for one in bindings(STATE, ())}
    assert found[FTPS].entry == OTHER
    assert found[FTPS].leaf is None
    assert found[LOST].entry is None
    assert found[LOST].leaf is None
    assert found[DESKTOP].proved_by == ()
