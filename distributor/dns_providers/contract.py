"""What the core asks of every DNS provider.

`present` publishes the whole set of values of one name in one call (apex and wildcard share a
name). Values of strangers at that name survive; cleaning twice is quiet; `cleanup` takes away
exactly what its receipt names, also in another process than the one that presented it.
`is_ready` is the provider's own signal that what was presented is on all its nameservers, and None
where it has none; True is never said of values that were not presented or were cleaned up.
Zone cut, CNAMEs and propagation are not the provider's business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from distributor.store import Publisher


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was, or may have been, published: enough to remove it."""

    name: str
    """The name after CNAMEs were followed, without final dot."""
    values: tuple[str, ...]


FindProvider = Callable[[Publisher], "DnsProvider | None"]
"""Gives what removes where that one published; None where the inventory leads there no more."""


class DnsProvider(Protocol):
    """Publishes TXT values. Raises DnsRefused, or SecretError when its key cannot be fetched."""

    def present(self, receipt: Receipt) -> None:
        """Publish the values; the receipt was journalled before.

        A DnsRefused has `wrote_nothing` where none of them can have been published; after a
        SecretError none was.
        """

    def is_ready(self, receipt: Receipt) -> bool | None:
        """Return whether the provider reports the values as published on all its nameservers.

        None: it has no such signal. Asked again and again; it changes nothing.
        """

    def cleanup(self, receipt: Receipt) -> None:
        """Remove exactly these values, if they are there."""
