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
TOO_MANY_REQUESTS: Final = 429
LONGEST_WAIT: Final = timedelta(days=366)
DETAIL_LIMIT: Final = 2000
"""Characters of the CA's own words: Let's Encrypt's link to end a pause has hundreds of them."""
SUBPROBLEMS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Subproblem:
    """What is wrong with one identifier (RFC 8555 section 6.7.1)."""

    type: str
    words: str


class Problem(Exception):  # noqa: N818 - RFC 8555 calls it a problem document
    """A problem document (RFC 8555 section 6.7) with the HTTP status and headers around it.

    The acme library drops both, and never reads the document of a 409.
    """

    def __init__(
        self, status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.type = _type(document)
        self.detail = _detail(document)
        self.instance = printable(document.get("instance") or "", DETAIL_LIMIT)
        listed = document.get("subproblems")
        self.subproblems = tuple(map(_subproblem, listed if isinstance(listed, list) else ()))
        self.retry_after = (headers or {}).get("Retry-After")
        self.location = (headers or {}).get("Location", "")

    @property
    def telling_type(self) -> str:
        """The type that says most: for several problems at once, one that is not the CA's own."""
        types = [self.type, *(one.type for one in self.subproblems)]
        known = [one for one in types if one in _MEANINGS]
        return next(iter(sorted(known, key=lambda one: one in CA_FAULTS)), self.type)

    @property
    def words(self) -> str:
        """All that the CA says about it, printable."""
        shown = [one.words for one in self.subproblems[:SUBPROBLEMS_SHOWN]]
        more = len(self.subproblems) - len(shown)
        shown += [f"and {more} more"] if more else []
        where = [f"see {self.instance}"] if self.instance else []
        return "; ".join((self.detail, *shown, *where))


FOREIGN: Final = (
    Problem,
    requests.RequestException,
    errors.Error,
    josepy.errors.Error,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""All that the libraries raise; the last six for JSON of another shape than ACME's."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[IssuanceError]
    message: str
    hint: str


_VALIDATION: Final = "look at the DNS of the name; distribute check --online helps"
_NEXT_RUN: Final = "the next run tries again"
_MEANINGS: Final[Mapping[str, _Meaning]] = {
    "accountDoesNotExist": _Meaning(
        AccountUnknown, "the CA does not know the account", "run again: it is registered anew"
    ),
    # A nonce is replaced several times over before this is told: its servers do not agree.
    "badNonce": _Meaning(
        CaUnreachable, "the CA takes none of its own nonces (badNonce)", _NEXT_RUN
    ),
    "badCSR": _Meaning(OrderFailed, "the CA refuses the request", "try another `key_type`"),
    "badPublicKey": _Meaning(OrderFailed, "the CA refuses the key", "try another `key_type`"),
    "badRevocationReason": _Meaning(
        OrderFailed, "the CA does not take this reason", "revoke with another reason"
    ),
    "badSignatureAlgorithm": _Meaning(
        OrderFailed, "the CA does not take this kind of account key", "use another account key"
    ),
    "caa": _Meaning(
        AuthorizationFailed, "a CAA record forbids this CA", "add it to the zone's CAA records"
    ),
    "connection": _Meaning(
        AuthorizationFailed, "the CA cannot reach the zone's nameservers", _VALIDATION
    ),
    "dns": _Meaning(AuthorizationFailed, "the CA cannot look the name up", _VALIDATION),
    "dnssec": _Meaning(
        AuthorizationFailed, "the CA finds the zone's DNSSEC broken", "mend it, then run again"
    ),
    "externalAccountRequired": _Meaning(
        OrderFailed, "the CA wants an external account", "set `eab` with the CA's kid and hmac"
    ),
    "incorrectResponse": _Meaning(
        AuthorizationFailed, "the CA saw another challenge than ours", _VALIDATION
    ),
    "invalidContact": _Meaning(OrderFailed, "the CA refuses the e-mail address", "correct `email`"),
    "invalidProfile": _Meaning(
        OrderFailed, "the CA refuses the profile", "correct `profile`, or leave it out"
    ),
    "malformed": _Meaning(
        OrderFailed, "the CA does not understand the request", "update distribute"
    ),
    "rateLimited": _Meaning(RateLimited, "the CA wants us to wait", _NEXT_RUN),
    "rejectedIdentifier": _Meaning(
        OrderFailed, "the CA does not issue for this name", "correct `names`, or use another CA"
    ),
    "serverInternal": _Meaning(CaUnreachable, "the CA fails by its own fault", _NEXT_RUN),
    "unauthorized": _Meaning(
        OrderFailed, "the CA does not allow this account to do that", "follow what it says"
    ),
    "unsupportedContact": _Meaning(
        OrderFailed, "the CA refuses the e-mail address", "correct `email`"
    ),
    "unsupportedIdentifier": _Meaning(
        OrderFailed, "the CA does not issue for this kind of name", "correct `names`"
    ),
    "userActionRequired": _Meaning(
        OrderFailed, "the CA wants something done by hand", "follow what it says, then run again"
    ),
}
CA_FAULTS: Final = frozenset(
    name for name, known in _MEANINGS.items() if known.error in (CaUnreachable, RateLimited)
)
"""Problem types that are no verdict on names, account or request: another CA may be asked."""


def from_problem(problem: Problem, ca: str, now: datetime, step: str = "order") -> IssuanceError:
    """Return our error for a problem document.

    CaUnreachable and RateLimited, with `retry_at` where the CA said when to come back, are the CA's
    own failures; whatever else it is stands against the account, the names or the request.
    """
    kind, words = problem.telling_type, problem.words
    retry_at = retry_after(problem.retry_after, now)
    if kind == "rateLimited" or problem.status == TOO_MANY_REQUESTS:
        when = f" until {retry_at:%Y-%m-%d %H:%M} UTC" if retry_at else ""
        return RateLimited(
            f"{ca} wants us to wait{when}: {words}",
            retry_at=retry_at,
            hint="the next run after that tries again" if retry_at else "follow what it says",
            step=step,
        )
    meaning = _MEANINGS.get(kind)
    if kind in CA_FAULTS or (meaning is None and problem.status >= SERVER_FAULT):
        what = meaning.message if meaning is not None else f"{ca} fails"
        return CaUnreachable(
            f"{what} (HTTP {problem.status}): {words}" if problem.status else f"{what}: {words}",
            retry_at=retry_at,
            hint=_NEXT_RUN,
            step=step,
            code=problem.status or None,
        )
    if meaning is None:
        return OrderFailed(
            f"{ca} refuses ({printable(kind) or problem.status}): {words}",
            hint="follow what it says",
            step=step,
            code=problem.status or None,
        )
    return meaning.error(f"{meaning.message}: {words}", hint=meaning.hint, step=step)


def of_authorization(name: str, status: str, error: Mapping[str, Any] | None) -> IssuanceError:
    """Return why the CA does not hold `name` validated, from the error of its challenge if any."""
    problem = Problem(0, error or {"detail": NO_REASON})
    meaning = _MEANINGS.get(problem.telling_type)
    what = f"the CA could not validate {printable(name)} ({printable(status)}): {problem.words}"
    if meaning is not None and problem.telling_type in CA_FAULTS:
        return meaning.error(what, hint=meaning.hint, step="authorization")
    is_dns = meaning is not None and meaning.error is AuthorizationFailed
    hint = meaning.hint if meaning is not None and is_dns else _VALIDATION
    return AuthorizationFailed(what, hint=hint, step="authorization")


def of_order(error: Mapping[str, Any] | None) -> IssuanceError:
    """Return why the CA gave an order up, from the order's error if it has one."""
    problem = Problem(0, error or {"detail": NO_REASON})
    meaning = _MEANINGS.get(problem.telling_type)
    what = f"the CA gave the order up: {problem.words}"
    if meaning is not None and problem.telling_type in CA_FAULTS:
        return meaning.error(what, hint=meaning.hint, step="finalize")
    hint = "run again: a new order is made"
    if meaning is not None and meaning.error is AuthorizationFailed:
        hint = meaning.hint
    return OrderFailed(what, hint=hint, step="finalize")


NO_REASON: Final = "it gives no reason"


def translate(error: Exception, ca: str, now: datetime, step: str = "order") -> IssuanceError:
    """Return our error for anything that the acme, josepy or requests libraries raise."""
    if isinstance(error, Problem):
        return from_problem(error, ca, now, step)
    if isinstance(error, requests.exceptions.SSLError):
        return CaUnreachable(
            f"the certificate of {ca} itself is not trusted",
            is_outage=False,
            hint="for a private CA set `ca_bundle` in [acme] to its root",
            step=step,
        )
    if isinstance(error, requests.RequestException):
        return CaUnreachable(
            f"{ca} cannot be reached ({type(error).__name__})",
            hint=f"check the network and `ca`; {_NEXT_RUN}",
            step=step,
        )
    if isinstance(error, FOREIGN):
        return CaUnreachable(
            f"{ca} answers in a way that is not ACME ({type(error).__name__})",
            is_outage=False,
            hint="is `ca` the URL of an ACME directory?",
            step=step,
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


def _type(document: Mapping[str, Any]) -> str:
    return str(document.get("type", "")).removeprefix(PREFIX)


def _detail(document: Mapping[str, Any]) -> str:
    words = document.get("detail") or document.get("title") or "no reason given"
    return printable(words, DETAIL_LIMIT)


def _subproblem(document: object) -> Subproblem:
    if not isinstance(document, dict):
        return Subproblem("", printable(document))
    identifier = document.get("identifier")
    name = identifier.get("value") if isinstance(identifier, dict) else None
    words = printable(document.get("detail") or document.get("title") or _type(document))
    return Subproblem(_type(document), f"{printable(name)}: {words}" if name else words)
