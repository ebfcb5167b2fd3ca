"""An exported zip gives certificate, chain and key, or one clear error, in bounded memory."""

import io
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from time import monotonic
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import ProtocolError
from distributor.protocol.archive import MEMBER_LIMIT, make_export, members_of, parse_export

PAIR = {"cert.pem": b"CERT\n", "privkey.pem": b"KEY\n"}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("chain", ["chain.pem", "syno-ca-cert.pem"])
def test_the_pair_and_its_chain_are_read(method: int, chain: str) -> None:
    pair = parse_export(zipped({**PAIR, chain: b"CHAIN\n", "readme.txt": b"x"}, method))
    assert (pair.certificate, pair.chain, pair.private_key) == (b"CERT\n", b"CHAIN\n", b"KEY\n")


def test_a_pair_without_chain_has_an_empty_one() -> None:
    assert parse_export(zipped(PAIR)).chain == b""


def test_a_real_chain_goes_before_the_boxs_own_ca() -> None:
    pair = parse_export(zipped({**PAIR, "syno-ca-cert.pem": b"own", "chain.pem": b"CHAIN"}))
    assert pair.chain == b"CHAIN"


def test_the_key_shows_in_no_repr() -> None:
    assert "KEY" not in repr(parse_export(zipped(PAIR)))


@pytest.mark.parametrize("missing", ["cert.pem", "privkey.pem"])
def test_a_missing_member_is_a_protocol_error(missing: str) -> None:
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(zipped({name: data for name, data in PAIR.items() if name != missing}))


@pytest.mark.parametrize("prefix", ["../", "/", "cert/", "..\\", "C:\\", "./"])
def test_only_plain_names_count(prefix: str) -> None:
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(zipped({f"{prefix}{name}": data for name, data in PAIR.items()}))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"\0" * 64, b"<html>", b"{}"])
def test_what_is_no_zip_is_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_method_that_takes_memory_as_it_likes_is_refused(method: int) -> None:
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(zipped(PAIR, method))


def test_an_encrypted_member_is_refused() -> None:
    content = bytearray(zipped(PAIR))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(mark, at + 4)
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(bytes(content))


def test_a_name_that_claims_to_be_utf8_and_is_not_is_refused() -> None:
    content = zipped({**PAIR, "x\u00e9": b""}).replace("x\u00e9".encode(), b"x\xff\xff")
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(content)


def test_a_directory_that_begins_before_the_file_is_refused() -> None:
    content = bytearray(zipped(PAIR))
    struct.pack_into("<L", content, content.rindex(b"PK\x05\x06") + 12, 1 << 30)
    with pytest.raises(ProtocolError, match="does not hold"):
        parse_export(bytes(content))


def test_a_bomb_is_given_up_at_the_limit() -> None:
    bomb = zipped({**PAIR, "cert.pem": b"\0" * (300 << 20)})
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        started = monotonic()
        with pytest.raises(ProtocolError, match="larger than"):
            parse_export(bomb)
        assert monotonic() - started < 2
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * MEMBER_LIMIT


def test_a_bomb_that_nobody_asks_for_is_not_unpacked() -> None:
    started = monotonic()
    assert parse_export(zipped({**PAIR, "other": b"\0" * (100 << 20)})).certificate == b"CERT\n"
    assert monotonic() - started < 3


def test_a_size_that_is_a_lie_does_not_help_a_bomb() -> None:
    bomb = bytearray(zipped({"cert.pem": b"\0" * (20 << 20), "privkey.pem": b"KEY"}))
    struct.pack_into("<L", bomb, 22, 5)  # local header
    struct.pack_into("<L", bomb, bomb.index(b"PK\x01\x02") + 24, 5)  # central directory
    with pytest.raises(ProtocolError):
        parse_export(bytes(bomb))


def test_many_members_take_bounded_time_and_memory() -> None:
    names = {f"{number:05}": b"" for number in range(40_000)}
    content = zipped({**names, **PAIR}, zipfile.ZIP_STORED)
    started = monotonic()
    assert parse_export(content).private_key == b"KEY\n"
    assert monotonic() - started < 5


@given(st.binary(max_size=300))
def test_any_bytes_give_a_pair_or_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_export(content)


GOOD = zipped({**PAIR, "chain.pem": b"CHAIN\n" * 20})


@given(st.dictionaries(st.integers(0, len(GOOD) - 1), st.integers(0, 255), min_size=1, max_size=8))
def test_a_damaged_zip_gives_a_pair_or_a_protocol_error(changes: dict[int, int]) -> None:
    damaged = bytearray(GOOD)
    for place, value in changes.items():
        damaged[place] = value
    try:
        pair = parse_export(bytes(damaged))
    except ProtocolError:
        return
    assert isinstance(pair.private_key, bytes)


TWO = {
    f"{family}-{name}": f"{family} {name}".encode()
    for family in ("RSA", "ECC")
    for name in ("cert.pem", "chain.pem", "privkey.pem")
}


@pytest.mark.parametrize("family", ["RSA", "ECC"])
def test_of_two_pairs_the_wanted_one_is_read_whole(family: Literal["RSA", "ECC"]) -> None:
    pair = parse_export(zipped(TWO), family)
    assert {pair.certificate, pair.chain, pair.private_key} == {
        f"{family} {name}".encode() for name in ("cert.pem", "chain.pem", "privkey.pem")
    }


def test_a_plain_pair_goes_before_a_marked_one_of_the_other_family() -> None:
    ecc = {name: data for name, data in TWO.items() if name.startswith("ECC")}
    assert parse_export(zipped({**PAIR, **ecc}), "RSA").certificate == b"CERT\n"
    assert parse_export(zipped({**PAIR, **ecc}), "ECC").certificate == b"ECC cert.pem"
    assert parse_export(zipped(ecc), "RSA").certificate == b"ECC cert.pem"


def test_half_a_pair_does_not_count() -> None:
    half = {"ECC-cert.pem": b"half"}
    assert parse_export(zipped({**PAIR, **half}), "ECC").certificate == b"CERT\n"


@pytest.mark.parametrize("own", [True, False])
def test_the_boxs_own_ca_in_the_archive_is_told(own: bool) -> None:
    extra = {"syno-ca-cert.pem": b"CA"} if own else {}
    assert parse_export(zipped({**PAIR, "chain.pem": b"CHAIN", **extra})).self_signed is own


@given(st.binary(min_size=1), st.binary(), st.binary(min_size=1))
def test_what_is_packed_is_what_an_export_gives(
    certificate: bytes, chain: bytes, private_key: bytes
) -> None:
    content = make_export(certificate, chain, private_key)
    pair = parse_export(content)
    assert (pair.certificate, pair.chain, pair.private_key) == (certificate, chain, private_key)
    names = {"cert.pem", "privkey.pem", *(["chain.pem"] if chain else [])}
    assert members_of(content, ["cert.pem", "chain.pem", "privkey.pem", "x"]).keys() == names
    assert make_export(certificate, chain, private_key) == content


def test_what_is_unpacked_is_for_its_owner_alone() -> None:
    with zipfile.ZipFile(io.BytesIO(make_export(b"a", b"b", b"c"))) as archive:
        assert {member.external_attr >> 16 for member in archive.infolist()} == {0o100600}


@given(st.binary(max_size=200))
def test_members_of_any_bytes_are_a_mapping_or_a_protocol_error(content: bytes) -> None:
    with suppress(ProtocolError):
        assert set(members_of(content, PAIR)) <= set(PAIR)


def test_members_are_bounded_and_taken_by_their_plain_names_only() -> None:
    bomb = zipped({"cert.pem": b"0" * (MEMBER_LIMIT + 1), "../privkey.pem": b"x"})
    with pytest.raises(ProtocolError, match="larger than"):
        members_of(bomb, PAIR)
    assert members_of(bomb, ["privkey.pem"]) == {}
