"""A zone in memory, with its provider and nameservers, which all fail at times."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from distributor.dns_providers.contract import Receipt
from distributor.model.errors import DnsRefused, PropagationTimeout
from tests.simulation.clock import Clock, Spans


@dataclass
class Zone:
    clock: Clock
    refuses: Spans = field(default_factory=Spans)
    """When the provider does not take changes."""
    is_hidden: Spans = field(default_factory=Spans)
    """When CAs do not find what the authorities serve."""
    values: set[tuple[str, str]] = field(default_factory=set)

    def works_at(self, moment: datetime) -> bool:
        return not any(
            trouble.has(when)
            for trouble in (self.refuses, self.is_hidden)
            for when in (moment, moment + timedelta(minutes=5))
        )

    def is_seen_at(self, moment: datetime, value: str) -> bool:
        return not self.is_hidden.has(moment) and value in {text for _, text in self.values}

    def present(self, receipt: Receipt) -> None:
        self._changed()
        self.values |= {(receipt.name, value) for value in receipt.values}

    def cleanup(self, receipt: Receipt) -> None:
        self._changed()
        self.values -= {(receipt.name, value) for value in receipt.values}

    def is_ready(self, receipt: Receipt) -> bool | None:  # noqa: ARG002 - the provider's
        return None

    def follow(self, name: str) -> str:
        return name

    def wait_for(
        self,
        wanted: dict[str, tuple[str, ...]],
        timeout: timedelta,  # noqa: ARG002 - the nameservers'
        progress: Callable[[str], None],  # noqa: ARG002 - the nameservers'
        signal: Callable[[], bool | None],  # noqa: ARG002 - the nameservers'
    ) -> None:
        self.clock.pass_by(timedelta(seconds=20))
        if any((name, value) not in self.values for name, own in wanted.items() for value in own):
            raise PropagationTimeout("not there", hint="wait", step="dns")

    def _changed(self) -> None:
        if self.refuses.has(self.clock.now()):
            raise DnsRefused("no", hint="try again", step="dns")
