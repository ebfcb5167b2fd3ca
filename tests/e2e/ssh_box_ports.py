"""The loopback ports of virtual boxes, and what they serve."""

import secrets
import socket
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Final

LOCAL: Final = "127.0.0.1"
_FIRST_PORT: Final = 10_000


def free_ports(number: int) -> list[int]:
    """Return ports of loopback on which nothing listens.

    They lie below the range from which the kernel takes the ports of outgoing connections, so that
    none of those gets in between.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    found: set[int] = set()
    while len(found) < number:
        port = _FIRST_PORT + secrets.randbelow(lowest - _FIRST_PORT)
        if all(_is_free(address, port) for address in loopback()):
            found.add(port)
    return list(found)


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.create_server((address, port), family=family):
            return True
    except OSError:
        return False


def loopback() -> tuple[str, ...]:
    """Return the addresses of loopback that this machine has."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return (LOCAL, "::1")
    except OSError:
        return (LOCAL,)


def answers(port: int) -> bool:
    """Say whether something listens on a port of loopback."""
    try:
        with socket.create_connection((LOCAL, port), timeout=1):
            return True
    except OSError:
        return False


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def served(port: int, server_name: str | None = None, *, ftp: bool = False) -> str | None:
    """Return the SHA-256 of the leaf that a port serves, as hex; None when nothing answers."""
    try:
        with socket.create_connection((LOCAL, port), timeout=10) as raw:
            if ftp:
                raw.recv(1024)
                raw.sendall(b"AUTH TLS\r\n")
                raw.recv(1024)
            with _unverified().wrap_socket(raw, server_hostname=server_name) as secured:
                return sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
    except (ConnectionError, ssl.SSLError):
        return None
