"""What is made to cost more than it should ends in bounded time and memory all the same."""

import base64
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from time import thread_time
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat, pkcs12

from distributor import inventory
from distributor.model.bundle import assemble
from distributor.model.chain import read_chain
from distributor.model.errors import BundleError, DistributorError, ProtocolError, WeakKey
from distributor.model.hosts import SocketAddress
from distributor.model.pem import SIZE_LIMIT, certificates_from, private_key_from
from distributor.model.pkcs12 import look_into, read_pkcs12
from distributor.model.pkcs12_cost import MOST, rounds
from distributor.model.secret import Secret
from distributor.protocol.archive import members_of, parse_export
from distributor.protocol.known_hosts import known_keys
from distributor.protocol.remote_command import Dialogue
from tests import certs
from tests.fuzz.judging import only

SECONDS = 5.0
"""Of processor time; each of these took minutes or for ever before it was bounded."""


Value = TypeVar("Value")


def in_time(work: Callable[[], Value]) -> Value:
    started = thread_time()
    done = work()
    assert thread_time() - started < SECONDS
    return done


def in_memory(work: Callable[[], object], most: int) -> None:
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


# --- keys -----------------------------------------------------------------------------------------


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def integer(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def rsa_key(p: int, q: int) -> tuple[bytes, bytes]:
    """Return a key as PKCS #1 and PKCS #8, in PEM, of primes that nobody should choose."""
    e = 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = (0, p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    inside = der(0x30, b"".join(map(integer, numbers)))
    algorithm = der(0x30, der(0x06, bytes.fromhex("2a864886f70d010101")) + b"\x05\x00")
    wrapped = der(0x30, integer(0) + algorithm + der(0x04, inside))
    return pem("RSA PRIVATE KEY", inside), pem("PRIVATE KEY", wrapped)


def pem(label: str, content: bytes) -> bytes:
    lines = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize(("p", "q"), [(44497, 86243), (521, 44497)])
def test_an_rsa_key_is_refused_before_its_primes_take_hours_to_check(
    form: int, p: int, q: int
) -> None:
    key = rsa_key((1 << p) - 1, (1 << q) - 1)[form]  # Mersenne's
    with pytest.raises(WeakKey, match="RSA with"):
        in_time(lambda: private_key_from(key, "the key"))


def test_a_long_prime_is_found_where_the_key_says_that_it_is_short() -> None:
    p, q = (1 << 9689) - 1, (1 << 44497) - 1
    numbers = (0, (1 << 2047) + 1, 65537, 3, p, q, 3, 3, 3)
    key = pem("RSA PRIVATE KEY", der(0x30, b"".join(map(integer, numbers))))
    with pytest.raises(BundleError):
        in_time(lambda: private_key_from(key, "the key"))


# --- containers -----------------------------------------------------------------------------------


@cache
def container(count: int) -> bytes:
    issued = certs.self_signed(["example.com"])
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(count)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(b"x")
    )
    return pkcs12.serialize_key_and_certificates(
        b"home",
        issued.key,
        issued.leaf,
        None,
        encryption,
    )


def asking(count: int) -> bytes:
    """Return a container of which every count of rounds is another one."""
    made = container(0x12345)
    assert integer(0x12345) in made
    return _resized(made, {integer(0x12345): integer(count)})


def _resized(content: bytes, changes: dict[bytes, bytes]) -> bytes:
    """Return DER with other nodes in it, and all lengths around them put right."""
    found, at = b"", 0
    while at < len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size > 0x80:
            after = at + (size & 0x7F)
            size, at = int.from_bytes(content[at:after], "big"), after
        inside, at = content[at : at + size], at + size
        node = der(tag, inside)
        if tag & 0x20 or (tag == 0x04 and inside[:2] == b"\x30\x82"):
            node = der(tag, _resized(inside, changes))
        found += changes.get(node, node)
    return found


@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [MOST + 1, 2**31 - 1, 2**63])
def test_a_container_that_asks_to_hash_without_end_is_refused(count: int) -> None:
    content = asking(count)
    assert rounds(content) > MOST
    with pytest.raises(BundleError, match="asks to hash"):
        in_time(lambda: read_pkcs12(content, b"x", "the container"))
    for passphrase in (None, Secret("x")):
        with pytest.raises(BundleError, match="asks to hash"):
            in_time(lambda given=passphrase: look_into(content, given, "the container"))  # type: ignore[misc]  # a default is how a loop is bound


def test_the_rounds_of_an_honest_container_are_counted() -> None:
    content = container(30_000)
    # Of the key, of the certificates, and of the code that proves the whole.
    assert 60_000 < rounds(content) < 120_000
    assert read_pkcs12(content, b"x", "the container").certificate


def test_rounds_are_counted_also_where_octets_come_in_parts_and_without_lengths() -> None:
    parameters = der(0x30, der(0x04, b"saltsalt") + integer(4_000_000))
    bag = der(0x30, parameters + der(0x30, b""))
    parts = b"".join(der(0x04, bag[at : at + 3]) for at in range(0, len(bag), 3))
    for octets in (der(0x04, bag), der(0x24, parts), b"\x24\x80" + parts + b"\0\0"):
        for whole in (der(0x30, octets), b"\x30\x80" + octets + b"\0\0"):
            assert rounds(whole) == 4_000_000
            assert rounds(der(0x30, whole * 3)) == 12_000_000


def test_the_numbers_of_scrypt_are_multiplied() -> None:
    asked = der(0x30, der(0x04, b"salt") + integer(1 << 14) + integer(8) + integer(1000))
    assert rounds(asked) == (1 << 14) * 8000


@pytest.mark.parametrize("nested", [b"\x04", b"\x24", b"\x30"])
def test_counting_is_quick_whatever_is_nested(nested: bytes) -> None:
    for unit in (nested + b"\x80", nested + b"\x84\0\x20\0\0", nested + b"\x30"):
        content = (unit * (1 << 20))[: 1 << 20]
        in_time(lambda given=content: rounds(given))  # type: ignore[misc]  # a default is how a loop is bound


# --- chains ---------------------------------------------------------------------------------------


def of_one_name(count: int) -> list[x509.Certificate]:
    """Return certificates of one name, each signed by the next."""
    keys = [certs.private_key() for _ in range(count + 1)]
    name = certs._name("R")
    return [
        certs._signed(
            certs._builder(
                name, name, certs.NOW - certs.DAY, certs.NOW + certs.DAY, own
            ).add_extension(x509.BasicConstraints(ca=True, path_length=None), True),
            above,
        )
        for own, above in pairwise(keys)
    ]


def test_a_chain_of_many_of_the_same_name_is_given_up() -> None:
    chain = tuple(of_one_name(600))
    with pytest.raises(BundleError, match="too many"):
        in_time(lambda: read_chain(chain, (), certs.NOW, leaf_first=False))
    read = in_time(lambda: read_chain(chain[:60], (), certs.NOW, leaf_first=False))
    assert len(read.links) == 60


def test_a_container_of_many_of_the_same_name_is_given_up() -> None:
    chain = of_one_name(520)
    leaf = certs.self_signed(["example.com"])
    content = pkcs12.serialize_key_and_certificates(
        b"home",
        leaf.key,
        leaf.leaf,
        chain,
        NoEncryption(),
    )
    with pytest.raises(BundleError, match="a chain has a handful"):
        in_time(lambda: read_pkcs12(content, b"", "the container"))


def test_a_file_of_the_largest_size_is_read_in_time() -> None:
    one = certs.self_signed(["example.com"]).certificate_pem
    content = (one * (SIZE_LIMIT // len(one) + 1))[:SIZE_LIMIT]
    certificates = certificates_from(content[: content.rindex(b"-----BEGIN")], "the file")
    read = in_time(lambda: read_chain(certificates, (), certs.NOW, leaf_first=False))
    assert len(read.links) == len(certificates)


# --- archives -------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def test_bombs_cost_little_time_and_memory() -> None:
    bomb = b"\0" * (64 << 20)
    inner = zipped({"cert.pem": bomb})
    everywhere = zipped(dict.fromkeys(("cert.pem", "privkey.pem", "chain.pem"), bomb))
    nested = zipped(dict.fromkeys(("cert.pem", "privkey.pem", "chain.pem"), inner))

    def read() -> None:
        for content in (everywhere, nested):
            for parse in (parse_export, lambda given: members_of(given, ["cert.pem", "x"])):
                with only(ProtocolError):
                    parse(content)

    in_time(lambda: in_memory(read, 16 << 20))


def test_a_link_in_an_archive_leads_nowhere() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("cert.pem", "privkey.pem"):
            link = zipfile.ZipInfo(name)
            link.create_system = 3
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
    assert parse_export(made.getvalue()).certificate == b"/etc/passwd"


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_a_pattern_of_known_hosts_is_matched_in_time() -> None:
    lines = ("*a" * 30 + "b ssh-rsa AAAA\n") * 100 + "*?" * 100 + " ssh-rsa AAAA\n"
    in_time(lambda: known_keys(lines, SocketAddress("a" * 200, 22)))
    assert known_keys("*a*?a*c ssh-rsa AAAA", SocketAddress("aaaaabac", 22)).keys


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 100_000) + " = 1",
        "[" + ".".join("a" * 100_000) + "]",
        "[[" + " . ".join(["'a'"] * 50_000) + "]]",
        '"x" = { ' + '"a".' * 50_000 + "b = 1 }",
        "a = " + "[" * 100_000,
        "".join(
            f"[hosts.host{n}]\ncertificate = 'hist{n}'\n[certificates.home{n}]\n"
            for n in range(3000)
        ),
    ],
    ids=["key", "header", "quoted", "inline", "nested", "misspelt"],
)
def test_an_inventory_is_read_in_time(text: str) -> None:
    _, problems = in_time(lambda: inventory.read(text, Path("/srv/inventory.toml"), private=True))
    assert problems


def test_a_command_that_says_one_byte_at_a_time_is_heard_in_time() -> None:
    dialogue = Dialogue("0123456789abcdef", 1 << 16)
    dialogue.heard(b"0123456789abcdefb", b"0123456789abcdefb")

    def hear() -> None:
        while not (dialogue.has_ended or dialogue.is_too_much or dialogue.prompts > 1):
            dialogue.heard(b"x", b"")

    in_time(hear)
    assert dialogue.is_too_much


def test_the_key_of_a_bundle_is_bounded_too() -> None:
    issued = certs.self_signed(["example.com"])
    key = rsa_key((1 << 44497) - 1, (1 << 86243) - 1)[0]
    with pytest.raises(DistributorError):
        in_time(lambda: assemble(certificate=issued.certificate_pem, private_key=key))
