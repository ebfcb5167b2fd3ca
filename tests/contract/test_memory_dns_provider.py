"""The reference provider keeps the laws, and waiting for it goes by its signal."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from distributor.dns_providers.contract import DnsProvider, Receipt
from distributor.model.secret import Secret
from tests.contract.dns_provider_laws import DEEPER, NAME, DnsProviderLaws, ProviderRig
from tests.contract.memory_dns_provider import MemoryProvider, MemoryService

KEY = "memory-key"
SECRET = "the secret of the memory's key"
RECEIPT = Receipt(NAME, ("a", "b"))


def service(*, lags: bool) -> MemoryService:
    return MemoryService(
        zones=("example.test", "closed.test"),
        granted=frozenset({NAME, DEEPER}),
        key_name=KEY,
        secret=Secret(SECRET),
        lags=lags,
    )


@dataclass
class MemoryRig(ProviderRig):
    service: MemoryService
    secret: str = SECRET

    def provider(self) -> DnsProvider:
        return MemoryProvider(self.service, KEY, Secret(SECRET))

    def provider_with_unknown_key(self) -> DnsProvider:
        return MemoryProvider(self.service, "nobody", Secret(SECRET))

    def provider_with_wrong_secret(self) -> DnsProvider:
        return MemoryProvider(self.service, KEY, Secret("another"))

    def provider_of_a_dead_server(self) -> DnsProvider:
        return MemoryProvider(None, KEY, Secret(SECRET))

    def values(self, name: str) -> set[str]:
        return set(self.service.nameservers[0].get(name, ()))

    def put(self, name: str, value: str) -> None:
        self.service.change(name, {value}, set())

    def clear(self) -> None:
        self.service.given.clear()
        self.service.spread()

    def spread(self) -> None:
        self.service.spread()


@pytest.fixture
def servers() -> Mapping[str, MemoryService]:
    return {"quick": service(lags=False), "slow": service(lags=True)}


@contextmanager
def _rig(running: MemoryService) -> Iterator[ProviderRig]:
    yield MemoryRig(running)


class TestAServiceThatIsQuick(DnsProviderLaws):
    covers = "memory"

    def make_rig(self, servers: Mapping[str, MemoryService]) -> AbstractContextManager[ProviderRig]:
        return _rig(servers["quick"])


class TestAServiceThatIsSlow(DnsProviderLaws):
    covers = "memory"

    def make_rig(self, servers: Mapping[str, MemoryService]) -> AbstractContextManager[ProviderRig]:
        return _rig(servers["slow"])


def test_the_signal_waits_for_the_last_nameserver() -> None:
    slow = service(lags=True)
    provider = MemoryProvider(slow, KEY, Secret(SECRET))
    provider.present(RECEIPT)
    assert provider.is_ready(RECEIPT) is False
    slow.spread()
    assert provider.is_ready(RECEIPT) is True
