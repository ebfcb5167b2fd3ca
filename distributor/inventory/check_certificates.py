"""What the schema cannot tell about certificates: what is missing, contradicts, leads nowhere."""

from collections.abc import Iterator, Mapping
from typing import Final

from distributor.inventory.locate import KeyPath
from distributor.inventory.names import certificate_name
from distributor.inventory.schema import CertificateTable, IssuanceKeys
from distributor.inventory.shape import Finding, Shape, value_at
from distributor.inventory.values import did_you_mean

_MOST_NAMES: Final = 100
"""Names in one order at most: what the large CAs take."""
_LONGEST_COMMON_NAME: Final = 64
"""Characters (RFC 5280 appendix A.1, ub-common-name)."""
_ACME: Final = ("names", "dns", "key_type", "renew", "reuse_key", *IssuanceKeys.model_fields)
_ENTRY: Final = ("from", "id", "description")
_FILES: Final = ("certificate", "chain", "private_key", "archive", "pkcs12")
_SOURCE_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(_ACME, "acme"),
    **dict.fromkeys(_ENTRY, "diskstation"),
    **dict.fromkeys(_FILES, "files"),
}
_SHARED: Final = frozenset({("key_type", "diskstation")})
"""Of an entry with an RSA and an ECC pair, its family says which is taken."""


def check_certificates(shape: Shape) -> Iterator[Finding]:
    """Find everything that is wrong with `[certificates]` and what they need of `[acme]`."""
    for name, table in shape.tables.certificates.items():
        path: KeyPath = ("certificates", name)
        if not shape.given(*path, "source"):
            yield Finding((*path, "source"), 'is missing: "acme", "diskstation" or "files"')
        if table.source is None:
            continue
        for key, source in _SOURCE_OF.items():
            is_its_own = source == table.source or (key, table.source) in _SHARED
            if not is_its_own and shape.given(*path, key):
                yield Finding((*path, key), f'belongs to source = "{source}", not "{table.source}"')
        if table.source == "acme":
            yield from _acme(shape, path, table)
        elif table.source == "diskstation":
            yield from _diskstation(shape, path, table)
        else:
            yield from _files(shape, path)


def _acme(shape: Shape, path: KeyPath, table: CertificateTable) -> Iterator[Finding]:
    if not shape.given(*path, "names"):
        yield Finding((*path, "names"), 'is missing: the DNS names, as in ["example.com"]')
    yield from _names((*path, "names"), table.names)
    if not shape.given(*path, "dns"):
        yield Finding((*path, "dns"), "is missing: the NAME of a [dns.NAME]")
    elif table.dns is not None and table.dns not in shape.tables.dns:
        yield Finding(
            (*path, "dns"),
            f"there is no [dns] of this name{did_you_mean(table.dns, shape.tables.dns)}",
        )
    yield from _issuance(shape, path, table)


def _issuance(shape: Shape, path: KeyPath, table: CertificateTable) -> Iterator[Finding]:
    """Look at what may stand in `[acme]` or at the certificate."""
    acme = shape.tables.acme

    def place(key: str) -> KeyPath:
        own = shape.given(*path, key) or not shape.given("acme")
        return (*path, key) if own else ("acme", key)

    if not shape.given(*place("ca")):
        yield Finding(place("ca"), 'is missing: a CA, as in "letsencrypt-staging"')
    agrees = value_at(shape.document, place("agree_tos"))
    if agrees is None or agrees is False:
        yield Finding(
            place("agree_tos"),
            "must be true: read the terms of service of the CA, and write it if you agree",
        )
    ca = table.ca or (acme.ca if acme else None)
    fallback = table.fallback or (acme.fallback if acme else None) or ()
    for index, other in enumerate(fallback):
        if other == ca or other in fallback[:index]:
            yield Finding((*place("fallback"), index), "names a CA that was named already")
    eab = table.eab or (acme.eab if acme else None)
    for key in ("kid", "hmac") if eab else ():
        if not shape.given(*place("eab"), key):
            yield Finding((*place("eab"), key), "is missing: the CA gives kid and hmac together")


def _names(path: KeyPath, names: list[str] | None) -> Iterator[Finding]:
    if names == []:
        yield Finding(path, "must hold at least one name")
    if names and len(names) > _MOST_NAMES:
        yield Finding(path, f"has {len(names)} names; a CA takes {_MOST_NAMES} at most")
    seen: dict[str, int] = {}
    for index, text in enumerate(names or ()):
        try:
            name = certificate_name(text)
        except ValueError as error:
            yield Finding((*path, index), str(error))
            continue
        if name in seen:
            yield Finding((*path, index), f"is the same name as [{seen[name]}]")
        elif index == 0 and len(name) > _LONGEST_COMMON_NAME:
            yield Finding(
                (*path, index),
                f"is the common name, which holds {_LONGEST_COMMON_NAME} characters at most: "
                "put a shorter name first",
            )
        seen.setdefault(name, index)


def _diskstation(shape: Shape, path: KeyPath, table: CertificateTable) -> Iterator[Finding]:
    if not shape.given(*path, "from"):
        yield Finding((*path, "from"), "is missing: the NAME of a [hosts.NAME]")
    elif table.from_ is not None and table.from_ not in shape.tables.hosts:
        yield Finding(
            (*path, "from"),
            f"there is no host of this name{did_you_mean(table.from_, shape.tables.hosts)}",
        )
    elif table.from_ is not None and shape.tables.hosts[table.from_].kind in {"router", "files"}:
        yield Finding((*path, "from"), 'must name a host of kind = "diskstation"')
    elif table.from_ is not None and _via(shape, table.from_) == "ssh":
        yield Finding((*path, "from"), 'must name a host of via = "api"')
    if not shape.given(*path, "id") and not shape.given(*path, "description"):
        yield Finding((*path, "description"), "is missing: say by description or id which entry")
    elif shape.given(*path, "id") and shape.given(*path, "description"):
        yield Finding((*path, "description"), "contradicts id: keep one of them")


def _via(shape: Shape, host: str) -> str | None:
    defaults = shape.tables.defaults
    return shape.tables.hosts[host].via or (defaults.via if defaults else None)


def _files(shape: Shape, path: KeyPath) -> Iterator[Finding]:
    given = [key for key in ("certificate", "archive", "pkcs12") if shape.given(*path, key)]
    if not given:
        yield Finding(
            (*path, "certificate"), "is missing: certificate and private_key, or archive, or pkcs12"
        )
    for key in given[1:]:
        yield Finding((*path, key), f"contradicts {given[0]}: keep one of them")
    has_pem = "certificate" in given
    if has_pem and not shape.given(*path, "private_key"):
        yield Finding((*path, "private_key"), "is missing: the key of the certificate")
    for key in ("chain", "private_key"):
        if given and not has_pem and shape.given(*path, key):
            yield Finding((*path, key), f"contradicts {given[0]}, which holds it")
