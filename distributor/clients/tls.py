"""TLS handshakes: what an endpoint serves, and whether a CA vouches for it.

A handshake that only looks must not verify, or it could not show a self-signed or expired leaf, and
must show the chain as it was sent. The standard library shows the chain only from Python 3.13;
pyOpenSSL, which acme brings along, shows it always.
"""

import select
import socket
import ssl
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL

from distributor.clients import legacy_tls
from distributor.clients.starttls import begin_tls
from distributor.clients.tls_socket import TlsSocket
from distributor.model.bundle import describe, fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import (
    BundleError,
    HostError,
    InventoryError,
    Problem,
    ProtocolError,
    Unreachable,
    Untrusted,
)
from distributor.model.hosts import Endpoint, SocketAddress, StartTls
from distributor.model.text import printable

CONNECT_SECONDS = 10.0
"""How long the connection, and one handshake on it, may take; the system bounds name look-ups."""


def probe(endpoint: Endpoint, timeout: float = CONNECT_SECONDS) -> Served:
    """Return what `endpoint` serves, or the HostError that says why nothing was seen."""
    try:
        chain = served_chain(
            endpoint.address,
            endpoint.server_name,
            timeout,
            starttls=endpoint.starttls,
            legacy=endpoint.legacy_tls,
        )
        certificate = describe(chain, endpoint.certificate)
    except HostError as error:
        return Served(endpoint=endpoint, error=error)
    except (BundleError, ValueError) as error:
        return Served(
            endpoint=endpoint,
            error=_unreadable(endpoint.address).with_traceback(error.__traceback__),
        )
    return Served(endpoint=endpoint, certificate=certificate)


def served_chain(
    address: SocketAddress,
    server_name: str | None,
    timeout: float = CONNECT_SECONDS,
    *,
    starttls: StartTls | None = None,
    legacy: bool = False,
) -> tuple[x509.Certificate, ...]:
    """Return leaf and chain as the server sends them, unverified, in its order.

    With `starttls` the connection begins in plain text, as that protocol does; `legacy` allows TLS
    below 1.2. Raises Unreachable
    when there is no connection or answer in `timeout` seconds, ProtocolError when what answers does
    not speak TLS or does not begin it.
    """
    deadline = monotonic() + timeout
    with connected(address, timeout) as plain:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if legacy:
            legacy_tls.allow_openssl(context)
        connection = SSL.Connection(context, plain)
        if server_name is not None and not is_ip(server_name):
            connection.set_tlsext_host_name(_sni(server_name))
        connection.set_connect_state()
        try:
            if starttls is not None:
                begin_tls(starttls, plain, address, deadline)
            _handshake(connection, plain, deadline)
        except SSL.Error as error:
            raise _no_handshake(address, _reason(error)) from error
        except TimeoutError as error:
            raise _no_answer(address, timeout) from error
        except OSError as error:
            raise _ended(address) from error
        try:
            chain = connection.get_peer_cert_chain(as_cryptography=True)
        except (ValueError, x509.InvalidVersion) as error:
            raise _unreadable(address) from error
    if not chain:
        raise ProtocolError(
            f"{address} sent no certificate", hint="is this the right port?", step="handshake"
        )
    return tuple(chain)


def verified_leaf(
    address: SocketAddress,
    server_name: str,
    roots: Path | None,
    timeout: float = CONNECT_SECONDS,
    *,
    legacy: bool = False,
) -> str:
    """Return the fingerprint of the leaf at `address` once a CA vouched for it.

    `roots` is a PEM file; None stands for the roots that come with certifi. `legacy` allows TLS
    below 1.2. Raises Untrusted when the chain or the name does not verify, InventoryError when the
    file cannot be read.
    """
    import certifi

    try:
        context = ssl.create_default_context(cafile=str(roots or certifi.where()))
    except OSError as error:
        raise _no_roots(roots) from error
    context.sslsocket_class = TlsSocket
    if legacy:
        legacy_tls.allow(context)
    try:
        with (
            connected(address, timeout) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as secured,
        ):
            leaf = secured.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(
            f"{address} is not verified as {server_name}: {printable(error.verify_message)}",
            hint="pin it instead: distribute trust HOST",
            step="trust",
        ) from error
    except TimeoutError as error:
        raise _no_answer(address, timeout) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise _ended(address) from error
    except ssl.SSLError as error:
        raise _no_handshake(address, printable(error.reason)) from error
    except OSError as error:
        raise _ended(address) from error
    if leaf is None:
        raise ProtocolError(
            f"{address} sent no certificate", hint="is this the right port?", step="handshake"
        )
    return fingerprint(x509.load_der_x509_certificate(leaf))


def load_roots(path: Path | None) -> Collection[x509.Certificate]:
    """Return the certificates of a PEM file; None stands for the roots that come with certifi.

    Raises InventoryError when the file cannot be read.
    """
    import certifi

    try:
        with warnings.catch_warnings():
            # One of the usual roots has the serial number 0, which is nobody's fault who runs this.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return x509.load_pem_x509_certificates(Path(path or certifi.where()).read_bytes())
    except (OSError, ValueError) as error:
        raise _no_roots(path) from error


@contextmanager
def connected(address: SocketAddress, timeout: float) -> Iterator[socket.socket]:
    """Give a TCP connection, closed at the end; raises Unreachable with the reason."""
    try:
        plain = socket.create_connection((address.host, address.port), timeout=timeout)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name that DNS could hold
        raise Unreachable(
            f"the name {printable(address.host)} has no address",
            hint="correct the name, or its DNS record",
            step="connect",
        ) from error
    except TimeoutError as error:
        raise _no_answer(address, timeout) from error
    except OSError as error:
        raise Unreachable(
            f"no connection to {address}: {printable(error.strerror or error)}",
            hint="is the host on, and is this its port?",
            step="connect",
        ) from error
    with plain:
        yield plain


def is_ip(name: str) -> bool:
    """Tell whether `name` is an IP address, which is never sent as SNI (RFC 6066 section 3)."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _handshake(connection: SSL.Connection, plain: socket.socket, deadline: float) -> None:
    while True:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            select.select([plain], [], [], left)
        except SSL.WantWriteError:
            select.select([], [plain], [], left)
        except SSL.SysCallError as error:
            raise ConnectionError(str(error)) from error
        else:
            return


def _ended(address: SocketAddress) -> Unreachable:
    return Unreachable(
        f"{address} ended the connection during the handshake",
        hint="it may be restarting; try again",
        step="handshake",
    )


def _sni(server_name: str) -> bytes:
    try:
        return server_name.encode("idna")
    except UnicodeError as error:
        raise ProtocolError(
            f"the server name {printable(server_name)} cannot be sent",
            hint="correct the server name",
            step="handshake",
        ) from error


def _unreadable(address: SocketAddress) -> ProtocolError:
    return ProtocolError(
        f"{address} serves a certificate that cannot be read",
        hint="look at it: openssl s_client -showcerts -connect HOST:PORT",
        step="handshake",
    )


def _no_roots(path: Path | None) -> InventoryError:
    message = f"{path} is no readable PEM file of certificates"
    return InventoryError(str(path), (Problem("ca_bundle", message),))


def _no_answer(address: SocketAddress, timeout: float) -> Unreachable:
    return Unreachable(
        f"{address} did not answer within {timeout:g} s",
        hint="is the host on, and is this its port?",
        step="connect",
    )


def _no_handshake(address: SocketAddress, reason: str) -> ProtocolError:
    old = legacy_tls.is_too_old(reason)
    return ProtocolError(
        f"{address} does not complete a TLS handshake ({reason})",
        hint=legacy_tls.HINT if old else "is this the port of a TLS service?",
        step="handshake",
    )


def _reason(error: SSL.Error) -> str:
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in queue if isinstance(entry, tuple) and entry]
    return printable(", ".join(reasons) or "no reason given")
