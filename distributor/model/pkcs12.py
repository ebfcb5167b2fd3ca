"""A PKCS #12 container (RFC 7292) turned into leaf, chain and key.

What it holds has no order there: the leaf is the certificate of the key, and the chain is built
upwards from it. Certificates that are no part of that are left out, and so is the root, which
programs that write such containers like to add.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from distributor.model.bundle import is_signed_by, spki_fingerprint, spki_fingerprint_of_key
from distributor.model.errors import BundleError, KeyMismatch
from distributor.model.pem import PrivateKey, certificates_pem, private_key_pem, usable_key
from distributor.model.secret import Secret

_VERSION_3 = b"\x02\x01\x03"
"""How the content of every container begins, after the tag and length of its sequence."""
_LONGEST_HEADER = 6


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
    if not content.startswith(b"\x30") or _VERSION_3 not in content[: _LONGEST_HEADER + 3]:
        raise BundleError(
            f"{what} is no PKCS #12 container", hint="a PEM file is named by `certificate`"
        )
    given_key, held = _opened(content, passphrase, what)
    if given_key is None:
        raise BundleError(f"{what} holds no private key", hint="export it again with its key")
    key = usable_key(given_key, f"the private key in {what}")
    if not held:
        raise BundleError(f"{what} holds no certificate", hint="export it again with its chain")
    leaf = _leaf_of(key, held)
    if leaf is None:
        raise KeyMismatch(
            f"no certificate in {what} belongs to its private key",
            hint="export the two of them together",
        )
    return Contents(
        certificate=certificates_pem((leaf,)),
        chain=certificates_pem(_chain_above(leaf, held)),
        private_key=private_key_pem(key),
    )


def _opened(content: bytes, passphrase: bytes, what: str) -> tuple[object, list[x509.Certificate]]:
    try:
        container = pkcs12.load_pkcs12(content, passphrase)
        first = [container.cert] if container.cert is not None else []
        held = [one.certificate for one in (*first, *container.additional_certs)]
        _ = [(one.subject, one.issuer) for one in held]  # parsed only when somebody looks
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause is not chained: what a parser says about a key does not belong in a log.
        tried = "the passphrase given" if passphrase else "an empty passphrase"
        missing = 'say passphrase = { env = "NAME" } beside it'
        advice = "correct `passphrase`" if passphrase else missing
        raise BundleError(
            f"{what} does not open with {tried}, or is damaged",
            hint=f"{advice}; `openssl pkcs12 -noout -in FILE` tells whether it is right",
        ) from None
    return container.key, held


def _leaf_of(key: PrivateKey, held: Iterable[x509.Certificate]) -> x509.Certificate | None:
    wanted = spki_fingerprint_of_key(key)
    return next((one for one in held if spki_fingerprint(one) == wanted), None)


def _chain_above(
    leaf: x509.Certificate, held: Iterable[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    chain: list[x509.Certificate] = []
    left = [one for one in held if one != leaf and one.subject != one.issuer]
    top = leaf
    while issuer := next((one for one in left if is_signed_by(top, one)), None):
        chain.append(issuer)
        left.remove(issuer)
        top = issuer
    return tuple(chain)
