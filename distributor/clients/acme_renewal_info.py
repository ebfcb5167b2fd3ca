"""ACME Renewal Information (RFC 9773): when a CA wants one certificate renewed.

Asked with plain GETs: no account is needed, and no request is signed.
"""

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from acme import messages
from cryptography import x509

from distributor.clients.acme_directory import read_directory
from distributor.clients.acme_errors import FOREIGN, retry_after, translate
from distributor.clients.acme_network import Network
from distributor.model.errors import CaUnreachable, OrderFailed
from distributor.model.renewal_window import RenewalInfo
from distributor.model.text import printable

# RFC 9773 section 4.3.2 asks for limits of this kind, so that no answer makes a client ask without
# end or never again; without Retry-After it names six hours.
SHORTEST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(days=1)
DEFAULT_WAIT: Final = timedelta(hours=6)
URL_LIMIT: Final = 2000


def renewal_info(
    directory_url: str, leaf: x509.Certificate, *, ca_bundle: Path | None, now: datetime
) -> RenewalInfo | None:
    """Return when the CA wants `leaf` renewed.

    None where the CA has no such information to give, and for a certificate that has expired, about
    which it must not be asked (RFC 9773 section 4.3). Raises IssuanceError when it gives none
    for this certificate, or none that makes sense.
    """
    if leaf.not_valid_after_utc < now:
        return None
    network = Network(None, ca_bundle=ca_bundle, sleep=time.sleep)
    try:
        base = read_directory(network, directory_url).renewal_info
        if base is None:
            return None
        response = network.read(f"{base.rstrip('/')}/{certificate_id(leaf)}")
        return _understood(response.json(), response.headers.get("Retry-After"), now)
    except FOREIGN as error:
        raise translate(error, directory_url, now, "renewal info") from error
    finally:
        network.close()


def certificate_id(leaf: x509.Certificate) -> str:
    """Return how a CA is told which certificate is meant (RFC 9773 section 4.1).

    Raises OrderFailed for a certificate that does not name its issuer's key.
    """
    try:
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        issuer = None
    if issuer is None or issuer.key_identifier is None:
        raise OrderFailed(
            "the certificate has no authority key identifier to ask the CA about it by",
            hint="none is needed: the lifetime decides when it is renewed",
            step="renewal info",
        )
    serial = leaf.serial_number
    # DER integers are signed: one more byte where the first bit would be taken for the sign.
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_base64url(issuer.key_identifier)}.{_base64url(octets)}"


def _understood(document: Mapping[str, Any], wait: str | None, now: datetime) -> RenewalInfo:
    window = messages.RenewalInfo.from_json(document).suggested_window
    if window.start.tzinfo is None or window.end.tzinfo is None:
        raise ValueError("a time without its zone")
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    if end <= start:
        # Section 4.2: to be treated as if there had been no answer.
        raise CaUnreachable(
            f"the CA suggests to renew between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC,"
            " which is no time at all",
            hint="nothing needs to be done: the lifetime decides until the CA answers otherwise",
            step="renewal info",
        )
    explanation = document.get("explanationURL")
    asked = retry_after(wait, now) or now + DEFAULT_WAIT
    return RenewalInfo(
        start=start,
        end=end,
        explanation_url=printable(explanation, URL_LIMIT) if explanation else None,
        ask_again=min(max(asked, now + SHORTEST_WAIT), now + LONGEST_WAIT),
    )


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")
