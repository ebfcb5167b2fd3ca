"""One-time codes by time (RFC 6238), each given out once."""

import base64
import binascii
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from distributor.model.errors import SecretError
from distributor.model.secret import Secret

STEP_SECONDS: Final = 30
DIGITS: Final = 6


class OneTimeCodes:
    """Codes of one TOTP secret. A code is good once, so a second one waits for the next step."""

    def __init__(
        self,
        secret: Callable[[], Secret],
        *,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self._secret = secret
        self._sleep = sleep
        self._now = now
        self._lock = threading.Lock()
        self._last_step = -1

    def __call__(self) -> Secret:
        """Return a code that was not given out before; raises SecretError for a bad secret."""
        with self._lock:
            moment = self._now().timestamp()
            if int(moment // STEP_SECONDS) <= self._last_step:
                self._sleep((self._last_step + 1) * STEP_SECONDS - moment)
                moment = max(self._now().timestamp(), (self._last_step + 1) * STEP_SECONDS)
            self._last_step = int(moment // STEP_SECONDS)
            return Secret(_totp(self._secret()).generate(int(moment)).decode("ascii"))


def _totp(secret: Secret) -> TOTP:
    key = _base32(secret.reveal())
    if not key:
        raise SecretError(
            "the TOTP secret is not base32",
            hint="take the text that the box shows beside the QR code",
            step="login",
        )
    # SHA-1 and 30 s are what authenticator apps use; secrets of old accounts are short.
    return TOTP(key, DIGITS, SHA1(), STEP_SECONDS, enforce_key_length=False)  # noqa: S303 - RFC 6238's default


def _base32(written: str) -> bytes:
    """Return what people write in groups, in small letters or without padding; empty if none."""
    text = "".join(written.split()).upper().rstrip("=")
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        # An empty key stands for it: an error chained from here could quote the secret.
        return b""
