"""DNS names and host addresses as the inventory writes them, brought to one form."""

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import idna

from distributor.model.hosts import JumpHost, SocketAddress

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST: Final = 253
"""Characters of a name in text form (RFC 1035 section 3.1: 255 octets on the wire)."""
_LAST_PORT: Final = 65535
_SSH_PORT: Final = 22
_USER: Final = re.compile(r"[^\s@:,]+")


def dns_name(text: str) -> str:
    """Return a name in lower case, labels outside ASCII as A-labels (RFC 5891).

    Raises ValueError, with words for the user, for what is no host name (RFC 1123 section 2.1).
    """
    if text.endswith("."):
        raise ValueError("must be written without the final dot")
    name = text.lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("is not a valid internationalised name (IDNA 2008)") from None
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(name) > _LONGEST:
        raise ValueError(
            "is not a DNS name: labels of 1 to 63 letters, digits and hyphens, parted by dots, "
            f"{_LONGEST} characters at most"
        )
    if labels[-1].isdigit():
        raise ValueError("is neither a DNS name nor an IP address: its last label is a number")
    return name


def certificate_name(text: str) -> str:
    """Return a name for a certificate: a DNS name, or `*.` and one (RFC 6125 section 6.4.3).

    Raises ValueError, with words for the user.
    """
    if ip(text):
        raise ValueError("is an IP address, which DNS-01 cannot validate: write DNS names")
    wildcard, base = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if "*" in base:
        raise ValueError('"*" may stand only alone as the leftmost label, as in "*.example.com"')
    return wildcard + dns_name(base)


def server_name(text: str) -> str:
    """Return a name fit for SNI, which never holds an IP address (RFC 6066 section 3).

    Raises ValueError, with words for the user.
    """
    if ip(text):
        raise ValueError("must be a DNS name: TLS sends no IP address as server name")
    return dns_name(text)


def address(text: str) -> str:
    """Return a DNS name or an IP address without port, in its usual form.

    Raises ValueError, with words for the user.
    """
    found = ip(text)
    if found:
        return str(found)
    if "://" in text:
        raise ValueError("must be a name or an address, without scheme")
    if text.startswith("["):
        raise ValueError("must be written without brackets")
    if ":" in text:
        raise ValueError("must be a name or an address alone: the port has a key of its own")
    return dns_name(text)


def socket_address(text: str) -> SocketAddress:
    """Return the place of `name:port`, `address:port` or `[IPv6 address]:port`.

    Raises ValueError, with words for the user.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal():
        raise ValueError('must be "name:port", as in "nas.example.com:5001"')
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if isinstance(ip(bare), IPv6Address) is not bracketed:
        raise ValueError('an IPv6 address, and only that, stands in brackets: "[2001:db8::1]:5001"')
    return SocketAddress(address(bare), port_number(int(port)))


def nameserver(text: str) -> SocketAddress:
    """Return the place of a DNS server; the port may be left out and is 53 then.

    Raises ValueError, with words for the user.
    """
    alone = ip(text)
    if alone:
        return SocketAddress(str(alone), 53)
    return socket_address(text if ":" in text else f"{text}:53")


def jump_host(text: str) -> JumpHost:
    """Return the SSH server of `user@host` or `user@host:port`; the port may be left out: 22.

    Raises ValueError, with words for the user.
    """
    user, at, place = text.rpartition("@")
    if not at or not _USER.fullmatch(user):
        raise ValueError('must be "user@host" or "user@host:port", as in "admin@gate.example.com"')
    if place.startswith("[") and place.endswith("]") and ip(place[1:-1]):
        place = place[1:-1]
    if ip(place) or ":" not in place:
        return JumpHost(user, SocketAddress(address(place), _SSH_PORT))
    return JumpHost(user, socket_address(place))


def port_number(number: int) -> int:
    """Return a TCP port, or raise ValueError with words for the user."""
    if not 1 <= number <= _LAST_PORT:
        raise ValueError(f"must be from 1 to {_LAST_PORT}")
    return number


def ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text is, or None."""
    with suppress(ValueError):
        return ip_address(text)
    return None
