"""Certificate files as a box keeps them: what it accepts, and what it tells of them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

_BOM = b"\xef\xbb\xbf"
_LEAST_RSA_BITS = 1025
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_NAME_PARTS = {
    NameOID.LOCALITY_NAME: "city",
    NameOID.COMMON_NAME: "common_name",
    NameOID.COUNTRY_NAME: "country",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "department",
    NameOID.EMAIL_ADDRESS: "email",
    NameOID.ORGANIZATION_NAME: "organization",
    NameOID.STATE_OR_PROVINCE_NAME: "state",
}

# The names OpenSSL prints, which is where DSM has them from.
_SIGNATURES = {
    SignatureAlgorithmOID.RSA_WITH_SHA1: "sha1WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA256: "sha256WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "sha384WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA512: "sha512WithRSAEncryption",
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ecdsa-with-SHA256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ecdsa-with-SHA384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ecdsa-with-SHA512",
    SignatureAlgorithmOID.RSASSA_PSS: "rsassaPss",
    SignatureAlgorithmOID.ED25519: "ED25519",
}


class UploadError(ValueError):
    """An upload the box refuses; `code` is the Web API's number for it (facts §3.2)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Material:
    """The files of one entry, as they were uploaded; a box's own certificate comes with its CA.

    An entry with two pairs (DSM 7.3) holds the ECC one here and the RSA one in `rsa_pair`.
    """

    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    chain_pem: bytes = b""
    ca_cert_pem: bytes = b""
    ca_key_pem: bytes = field(default=b"", repr=False)
    rsa_pair: "Material | None" = None

    @property
    def leaf(self) -> x509.Certificate:
        """The first certificate of the certificate file."""
        return x509.load_pem_x509_certificate(self.cert_pem)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What is served after the leaf: the rest of the certificate file, then the chain file."""
        rest = x509.load_pem_x509_certificates(self.cert_pem)[1:]
        if self.chain_pem:
            rest += x509.load_pem_x509_certificates(self.chain_pem)
        return tuple(rest)

    @property
    def served_pem(self) -> bytes:
        """Leaf and chain, in the order of the handshake."""
        return b"".join(to_pem(certificate) for certificate in (self.leaf, *self.chain))

    def without_chain(self) -> "Material":
        """Return the same pairs with nothing after the leaf."""
        other = None if self.rsa_pair is None else self.rsa_pair.without_chain()
        return replace(self, cert_pem=to_pem(self.leaf), chain_pem=b"", rsa_pair=other)


def to_pem(certificate: x509.Certificate) -> bytes:
    """Encode one certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER, as `sha256:` and lower-case hex."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def key_fingerprint(material: Material) -> str:
    """SHA-256 over the public key that belongs to the private key file, as `sha256:` and hex."""
    key = serialization.load_pem_private_key(
        material.key_pem,
        None,
        unsafe_skip_rsa_key_validation=True,  # it was checked at its upload
    )
    return f"sha256:{hashlib.sha256(_spki(key.public_key())).hexdigest()}"


@dataclass(frozen=True, slots=True)
class UploadRules:
    """What a box refuses beyond what every box refuses (facts §3.2, §4)."""

    pem_only: bool = False
    """DER is no certificate and no key, as the help of DSM 6.2 says."""
    ec_code: int | None = None
    """The code for an EC key where only RSA is taken."""
    refuses_blank_first_line: bool = False
    """A chain that begins with an empty line is no chain (SRM)."""


_ANYTHING = UploadRules()


def read_upload(
    cert: bytes, key: bytes, inter_cert: bytes | None, rules: UploadRules = _ANYTHING
) -> Material:
    """Check an upload as DSM does and return it as files; raise UploadError with DSM's code.

    Which error wins when several apply is inferred, except that empty files give 5510. An upload
    may be PEM or, if `rules` let it, DER. The chain must sign upwards from the leaf link by link;
    whether DSM accepts other orders is open, so this one does not. That 5534, which the tables of
    DSM 6 do not have, is said by every system is inferred.
    """
    cert_pem, certificates = _certificates(cert, 5510, rules)
    key_pem, private = _private_key(key, rules)
    leaf = certificates[0]
    if _spki(leaf.public_key()) != _spki(private.public_key()):
        raise UploadError(5514)
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < _LEAST_RSA_BITS:
        raise UploadError(5534)
    if inter_cert is None:
        return Material(cert_pem, key_pem)
    if rules.refuses_blank_first_line and inter_cert.startswith((b"\n", b"\r\n")):
        raise UploadError(5512)
    chain_pem, chain = _certificates(inter_cert, 5512, rules)
    for signed, signer in zip((leaf, *chain), chain, strict=False):
        try:
            signed.verify_directly_issued_by(signer)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise UploadError(5517) from error
    return Material(cert_pem, key_pem, chain_pem)


def _text(raw: bytes) -> bytes:
    """Strip a byte order mark; text that is not UTF-8 is 5516."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UploadError(5516) from error
    return raw.removeprefix(_BOM)


def _certificates(
    raw: bytes, code: int, rules: UploadRules
) -> tuple[bytes, list[x509.Certificate]]:
    is_pem = b"-----BEGIN" in raw
    if rules.pem_only and not is_pem:
        raise UploadError(code)
    pem = _text(raw) if is_pem else b""
    try:
        if is_pem:
            return pem, x509.load_pem_x509_certificates(pem)
        certificate = x509.load_der_x509_certificate(raw)
    except ValueError as error:
        raise UploadError(code) from error
    return to_pem(certificate), [certificate]


def _private_key(
    raw: bytes, rules: UploadRules
) -> tuple[bytes, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]:
    is_pem = b"-----BEGIN" in raw
    if rules.pem_only and not is_pem:
        raise UploadError(5511)
    pem = _text(raw) if is_pem else raw
    load: Callable[[bytes, None], PrivateKeyTypes] = (
        serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    )
    try:
        key = load(pem, None)
    except UnsupportedAlgorithm as error:
        raise UploadError(5513) from error
    except (ValueError, TypeError) as error:  # TypeError: the key is encrypted
        raise UploadError(5511) from error
    if isinstance(key, dsa.DSAPrivateKey):
        raise UploadError(5518)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UploadError(5513)
    if rules.ec_code is not None and isinstance(key, ec.EllipticCurvePrivateKey):
        raise UploadError(rules.ec_code)
    if not is_pem:
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    return pem, key


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def describe(material: Material, rsa_key_types: str) -> dict[str, object]:
    """Return what `CRT list` tells of a certificate: names, dates and algorithms (facts §3.1)."""
    leaf = material.leaf
    told: dict[str, object] = {
        "issuer": name_parts(leaf.issuer),
        "key_types": _key_types(material, rsa_key_types),
        "signature_algorithm": signature_algorithm(leaf),
        "subject": {**name_parts(leaf.subject), "sub_alt_name": _alternative_names(leaf)},
        "valid_from": _openssl_date(leaf.not_valid_before_utc),
        "valid_till": _openssl_date(leaf.not_valid_after_utc),
    }
    if material.ca_cert_pem:
        authority = x509.load_pem_x509_certificate(material.ca_cert_pem)
        told["self_signed_cacrt_info"] = {
            "issuer": name_parts(authority.issuer),
            "subject": name_parts(authority.subject),
        }
    return told


def _key_types(material: Material, rsa_key_types: str) -> str:
    if material.rsa_pair is not None:
        return "RSA/ECC"
    is_ec = isinstance(material.leaf.public_key(), ec.EllipticCurvePublicKey)
    return "ECC" if is_ec else rsa_key_types


def signature_algorithm(certificate: x509.Certificate) -> str:
    """Return OpenSSL's name of the algorithm a certificate is signed with."""
    algorithm = certificate.signature_algorithm_oid
    return _SIGNATURES.get(algorithm, algorithm.dotted_string)


def name_parts(name: x509.Name) -> dict[str, str]:
    """Return the parts of a subject or issuer under the keys of the lists (facts §3.1)."""
    return {_NAME_PARTS[part.oid]: str(part.value) for part in name if part.oid in _NAME_PARTS}


def _alternative_names(leaf: x509.Certificate) -> list[str]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _openssl_date(moment: datetime) -> str:
    """Format a moment as OpenSSL does: the day is padded with a blank, whatever the locale."""
    month = _MONTHS[moment.month - 1]
    return f"{month} {moment.day:2d} {moment:%H:%M:%S} {moment.year} GMT"
