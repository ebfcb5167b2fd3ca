"""What orders left of certificates that the inventory no longer gets from an ACME CA.

A certificate that is renamed, removed, or comes from elsewhere by now has no source that would tidy
up after a killed run.
"""

from collections.abc import Collection, Iterator

from distributor.dns_providers.challenges import remove_noted
from distributor.dns_providers.contract import FindProvider
from distributor.model.errors import DistributorError
from distributor.store import OrderJournal


def remove_leftovers(
    journal: OrderJournal, wanted: Collection[str], find: FindProvider
) -> Iterator[tuple[str, str]]:
    """Remove orders, keys included, and TXT values of all certificates but those `wanted`.

    Gives name and line for each thing that stays, or cannot be read; it stays noted, and what fails
    for one certificate ends the work on no other.
    """
    for name in journal.certificates():
        if name in wanted:
            continue
        try:
            try:
                lines = remove_noted(name, journal, find)
            finally:
                journal.forget(name)
        except DistributorError as error:
            lines = (f"{error.message}; {error.hint}" if error.hint else error.message,)
        for line in lines:
            yield name, line
