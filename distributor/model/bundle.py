"""A bundle: leaf, chain and private key, proved to belong together; and what of it may be shown."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from distributor.model.errors import (
    BrokenChain,
    BundleError,
    Expired,
    KeyMismatch,
    NameNotCovered,
    NotYetValid,
)
from distributor.model.pem import (
    PrivateKey,
    certificates_from,
    certificates_pem,
    private_key_from,
    private_key_pem,
)
from distributor.model.secret import Secret
from distributor.model.text import printable
from distributor.model.times import rfc3339

NEXT: Final = "next:"
"""Begins the symbol that stands for the fingerprint of a leaf still to be issued."""

MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises when it looks into a certificate that nobody should have made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """All of a bundle that may be printed, hashed and saved: a plan is made from this alone.

    A certificate still to be issued has `leaf` = `next:NAME` and no dates, chain or issuer.
    """

    name: str
    """Its name in the inventory."""
    leaf: str
    """`sha256:` and 64 hex digits over the DER (RFC 5280), or `next:NAME`."""
    names: tuple[str, ...]
    """Subject alternative names, sorted."""
    key_type: str
    chain: tuple[str, ...] = ()
    """Fingerprints of the intermediates, leaf excluded, in the order they are served."""
    key: str = ""
    """`sha256:` and 64 hex digits over the public key (SPKI)."""
    common_name: str | None = None
    issued_by: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    trusted: bool | None = None
    """Whether the chain ends at an expected root; None while it is not known."""

    @property
    def is_forecast(self) -> bool:
        """Whether it is still to be issued."""
        return self.leaf.startswith(NEXT)


def forecast(name: str, names: Iterable[str], key_type: str, ca: str) -> Certificate:
    """Return what can be said of a certificate before it is issued, by a CA named `ca`."""
    listed = tuple(names)
    return Certificate(
        name=name,
        leaf=NEXT + name,
        names=tuple(sorted(listed)),
        key_type=key_type,
        common_name=listed[0] if listed else None,
        issued_by=ca,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Leaf, chain and private key that were proved to match. Made by `assemble` or `prove` only."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    private_key_pem: Secret
    """PKCS#8 PEM."""

    @property
    def leaf_pem(self) -> bytes:
        """The leaf alone (DSM's cert.pem)."""
        return certificates_pem((self.leaf,))

    @property
    def chain_pem(self) -> bytes:
        """The intermediates, leaf excluded (DSM's chain.pem); empty when there are none."""
        return certificates_pem(self.chain)

    @property
    def fullchain_pem(self) -> bytes:
        """Leaf and intermediates."""
        return certificates_pem((self.leaf, *self.chain))

    def certificate(self, name: str, roots: Collection[x509.Certificate] = ()) -> Certificate:
        """Return what may be shown of it, under its inventory `name`, judged against `roots`."""
        shown = describe((self.leaf, *self.chain), name)
        return replace(shown, trusted=anchored((self.leaf, *self.chain), roots))

    def require(self, names: Sequence[str], now: datetime) -> None:
        """Raise NameNotCovered or Expired unless it covers `names` and is valid at `now` (UTC)."""
        have = subject_names(self.leaf)
        missing = [name for name in names if not covers(have, name)]
        if missing:
            raise NameNotCovered(
                f"the certificate does not cover {', '.join(map(printable, missing))}",
                hint=f"it covers {', '.join(map(printable, have)) or 'no name at all'}",
            )
        for number, certificate in enumerate((self.leaf, *self.chain)):
            what = "the leaf" if number == 0 else f"intermediate {number}"
            if now > certificate.not_valid_after_utc:
                ended = rfc3339(certificate.not_valid_after_utc)
                raise Expired(f"{what} expired at {ended}", hint="obtain a new one")
            if now < certificate.not_valid_before_utc:
                begins = rfc3339(certificate.not_valid_before_utc)
                raise NotYetValid(
                    f"{what} is not valid before {begins}", hint="check this computer's clock"
                )


def assemble(*, certificate: bytes, chain: bytes = b"", private_key: bytes) -> Bundle:
    """Return a bundle of three PEM texts: leaf first, each link signing the one before it.

    `certificate` may be a fullchain, `chain` may repeat the leaf: both are put right. Raises a
    BundleError that says what does not fit.
    """
    given = certificates_from(certificate, "the certificate")
    if chain.strip():
        given += certificates_from(chain, "the chain")
    leaf, *rest = dict.fromkeys(given)  # keeps the order, drops what was handed in twice
    links = tuple(rest)
    key = private_key_from(private_key, "the private key")
    if not fits(key, leaf):
        raise KeyMismatch(
            "the private key does not belong to the leaf",
            hint=_hint_for_key(_spki(key.public_key()), links),
        )
    _require_signed(leaf, links)
    return Bundle(leaf=leaf, chain=links, private_key_pem=private_key_pem(key))


def prove(
    *,
    certificate: bytes,
    chain: bytes = b"",
    private_key: bytes,
    names: Sequence[str],
    now: datetime,
) -> Bundle:
    """Return a bundle that also covers `names` and is valid at `now`; else raise a BundleError."""
    bundle = assemble(certificate=certificate, chain=chain, private_key=private_key)
    bundle.require(names, now)
    return bundle


def describe(certificates: Sequence[x509.Certificate], name: str) -> Certificate:
    """Return what may be shown of a leaf and the chain that follows it.

    Raises BundleError when the leaf's names or extensions are malformed.
    """
    leaf, *chain = certificates
    try:
        common_name, issuer = common_name_of(leaf.subject), common_name_of(leaf.issuer)
        issued_by = issuer or printable(leaf.issuer.rfc4514_string())
    except MALFORMED as error:
        raise BundleError("the leaf has malformed names", hint="obtain a new one") from error
    return Certificate(
        name=name,
        leaf=fingerprint(leaf),
        names=subject_names(leaf),
        key_type=key_type(leaf),
        chain=tuple(fingerprint(link) for link in chain),
        key=spki_fingerprint(leaf),
        common_name=common_name,
        issued_by=issued_by,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """Return `sha256:` and 64 hex digits over the DER."""
    return "sha256:" + sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def spki_fingerprint(certificate: x509.Certificate) -> str:
    """Return `sha256:` and 64 hex digits over the public key (SubjectPublicKeyInfo, RFC 5280).

    Empty, and so equal to no pin, for a key of a kind that cannot be read.
    """
    spki = _spki_of(certificate)
    return "sha256:" + sha256(spki).hexdigest() if spki is not None else ""


def spki_fingerprint_of_key(key: PrivateKey) -> str:
    """Return the same of the public half of a private key."""
    return "sha256:" + sha256(_spki(key.public_key())).hexdigest()


def subject_names(leaf: x509.Certificate) -> tuple[str, ...]:
    """Return the subject alternative names of type DNS and IP, lower case, sorted."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    except MALFORMED as error:
        raise BundleError("the leaf has malformed extensions", hint="obtain a new one") from error
    alternatives = extension.value
    names = {name.lower() for name in alternatives.get_values_for_type(x509.DNSName)}
    names |= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    return tuple(sorted(names))


def covers(names: Iterable[str], wanted: str) -> bool:
    """Tell whether a certificate with `names` is valid for `wanted` (RFC 6125 section 6.4.3).

    A wildcard stands for one label and for no wildcard below it; `*.example.com` as wanted name
    is covered by the same wildcard only.
    """
    wanted = wanted.lower().rstrip(".")
    label, _, parent = wanted.partition(".")
    have = {name.lower().rstrip(".") for name in names}
    return wanted in have or (label not in {"", "*"} and bool(parent) and f"*.{parent}" in have)


def key_type(certificate: x509.Certificate) -> str:
    """Return the key's type in the inventory's words, such as `rsa2048` or `ec256`."""
    try:
        key = certificate.public_key()
    except MALFORMED:
        return "unknown"
    return key_type_of(key)


def key_type_of(key: object) -> str:
    """Return the type of a private or public key in the inventory's words."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"rsa{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return f"ec{key.key_size}"
    return type(key).__name__


def anchored(certificates: Sequence[x509.Certificate], roots: Collection[x509.Certificate]) -> bool:
    """Tell whether one of `certificates` is among `roots` or was signed by one of them."""
    by_subject: dict[x509.Name, list[x509.Certificate]] = {}
    for root in roots:
        by_subject.setdefault(root.subject, []).append(root)
    return any(
        certificate == root or is_signed_by(certificate, root)
        for certificate in certificates
        for name in {certificate.issuer, certificate.subject}
        for root in by_subject.get(name, ())
    )


def _require_signed(leaf: x509.Certificate, links: tuple[x509.Certificate, ...]) -> None:
    if links and is_ca(leaf):
        raise BrokenChain(
            "the first certificate is a CA's, not the leaf", hint="put the leaf first"
        )
    signed, what = leaf, "the leaf"
    for number, issuer in enumerate(links, 1):
        if not (is_ca(issuer) and is_signed_by(signed, issuer)):
            raise BrokenChain(
                f"certificate {number} of the chain does not sign {what}",
                hint=f"{what} was issued by {_shown(signed.issuer)}, "
                f"certificate {number} is {_shown(issuer.subject)}",
            )
        signed, what = issuer, f"certificate {number} of the chain"


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` is named as issuer and its key made the signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *MALFORMED):
        return False
    return True


def fits(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Tell whether a private key belongs to a certificate."""
    return _spki_of(certificate) == _spki(key.public_key())


def is_ca(certificate: x509.Certificate) -> bool:
    """Tell whether it may sign other certificates (RFC 5280 section 4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *MALFORMED):
        return False


def _hint_for_key(spki: bytes, links: tuple[x509.Certificate, ...]) -> str:
    for number, link in enumerate(links, 1):
        if _spki_of(link) == spki:
            return f"it belongs to certificate {number} after the leaf: put the leaf first"
    return "take the key that was made for this certificate's request"


def _spki_of(certificate: x509.Certificate) -> bytes | None:
    try:
        return _spki(certificate.public_key())
    except MALFORMED:
        return None


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]  # every public key of cryptography has it; no common base is exported


def common_name_of(name: x509.Name) -> str | None:
    """Return the (first) common name, printable; None when there is none."""
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(values[0].value) if values else None


def _shown(name: x509.Name) -> str:
    return f"'{common_name_of(name) or printable(name.rfc4514_string())}'"
