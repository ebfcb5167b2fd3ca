"""PEM text as people and tools really hand it over, turned into certificates and a key.

Windows line ends, a byte order mark, blank lines, text between the blocks and every common
wrapping of a private key (PKCS#1, PKCS#8, SEC1) are read; what is written is always the same.
"""

import base64
import binascii
import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from distributor.model.errors import BundleError, EncryptedKey, WeakKey
from distributor.model.secret import Secret

SIZE_LIMIT: Final = 1 << 20
"""Bytes. The longest chain in use is a few kilobytes; more is no PEM file."""
MIN_RSA_BITS: Final = 2048
"""CA/Browser Forum Baseline Requirements 6.1.5: no CA signs less."""

MAX_RSA_BITS: Final = 8192
"""No CA in use signs more; to check that the primes of a longer key are primes takes minutes."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_UNEVEN: Final = 64
"""Bits by which twice the longer prime may be longer than the key."""
_CERTIFICATE_LABELS: Final = {"CERTIFICATE", "X509 CERTIFICATE"}
_ENCRYPTED_LABEL: Final = "ENCRYPTED PRIVATE KEY"
_KEY_LABELS: Final = {"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY"}
_BEGIN: Final = re.compile(
    f"-----BEGIN ({'|'.join(sorted({*_CERTIFICATE_LABELS, *_KEY_LABELS, _ENCRYPTED_LABEL}))})-----"
)
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def certificates_from(pem: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of `pem` in their order; `what` names the input in errors.

    Raises BundleError when there is none, or one cannot be read.
    """
    blocks = [body for label, body in _blocks(pem, what) if label in _CERTIFICATE_LABELS]
    if not blocks:
        raise BundleError(
            f"{what} holds no certificate",
            hint="it should begin with -----BEGIN CERTIFICATE-----",
        )
    return tuple(_certificate(body, f"{what}, certificate {n}") for n, body in enumerate(blocks, 1))


def der_certificate(content: bytes) -> x509.Certificate | None:
    """Return the certificate that `content` is in DER; None when it is something else."""
    try:
        certificate = x509.load_der_x509_certificate(content)
        _ = certificate.subject, certificate.issuer
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None
    return certificate


def private_key_from(pem: bytes, what: str) -> PrivateKey:
    """Return the one private key of `pem`.

    Raises EncryptedKey for a key with a passphrase, WeakKey for a type or size that must not be
    delivered, BundleError when there is none, more than one, or it cannot be read.
    """
    blocks = _blocks(pem, what)
    if any(label == _ENCRYPTED_LABEL or "ENCRYPTED" in body for label, body in blocks):
        raise EncryptedKey(
            f"{what} is protected by a passphrase",
            hint="the devices take only a plain key: openssl pkey -in KEY -out PLAIN-KEY",
        )
    keys = [(label, body) for label, body in blocks if label in _KEY_LABELS]
    if len(keys) != 1:
        found = "no private key" if not keys else f"{len(keys)} private keys"
        raise BundleError(
            f"{what} holds {found}", hint="it should hold one block -----BEGIN PRIVATE KEY-----"
        )
    label, body = keys[0]
    return usable_key(_key(label, body, what), what)


def has_private_key(pem: bytes, what: str) -> bool:
    """Tell whether there is a block of a private key, readable or not."""
    return any(label in _KEY_LABELS or label == _ENCRYPTED_LABEL for label, _ in _blocks(pem, what))


def usable_key(key: object, what: str) -> PrivateKey:
    """Return `key` if its type and size may be delivered, else raise WeakKey with the reason."""
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise WeakKey(
                f"{what} is RSA with {key.key_size} bits", hint=f"use at least {MIN_RSA_BITS} bits"
            )
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        raise WeakKey(
            f"{what} is on the curve {key.curve.name}", hint="use P-256 or P-384: CAs sign no other"
        )
    kind = "DSA" if isinstance(key, dsa.DSAPrivateKey) else type(key).__name__
    raise WeakKey(f"{what} is of type {kind}", hint="use RSA, or EC on P-256 or P-384")


def certificates_pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Return the blocks one after the other, LF line ends, no blank line (SRM refuses one)."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def private_key_pem(key: PrivateKey) -> Secret:
    """Return the key as PKCS#8 PEM."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secret(pem.decode("ascii"))


def _blocks(pem: bytes, what: str) -> list[tuple[str, str]]:
    if len(pem) > SIZE_LIMIT:
        raise BundleError(f"{what} is larger than {SIZE_LIMIT} bytes", hint="is it the right file?")
    text, position = _text(pem), 0
    blocks: list[tuple[str, str]] = []
    endless: set[str] = set()  # labels that do not end any more: searched once, not per beginning
    while begin := _BEGIN.search(text, position):
        label, position = begin[1], begin.end()
        end = -1 if label in endless else text.find(f"-----END {label}-----", position)
        if end < 0:
            endless.add(label)
            continue
        blocks.append((label, text[position:end]))
        position = end
    return blocks


def _text(pem: bytes) -> str:
    for mark, encoding in _BOMS:
        if pem.startswith(mark):
            return pem[len(mark) :].decode(encoding, errors="replace")
    return pem.decode("utf-8", errors="replace")


def _certificate(body: str, what: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(_decoded(body))
        _ = certificate.subject, certificate.issuer  # parsed only when somebody looks
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BundleError(f"{what} cannot be read", hint="export it again as PEM") from error
    return certificate


def _key(label: str, body: str, what: str) -> object:
    try:
        der = _decoded(body)
        if label == "PRIVATE KEY":
            _require_bounded(
                load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True), what
            )
            return load_der_private_key(der, password=None)
        # PKCS#1 and SEC1 say in the label alone what they are, so the label has to be kept.
        lines = base64.encodebytes(der).decode("ascii")
        pem = f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode("ascii")
        _require_bounded(load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True), what)
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause is not chained: what a parser says about a key does not belong in a log.
        raise BundleError(f"{what} cannot be read", hint="export it again as PEM") from None


def _require_bounded(unchecked: object, what: str) -> None:
    """Raise WeakKey for an RSA key whose numbers would take too long to check."""
    if not isinstance(unchecked, rsa.RSAPrivateKey):
        return
    numbers = unchecked.private_numbers()
    longest = max(unchecked.key_size, 2 * numbers.p.bit_length(), 2 * numbers.q.bit_length())
    if longest > MAX_RSA_BITS + _UNEVEN:
        raise WeakKey(
            f"{what} is RSA with {unchecked.key_size} bits", hint=f"use {MAX_RSA_BITS} bits at most"
        )


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
