"""A chain link by link: what each certificate is, and whether clients get up to a root."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from distributor.model.bundle import common_name_of, fingerprint, is_signed_by
from distributor.model.errors import BundleError
from distributor.model.text import printable


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain."""

    role: str
    """leaf, intermediate or root."""
    subject: str
    issuer: str
    fingerprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain as it was served or stored, leaf first."""

    links: tuple[Link, ...]
    root: str | None
    """Name of the expected root that it ends at; None when it ends at none."""
    verdict: str
    """In words: complete, or what is missing."""

    @property
    def is_complete(self) -> bool:
        """Whether it leads, link by link, to an expected root."""
        return self.root is not None


def read_chain(
    certificates: Sequence[x509.Certificate], roots: Collection[x509.Certificate]
) -> Chain:
    """Return what is to be said of `certificates` (leaf first), judged against `roots`.

    Raises BundleError when the names of one are malformed.
    """
    links = tuple(_link(number, certificate) for number, certificate in enumerate(certificates))
    for number in range(len(certificates) - 1):
        if not is_signed_by(certificates[number], certificates[number + 1]):
            verdict = f"broken: {links[number + 1].subject} does not sign {links[number].subject}"
            return Chain(links, None, verdict)
    top = certificates[-1]
    for root in roots:
        if top == root or (top.issuer == root.subject and is_signed_by(top, root)):
            return Chain(links, _name(root.subject), f"complete, up to {_name(root.subject)}")
    if top.issuer == top.subject:
        what = "self-signed" if len(links) == 1 else f"ends at the unknown root {links[-1].subject}"
        return Chain(links, None, what)
    return Chain(links, None, f"the issuer {links[-1].issuer} is neither sent nor a known root")


def _link(number: int, certificate: x509.Certificate) -> Link:
    try:
        return Link(
            role=_role(number, certificate),
            subject=_name(certificate.subject),
            issuer=_name(certificate.issuer),
            fingerprint=fingerprint(certificate),
            not_after=certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"certificate {number + 1} of the chain has malformed names", hint="obtain a new one"
        ) from error


def _role(number: int, certificate: x509.Certificate) -> str:
    if number == 0:
        return "leaf"
    return "root" if certificate.issuer == certificate.subject else "intermediate"


def _name(name: x509.Name) -> str:
    return common_name_of(name) or printable(name.rfc4514_string())
