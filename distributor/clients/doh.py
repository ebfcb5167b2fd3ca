"""DNS over HTTPS (RFC 8484): questions where port 53 is closed."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import dns.message
import requests

from distributor.clients import dns_queries
from distributor.clients.dns_queries import Answer, Cause, NoAnswer
from distributor.clients.http_errors import FOREIGN
from distributor.clients.hurried import Direct, HurriedAdapter
from distributor.model.text import printable

MEDIA_TYPE: Final = "application/dns-message"
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Doh:
    """One server. Its URL is not shown whole: the path can be what a customer is known by.

    TLS is verified, and the environment's proxies and CA bundle apply as they do for the CA: a
    network that closes port 53 is often one that can be left by a proxy only.
    """

    url: str

    def __str__(self) -> str:
        return f"DNS over HTTPS at {printable(urlsplit(self.url).netloc)}"

    def ask(self, query: dns.message.Message) -> Answer | NoAnswer:
        """Ask once, within `dns_queries.SECONDS`."""
        # Section 4.1 asks for the id 0. A POST's answer is in no HTTP cache on the way.
        query.id = 0
        with Direct() as session:
            adapter = HurriedAdapter(dns_queries.SECONDS)
            session.mount("https://", adapter)
            try:
                return self._exchange(session, query, adapter)
            except FOREIGN as error:
                return NoAnswer(Cause.SILENT, f"no answer ({type(error).__name__})")

    def _exchange(
        self, session: requests.Session, query: dns.message.Message, adapter: HurriedAdapter
    ) -> Answer | NoAnswer:
        with session.post(
            self.url,
            data=query.to_wire(),
            headers={
                "Accept": MEDIA_TYPE,
                "Accept-Encoding": "identity",
                "Content-Type": MEDIA_TYPE,
            },
            timeout=dns_queries.SECONDS,
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != _OK:
                return NoAnswer(Cause.UNREADABLE, f"it answers HTTP {response.status_code}")
            kind = response.headers.get("Content-Type", "")
            if kind.partition(";")[0].strip().lower() != MEDIA_TYPE:
                return NoAnswer(Cause.UNREADABLE, "its answer is no DNS message")
            wire = bytearray()
            while piece := response.raw.read(dns_queries.LARGEST, decode_content=False):
                wire += piece
                if len(wire) > dns_queries.LARGEST or adapter.seconds_left < 0:
                    return NoAnswer(Cause.UNREADABLE, "its answer has no end")
        return dns_queries.read(query, bytes(wire))
