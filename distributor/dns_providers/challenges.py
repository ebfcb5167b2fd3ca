"""TXT values for DNS-01: journalled, published, waited for, and removed by exact value.

A rehearsal does all of it with a value of its own, and so shows without any CA whether an order
would find its way.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from distributor.clients.nameservers import Nameservers
from distributor.dns_providers.contract import DnsProvider, FindProvider, Receipt
from distributor.model.errors import DistributorError, DnsRefused, Interrupted, SecretError
from distributor.store import NotedValues, OrderJournal, Publisher

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
    publisher: Publisher
    """What is noted of `provider`."""
    provider: DnsProvider
    find: FindProvider
    """For values of an earlier run, published elsewhere."""
    nameservers: Nameservers
    timeout: timedelta

    def publish(self, values: Sequence[tuple[str, str]], progress: Progress) -> None:
        """Publish (name, value) pairs, and return when they are proved to stand.

        Names that lead to one end are published together. All is noted before the first value is
        published, and what a provider is known not to have written is forgotten again. Whatever
        happens, `remove` has to follow.
        """
        wanted: dict[str, tuple[str, ...]] = {}
        for asked, value in values:
            name = self.nameservers.follow(asked)
            wanted[name] = tuple(dict.fromkeys((*wanted.get(name, ()), value)))
        before = self.journal.challenges(self.certificate)
        receipts = [Receipt(name, added) for name, added in wanted.items()]
        self._note(before, receipts)
        for number, receipt in enumerate(receipts):
            progress(f"publishing {len(receipt.values)} TXT at {receipt.name}")
            try:
                self.provider.present(receipt)
            except (DnsRefused, SecretError) as error:
                if isinstance(error, SecretError) or error.wrote_nothing:
                    self._note(before, receipts[:number])
                raise
        self.nameservers.wait_for(wanted, self.timeout, progress, lambda: self._are_ready(receipts))

    def remove(self) -> tuple[str, ...]:
        """Remove every noted value, also an earlier run's, as `remove_noted` does."""

        def find(by: Publisher) -> DnsProvider | None:
            return self.provider if by.is_where(self.publisher) else self.find(by)

        return remove_noted(self.certificate, self.journal, find)

    def _note(self, before: NotedValues, receipts: Sequence[Receipt]) -> None:
        """Note what was noted before, and what these receipts add to it."""
        noted = {by: dict(values) for by, values in before.items()}
        own = noted.setdefault(self.publisher, {})
        for receipt in receipts:
            own[receipt.name] = tuple(dict.fromkeys((*own.get(receipt.name, ()), *receipt.values)))
        self.journal.note_challenges(self.certificate, noted)

    def _are_ready(self, receipts: Sequence[Receipt]) -> bool | None:
        """Return the provider's own signal for all receipts; None when it lacks one for any."""
        signals = [self.provider.is_ready(receipt) for receipt in receipts]
        if False in signals:
            return False
        return None if None in signals else True


def remove_noted(certificate: str, journal: OrderJournal, find: FindProvider) -> tuple[str, ...]:
    """Remove every noted value of a certificate; return a line for each name where one stays.

    Each is removed where it was published: at the name that was noted, wherever aliases lead by
    now, and at no other provider. What cannot be removed stays noted, and is tried again later.
    Raises Interrupted once all were tried.
    """
    published = journal.challenges(certificate)
    left: dict[Publisher, dict[str, tuple[str, ...]]] = {}
    lines: list[str] = []
    stop: Interrupted | None = None
    for by, name, values in [(by, *one) for by, own in published.items() for one in own.items()]:
        provider = find(by)
        try:
            if provider is not None:
                provider.cleanup(Receipt(name, values))
                continue
            lines.append(
                f"TXT at {name} was published by {by}, where the inventory no longer leads: remove "
                f"{' and '.join(values)} there by hand, and then "
                f"{journal.challenges_file(certificate)}"
            )
        except DistributorError as error:
            lines.append(f"TXT at {name} could not be removed yet: {error.message}")
            log.warning("challenges step=cleanup name=%s error=%s", name, error.kind)
            stop = error if isinstance(error, Interrupted) else stop
        left.setdefault(by, {})[name] = values
    if published:
        journal.note_challenges(certificate, left)
    if stop is not None:
        raise stop
    return tuple(lines)


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
