"""Certificates of every good and bad shape for tests, made in milliseconds.

Keys are EC unless a test asks for another type; RSA keys are made once per process. The default
validity spans the real present, so that a TLS library accepts the certificates too.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KeyKind = Literal[
    "ec256", "ec384", "ec521", "secp256k1", "rsa1024", "rsa2048", "rsa3072", "ed25519", "dsa"
]
PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey
)

NOW = datetime.now(UTC).replace(microsecond=0)
"""The moment around which the defaults are valid; whole seconds, as X.509 has them."""
DAY = timedelta(days=1)
FIRST_NAME = "first name"
"""As `common_name`: the first of the names."""

_CURVES: dict[str, ec.EllipticCurve] = {
    "ec256": ec.SECP256R1(),
    "ec384": ec.SECP384R1(),
    "ec521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


@cache
def _rsa_key(bits: int, number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)  # a new key for each number


@cache
def _dsa_key(number: int) -> dsa.DSAPrivateKey:
    return dsa.generate_private_key(1024)  # noqa: S505 - it is made to be refused; quick at this size


def private_key(kind: KeyKind = "ec256", *, number: int = 0) -> PrivateKey:
    """Return a key: EC and Ed25519 fresh at each call, RSA and DSA the same for one `number`."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "dsa":
        return _dsa_key(number)
    return _rsa_key(int(kind.removeprefix("rsa")), number)


def key_pem(
    key: PrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    *,
    password: bytes | None = None,
) -> bytes:
    """Return `key` as PEM: PKCS#8, or `TraditionalOpenSSL` for PKCS#1 and SEC1."""
    encryption: KeySerializationEncryption = (
        NoEncryption() if password is None else BestAvailableEncryption(password)
    )
    return key.private_bytes(Encoding.PEM, form, encryption)


def pem(*certificates: x509.Certificate) -> bytes:
    """Return the certificates as PEM blocks, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A leaf, the intermediates up to but without the root, and the key; good or bad."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The leaf alone."""
        return pem(self.leaf)

    @property
    def chain_pem(self) -> bytes:
        """The intermediates; empty when there are none."""
        return pem(*self.chain)

    @property
    def fullchain_pem(self) -> bytes:
        """Leaf and intermediates."""
        return pem(self.leaf, *self.chain)

    @property
    def private_key_pem(self) -> bytes:
        """The key as PKCS#8."""
        return key_pem(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA, root or intermediate, that issues leaves; made by `authority` or `hierarchy`."""

    certificate: x509.Certificate
    key: PrivateKey
    parent: "Authority | None" = None

    @property
    def root(self) -> x509.Certificate:
        """The certificate at the top."""
        return self.certificate if self.parent is None else self.parent.root

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """This CA and those above it, without the root."""
        return () if self.parent is None else (self.certificate, *self.parent.chain)

    def impostor(self) -> "Authority":
        """Return a CA of the same name and place with another key: what it signs does not fit."""
        return Authority(certificate=self.certificate, key=private_key(), parent=self.parent)

    def issue(
        self,
        names: Sequence[str],
        *,
        key: KeyKind | PrivateKey = "ec256",
        not_before: datetime = NOW - DAY,
        not_after: datetime = NOW + 90 * DAY,
        common_name: str | None = FIRST_NAME,
        extensions: Iterable[x509.ExtensionType] = (),
    ) -> Issued:
        """Return a leaf for `names` (DNS names and IP addresses; none: no SAN at all).

        `common_name` None leaves the subject empty; `extensions` are added as they are.
        """
        own = private_key(key) if isinstance(key, str) else key
        if common_name == FIRST_NAME:
            common_name = names[0] if names else None
        builder = _builder(_name(common_name), self.certificate.subject, not_before, not_after, own)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
        )
        builder = builder.add_extension(_issued_with(self.key), False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), False
            )
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        return Issued(leaf=_signed(builder, self.key), chain=self.chain, key=own)


def authority(
    name: str,
    *,
    parent: Authority | None = None,
    key: KeyKind = "ec256",
    not_before: datetime = NOW - 365 * DAY,
    not_after: datetime = NOW + 3650 * DAY,
    is_ca: bool = True,
) -> Authority:
    """Return a root, or an intermediate below `parent`; `is_ca` False makes one that may not."""
    own = private_key(key)
    issuer = _name(name) if parent is None else parent.certificate.subject
    signer = own if parent is None else parent.key
    builder = _builder(_name(name), issuer, not_before, not_after, own)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), True)
    builder = builder.add_extension(_ca_usage(), True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False
    )
    if parent is not None:
        builder = builder.add_extension(_issued_with(signer), False)
    return Authority(certificate=_signed(builder, signer), key=own, parent=parent)


def cross_signed(subject: Authority, by: Authority) -> x509.Certificate:
    """Return a certificate for the name and key of one CA that another CA signed."""
    builder = _builder(
        subject.certificate.subject,
        by.certificate.subject,
        NOW - 365 * DAY,
        NOW + 3650 * DAY,
        subject.key,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    return _signed(builder, by.key)


def hierarchy(intermediates: int) -> Authority:
    """Return the CA that issues leaves with a chain of that many intermediates."""
    issuer = authority("Test Root")
    for number in range(1, intermediates + 1):
        issuer = authority(f"Test Intermediate {number}", parent=issuer)
    return issuer


def self_signed(
    names: Sequence[str],
    *,
    key: KeyKind = "ec256",
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 365 * DAY,
) -> Issued:
    """Return a leaf that signed itself, as a device makes one when it is new."""
    own = private_key(key)
    builder = _builder(_name(names[0]), _name(names[0]), not_before, not_after, own).add_extension(
        x509.SubjectAlternativeName([_general_name(name) for name in names]), False
    )
    return Issued(leaf=_signed(builder, own), chain=(), key=own)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    not_before: datetime,
    not_after: datetime,
    key: PrivateKey,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=not_before,
        not_valid_after=not_after,
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    return builder.sign(
        key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )


def _name(common_name: str | None) -> x509.Name:
    if common_name is None:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issued_with(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
