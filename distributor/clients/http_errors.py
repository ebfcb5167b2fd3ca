"""What requests, urllib3 and the system raise, in our own errors."""

import http.client
import ssl
from collections.abc import Iterator
from typing import Final

import requests
import urllib3

from distributor.clients import legacy_tls
from distributor.model.errors import HostError, ProtocolError, Unreachable

FOREIGN: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    urllib3.exceptions.ProxySchemeUnsupported,
    OSError,
)
"""All that requests, urllib3 and the system raise."""


def translate(error: Exception, peer: str) -> HostError:
    """Return the error of our tree for one that requests, urllib3 or the system raised."""
    causes = tuple(_causes(error))
    if any(isinstance(cause, _ENDED) for cause in causes):
        return Unreachable(f"{peer}: {_BROKE_OFF}", hint=_IS_IT_ON, step="http")
    if any(_is_no_http(cause) for cause in causes):
        return ProtocolError(f"{peer}: {_NO_HTTP}", hint=_WHICH_PORT, step="http")
    if _ended_in_handshake(error):
        return Unreachable(
            f"{peer}: the connection broke off during the TLS handshake",
            hint="it may be restarting; is this the port of its HTTPS user interface?",
            step="http",
        )
    if any(isinstance(one, ssl.SSLError) and legacy_tls.is_too_old(one) for one in causes):
        return ProtocolError(f"{peer}: no TLS handshake", hint=legacy_tls.HINT, step="http")
    for kinds, ours, message, hint in _TRANSLATIONS:
        if isinstance(error, kinds):
            return ours(f"{peer}: {message}", hint=hint, step="http")
    raise TypeError(f"no translation for {type(error).__name__}") from error


def _ended_in_handshake(error: BaseException) -> bool:
    """Tell whether the peer hung up on a handshake, as a web server that goes down does."""
    # requests wraps what urllib3 wraps, neither chains it: the cause stands among the arguments.
    inner = (*error.args, getattr(error, "reason", None))
    return isinstance(error, ssl.SSLEOFError) or any(
        _ended_in_handshake(one) for one in inner if isinstance(one, Exception)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and what it came from: requests and urllib3 wrap what tells them apart."""
    while error is not None:
        yield error
        error = error.__context__


def _is_no_http(error: BaseException) -> bool:
    """Tell whether the peer's words were no HTTP: to urllib3 that is a connection broken off."""
    return isinstance(error, http.client.HTTPException) and not isinstance(
        error, ConnectionError | http.client.IncompleteRead
    )


_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The peer left in the middle of TLS, as a web server does that restarts."""
_BROKE_OFF: Final = "no connection, or it broke off"
_IS_IT_ON: Final = "is the host on, and is this its port?"
_NO_HTTP: Final = "the answer is no HTTP that can be read"
_WHICH_PORT: Final = "is this the port of its user interface?"

# The first line that fits decides. Nearly all that requests raises is an OSError too, so the plain
# OSError of the system comes last.
_TRANSLATIONS: Final[tuple[tuple[tuple[type[Exception], ...], type[HostError], str, str], ...]] = (
    (
        (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError),
        ProtocolError,
        "no TLS handshake",
        "is this the port of its HTTPS user interface?",
    ),
    (
        (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError),
        Unreachable,
        "no answer in time",
        _IS_IT_ON,
    ),
    (
        (
            requests.exceptions.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.ProtocolError,
            urllib3.exceptions.MaxRetryError,
        ),
        Unreachable,
        _BROKE_OFF,
        _IS_IT_ON,
    ),
    (
        (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            urllib3.exceptions.ProxySchemeUnsupported,
        ),
        ProtocolError,
        _NO_HTTP,
        _WHICH_PORT,
    ),
    (
        (OSError,),
        Unreachable,
        _BROKE_OFF,
        _IS_IT_ON,
    ),
)
