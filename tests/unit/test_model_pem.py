"""PEM as it is really handed over gives the same certificates and key, or one clear error."""

import base64
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import assemble
from distributor.model.errors import BundleError, EncryptedKey, WeakKey
from distributor.model.pem import (
    SIZE_LIMIT,
    certificates_from,
    certificates_pem,
    private_key_from,
    private_key_pem,
    usable_key,
)
from tests.certs import KeyKind, hierarchy, key_pem, pem, private_key

ISSUED = hierarchy(2).issue(["example.com", "*.example.com"])
CERTIFICATES = (ISSUED.leaf, *ISSUED.chain)
RSA = private_key("rsa2048")
BOUND_SECONDS = 5.0
"""Generous: what it guards against takes minutes."""

line_ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\n \t\n"])
indents = st.sampled_from(["", " ", "\t", "    "])
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
between = st.sampled_from(
    [
        "",
        "Bag Attributes\n    friendlyName: wild\nKey Attributes: <No Attributes>\n",
        "subject=CN = example.com\nissuer=CN = R3\n",
        "# Zwischen-Zertifikat ü 書\n",
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "-----BEGIN\n",
        "\ufeff",
    ]
)


def encoded(text: str, encoding: str) -> bytes:
    if encoding == "utf-16-le-bom":
        return b"\xff\xfe" + text.encode("utf-16-le")
    if encoding == "utf-16-be-bom":
        return b"\xfe\xff" + text.encode("utf-16-be")
    return text.encode(encoding)


@st.composite
def disguised(draw: st.DrawFn, *blocks: bytes) -> bytes:
    """Return the blocks as some editor, mail program or shell might have left them."""
    end, indent = draw(line_ends), draw(indents)
    text = draw(between)
    for block in blocks:
        text += block.decode("ascii") + draw(between)
    lines = [indent + line + draw(st.sampled_from(["", " "])) for line in text.splitlines()]
    return encoded(end.join(lines) + draw(st.sampled_from(["", end])), draw(encodings))


@given(disguised(*(pem(certificate) for certificate in CERTIFICATES)))
def test_certificates_are_found_in_their_order_however_they_are_written(text: bytes) -> None:
    assert certificates_from(text, "the chain") == CERTIFICATES


@given(st.data(), st.sampled_from([RSA, ISSUED.key]), st.sampled_from(["PKCS8", "traditional"]))
def test_a_key_is_found_however_it_is_written_and_wrapped(
    data: st.DataObject, key: object, form: str
) -> None:
    wrapping = PrivateFormat.PKCS8 if form == "PKCS8" else PrivateFormat.TraditionalOpenSSL
    text = data.draw(disguised(key_pem(key, wrapping), pem(ISSUED.leaf)))  # type: ignore[arg-type]  # one of two keys
    found = private_key_from(text, "the key")
    assert private_key_pem(found).reveal().encode() == key_pem(key)  # type: ignore[arg-type]  # the same


@given(
    disguised(pem(ISSUED.leaf)),
    disguised(*(pem(certificate) for certificate in ISSUED.chain)),
    disguised(key_pem(ISSUED.key, PrivateFormat.TraditionalOpenSSL)),
)
def test_a_bundle_writes_the_same_plain_pem_whatever_it_was_read_from(
    certificate: bytes, chain: bytes, key: bytes
) -> None:
    bundle = assemble(certificate=certificate, chain=chain, private_key=key)
    written = [
        bundle.leaf_pem,
        bundle.chain_pem,
        bundle.fullchain_pem,
        bundle.private_key_pem.reveal().encode("ascii"),
    ]
    assert written == [
        ISSUED.certificate_pem,
        ISSUED.chain_pem,
        ISSUED.fullchain_pem,
        ISSUED.private_key_pem,
    ]
    for text in written:
        assert text.startswith(b"-----BEGIN ")
        assert text.endswith(b"-----\n")
        assert b"\r" not in text
        assert b"\n\n" not in text


def test_no_certificates_are_written_as_nothing() -> None:
    assert certificates_pem(()) == b""


@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "ec256", "ec384"])
def test_keys_that_every_ca_signs_are_taken(kind: KeyKind) -> None:
    key = private_key(kind)
    assert usable_key(private_key_from(key_pem(key), "the key"), "the key") is not None


@pytest.mark.parametrize("label", ["X509 CERTIFICATE", "CERTIFICATE"])
def test_the_old_label_of_a_certificate_is_known(label: str) -> None:
    text = ISSUED.certificate_pem.replace(b"CERTIFICATE", label.encode())
    assert certificates_from(text, "the certificate") == (ISSUED.leaf,)


@pytest.mark.parametrize("key", [RSA, ISSUED.key], ids=["rsa", "ec"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_with_a_passphrase_is_refused_with_the_way_out(
    key: object, form: PrivateFormat
) -> None:
    text = key_pem(key, form, password=b"open sesame")  # type: ignore[arg-type]  # one of two keys
    for written in (text, text.replace(b"\n", b"\r\n")):
        with pytest.raises(EncryptedKey, match=r"passphrase.*openssl pkey"):
            private_key_from(written, "the key")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("rsa1024", "RSA with 1024 bits"),
        ("dsa", "of type DSA"),
        ("ed25519", "of type Ed25519"),
        ("ec521", "curve secp521r1"),
        ("secp256k1", "curve secp256k1"),
    ],
)
def test_a_key_that_must_not_be_delivered_is_refused_with_the_reason(
    kind: KeyKind, reason: str
) -> None:
    with pytest.raises(WeakKey, match=f"the key is .*{reason}"):
        private_key_from(key_pem(private_key(kind)), "the key")


def test_a_key_that_signs_nothing_is_refused() -> None:
    text = x25519.X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(WeakKey, match="X25519"):
        private_key_from(text, "the key")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "no private key"),
        (ISSUED.fullchain_pem, "no private key"),
        (key_pem(RSA) + ISSUED.private_key_pem, "2 private keys"),
        (key_pem(RSA) * 3, "3 private keys"),
    ],
    ids=["nothing", "certificates", "two", "three"],
)
def test_there_must_be_one_key(text: bytes, found: str) -> None:
    with pytest.raises(BundleError, match=f"the key holds {found}"):
        private_key_from(text, "the key")


@pytest.mark.parametrize(
    "text",
    [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"PK\x03\x04", b"<html>", ISSUED.private_key_pem],
    ids=["nothing", "UTF-8 mark", "UTF-16 mark", "zip", "HTML", "key"],
)
def test_there_must_be_a_certificate(text: bytes) -> None:
    with pytest.raises(BundleError, match="the chain holds no certificate"):
        certificates_from(text, "the chain")


def test_an_unreadable_certificate_is_named_by_its_number() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(BundleError, match="the chain, certificate 2 cannot be read"):
        certificates_from(ISSUED.certificate_pem + broken, "the chain")


def test_a_truncated_certificate_is_not_passed_over() -> None:
    cut = ISSUED.certificate_pem[:200] + b"\n"
    with pytest.raises(BundleError, match="certificate 1 cannot be read"):
        certificates_from(cut + ISSUED.chain_pem, "the chain")


def test_a_certificate_of_an_unknown_version_cannot_be_read() -> None:
    der = ISSUED.leaf.public_bytes(Encoding.DER)
    version_3 = bytes.fromhex("a003020102")
    assert der.count(version_3) == 1
    other = base64.encodebytes(der.replace(version_3, bytes.fromhex("a003020107")))
    text = b"-----BEGIN CERTIFICATE-----\n" + other + b"-----END CERTIFICATE-----\n"
    with pytest.raises(BundleError, match="certificate 1 cannot be read"):
        certificates_from(text, "the certificate")


@pytest.mark.parametrize("label", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])
@pytest.mark.parametrize("body", ["", "AAAA", "A", "not base64!", "ä"])
def test_an_unreadable_key_is_said_to_be_one(label: str, body: str) -> None:
    text = f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"
    with pytest.raises(BundleError, match="the key cannot be read"):
        private_key_from(text.encode(), "the key")


def _pieces(text: bytes) -> set[str]:
    """Return every 12 characters of the key's body: none of them may be seen."""
    body = "".join(text.decode("ascii").splitlines()[1:-1])
    # The beginning says only what type of key it is, and stands in every key of that type.
    return {body[start : start + 12] for start in range(48, len(body) - 12)}


@given(st.data())
def test_an_error_about_a_key_holds_nothing_of_it(data: st.DataObject) -> None:
    whole = key_pem(
        RSA, data.draw(st.sampled_from([PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]))
    )
    start = data.draw(st.integers(40, len(whole) - 60))
    broken = (
        whole[:start] + data.draw(st.sampled_from([b"", b"!", b"AAAA", b"=="])) + whole[start + 4 :]
    )
    with pytest.raises(BundleError) as caught:
        private_key_from(broken, "the key")
    error = caught.value
    told = f"{error} {error!r} {error.args} {error.hint}"
    assert not {piece for piece in _pieces(whole) if piece in told}
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_refused_by_our_own_error_alone(garbage: bytes, in_a_block: bool) -> None:
    if in_a_block:
        body = base64.b64encode(garbage)
        certificate = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----"
        key = certificate.replace(b"CERTIFICATE", b"PRIVATE KEY")
    else:
        certificate = key = garbage
    with pytest.raises(BundleError):
        certificates_from(certificate, "the certificate")
    with pytest.raises(BundleError):
        private_key_from(key, "the key")


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@given(st.data())
def test_a_certificate_with_one_wrong_byte_is_read_or_refused_by_our_own_error(
    data: st.DataObject,
) -> None:
    der = bytearray(ISSUED.leaf.public_bytes(Encoding.DER))
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    body = base64.encodebytes(bytes(der))
    text = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    # Any other error fails the test. With a chain above it, not one byte can be wrong.
    with pytest.raises(BundleError):
        assemble(certificate=text, chain=ISSUED.chain_pem, private_key=ISSUED.private_key_pem)
    with suppress(BundleError):
        bundle = assemble(certificate=text, private_key=ISSUED.private_key_pem)
        assert bundle.certificate("home").leaf.startswith("sha256:")


@pytest.mark.parametrize(
    "make",
    [
        lambda size: b"-----BEGIN CERTIFICATE-----\n" * (size // 28),
        lambda size: b"-----BEGIN PRIVATE KEY-----" * (size // 27),
        lambda size: b"-----BEGIN CERTIFICATE-----A-----END CERTIFICATE" * (size // 49),
        lambda size: b"-----BEGIN " * (size // 11),
        lambda size: b"-----BEGIN " + b"A " * (size // 2 - 6),
        lambda size: b"".join(b"-----BEGIN A%d-----" % number for number in range(size // 22)),
        lambda size: b"-" * size,
        lambda size: b"\x00" * size,
        lambda size: b"\xff\xfe" + b"\xd8" * (size - 2),
        lambda size: (
            b"-----BEGIN PRIVATE KEY-----" + b"A" * (size - 52) + b"-----END PRIVATE KEY-----"
        ),
        lambda size: (
            b"-----BEGIN CERTIFICATE-----" + b"A" * (size - 52) + b"-----END CERTIFICATE-----"
        ),
    ],
)
def test_the_largest_input_is_refused_in_bounded_time(make: Callable[[int], bytes]) -> None:
    text = make(SIZE_LIMIT)
    assert SIZE_LIMIT * 0.97 <= len(text) <= SIZE_LIMIT
    began = time.monotonic()
    with pytest.raises(BundleError):
        certificates_from(text, "the certificate")
    with pytest.raises(BundleError):
        private_key_from(text, "the key")
    assert time.monotonic() - began < BOUND_SECONDS


def test_what_is_too_large_is_not_even_searched() -> None:
    text = b" " * (SIZE_LIMIT + 1 - len(ISSUED.certificate_pem)) + ISSUED.certificate_pem
    with pytest.raises(BundleError, match=f"larger than {SIZE_LIMIT} bytes"):
        certificates_from(text, "the certificate")
    assert certificates_from(text[1:], "the certificate") == (ISSUED.leaf,)


def test_reading_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    private_key_from(key_pem(RSA), "the key")
    assert caplog.records == []
