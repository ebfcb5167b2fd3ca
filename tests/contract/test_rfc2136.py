"""Dynamic update keeps the laws at the lab's nameserver and at BIND."""

import base64
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import dns.message
import dns.opcode
import dns.tsig
import dns.update
import pytest

from distributor.dns_providers.contract import DnsProvider, Receipt
from distributor.dns_providers.rfc2136 import Rfc2136
from distributor.lab.nameserver import Nameserver
from distributor.model.errors import DnsRefused, SecretError
from distributor.model.hosts import PlainSecret, Rfc2136Settings, SocketAddress
from distributor.model.secret import Secret
from tests.contract.dns_provider_laws import CLOSED, DEEPER, NAME, DnsProviderLaws, ProviderRig
from tests.e2e.servers import Bind, Zone, send_update, txt
from tests.unit.scripted_nameserver import nothing

SECRET = base64.b64encode(b"the lab's own TSIG key, 32 bytes").decode()
OTHER_SECRET = base64.b64encode(b"another key of the same length !").decode()
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A running nameserver; `writer` may add values at our names as somebody else would."""

    port: int
    key_name: str
    secret: str
    algorithm: str = "hmac-sha256"


class Rfc2136Rig(ProviderRig):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.secret = server.secret

    def provider(self) -> DnsProvider:
        return self._provider(self._settings(), self.server.secret)

    def provider_with_unknown_key(self) -> DnsProvider:
        return self._provider(replace(self._settings(), key_name="nobody"), self.server.secret)

    def provider_with_wrong_secret(self) -> DnsProvider:
        return self._provider(self._settings(), OTHER_SECRET)

    def provider_of_a_dead_server(self) -> DnsProvider:
        with socket.create_server((ADDRESS, 0)) as unused:
            port = unused.getsockname()[1]
        settings = replace(self._settings(), server=SocketAddress(ADDRESS, port))
        return self._provider(settings, self.server.secret)

    def values(self, name: str) -> set[str]:
        return txt((ADDRESS, self.server.port), name)

    def put(self, name: str, value: str) -> None:
        self._send(lambda update: update.add(f"{name}.", 60, "TXT", f'"{value}"'))

    def clear(self) -> None:
        for name in (NAME, DEEPER):
            if self.values(name):
                self._send(lambda update, name=name: update.delete(f"{name}.", "TXT"))

    def spread(self) -> None:
        """Do nothing: there is one server, and it serves what it took."""

    def _send(self, change: object) -> None:
        secret = base64.b64decode(self.server.secret)
        key = dns.tsig.Key(self.server.key_name, secret, self.server.algorithm)
        assert send_update((ADDRESS, self.server.port), "example.test", key, change) == 0  # type: ignore[arg-type]

    def _settings(self) -> Rfc2136Settings:
        return Rfc2136Settings(
            server=SocketAddress(ADDRESS, self.server.port),
            key_name=self.server.key_name,
            key_algorithm=self.server.algorithm,
            key=PlainSecret(Secret(self.server.secret)),
        )

    @staticmethod
    def _provider(settings: Rfc2136Settings, secret: str) -> DnsProvider:
        return Rfc2136(settings, lambda: Secret(secret))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    zones = (
        Zone("example.test", grants=[f"name {NAME}. TXT", f"name {DEEPER}. TXT"]),
        Zone("closed.test", grants=["name nothing.closed.test. A"]),
    )
    with (
        Nameserver(["example.test"], key_name="lab-key", key_secret=SECRET) as lab,
        Bind(tmp_path_factory.mktemp("bind"), zones=zones) as bind,
    ):
        yield {
            "lab": Server(lab.address[1], "lab-key", SECRET),
            "bind": Server(bind.port, bind.key_name, bind.key_secret),
        }


class TestAtTheLabsNameserver(DnsProviderLaws):
    covers = "rfc2136"

    def make_rig(self, servers: Mapping[str, Server]) -> AbstractContextManager[ProviderRig]:
        return _rig(servers["lab"])


class TestAtBind(DnsProviderLaws):
    covers = "rfc2136"

    def make_rig(self, servers: Mapping[str, Server]) -> AbstractContextManager[ProviderRig]:
        return _rig(servers["bind"])


@contextmanager
def _rig(server: Server) -> Iterator[ProviderRig]:
    yield Rfc2136Rig(server)


def test_an_update_has_no_signal_of_its_own(servers: Mapping[str, Server]) -> None:
    for server in servers.values():
        provider, receipt = Rfc2136Rig(server).provider(), Receipt(NAME, ("x",))
        provider.present(receipt)
        assert provider.is_ready(receipt) is None
        provider.cleanup(receipt)


def test_a_key_that_is_no_base64_is_not_shown(servers: Mapping[str, Server]) -> None:
    rig = Rfc2136Rig(servers["lab"])
    provider = rig._provider(rig._settings(), "=secret=thing")
    with pytest.raises(DnsRefused, match="not base64") as caught:
        provider.present(Receipt(NAME, ("x",)))
    assert caught.value.__cause__ is None
    assert "thing" not in repr(caught.value)


def test_a_key_with_white_space_around_it_is_taken(servers: Mapping[str, Server]) -> None:
    rig = Rfc2136Rig(servers["lab"])
    rig._provider(rig._settings(), f" {SECRET}\n").present(Receipt(NAME, ("x",)))
    assert rig.values(NAME) == {"x"}
    rig.clear()


def test_a_key_that_cannot_be_fetched_says_so_itself(servers: Mapping[str, Server]) -> None:
    def fetch() -> Secret:
        raise SecretError("the environment variable TSIG_KEY is not set", step="secret")

    with pytest.raises(SecretError):
        Rfc2136(Rfc2136Rig(servers["lab"])._settings(), fetch).present(Receipt(NAME, ("x",)))


def test_a_server_that_never_answers_is_given_up(
    servers: Mapping[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.dns_providers.rfc2136.SECONDS", 0.2)
    with socket.create_server((ADDRESS, 0)) as silent:
        rig = Rfc2136Rig(servers["lab"])
        settings = replace(rig._settings(), server=SocketAddress(ADDRESS, silent.getsockname()[1]))
        with pytest.raises(DnsRefused, match="no answer"):
            rig._provider(settings, SECRET).present(Receipt(NAME, ("x",)))


@pytest.mark.parametrize("server", ["lab", "bind"])
def test_a_refusal_says_that_nothing_was_written(
    servers: Mapping[str, Server], server: str
) -> None:
    rig = Rfc2136Rig(servers[server])
    refused = [
        (rig.provider_with_unknown_key(), NAME),
        (rig.provider_with_wrong_secret(), NAME),
        (rig.provider_of_a_dead_server(), NAME),
        (rig.provider(), CLOSED),
    ]
    for provider, name in refused:
        with pytest.raises(DnsRefused) as caught:
            provider.present(Receipt(name, ("x",)))
        assert caught.value.wrote_nothing


def test_an_update_whose_answer_is_lost_may_be_written(servers: Mapping[str, Server]) -> None:
    rig = Rfc2136Rig(servers["lab"])
    with socket.create_server((ADDRESS, 0)) as listening, ThreadPoolExecutor(1) as pool:
        update = pool.submit(lose_an_update, listening)
        settings = replace(rig._settings(), server=SocketAddress(*listening.getsockname()[:2]))
        with pytest.raises(DnsRefused) as caught:
            rig._provider(settings, SECRET).present(Receipt(NAME, ("x",)))
        assert update.result(10)
    assert not caught.value.wrote_nothing


def lose_an_update(listening: socket.socket) -> bool:
    """Say which zone there is, and take what comes next without an answer; was it an update?"""
    for is_last in (False, True):
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as stream:
            wire = stream.read(int.from_bytes(stream.read(2)))
            if is_last:
                return dns.opcode.from_flags(int.from_bytes(wire[2:4])) == dns.opcode.UPDATE
            answer = nothing(authoritative=True)(dns.message.from_wire(wire))
            assert answer is not None
            connection.sendall(len(answer).to_bytes(2) + answer)
    return False
