"""The file known_hosts of OpenSSH, as sshd(8) describes it under "SSH_KNOWN_HOSTS FILE FORMAT"."""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

from distributor.model.host_keys import HostKey, KnownKeys
from distributor.model.hosts import SocketAddress

_REVOKED: Final = "@revoked"
_HASHED: Final = "|1|"
_SSH_PORT: Final = 22


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key on the wire, as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_keys(text: str, address: SocketAddress) -> KnownKeys:
    """Return the keys that the file has for an address, and those it calls revoked.

    Names may be hashed or patterns; a port other than 22 stands as `[name]:port`. Lines that cannot
    be read are left out, and so are certificate authorities: no host certificate is believed.
    """
    name = _name(address)
    keys: set[HostKey] = set()
    revoked: set[HostKey] = set()
    for line in text.splitlines():
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in {"", _REVOKED}:  # noqa: PLR2004 - names, type, key
            continue
        names, kind, encoded = words[:3]
        blob = _blob(encoded)
        if blob is not None and _matches(names, name):
            (revoked if marker else keys).add(HostKey(kind, fingerprint(blob)))
    return KnownKeys(frozenset(keys), frozenset(revoked))


def _name(address: SocketAddress) -> str:
    host = address.host.lower()
    return host if address.port == _SSH_PORT else f"[{host}]:{address.port}"


def _blob(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _matches(names: str, name: str) -> bool:
    """Tell whether a line is for `name`: a pattern that starts with `!` outweighs all others."""
    if names.startswith(_HASHED):
        return _is_hash_of(names, name)
    found = False
    for pattern in names.lower().split(","):
        if pattern.startswith("!"):
            if _fits(pattern[1:], name):
                return False
        elif _fits(pattern, name):
            found = True
    return found


def _fits(pattern: str, name: str) -> bool:
    first, *rest = (_literal(part) for part in pattern.split("*"))
    # What follows a star is taken where it first fits and never tried elsewhere: trying all places
    # for all stars would take more time than there is.
    stars = "".join(f"(?>.*?{part})" for part in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    return re.fullmatch(first + stars + last, name, re.DOTALL) is not None


def _literal(part: str) -> str:
    return ".".join(map(re.escape, part.split("?")))


def _is_hash_of(hashed: str, name: str) -> bool:
    """Tell whether `|1|salt|hash` holds the HMAC-SHA1 of `name` under that salt."""
    salt, _, digest = hashed.removeprefix(_HASHED).partition("|")
    key, wanted = _blob(salt), _blob(digest)
    if not key or not wanted:
        return False
    # SHA-1 is the file's format; nothing rests on it but which line is meant.
    return hmac.compare_digest(hmac.digest(key, name.encode(), "sha1"), wanted)
