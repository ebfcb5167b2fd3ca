"""PKCS#12: what we write others can read, and what others write is told for what it is."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from distributor.model.bundle import Bundle, assemble, fits
from distributor.model.errors import BundleError, EncryptedKey
from distributor.model.pem import usable_key
from distributor.model.pkcs12 import is_pkcs12, look_into, make_pkcs12
from distributor.model.secret import Secret
from tests.certs import KeyKind, hierarchy

ISSUED = hierarchy(2).issue(["example.test"])
WORD = Secret("correct horse \N{SNOWMAN}")
OLD = (
    PrivateFormat.PKCS12.encryption_builder()
    .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    .hmac_hash(SHA1())  # noqa: S303 - as old programs do
    .build(b"old")
)
AES_256_CBC = bytes.fromhex("060960864801650304012a")
PBES2 = bytes.fromhex("06092a864886f70d01050d")
SHA_256 = bytes.fromhex("0609608648016503040201")


def bundle(kind: KeyKind = "ec256", intermediates: int = 2) -> Bundle:
    issued = hierarchy(intermediates).issue(["example.test"], key=kind)
    return assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem)


def made(encryption: KeySerializationEncryption, *, key: bool = True, leaf: bool = True) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"x",
        ISSUED.key if key else None,
        ISSUED.leaf if leaf else None,
        ISSUED.chain,
        encryption,
    )


@pytest.mark.parametrize("kind", ["rsa2048", "ec256", "ec384"])
@pytest.mark.parametrize("intermediates", [0, 1, 3])
def test_leaf_chain_and_key_come_back_in_order(kind: KeyKind, intermediates: int) -> None:
    whole = bundle(kind, intermediates)
    content = make_pkcs12(whole, "home", WORD)

    assert is_pkcs12(content)
    found = look_into(content, WORD, "x")
    assert found.certificates == (whole.leaf, *whole.chain)
    assert fits(usable_key(found.key, "x"), whole.leaf)


def test_all_of_it_is_encrypted_with_aes_256_and_bound_by_sha_256() -> None:
    whole = bundle()
    content = make_pkcs12(whole, "home", WORD)

    assert content.count(PBES2) == content.count(AES_256_CBC) == 2  # key, and certificates
    assert SHA_256 in content
    assert b"example.test" not in content
    assert make_pkcs12(whole, "home", WORD) != content  # salted


@pytest.mark.parametrize("given", [None, Secret(""), Secret("wrong")])
def test_another_passphrase_is_a_typed_error(given: Secret | None) -> None:
    with pytest.raises(EncryptedKey) as caught:
        look_into(make_pkcs12(bundle(), "home", WORD), given, "home.pfx")
    assert "home.pfx" in caught.value.message
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert WORD.reveal() not in str(caught.value)


def test_what_old_programs_write_is_read() -> None:
    found = look_into(made(OLD), Secret("old"), "x")
    assert found.certificates == (ISSUED.leaf, *ISSUED.chain)


def test_a_file_without_passphrase_or_key_or_leaf_is_read_without_asking() -> None:
    assert look_into(made(NoEncryption()), None, "x").key is not None
    without = look_into(made(NoEncryption(), key=False, leaf=False), None, "x")
    assert (without.key, without.certificates) == (None, ISSUED.chain)


@pytest.mark.parametrize("cut", [4, 20, 200, 1000])
def test_a_damaged_file_is_a_typed_error(cut: int) -> None:
    with pytest.raises(BundleError):
        look_into(make_pkcs12(bundle(), "home", WORD)[:cut], WORD, "x")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", False),
        (b"\x30", False),
        (b"\x30\x82", False),
        (b"-----BEGIN CERTIFICATE-----", False),
        (ISSUED.leaf.public_bytes(Encoding.DER), False),
        (bytes.fromhex("3080020103"), True),
        (bytes.fromhex("3003020103"), True),
        (bytes.fromhex("30820fff020103"), True),
    ],
)
def test_a_container_is_told_by_how_it_begins(content: bytes, expected: bool) -> None:
    assert is_pkcs12(content) is expected
