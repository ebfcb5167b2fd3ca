"""Dynamic update (RFC 2136) signed by TSIG (RFC 8945): BIND, Knot, PowerDNS and their like."""

import binascii
import logging
from collections.abc import Callable
from typing import Final

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.rdtypes.ANY.TXT import TXT

from distributor.clients.dns_errors import FOREIGN, translate
from distributor.dns_providers.contract import Receipt
from distributor.model.errors import DnsRefused
from distributor.model.hosts import Rfc2136Settings
from distributor.model.secret import Secret
from distributor.model.text import printable

log = logging.getLogger(__name__)

TTL: Final = 60
"""Seconds. Short, so that a value of an earlier try is not remembered for long."""
SECONDS: Final = 15.0
_BEFORE_WRITING: Final = frozenset(
    {
        dns.rcode.FORMERR,
        dns.rcode.NOTIMP,
        dns.rcode.REFUSED,
        dns.rcode.NOTAUTH,
        dns.rcode.NOTZONE,
    }
)
"""Answers of a server that looked at an update and did none of it (RFC 2136 sections 3.1 to 3.4).

SERVFAIL is none of them: it may come from behind a server that passed the update on.
"""


class Rfc2136:
    """Publishes by dynamic update at one nameserver, over TCP."""

    def __init__(self, settings: Rfc2136Settings, key: Callable[[], Secret]) -> None:
        self._settings = settings
        self._fetch_key = key

    def present(self, receipt: Receipt) -> None:
        """Add the values to what stands at the name."""
        try:
            update, name = self._update(receipt)
        except DnsRefused as error:
            error.wrote_nothing = True
            raise
        for value in receipt.values:
            update.add(name, TTL, _txt(value))
        self._send(update, f"adding TXT at {receipt.name}")
        log.info("rfc2136 step=present name=%s values=%d", receipt.name, len(receipt.values))

    def is_ready(self, receipt: Receipt) -> bool | None:  # noqa: ARG002 - the contract's
        """Return None: an update is answered by the primary, which knows not what others have."""
        return None

    def cleanup(self, receipt: Receipt) -> None:
        """Delete exactly these values; RFC 2136 section 2.5.4 ignores those that are not there."""
        update, name = self._update(receipt)
        for value in receipt.values:
            update.delete(name, _txt(value))
        self._send(update, f"removing TXT at {receipt.name}")
        log.info("rfc2136 step=cleanup name=%s values=%d", receipt.name, len(receipt.values))

    def _update(self, receipt: Receipt) -> tuple[dns.update.UpdateMessage, dns.name.Name]:
        name = dns.name.from_text(receipt.name)
        update = dns.update.UpdateMessage(self._zone(name))
        update.use_tsig(self._key())
        return update, name

    def _zone(self, name: dns.name.Name) -> dns.name.Name:
        """Return the zone at that server, by its SOA: in the answer, or beside a negative one."""
        doing = f"finding the zone of {printable(name)}"
        answer, here = self._ask_soa(name, doing), name
        while len(here) > 1 and _has_alias(here, answer):
            # A wildcard's alias: what else the answer holds is of the zone that it leads to.
            here = here.parent()
            answer = self._ask_soa(here, doing)
        for section in (answer.answer, answer.authority):
            for rrset in section:
                if rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name):
                    return rrset.name
        raise DnsRefused(
            f"{self._settings.server} holds no zone for {printable(name)} "
            f"({dns.rcode.to_text(answer.rcode())})",
            hint="set `server` to the primary nameserver of the zone",
            step="dns",
        )

    def _ask_soa(self, name: dns.name.Name, doing: str) -> dns.message.Message:
        return self._ask(dns.message.make_query(name, dns.rdatatype.SOA), doing)

    def _send(self, update: dns.message.Message, doing: str) -> None:
        answer = self._ask(update, doing)
        rcode = answer.rcode()
        if rcode == dns.rcode.NOERROR and not answer.had_tsig:
            # RFC 8945 section 5.3: an answer without signature could be anybody's.
            raise DnsRefused(
                f"{doing}: the answer of {self._settings.server} is not signed",
                hint="is this the nameserver that has the key?",
                step="dns",
            )
        if rcode != dns.rcode.NOERROR:
            refused = DnsRefused(
                f"{doing}: {self._settings.server} answers {dns.rcode.to_text(rcode)}",
                hint=f"allow the key '{printable(self._settings.key_name)}' to change TXT records "
                "there (BIND: update-policy)",
                step="dns",
            )
            refused.wrote_nothing = rcode in _BEFORE_WRITING
            raise refused

    def _ask(self, message: dns.message.Message, doing: str) -> dns.message.Message:
        server = self._settings.server
        try:
            return dns.query.tcp(message, _address(server.host), timeout=SECONDS, port=server.port)
        except FOREIGN as error:
            refused = translate(error, str(server), doing)
            refused.wrote_nothing = isinstance(error, dns.tsig.PeerError | ConnectionRefusedError)
            raise refused from error

    def _key(self) -> dns.tsig.Key:
        settings = self._settings
        try:
            return dns.tsig.Key(
                settings.key_name, self._fetch_key().reveal().strip(), settings.key_algorithm
            )
        except (ValueError, binascii.Error):
            # The cause is not chained: it could quote the key.
            raise DnsRefused(
                f"the TSIG key '{printable(settings.key_name)}' is not base64",
                hint="take the text after `secret` in the key file, without quotes",
                step="dns",
            ) from None


def _has_alias(name: dns.name.Name, answer: dns.message.Message) -> bool:
    return any(
        rrset.rdtype == dns.rdatatype.CNAME and rrset.name == name for rrset in answer.answer
    )


def _txt(value: str) -> TXT:
    return TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [value.encode("ascii")])


def _address(host: str) -> str:
    """Return an address of the server: dnspython connects to nothing else."""
    import socket

    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
