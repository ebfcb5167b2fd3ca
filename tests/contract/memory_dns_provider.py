"""The reference provider: zones in memory behind a service with a signal, as big ones have it."""

from dataclasses import dataclass, field

from distributor.dns_providers.contract import Receipt
from distributor.model.errors import DnsRefused
from distributor.model.secret import Secret


@dataclass
class MemoryService:
    """A DNS service: what it was given, and what its nameservers serve of it by now."""

    zones: tuple[str, ...]
    granted: frozenset[str]
    """Names that the key may change."""
    key_name: str
    secret: Secret
    lags: bool = False
    """True: the second nameserver gets nothing until `spread`."""
    given: dict[str, set[str]] = field(default_factory=dict)
    nameservers: tuple[dict[str, set[str]], ...] = field(default_factory=lambda: ({}, {}))

    def change(self, name: str, added: set[str], removed: set[str]) -> None:
        """Change the values of a name at the first nameserver, and at the second unless it lags."""
        values = (self.given.get(name, set()) | added) - removed
        self.given[name] = values
        self.nameservers[0][name] = set(values)
        if not self.lags:
            self.spread()

    def spread(self) -> None:
        """Bring every nameserver up to date."""
        for served in self.nameservers:
            served.clear()
            served.update({name: set(values) for name, values in self.given.items()})


@dataclass
class MemoryProvider:
    """Publishes at a service, by name and secret of a key; None for a service that is down."""

    service: MemoryService | None
    key_name: str
    secret: Secret

    def present(self, receipt: Receipt) -> None:
        self._allowed(receipt).change(receipt.name, set(receipt.values), set())

    def is_ready(self, receipt: Receipt) -> bool | None:
        service = self._allowed(receipt)
        return all(
            set(receipt.values) <= served.get(receipt.name, set()) for served in service.nameservers
        )

    def cleanup(self, receipt: Receipt) -> None:
        self._allowed(receipt).change(receipt.name, set(), set(receipt.values))

    def _allowed(self, receipt: Receipt) -> MemoryService:
        service = self.service
        if service is None:
            raise DnsRefused("no connection to the service", hint="is it running?")
        if self.key_name != service.key_name:
            raise DnsRefused("the service does not know the key", hint="correct the key's name")
        if self.secret != service.secret:
            raise DnsRefused("the service does not accept the key", hint="correct the key")
        if not any(receipt.name.endswith(f".{zone}") for zone in service.zones):
            raise DnsRefused(f"no zone for {receipt.name}", hint="name another service")
        if receipt.name not in service.granted:
            raise DnsRefused(f"may not change {receipt.name}", hint="allow the key to")
        return service
