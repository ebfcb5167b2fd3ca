"""What the schema cannot tell about certificates: what is missing, contradicts, leads nowhere."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from distributor.inventory.effective import OF_ITS_CA, effective_issuance, is_elsewhere
from distributor.inventory.locate import KeyPath
from distributor.inventory.names import certificate_name
from distributor.inventory.schema import (
    AcmeTable,
    CertificateTable,
    FallbackTable,
    IssuanceKeys,
)
from distributor.inventory.shape import Finding, Shape, value_at
from distributor.inventory.values import did_you_mean, directory_url
from distributor.model.hosts import BINDING_CAS

_MOST_NAMES: Final = 100
"""Names in one order at most: what the large CAs take."""
_LONGEST_COMMON_NAME: Final = 64
"""Characters (RFC 5280 appendix A.1, ub-common-name)."""
_ACME: Final = ("names", "dns", "key_type", "renew", "reuse_key", *IssuanceKeys.model_fields)
_ENTRY: Final = ("from", "id", "description")
_FILES: Final = ("certificate", "chain", "private_key", "archive", "pkcs12", "passphrase")
_SOURCE_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(_ACME, "acme"),
    **dict.fromkeys(_ENTRY, "diskstation"),
    **dict.fromkeys(_FILES, "files"),
}
_SHARED: Final = frozenset({("key_type", "diskstation"), ("key_type", "files"), ("names", "files")})
"""Of an entry or archive with an RSA and an ECC pair, `key_type` says which is taken; `names` is
what a certificate in files must cover."""


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
            yield from _files(shape, path, table)


def _acme(shape: Shape, path: KeyPath, table: CertificateTable) -> Iterator[Finding]:
    if not shape.given(*path, "names"):
        yield Finding((*path, "names"), 'is missing: the DNS names, as in ["example.com"]')
    yield from _names((*path, "names"), table.names)
    yield from _ordered_names((*path, "names"), table.names or [])
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
    keys = effective_issuance(table, shape.tables.acme)
    elsewhere = is_elsewhere(table, shape.tables.acme)

    def place(key: str) -> KeyPath:
        own = shape.given(*path, key) or not shape.given("acme")
        return (*path, key) if own or (elsewhere and key in OF_ITS_CA) else ("acme", key)

    if not shape.given(*place("ca")):
        yield Finding(place("ca"), 'is missing: a CA, as in "letsencrypt-staging"')
    agrees = value_at(shape.document, place("agree_tos"))
    if agrees is None or agrees is False:
        yield Finding(
            place("agree_tos"),
            "must be true: read the terms of service of the CA, and write it if you agree",
        )
    if not shape.given(*place("eab")) and _needs_binding(keys):
        yield Finding(place("eab"), f"is missing: {_BINDING}")
    yield from _binding(shape, place("eab"), keys)
    yield from _fallback(shape, path, place("fallback"), keys)


def _fallback(shape: Shape, path: KeyPath, place: KeyPath, keys: AcmeTable) -> Iterator[Finding]:
    """Look at the CAs that are asked after the first."""
    first = directory_url(keys.ca) if keys.ca else None
    seen = {first}
    for index, other in enumerate(keys.fallback or ()):
        here = (*place, index)
        written = value_at(shape.document, here)
        if not isinstance(written, str) and not shape.given(*here, "ca"):
            yield Finding((*here, "ca"), 'is missing: a CA, as in "zerossl"')
        url = directory_url(other.ca) if other.ca else None
        if url is not None and url == first and place[0] == "acme" and shape.given(*path, "ca"):
            yield Finding(
                (*path, "ca"),
                "is a fallback of [acme] too: write a `fallback` of its own here, [] for none",
            )
        elif url is not None and url in seen:
            yield Finding(here, "names a CA that was named already")
        seen.add(url)
        if not shape.given(*here, "eab") and _needs_binding(other):
            yield Finding(
                here,
                f"needs an eab: {_BINDING}; write it as "
                '{ ca = "...", eab = { kid = "...", hmac = { env = "NAME" } } }',
            )
        yield from _binding(shape, (*here, "eab"), other)


_BINDING: Final = "this CA opens an account only for a kid and hmac that it gave"
"""Asked for also where the state folder holds an account already: nothing is opened here to know
it, and a new account, when that one is lost, needs it again. It is read only then."""


def _needs_binding(keys: AcmeTable | FallbackTable) -> bool:
    return keys.ca is not None and directory_url(keys.ca) in BINDING_CAS


def _binding(shape: Shape, place: KeyPath, keys: AcmeTable | FallbackTable) -> Iterator[Finding]:
    for key in ("kid", "hmac") if keys.eab else ():
        if not shape.given(*place, key):
            yield Finding((*place, key), "is missing: the CA gives kid and hmac together")


def _names(path: KeyPath, names: list[str] | None) -> Iterator[Finding]:
    if names == []:
        yield Finding(path, "must hold at least one name")
    seen: dict[str, int] = {}
    for index, text in enumerate(names or ()):
        try:
            name = certificate_name(text)
        except ValueError as error:
            yield Finding((*path, index), str(error))
            continue
        if name in seen:
            yield Finding((*path, index), f"is the same name as [{seen[name]}]")
        seen.setdefault(name, index)


def _ordered_names(path: KeyPath, names: list[str]) -> Iterator[Finding]:
    """Look at what names may be ordered from a CA, beyond what they may be."""
    if len(names) > _MOST_NAMES:
        yield Finding(path, f"has {len(names)} names; a CA takes {_MOST_NAMES} at most")
    with suppress(ValueError):
        if names and len(certificate_name(names[0])) > _LONGEST_COMMON_NAME:
            yield Finding(
                (*path, 0),
                f"is the common name, which holds {_LONGEST_COMMON_NAME} characters at most: "
                "put a shorter name first",
            )


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


def _files(shape: Shape, path: KeyPath, table: CertificateTable) -> Iterator[Finding]:
    yield from _names((*path, "names"), table.names)
    given = [key for key in ("certificate", "archive", "pkcs12") if shape.given(*path, key)]
    if not given:
        yield Finding(
            (*path, "certificate"), "is missing: certificate and private_key, or archive, or pkcs12"
        )
    for key in given[1:]:
        yield Finding((*path, key), f"contradicts {given[0]}: keep one of them")
    for key in ("chain", "private_key"):
        if given and "certificate" not in given and shape.given(*path, key):
            yield Finding((*path, key), f"contradicts {given[0]}, which holds it")
    for key, only in (("passphrase", "pkcs12"), ("key_type", "archive")):
        if given and only not in given and shape.given(*path, key):
            yield Finding((*path, key), f"belongs to {only}, not {given[0]}")
