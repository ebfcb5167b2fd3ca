"""Certificates for tests: a leaf, the intermediate that signed it, and the root above."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    leaf: x509.Certificate
    intermediate: x509.Certificate
    root: x509.Certificate
    key: Key = field(repr=False)

    @property
    def served(self) -> list[str]:
        """Fingerprints of leaf and intermediate, as a handshake shows them."""
        return [fingerprint(self.leaf), fingerprint(self.intermediate)]

    @property
    def cert_pem(self) -> bytes:
        return pem(self.leaf)

    @property
    def chain_pem(self) -> bytes:
        return pem(self.intermediate)

    @property
    def files(self) -> tuple[bytes, bytes, bytes]:
        """Certificate, key and chain, as they are imported."""
        return self.cert_pem, self.key_pem, self.chain_pem

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)


def fingerprint(certificate: x509.Certificate) -> str:
    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Key, passphrase: bytes | None = None) -> bytes:
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        hidden or serialization.NoEncryption(),
    )


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def issue(*names: str, key: Key | None = None, start: datetime | None = None) -> Issued:
    """A new leaf for these names, with a CA of its own; EC P-256 unless a key is given."""
    begins = start or datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    chosen = names or ("example.com", "*.example.com")
    root_key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    leaf_key = key or ec.generate_private_key(ec.SECP256R1())
    root = _sign("Lab Root", root_key, "Lab Root", root_key, begins)
    middle = _sign("Lab Middle", middle_key, "Lab Root", root_key, begins)
    leaf = _sign(chosen[0], leaf_key, "Lab Middle", middle_key, begins, chosen)
    return Issued(leaf, middle, root, leaf_key)


def _sign(
    subject: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    begins: datetime,
    names: tuple[str, ...] = (),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
