"""A PKCS #12 container gives leaf, chain and key, or one clear error that tells nothing of it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import prove
from distributor.model.errors import BundleError, KeyMismatch, WeakKey
from distributor.model.pkcs12 import Contents, read_pkcs12
from tests.certs import NOW, Issued, hierarchy, key_pem, pem, private_key, self_signed
from tests.layouts import container, write

NAMES = ("example.com", "*.example.com")
ISSUER = hierarchy(3)
ISSUED = ISSUER.issue(NAMES)
PASSPHRASE = "gehäß und 7 more"


def read(content: bytes, passphrase: str = "") -> Contents:
    return read_pkcs12(content, passphrase.encode(), "home.pfx")


def is_whole(found: Contents, issued: Issued = ISSUED) -> bool:
    bundle = prove(
        certificate=found.certificate,
        chain=found.chain,
        private_key=found.private_key.reveal().encode(),
        names=NAMES,
        now=NOW,
    )
    return (bundle.leaf, bundle.chain) == (issued.leaf, issued.chain)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_chain_is_put_in_order(reverse: bool) -> None:
    assert is_whole(read(container(ISSUED, reverse=reverse)))


@given(st.permutations([*ISSUED.chain, ISSUER.root, hierarchy(1).certificate]))
def test_strangers_and_the_root_are_left_out_in_any_order(others: list[Any]) -> None:
    made = pkcs12.serialize_key_and_certificates(
        None, ISSUED.key, ISSUED.leaf, others, NoEncryption()
    )
    assert is_whole(read(made))


def test_a_passphrase_opens_it() -> None:
    assert is_whole(read(container(ISSUED, PASSPHRASE), PASSPHRASE))


@pytest.mark.parametrize(
    ("passphrase", "tried", "hint"),
    [
        ("wrong", "the passphrase given", "correct `passphrase`"),
        ("", "an empty passphrase", "say passphrase = "),
    ],
)
def test_what_does_not_open_says_what_was_tried(passphrase: str, tried: str, hint: str) -> None:
    with pytest.raises(BundleError) as caught:
        read(container(ISSUED, PASSPHRASE), passphrase)
    assert caught.value.message == f"home.pfx does not open with {tried}, or is damaged"
    assert hint in str(caught.value.hint)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [b"", b"0", ISSUED.fullchain_pem, b"PK\x03\x04", b"0\x03\x02"])
def test_what_is_no_container_is_told_apart(content: bytes) -> None:
    with pytest.raises(BundleError, match="is no PKCS #12 container"):
        read(content)


def test_a_container_that_was_cut_off_is_refused() -> None:
    whole = container(ISSUED)
    for length in range(len(whole) // 7, len(whole), len(whole) // 7):
        with pytest.raises(BundleError, match="or is damaged"):
            read(whole[:length])


GOOD = container(ISSUED)


@given(st.dictionaries(st.integers(0, len(GOOD) - 1), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_container_gives_contents_or_a_bundle_error(changes: dict[int, int]) -> None:
    damaged = bytearray(GOOD)
    for place, value in changes.items():
        damaged[place] = value
    try:
        read(bytes(damaged))
    except BundleError:
        return


def test_a_container_without_key_is_refused() -> None:
    made = pkcs12.serialize_key_and_certificates(
        None, None, ISSUED.leaf, ISSUED.chain, NoEncryption()
    )
    with pytest.raises(BundleError, match="holds no private key"):
        read(made)


def test_a_container_without_certificate_is_refused() -> None:
    made = pkcs12.serialize_key_and_certificates(None, ISSUED.key, None, None, NoEncryption())
    with pytest.raises(BundleError, match="holds no certificate"):
        read(made)


def test_a_key_to_which_no_certificate_belongs_is_refused() -> None:
    made = pkcs12.serialize_key_and_certificates(
        None, private_key(), None, [ISSUED.leaf, *ISSUED.chain], NoEncryption()
    )
    with pytest.raises(KeyMismatch, match=r"no certificate in home\.pfx belongs"):
        read(made)


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(WeakKey, match="RSA with 1024 bits"):
        read(container(ISSUER.issue(NAMES, key="rsa1024")))


def test_a_certificate_that_signed_itself_is_a_leaf_all_the_same() -> None:
    own = self_signed(NAMES)
    found = read(container(own))
    assert (found.certificate, found.chain) == (own.certificate_pem, b"")


def test_the_key_shows_in_no_repr() -> None:
    line = ISSUED.private_key_pem.decode().splitlines()[1]
    assert line not in repr(read(container(ISSUED)))


@pytest.mark.parametrize("options", [[], ["-legacy"], ["-certpbe", "NONE", "-keypbe", "NONE"]])
@pytest.mark.parametrize("passphrase", [PASSPHRASE, ""])
@pytest.mark.parametrize("kind", ["ec256", "rsa2048"])
def test_what_openssl_makes_is_read(
    tmp_path: Path, kind: Any, passphrase: str, options: list[str]
) -> None:
    issued = ISSUER.issue(NAMES, key=kind)
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is missing: apt-get install openssl"
    write(tmp_path / "key.pem", key_pem(issued.key))
    write(tmp_path / "fullchain.pem", pem(issued.leaf, *issued.chain, ISSUER.root))
    write(tmp_path / "passphrase", f"{passphrase}\n".encode())
    out = tmp_path / "home.pfx"
    arguments = ["-inkey", "key.pem", "-in", "fullchain.pem", "-out", str(out), *options]
    subprocess.run(
        [openssl, "pkcs12", "-export", *arguments, "-passout", "file:passphrase"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert is_whole(read(out.read_bytes(), passphrase), issued)
