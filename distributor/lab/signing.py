"""Keys and certificates a CA of the lab needs before it can serve: its HTTPS, and its issuers."""

import ipaddress
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_BACKDATED = timedelta(hours=1)
_LIFETIME = timedelta(days=3650)
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its private key, which shows in no repr."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(repr=False)

    def pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write_key(self, path: Path) -> None:
        """Write the key as PKCS #8 PEM, readable by the owner only."""
        write_private(
            path,
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


def make_authority(name: str, *, issuer: Signed | None = None, rsa_key: bool = False) -> Signed:
    """Make a CA: a root, or an intermediate below `issuer`; P-256, or RSA 2048 if asked."""
    key = (
        rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        if rsa_key
        else ec.generate_private_key(ec.SECP256R1())
    )
    constraints = x509.BasicConstraints(ca=True, path_length=None if issuer is None else 0)
    builder = _builder(name, key, issuer).add_extension(constraints, critical=True)
    return _sign(builder.add_extension(_usage(signs=True), critical=True), key, issuer)


def make_server(issuer: Signed) -> Signed:
    """Make a TLS server certificate for localhost and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    builder = (
        _builder("localhost", key, issuer)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
    )
    return _sign(builder, key, issuer)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, issuer: Signed | None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuing_key = key if issuer is None else issuer.key
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing_key.public_key()),
            critical=False,
        )
    )


def _sign(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    issuer: Signed | None,
) -> Signed:
    return Signed(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
