"""A PKCS #12 container (RFC 7292) turned into leaf, chain and key, and made of them.

What it holds has no order there: the leaf is the certificate of the key, and the chain is built
upwards from it. Certificates that are no part of that are left out, and so is the root, which
programs that write such containers like to add.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from distributor.model.bundle import (
    Bundle,
    is_signed_by,
    spki_fingerprint,
    spki_fingerprint_of_key,
)
from distributor.model.errors import BundleError, EncryptedKey, KeyMismatch
from distributor.model.pem import (
    PrivateKey,
    certificates_pem,
    private_key_from,
    private_key_pem,
    usable_key,
)
from distributor.model.pkcs12_cost import MOST, rounds
from distributor.model.secret import Secret

ENCRYPTION: Final = (
    "AES-256 and SHA-256 (PBES2): Windows 10 1709, Windows Server 2019, OpenSSL and Java of today "
    "read it; older ones say that the passphrase is wrong"
)
"""Why this one, in a line: what older systems read too, 3DES or RC2 with SHA-1, protects little."""
_MOST_CERTIFICATES: Final = 500
_LONGEST_CHAIN: Final = 20
"""Links at most; so many of so many certificates are looked at in a second or two."""
_SEQUENCE: Final = 0x30
_VERSION_3: Final = b"\x02\x01\x03"
"""How the content of every container begins, after the tag and length of its sequence."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a container holds for one key, as PEM."""

    certificate: bytes
    chain: bytes
    private_key: Secret


def read_pkcs12(content: bytes, passphrase: bytes, what: str) -> Contents:
    """Return leaf, chain and key; `what` names the container in errors.

    `passphrase` is UTF-8, or empty where there is none. Raises BundleError when it is no container,
    does not open, or holds no key or no certificate; KeyMismatch when none of them is the key's;
    WeakKey for a key that must not be delivered.
    """
    if not is_pkcs12(content):
        raise BundleError(
            f"{what} is no PKCS #12 container", hint="a PEM file is named by `certificate`"
        )
    _require_bounded(content, what)
    held = _opened(content, passphrase)
    if held is None:
        tried = "the passphrase given" if passphrase else "an empty passphrase"
        missing = 'say passphrase = { env = "NAME" } beside it'
        advice = "correct `passphrase`" if passphrase else missing
        raise BundleError(
            f"{what} does not open with {tried}, or is damaged",
            hint=f"{advice}; `openssl pkcs12 -noout -in FILE` tells whether it is right",
        )
    if held.key is None:
        raise BundleError(f"{what} holds no private key", hint="export it again with its key")
    key = usable_key(held.key, f"the private key in {what}")
    if not held.certificates:
        raise BundleError(f"{what} holds no certificate", hint="export it again with its chain")
    if len(held.certificates) > _MOST_CERTIFICATES:
        raise BundleError(
            f"{what} holds {len(held.certificates)} certificates: a chain has a handful",
            hint="export the certificate again, with its chain alone",
        )
    leaf = _leaf_of(key, held.certificates)
    if leaf is None:
        raise KeyMismatch(
            f"no certificate in {what} belongs to its private key",
            hint="export the two of them together",
        )
    return Contents(
        certificate=certificates_pem((leaf,)),
        chain=certificates_pem(_chain_above(leaf, held.certificates)),
        private_key=private_key_pem(key),
    )


@dataclass(frozen=True, slots=True)
class Held:
    """All that a container holds, whatever it is."""

    certificates: tuple[x509.Certificate, ...]
    """The one that the key belongs to first, where the container says so."""
    key: object | None
    """A private key of the cryptography library."""


def is_pkcs12(content: bytes) -> bool:
    """Tell whether it begins as a container does, in DER or BER."""
    if len(content) < len(_VERSION_3) or content[0] != _SEQUENCE:
        return False
    more = content[1] & 0x7F if content[1] & 0x80 else 0  # bytes of a long length; 0 for BER's
    return content[2 + more :].startswith(_VERSION_3)


def look_into(content: bytes, passphrase: Secret | None, what: str) -> Held:
    """Return all that a container holds; `what` names it in errors.

    Without a passphrase, none and the empty one are tried. Raises EncryptedKey when that is not
    the right one, or the container is damaged, which nobody can tell apart; BundleError when it
    asks for more work than anybody needs.
    """
    _require_bounded(content, what)
    if passphrase is not None:
        held = _opened(content, passphrase.reveal().encode("utf-8"))
    else:
        held = _opened(content, None) or _opened(content, b"")
    if held is not None:
        return held
    if passphrase is None:
        raise EncryptedKey(
            f"{what} is protected by a passphrase, or damaged",
            hint="give it by --passphrase-file FILE or --passphrase-env NAME",
        )
    raise EncryptedKey(
        f"{what} does not open with this passphrase, or is damaged", hint="correct it"
    )


def make_pkcs12(bundle: Bundle, name: str, passphrase: Secret) -> bytes:
    """Return a container of the bundle, under `name` for people; see `ENCRYPTION`."""
    key = private_key_from(bundle.private_key_pem.reveal().encode("ascii"), "the private key")
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(passphrase.reveal().encode("utf-8"))
    )
    return pkcs12.serialize_key_and_certificates(
        name.encode("utf-8"), key, bundle.leaf, bundle.chain or None, encryption
    )


def _require_bounded(content: bytes, what: str) -> None:
    if rounds(content) > MOST:
        raise BundleError(
            f"{what} asks to hash its passphrase more than {MOST} times",
            hint="export it again: thousands of times are usual",
        )


def _opened(content: bytes, passphrase: bytes | None) -> Held | None:
    """Return what is in it, None when it does not open.

    The parser's error goes no further: what it says about a key does not belong in a log.
    """
    try:
        found = pkcs12.load_pkcs12(content, passphrase)
        first = [found.cert] if found.cert is not None else []
        held = tuple(one.certificate for one in (*first, *found.additional_certs))
        _ = [(one.subject, one.issuer) for one in held]  # parsed only when somebody looks
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return Held(held, found.key)


def _leaf_of(key: PrivateKey, held: Iterable[x509.Certificate]) -> x509.Certificate | None:
    wanted = spki_fingerprint_of_key(key)
    return next((one for one in held if spki_fingerprint(one) == wanted), None)


def _chain_above(
    leaf: x509.Certificate, held: Iterable[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    chain: list[x509.Certificate] = []
    left = [one for one in held if one != leaf and one.subject != one.issuer]
    top = leaf
    while len(chain) < _LONGEST_CHAIN and (
        issuer := next((one for one in left if is_signed_by(top, one)), None)
    ):
        chain.append(issuer)
        left.remove(issuer)
        top = issuer
    return tuple(chain)
