"""What a CA's refusals mean, and what the acme and requests libraries raise, in our own errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import josepy.errors
import requests
from acme import errors

from distributor.model.errors import (
    AccountUnknown,
    AuthorizationFailed,
    CaUnreachable,
    IssuanceError,
    OrderFailed,
    RateLimited,
)
from distributor.model.text import printable

PREFIX: Final = "urn:ietf:params:acme:error:"
SERVER_FAULT: Final = 500
LONGEST_WAIT: Final = timedelta(days=366)


class Problem(Exception):  # noqa: N818 - RFC 8555 calls it a problem document
    """A problem document (RFC 8555 section 6.7) with the HTTP status and Retry-After around it.

    The acme library drops both, and never reads the document of a 409.
    """

    def __init__(
        self, status: int, document: Mapping[str, Any], retry_at: datetime | None, location: str
    ) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.type = str(document.get("type", "")).removeprefix(PREFIX)
        self.detail = printable(
            document.get("detail") or document.get("title") or "no reason given"
        )
        self.retry_at = retry_at
        self.location = location


FOREIGN: Final = (
    Problem,
    requests.RequestException,
    errors.Error,
    josepy.errors.Error,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
"""All that the libraries raise; the last four for JSON of another shape than ACME's."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[IssuanceError]
    message: str
    hint: str


_VALIDATION: Final = "look at the DNS of the name; distribute check --online helps"
_MEANINGS: Final[Mapping[str, _Meaning]] = {
    "accountDoesNotExist": _Meaning(
        AccountUnknown, "the CA does not know the account", "run again: it is registered anew"
    ),
    "badCSR": _Meaning(OrderFailed, "the CA refuses the request", "try another `key_type`"),
    "badPublicKey": _Meaning(OrderFailed, "the CA refuses the key", "try another `key_type`"),
    "caa": _Meaning(
        AuthorizationFailed, "a CAA record forbids this CA", "add it to the zone's CAA records"
    ),
    "connection": _Meaning(
        AuthorizationFailed, "the CA cannot reach the zone's nameservers", _VALIDATION
    ),
    "dns": _Meaning(AuthorizationFailed, "the CA cannot look the name up", _VALIDATION),
    "externalAccountRequired": _Meaning(
        OrderFailed, "the CA wants an external account", "set `eab` with the CA's kid and hmac"
    ),
    "incorrectResponse": _Meaning(
        AuthorizationFailed, "the CA saw another challenge than ours", _VALIDATION
    ),
    "invalidContact": _Meaning(OrderFailed, "the CA refuses the e-mail address", "correct `email`"),
    "malformed": _Meaning(
        OrderFailed, "the CA does not understand the request", "update distribute"
    ),
    "rejectedIdentifier": _Meaning(
        OrderFailed, "the CA does not issue for this name", "correct `names`, or use another CA"
    ),
    "unauthorized": _Meaning(AuthorizationFailed, "the CA did not find our challenge", _VALIDATION),
    "unsupportedContact": _Meaning(
        OrderFailed, "the CA refuses the e-mail address", "correct `email`"
    ),
    "unsupportedIdentifier": _Meaning(
        OrderFailed, "the CA does not issue for this kind of name", "correct `names`"
    ),
    "userActionRequired": _Meaning(
        OrderFailed, "the CA wants something done by hand", "follow what it says"
    ),
}


def from_problem(problem: Problem, ca: str) -> IssuanceError:
    """Return our error for a problem document."""
    if problem.type == "rateLimited":
        when = f" until {problem.retry_at:%Y-%m-%d %H:%M} UTC" if problem.retry_at else ""
        return RateLimited(
            f"{ca} wants us to wait{when}: {problem.detail}",
            retry_at=problem.retry_at,
            hint="the next run after that tries again",
            step="order",
        )
    meaning = _MEANINGS.get(problem.type)
    if meaning is not None:
        return meaning.error(
            f"{meaning.message}: {problem.detail}", hint=meaning.hint, step="order"
        )
    if problem.status >= SERVER_FAULT:
        return CaUnreachable(
            f"{ca} fails (HTTP {problem.status}): {problem.detail}",
            hint="the next run tries again",
            step="order",
            code=problem.status,
        )
    return OrderFailed(
        f"{ca} refuses ({printable(problem.type) or problem.status}): {problem.detail}",
        hint="follow what it says",
        step="order",
        code=problem.status,
    )


def translate(error: Exception, ca: str) -> IssuanceError:
    """Return our error for anything that the acme, josepy or requests libraries raise."""
    if isinstance(error, Problem):
        return from_problem(error, ca)
    if isinstance(error, requests.exceptions.SSLError):
        return CaUnreachable(
            f"the certificate of {ca} itself is not trusted",
            hint="for a private CA set `ca_bundle` in [acme] to its root",
            step="order",
        )
    if isinstance(error, requests.RequestException):
        return CaUnreachable(
            f"{ca} cannot be reached ({type(error).__name__})",
            hint="check the network and `ca`; the next run tries again",
            step="order",
        )
    if isinstance(error, FOREIGN):
        return CaUnreachable(
            f"{ca} answers in a way that is not ACME ({type(error).__name__})",
            hint="is `ca` the URL of an ACME directory?",
            step="order",
        )
    raise TypeError(f"no translation for {type(error).__name__}") from error


def retry_after(value: str | None, now: datetime) -> datetime | None:
    """Return when to come back, from a Retry-After in seconds or as a date (RFC 9110 10.2.3)."""
    if value is None:
        return None
    number = value.strip()
    if number.isascii() and number.isdecimal():
        seconds = int(number.lstrip("0")[:10] or "0")  # more digits are more than the longest wait
        return now + min(timedelta(seconds=seconds), LONGEST_WAIT)
    try:
        when = parsedate_to_datetime(value)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
