"""Old firmware's TLS: refused with a way out, and used only where the inventory says so."""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from distributor.access import trust_for
from distributor.clients.http import PinnedHttp
from distributor.clients.tls import probe, served_chain, verified_leaf
from distributor.inventory import load
from distributor.model.bundle import fingerprint
from distributor.model.errors import ProtocolError, Unreachable
from distributor.model.hosts import ApiAccess, Endpoint, SocketAddress
from distributor.model.trust import Trust
from tests.certs import NOW, Issued, hierarchy, pem
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import QUICK, House

OLD = replace(QUICK, old_tls=True)
HINT = 'it speaks only old TLS: update its firmware, or allow that for this host: tls = "legacy"'


@pytest.fixture
def old(make_house: MakeHouse) -> House:
    """A box of old firmware and a modern one; nobody is pinned yet."""
    return make_house("attic", "cellar", knobs={"attic": OLD}, pinned=False)


def allow(house: House, name: str = "attic") -> None:
    house.add_to_host(name, 'tls = "legacy"')


def test_a_box_with_old_tls_only_is_refused_with_the_way_out_and_the_others_go_on(
    old: House,
) -> None:
    trusted = old.run("trust", "attic", "cellar", "--yes")
    assert trusted.code == 1
    assert HINT in trusted.err
    assert "cellar  pinned" in trusted.err

    status = old.run("status", "--json")
    assert old.run("status").out.count(HINT) >= 1, status.out

    old.add_to_host("attic", f'tls_pin = "sha256:{"0" * 64}"')
    ran = old.run("--all", "--json")
    assert ran.code == 1
    assert ran.statuses() == {"attic": "failed", "cellar": "changed"}
    error = ran.host("attic")["error"]
    assert (error["kind"], error["hint"]) == ("ProtocolError", HINT)
    assert old.boxes["attic"].requests == ()


def test_a_handshake_that_old_tls_ends_says_so(old: House) -> None:
    box = old.boxes["attic"]
    address = SocketAddress("127.0.0.1", box.port)

    seen = probe(Endpoint(address=address, server_name="attic.example.test", certificate="home"))

    assert isinstance(seen.error, ProtocolError)
    assert seen.error.hint == HINT
    with pytest.raises(ProtocolError) as caught:
        served_chain(address, None)
    assert caught.value.hint == HINT
    assert served_chain(address, None, legacy=True)


def test_with_legacy_it_is_pinned_signed_in_to_changed_and_proved(old: House) -> None:
    allow(old)
    old.pin()

    ran = old.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert ran.statuses() == {"attic": "changed", "cellar": "changed"}
    assert ran.host("attic")["proof"] == "handshake"
    box, current = old.boxes["attic"], old.store.bundles.current("home")
    assert current is not None
    leaf = current.bundle.certificate("home").leaf
    for port in (box.port, box.service_ports["FTPS"]):
        chain = served_chain(SocketAddress(box.address, port), None, legacy=True)
        assert fingerprint(chain[0]) == leaf
        assert len(chain) == 2
    pinned = old.store.trust.pinned("attic")
    assert pinned is not None
    assert pinned.leaf == leaf
    assert box.sessions_open == 0

    writes = old.writes
    again = old.run("--all", "--json")
    assert again.statuses() == {"attic": "unchanged", "cellar": "unchanged"}
    assert old.writes == writes
    assert HINT not in old.run("status").said


def test_legacy_of_one_host_is_for_that_host_alone(make_house: MakeHouse) -> None:
    house = make_house("attic", "cellar", knobs={"attic": OLD, "cellar": OLD}, pinned=False)
    allow(house)

    ran = house.run("trust", "attic", "cellar", "--yes")

    assert ran.code == 1
    assert "attic  pinned" in ran.err
    assert "cellar  ProtocolError" in ran.err


def test_a_ca_vouches_for_a_box_with_old_tls_where_that_is_allowed(
    make_house: MakeHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house("attic", knobs={"attic": OLD}, stored=False, pinned=False)
    issuer = hierarchy(1)
    (tmp_path / "usual.pem").write_bytes(pem(issuer.root))
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "usual.pem"))
    issued = issuer.issue(["attic.example.test"], key="rsa2048")
    box = house.boxes["attic"]
    entry = box.import_entry(issued.certificate_pem, issued.private_key_pem, issued.chain_pem)
    box.bind("system/default", entry)
    house.add_to_host("attic", 'server_name = "attic.example.test"')

    def trusted() -> Trust:
        host = load(house.inventory).hosts["attic"]
        assert isinstance(host.access, ApiAccess)
        return trust_for(host, host.access, house.store, ())

    with pytest.raises(ProtocolError) as caught:
        trusted()
    assert caught.value.hint == HINT
    allow(house)

    trusted().check(issued.leaf, NOW)


@dataclass
class Everything:
    """A server of every version from TLS 1.0 on, and the versions that were agreed on."""

    address: SocketAddress
    issued: Issued
    root: Path
    agreed: list[str | None] = field(default_factory=list)

    def http(self, *, legacy: bool) -> None:
        trust = Trust(host="attic", leaves=frozenset({fingerprint(self.issued.leaf)}))
        with (
            PinnedHttp(self.address, trust, None, legacy=legacy) as http,
            pytest.raises(Unreachable),  # it says nothing but TLS
        ):
            http.request("GET", "/", seconds=10)

    def look(self, *, legacy: bool) -> None:
        assert served_chain(self.address, None, legacy=legacy)[0] == self.issued.leaf

    def vouch(self, *, legacy: bool) -> None:
        leaf = verified_leaf(self.address, "attic.example.test", self.root, legacy=legacy)
        assert leaf == fingerprint(self.issued.leaf)


@contextmanager
def everything(folder: Path, highest: ssl.TLSVersion) -> Iterator[Everything]:
    issuer = hierarchy(1)
    issued = issuer.issue(["attic.example.test"], key="rsa2048")
    root, both = folder / "root.pem", folder / "both.pem"
    root.write_bytes(pem(issuer.root))
    both.write_bytes(issued.fullchain_pem + issued.private_key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are meant here
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = highest
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(both)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        server = Everything(SocketAddress("127.0.0.1", listening.getsockname()[1]), issued, root)

        def serve() -> None:
            while not over.is_set():
                with suppress(TimeoutError, OSError):  # nobody came, or who came went
                    connection, _ = listening.accept()
                    connection.settimeout(5)
                    with connection, context.wrap_socket(connection, server_side=True) as secured:
                        server.agreed.append(secured.version())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            over.set()
            thread.join()


CLIENTS: dict[str, Callable[..., None]] = {
    "http": Everything.http,
    "look": Everything.look,
    "vouch": Everything.vouch,
}
every_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


@every_client
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("highest", "agreed"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_a_host_that_can_do_better_is_never_spoken_to_in_old_tls(
    tmp_path: Path,
    client: Callable[..., None],
    legacy: bool,
    highest: ssl.TLSVersion,
    agreed: str,
) -> None:
    with everything(tmp_path, highest) as server:
        client(server, legacy=legacy)

    assert server.agreed == [agreed]


@every_client
@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_agreed_on_only_where_that_is_allowed(
    tmp_path: Path, client: Callable[..., None], highest: ssl.TLSVersion
) -> None:
    with everything(tmp_path, highest) as server:
        with pytest.raises(ProtocolError) as caught:
            client(server, legacy=False)
        assert server.agreed == []
        client(server, legacy=True)

    assert caught.value.hint == HINT
    assert server.agreed == [{"TLSv1": "TLSv1", "TLSv1_1": "TLSv1.1"}[highest.name]]
