"""One-time codes from a shared secret, as authenticator apps show them (RFC 6238, RFC 4226)."""

import base64
import hashlib
import hmac
from typing import Final

STEP: Final = 30  # seconds a code is shown (RFC 6238 §4.1)
_DIGITS = 6


def step_at(moment: float) -> int:
    """Return the number of the 30-second step that `moment`, in seconds since 1970, falls in."""
    return int(moment // STEP)


def code_for(secret: str, step: int) -> str:
    """Return the six digits of one step for a base32 secret; raises ValueError if it is none."""
    padded = secret.upper() + "=" * (-len(secret) % 8)
    key = base64.b32decode(padded)
    mac = hmac.digest(key, step.to_bytes(8), hashlib.sha1)
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}d}"
