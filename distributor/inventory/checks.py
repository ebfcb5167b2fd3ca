"""What the schema cannot tell: names that cannot be used, keys that are missing, loose ends."""

import re
from collections.abc import Iterator
from typing import Final

from distributor.inventory.check_certificates import check_certificates
from distributor.inventory.check_hosts import check_hosts
from distributor.inventory.shape import Finding, Shape
from distributor.inventory.values import did_you_mean
from distributor.model.text import printable

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_RFC2136_KEYS: Final = ("server", "key_name", "key")


def check(shape: Shape) -> Iterator[Finding]:
    """Find everything that is wrong with an inventory beyond its shape."""
    if not shape.document.get("certificates") and not shape.document.get("hosts"):
        yield Finding((), "neither certificates nor hosts: write [certificates.NAME], [hosts.NAME]")
    yield from _table_names(shape)
    yield from _dns(shape)
    yield from check_certificates(shape)
    yield from _defaults(shape)
    yield from check_hosts(shape)
    yield from _rollout(shape)


def _table_names(shape: Shape) -> Iterator[Finding]:
    """Find names that could not be folders of the state folder, also where case is ignored."""
    for family in ("dns", "certificates", "hosts"):
        seen: dict[str, str] = {}
        for name in getattr(shape.tables, family):
            if not _NAME.fullmatch(name):
                yield Finding(
                    (family, name),
                    "must be named by up to 64 letters, digits, hyphens, underscores and dots, "
                    "with neither hyphen nor dot first and no dot last",
                )
            elif name.lower() in seen:
                yield Finding(
                    (family, name),
                    f'differs from "{printable(seen[name.lower()])}" in case only: rename one',
                )
            seen.setdefault(name.lower(), name)


def _dns(shape: Shape) -> Iterator[Finding]:
    for name, table in shape.tables.dns.items():
        if not shape.given("dns", name, "provider"):
            yield Finding(("dns", name, "provider"), 'is missing: as in "rfc2136"')
        for key in _RFC2136_KEYS if table.provider == "rfc2136" else ():
            if not shape.given("dns", name, key):
                yield Finding(("dns", name, key), 'is missing: provider = "rfc2136" needs it')


def _defaults(shape: Shape) -> Iterator[Finding]:
    """Find a default that leads nowhere, also where every host has a certificate of its own."""
    name = shape.tables.defaults.certificate if shape.tables.defaults else None
    known = shape.tables.certificates
    if name is not None and name not in known:
        yield Finding(
            ("defaults", "certificate"),
            f"there is no certificate of this name{did_you_mean(name, known)}",
        )


def _rollout(shape: Shape) -> Iterator[Finding]:
    canary = shape.tables.rollout.canary if shape.tables.rollout else None
    hosts = shape.document.get("hosts") or {}
    if canary is not None and canary not in hosts:
        yield Finding(
            ("rollout", "canary"), f"there is no host of this name{did_you_mean(canary, hosts)}"
        )
