"""PKCS#12 (.pfx, .p12): leaf, chain and key in one file, under a passphrase (RFC 7292)."""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from distributor.model.bundle import Bundle
from distributor.model.errors import BundleError, EncryptedKey
from distributor.model.pem import private_key_from
from distributor.model.secret import Secret

ENCRYPTION: Final = (
    "AES-256 and SHA-256 (PBES2): Windows 10 1709, Windows Server 2019, OpenSSL and Java of today "
    "read it; older ones say that the passphrase is wrong"
)
"""Why this one, in a line: what older systems read too, 3DES or RC2 with SHA-1, protects little."""
_SEQUENCE: Final = 0x30
_VERSION: Final = bytes.fromhex("020103")
"""The INTEGER 3 that a PFX begins with (RFC 7292 section 4)."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds."""

    certificates: tuple[x509.Certificate, ...]
    """The one that the key belongs to first, where the file says so."""
    key: object | None
    """A private key of the cryptography library."""


def is_pkcs12(content: bytes) -> bool:
    """Tell whether it begins as PKCS#12 does, in DER or BER."""
    if len(content) < len(_VERSION) or content[0] != _SEQUENCE:
        return False
    more = content[1] & 0x7F if content[1] & 0x80 else 0  # bytes of a long length; 0 for BER's
    return content[2 + more :].startswith(_VERSION)


def read_pkcs12(content: bytes, passphrase: Secret | None, what: str) -> Contents:
    """Return what a file holds; `what` names it in errors.

    Without a passphrase, none and the empty one are tried. Raises EncryptedKey when that is not
    the right one, BundleError when the file cannot be read.
    """
    tries = [passphrase.reveal().encode("utf-8")] if passphrase is not None else [None, b""]
    for password in tries:
        try:
            found = pkcs12.load_pkcs12(content, password)
        except ValueError:
            continue  # the library tells a wrong passphrase from a damaged file in no way
        except (TypeError, UnsupportedAlgorithm):
            raise BundleError(
                f"{what} is PKCS#12 of a kind that cannot be read",
                hint="export it again, encrypted with AES-256",
            ) from None
        leaf = [found.cert.certificate] if found.cert is not None else []
        rest = [one.certificate for one in found.additional_certs]
        return Contents(tuple(leaf + rest), found.key)
    if passphrase is None:
        raise EncryptedKey(
            f"{what} is protected by a passphrase",
            hint="give it by --passphrase-file FILE or --passphrase-env NAME",
        )
    raise EncryptedKey(
        f"{what} cannot be opened with this passphrase", hint="correct it; or the file is damaged"
    )


def make_pkcs12(bundle: Bundle, name: str, passphrase: Secret) -> bytes:
    """Return a file of the bundle, under `name` for people; encrypted as `ENCRYPTION` says."""
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
