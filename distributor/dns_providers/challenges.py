"""TXT values for DNS-01: journalled, published, waited for, and removed by exact value.

A rehearsal does all of it with a value of its own, and so shows without any CA whether an order
would find its way.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from distributor.clients.nameservers import Nameservers
from distributor.dns_providers.contract import DnsProvider, Receipt
from distributor.model.errors import DistributorError, DnsRefused, Interrupted
from distributor.store import OrderJournal

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Takes one line on where the work stands."""
LABEL: Final = "_acme-challenge"
"""The label that a CA looks below (RFC 8555 section 8.4)."""
MARK: Final = "distribute-check-"
"""Begins the value of a rehearsal, so that whoever finds it in a zone knows whose it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenges:
    """The TXT values of one certificate."""

    certificate: str
    journal: OrderJournal
    provider: DnsProvider
    nameservers: Nameservers
    timeout: timedelta

    def publish(self, values: Sequence[tuple[str, str]], progress: Progress) -> None:
        """Publish (name, value) pairs, and return when they are proved to stand.

        Names that lead to one end are published together. All is noted before the first value is
        published. Whatever happens, `remove` has to follow.
        """
        wanted: dict[str, tuple[str, ...]] = {}
        for asked, value in values:
            name = self.nameservers.follow(asked)
            wanted[name] = tuple(dict.fromkeys((*wanted.get(name, ()), value)))
        noted = dict(self.journal.challenges(self.certificate))
        for name, added in wanted.items():
            noted[name] = tuple(dict.fromkeys((*noted.get(name, ()), *added)))
        self.journal.note_challenges(self.certificate, noted)
        receipts = [Receipt(name, added) for name, added in wanted.items()]
        for receipt in receipts:
            progress(f"publishing {len(receipt.values)} TXT at {receipt.name}")
            self.provider.present(receipt)
        self.nameservers.wait_for(wanted, self.timeout, progress, lambda: self._are_ready(receipts))

    def remove(self) -> tuple[str, ...]:
        """Remove every noted value, also an earlier run's; return a line for each that stays.

        Each is removed at the name that was noted, wherever aliases lead by now. What cannot be
        removed stays noted, and is tried again later. Raises Interrupted once all were tried.
        """
        published: Mapping[str, tuple[str, ...]] = self.journal.challenges(self.certificate)
        left: dict[str, tuple[str, ...]] = {}
        lines: list[str] = []
        stop: Interrupted | None = None
        for name, values in published.items():
            try:
                self.provider.cleanup(Receipt(name, values))
            except DistributorError as error:
                left[name] = values
                lines.append(f"TXT at {name} could not be removed yet: {error.message}")
                log.warning("challenges step=cleanup name=%s error=%s", name, error.kind)
                stop = error if isinstance(error, Interrupted) else stop
        if published:
            self.journal.note_challenges(self.certificate, left)
        if stop is not None:
            raise stop
        return tuple(lines)

    def _are_ready(self, receipts: Sequence[Receipt]) -> bool | None:
        """Return the provider's own signal for all receipts; None when it lacks one for any."""
        signals = [self.provider.is_ready(receipt) for receipt in receipts]
        if False in signals:
            return False
        return None if None in signals else True


def rehearse(
    challenges: Challenges, names: Sequence[str], progress: Progress
) -> dict[str, DistributorError]:
    """Publish a marked value for each name, as an order would, and remove it again.

    Returns what went wrong, by the name that the CA would ask for; nothing is left out because
    another name failed. Raises Interrupted when the run is to stop; the values are removed before.
    """
    failures: dict[str, DistributorError] = {}
    for name in dict.fromkeys(f"{LABEL}.{one.removeprefix('*.')}" for one in names):
        left: tuple[str, ...] = ()
        try:
            try:
                value = MARK + secrets.token_hex(16)
                challenges.publish([(name, value)], progress)
            finally:
                left = challenges.remove()
        except Interrupted:
            raise
        except DistributorError as error:
            failures[name] = error
        for line in left:
            failures.setdefault(
                name,
                DnsRefused(
                    line,
                    hint="allow the provider's account to delete TXT records; the next run tries "
                    "again",
                    step="dns",
                ),
            )
    return failures
