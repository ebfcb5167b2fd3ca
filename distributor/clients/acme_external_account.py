"""The binding of an ACME account to what its owner has with the CA elsewhere (RFC 8555 7.3.4)."""

import re
from dataclasses import dataclass
from typing import Any, Final

from acme import messages

from distributor.clients.acme_errors import Problem
from distributor.clients.acme_network import Signer
from distributor.model.errors import OrderFailed
from distributor.model.secret import Secret
from distributor.model.text import printable

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_REFUSALS: Final = frozenset({"externalAccountRequired", "malformed", "unauthorized"})


@dataclass(frozen=True, slots=True)
class ExternalAccountKey:
    """What a CA hands to its customers to bind an ACME account to theirs."""

    kid: str
    hmac: Secret
    """base64url, with padding or without."""


def binding(external: ExternalAccountKey, own: Signer, new_account_url: str) -> dict[str, Any]:
    """Return the externalAccountBinding of an account request.

    Raises OrderFailed, which never quotes it, for a MAC key that is not base64url.
    """
    hmac = external.hmac.reveal()
    bare = hmac.rstrip("=")
    # The library would drop what is not base64url in silence, and sign with another key. One
    # character over a multiple of four cannot come of any octets.
    if not _BASE64URL.fullmatch(hmac) or len(bare) % 4 == 1:
        raise OrderFailed(
            f"the hmac of external account {printable(external.kid)} is not base64url",
            hint="set `eab` to kid and hmac exactly as the CA shows them",
            step="account",
        )
    return messages.ExternalAccountBinding.from_data(
        own.key.public_key(),
        external.kid,
        bare,
        messages.Directory({"newAccount": new_account_url}),
    )


def required(ca: str) -> OrderFailed:
    """Return that a CA wants an external account, and none is set."""
    return OrderFailed(
        f"{ca} wants an external account",
        hint="set `eab` with the kid and hmac that the CA gives to its customers",
        step="account",
    )


def is_refused(problem: Problem) -> bool:
    """Tell whether an account may have been refused for the external account it names."""
    return problem.type in _REFUSALS


def refusal(
    problem: Problem, ca: str, external: ExternalAccountKey, email: str | None
) -> OrderFailed:
    """Return that the CA does not take the external account."""
    # ZeroSSL asks for the binding that it got when what it misses is the e-mail address
    # (ansible-collections/community.crypto#100).
    address = "" if email else ", or set `email`: some CAs want one"
    return OrderFailed(
        f"{ca} does not take external account {printable(external.kid)} "
        f"({printable(problem.type)}): {problem.words}",
        hint=f"get a new kid and hmac from the CA: they may be used up or run out{address}",
        step="account",
    )
