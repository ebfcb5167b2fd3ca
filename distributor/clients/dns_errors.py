"""What dnspython raises, in our own errors."""

import dns.exception
import dns.query
import dns.resolver
import dns.tsig

from distributor.model.errors import DnsRefused
from distributor.model.text import printable

FOREIGN = (dns.exception.DNSException, OSError, EOFError)
"""All that a query or update by dnspython raises."""


def translate(error: BaseException, server: str, doing: str) -> DnsRefused:
    """Return our error for one of `FOREIGN`; `doing` says in words what was tried."""
    if isinstance(error, dns.tsig.PeerBadKey):
        return DnsRefused(
            f"{doing}: {server} does not know the TSIG key",
            hint="correct `key_name`, or add the key to the nameserver",
            step="dns",
        )
    if isinstance(error, dns.tsig.PeerBadSignature | dns.tsig.BadSignature):
        return DnsRefused(
            f"{doing}: {server} does not accept the TSIG signature",
            hint="correct `key` and `key_algorithm`: they must be the nameserver's",
            step="dns",
        )
    if isinstance(error, dns.tsig.PeerBadTime | dns.tsig.BadTime):
        return DnsRefused(
            f"{doing}: the clocks of this computer and {server} differ",
            hint="set both by NTP",
            step="dns",
        )
    if isinstance(error, dns.exception.Timeout | TimeoutError):
        return DnsRefused(
            f"{doing}: no answer from {server}",
            hint="is it running, and is port 53 (or the port set) open to it?",
            step="dns",
        )
    if isinstance(error, OSError | EOFError):
        reason = getattr(error, "strerror", None) or "the connection was closed"
        return DnsRefused(
            f"{doing}: no connection to {server} ({printable(reason)})",
            hint="is it running, and is port 53 (or the port set) open to it?",
            step="dns",
        )
    if isinstance(error, dns.exception.DNSException):
        return DnsRefused(
            f"{doing}: {server} answers in a way that cannot be used "
            f"({type(error).__name__}: {printable(error)})",
            hint="ask it by hand: dig @SERVER NAME TXT",
            step="dns",
        )
    raise TypeError(f"no translation for {type(error).__name__}") from error
