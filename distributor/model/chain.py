"""A chain link by link: what each certificate is, and whether clients get up to a root."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from distributor.model.bundle import (
    MALFORMED,
    common_name_of,
    fingerprint,
    is_ca,
    is_signed_by,
    spki_fingerprint,
    subject_names,
)
from distributor.model.errors import BundleError
from distributor.model.text import printable
from distributor.model.times import rfc3339

Role = Literal["leaf", "intermediate", "root", "cross-sign", "repeated", "stranger"]
FindingName = Literal[
    "missing",
    "unknown-root",
    "self-signed",
    "no-leaf",
    "wrong-order",
    "repeated",
    "root-included",
    "cross-signed",
    "stranger",
    "expired",
    "not-yet-valid",
]
_BY_FILE = "--ca-bundle FILE (in the inventory `ca_bundle`)"
_NAMED_AT_MOST = 5
"""Strangers that a finding names: a file with all roots of the world has hundreds."""


_CHECKS_AT_MOST = 5000
"""Signatures that are looked at: a second or two. A chain has a few, with many cross-signs some
dozens."""


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain."""

    role: Role
    """`cross-sign`: a second way up, beside the shortest one. `stranger`: no part of the chain."""
    subject: str
    issuer: str
    fingerprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know of a chain."""

    name: FindingName
    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The certificate that would carry on where a chain ends."""

    issuer: str
    """Its name."""
    of: str
    """Name of the certificate that it signed."""
    url: str | None
    """Where the CA publishes it (RFC 5280 section 4.2.2.1); None where the certificate has no such
    line. Nobody fetched it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain as it was served or stored."""

    links: tuple[Link, ...]
    """In the order in which they came."""
    root: str | None
    """Name of the expected root that it ends at; None when it ends at none."""
    verdict: str
    """In words: complete, or what is missing."""
    leaf_at: int | None = 0
    """Place of the leaf among the links, from 0; None when there is no leaf."""
    missing: Missing | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether it leads from a leaf, link by link, to an expected root."""
        in_order = all(one.name != "wrong-order" for one in self.findings)
        return self.root is not None and self.leaf_at is not None and in_order

    @property
    def intermediates(self) -> int:
        """How many intermediates lead from the leaf upwards; a cross-sign beside them is none."""
        return sum(link.role == "intermediate" for link in self.links)

    @property
    def is_root_sent(self) -> bool:
        """Whether a root came along."""
        return any(link.role == "root" for link in self.links)


def read_chain(
    certificates: Sequence[x509.Certificate],
    roots: Collection[x509.Certificate],
    now: datetime,
    *,
    leaf_first: bool = True,
) -> Chain:
    """Return what is to be said of `certificates`, judged against `roots`.

    A server's first certificate is its leaf; a file may hold another order, or no leaf at all
    (`leaf_first` False). Raises BundleError when the names of one are malformed, or there are far
    too many of the same name.
    """
    names = tuple(_names(number, one) for number, one in enumerate(certificates))
    leaf_at = 0 if leaf_first else _leaf_among(certificates)
    start = leaf_at if leaf_at is not None else _lowest_of(certificates)
    walk = _walk(certificates[start], certificates, _by_subject(roots))
    roles = tuple(_roles(certificates, leaf_at, walk))
    links = tuple(
        Link(role, subject, issuer, fingerprint(one), one.not_valid_after_utc)
        for role, (subject, issuer), one in zip(roles, names, certificates, strict=True)
    )
    root = _name(walk.root.subject) if walk.root is not None else None
    missing = _missing(walk)
    findings = (
        *_ends(leaf_at, walk, missing),
        *_order(certificates, leaf_at, walk),
        *_extras(links, root),
        *_dates(walk, now),
    )
    verdict = _verdict(root, leaf_at, walk, missing, findings)
    return Chain(
        links=links,
        root=root,
        verdict=verdict,
        leaf_at=leaf_at,
        missing=missing,
        findings=findings,
    )


@dataclass(frozen=True, slots=True)
class _Walk:
    """The way from a certificate upwards."""

    path: tuple[x509.Certificate, ...]
    """The shortest one to an expected root; where there is none, the longest."""
    root: x509.Certificate | None
    """The expected root that it ends at or below."""
    reached: frozenset[x509.Certificate]
    """All that signed it, on whatever way."""


def _walk(
    start: x509.Certificate,
    certificates: Sequence[x509.Certificate],
    roots: Mapping[x509.Name, Sequence[x509.Certificate]],
) -> _Walk:
    below: dict[x509.Certificate, x509.Certificate | None] = {start: None}
    by_subject = _by_subject(certificates)
    checks = 0
    ended: tuple[x509.Certificate, x509.Certificate] | None = None
    queue, last = deque([start]), start
    while queue:
        last = here = queue.popleft()
        root = _root_of(here, roots)
        if root is not None and ended is None:
            ended = here, root
        named = [one for one in by_subject.get(here.issuer, ()) if one not in below]
        checks += len(named)
        if checks > _CHECKS_AT_MOST:
            raise BundleError(
                f"too many certificates ({len(certificates)}) have the same names to tell which "
                "signed which",
                hint="is it a chain? One has a handful",
            )
        for other in named:
            if is_ca(other) and is_signed_by(here, other):
                below[other] = here
                queue.append(other)
    top, known = ended or (last, None)
    path = [top]
    while (under := below[path[-1]]) is not None:
        path.append(under)
    return _Walk(tuple(reversed(path)), known, frozenset(below))


def _root_of(
    certificate: x509.Certificate, roots: Mapping[x509.Name, Sequence[x509.Certificate]]
) -> x509.Certificate | None:
    """Return the root that it is, or that signed it."""
    for root in roots.get(certificate.subject, ()):
        if certificate == root:
            return root
    for root in roots.get(certificate.issuer, ()):
        if is_signed_by(certificate, root):
            return root
    return None


def _by_subject(
    roots: Collection[x509.Certificate],
) -> dict[x509.Name, list[x509.Certificate]]:
    found: dict[x509.Name, list[x509.Certificate]] = {}
    for root in roots:
        found.setdefault(root.subject, []).append(root)
    return found


def _leaf_among(certificates: Sequence[x509.Certificate]) -> int | None:
    """Return the place of the first certificate that is for a server and not for signing."""
    for number, one in enumerate(certificates):
        # Many a self-made certificate may sign, too; but no CA's is for the name of a server.
        if not is_ca(one) or subject_names(one):
            return number
    return None


def _lowest_of(certificates: Sequence[x509.Certificate]) -> int:
    """Return the place of the first that signed no other, as far as names tell."""
    issuers = {one.issuer for one in certificates if one.issuer != one.subject}
    return next((n for n, one in enumerate(certificates) if one.subject not in issuers), 0)


def _roles(
    certificates: Sequence[x509.Certificate], leaf_at: int | None, walk: _Walk
) -> Iterator[Role]:
    used = [*walk.path, *([walk.root] if walk.root is not None else [])]
    identities = {(one.subject, spki_fingerprint(one)) for one in used}
    seen: set[x509.Certificate] = set()
    leaf = certificates[leaf_at] if leaf_at is not None else None
    for number, one in enumerate(certificates):
        if one == leaf:
            yield "leaf" if number == leaf_at else "repeated"
        elif one in seen:
            yield "repeated"
        elif one.issuer == one.subject and (
            leaf is None or one in walk.reached or one == walk.root
        ):
            yield "root"
        elif one in walk.path:
            yield "intermediate"
        elif (one.subject, spki_fingerprint(one)) in identities or one in walk.reached:
            yield "cross-sign"
        else:
            yield "stranger"
        seen.add(one)


def _missing(walk: _Walk) -> Missing | None:
    top = walk.path[-1]
    if walk.root is not None or top.issuer == top.subject:
        return None
    return Missing(issuer=_name(top.issuer), of=_name(top.subject), url=_published(top))


def _published(certificate: x509.Certificate) -> str | None:
    """Return the URL of the issuer's certificate that the certificate itself names."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except (x509.ExtensionNotFound, *MALFORMED):
        return None
    for one in access.value:
        is_issuer = one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        if is_issuer and isinstance(one.access_location, x509.UniformResourceIdentifier):
            return printable(one.access_location.value)
    return None


def _ends(leaf_at: int | None, walk: _Walk, missing: Missing | None) -> Iterator[Finding]:
    top = walk.path[-1]
    name = _name(top.subject)
    if leaf_at is None:
        yield Finding("no-leaf", "a server's own certificate is not in it")
    if missing is not None:
        yield _unknown_issuer(missing, is_of_leaf=leaf_at is not None and len(walk.path) == 1)
    elif walk.root is None and len(walk.path) == 1:
        yield Finding("self-signed", f"no CA vouches for '{name}'")
    elif walk.root is None:
        yield Finding(
            "unknown-root",
            f"'{name}' is none of the roots that it is judged by: whoever trusts it was given it "
            f"by hand. To judge by it: {_BY_FILE}",
        )


def _unknown_issuer(missing: Missing, *, is_of_leaf: bool) -> Finding:
    published = ""
    if missing.url is not None:
        published = f"; its CA publishes it at {missing.url} (not fetched)"
    who = f"'{missing.issuer}', which signed '{missing.of}'"
    if is_of_leaf:
        return Finding(
            "missing",
            f"{who}: clients that do not happen to have it refuse the certificate{published}; "
            f"or it is a private root: {_BY_FILE}",
        )
    return Finding(
        "unknown-root",
        f"{who}, is none of the roots that it is judged by. Whether it is a root, which is not to "
        "be sent, or a further intermediate, which is, cannot be told from what is here"
        f"{published}: take the CA's chain as it came; or it is a private root: {_BY_FILE}",
    )


def _order(
    certificates: Sequence[x509.Certificate], leaf_at: int | None, walk: _Walk
) -> Iterator[Finding]:
    places = [certificates.index(one) for one in walk.path]
    if places != sorted(places) or leaf_at not in {0, None}:
        right = ", ".join(f"'{_name(one.subject)}'" for one in walk.path)
        yield Finding(
            "wrong-order", f"each is to sign the one before it, from the leaf on: {right}"
        )


def _extras(links: Sequence[Link], root: str | None) -> Iterator[Finding]:
    leaf = {link.fingerprint for link in links if link.role == "leaf"}
    has_others = any(link.role in {"intermediate", "leaf"} for link in links) and len(links) > 1
    for link in links:
        if link.role == "repeated":
            what = "the leaf" if link.fingerprint in leaf else f"'{link.subject}'"
            yield Finding("repeated", f"{what} is there more than once; once is enough")
        elif link.role == "root" and root is not None and has_others:
            yield Finding(
                "root-included",
                f"'{link.subject}' need not be there: a client believes only the root that it has",
            )
        elif link.role == "cross-sign":
            yield Finding(
                "cross-signed",
                f"'{link.subject}' is here as signed by '{link.issuer}': for clients that know "
                "only that way up; others do without",
            )
    strangers = [f"'{link.subject}'" for link in links if link.role == "stranger"]
    if strangers:
        more = len(strangers) - _NAMED_AT_MOST
        named = ", ".join(strangers[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        gap = "; or what it signed is missing" if root is None else ""
        yield Finding("stranger", f"nothing here was signed by {named}{gap}")


def _dates(walk: _Walk, now: datetime) -> Iterator[Finding]:
    for one in walk.path:
        if now > one.not_valid_after_utc:
            ended = rfc3339(one.not_valid_after_utc)
            yield Finding("expired", f"'{_name(one.subject)}' expired at {ended}")
        elif now < one.not_valid_before_utc:
            begins = rfc3339(one.not_valid_before_utc)
            yield Finding("not-yet-valid", f"'{_name(one.subject)}' is not valid before {begins}")


def _verdict(
    root: str | None,
    leaf_at: int | None,
    walk: _Walk,
    missing: Missing | None,
    findings: Collection[Finding],
) -> str:
    if root is not None and leaf_at is None:
        return f"no leaf; leads up to {root}"
    if root is not None:
        if any(one.name == "wrong-order" for one in findings):
            return f"in the wrong order; all that leads up to {root} is there"
        return f"complete, up to {root}"
    if missing is not None:
        return f"the issuer {missing.issuer} is neither sent nor a known root"
    if any(one.name == "self-signed" for one in findings):
        return "self-signed"
    return f"ends at the unknown root {_name(walk.path[-1].subject)}"


def _names(number: int, certificate: x509.Certificate) -> tuple[str, str]:
    """Return the names of subject and issuer."""
    try:
        return _name(certificate.subject), _name(certificate.issuer)
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"certificate {number + 1} of the chain has malformed names", hint="obtain a new one"
        ) from error


def _name(name: x509.Name) -> str:
    return common_name_of(name) or printable(name.rfc4514_string())
