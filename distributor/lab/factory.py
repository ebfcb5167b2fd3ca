"""The self-signed certificate a box comes with from the shop."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from distributor.lab.material import Material, to_pem

_LIFETIME = timedelta(days=366)
_ROUTER_CA = (
    x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Taiwan"),
    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Certificate Authority"),
    x509.NameAttribute(NameOID.EMAIL_ADDRESS, "product@synology.com"),
)


def factory_certificate(
    name: str, *, expired: bool = False, is_router: bool = False, now: datetime | None = None
) -> Material:
    """Return a box's first certificate: RSA 2048, issued by a self-signed "Synology Inc. CA".

    The key is made once per process and box name, the CA's key once per process, because an RSA key
    costs up to a tenth of a second; each call signs anew. A box takes a prepared one as `factory`.
    `expired` gives one that ended a month before `now`. The CA of a router has a longer name (facts
    §4); that its leaf is named like a DiskStation's is inferred.
    """
    moment = datetime.now(UTC) if now is None else now
    start = moment - (_LIFETIME + timedelta(days=30) if expired else timedelta(days=1))
    authority_key = _key("the factory's CA")
    authority_name = _name("Synology Inc. CA", *(_ROUTER_CA if is_router else ()))
    authority = _sign(authority_name, authority_key, authority_name, authority_key, start)
    key = _key(name)
    leaf = _sign(_name("synology"), key, authority_name, authority_key, start)
    return Material(
        cert_pem=to_pem(leaf),
        key_pem=_key_pem(key),
        ca_cert_pem=to_pem(authority),
        ca_key_pem=_key_pem(authority_key),
    )


@lru_cache(maxsize=64)
def _key(_owner: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(common_name: str, *more: x509.NameAttribute[str]) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Taipei"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Synology Inc."),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            *more,
        ]
    )


def _sign(
    subject: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    start: datetime,
) -> x509.Certificate:
    is_authority = subject == issuer
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
