"""TLS below version 1.2, as old firmware speaks it: only where the inventory says so."""

import ssl
from typing import Final

from OpenSSL import SSL

HINT: Final = (
    'it speaks only old TLS: update its firmware, or allow that for this host: tls = "legacy"'
)
_CIPHERS: Final = "DEFAULT:@SECLEVEL=0"
"""OpenSSL 3 refuses TLS 1.0 and 1.1 above security level 0 (SHA-1 signatures)."""
_SIGNS: Final = ("protocol version", "unsupported protocol", "version too low", "too small")
"""Parts of OpenSSL's reasons when the peer is too old for us, in lower case."""


def is_too_old(reason: object) -> bool:
    """Tell whether a handshake failed because the peer's TLS is below what is allowed."""
    said = str(reason).lower().replace("_", " ")
    return any(sign in said for sign in _SIGNS)


def allow(context: ssl.SSLContext) -> None:
    """Let a context of the standard library speak old TLS."""
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(_CIPHERS)


def allow_openssl(context: SSL.Context) -> None:
    """Let a context of pyOpenSSL speak old TLS."""
    context.set_min_proto_version(0)
    context.set_cipher_list(_CIPHERS.encode("ascii"))
