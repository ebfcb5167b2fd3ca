"""Of the names in a folder, those of a certificate with its key are found, whoever wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.protocol.folders import FilePair, pairs_in

PLAIN = FilePair("fullchain.pem", "chain.pem", "privkey.pem")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("README cert.pem chain.pem fullchain.pem privkey.pem", PLAIN),
        ("cert.pem chain.pem privkey.pem", FilePair("cert.pem", "chain.pem", "privkey.pem")),
        ("cert.pem privkey.pem", FilePair("cert.pem", None, "privkey.pem")),
        (
            "example.com.crt example.com.issuer.crt example.com.json example.com.key",
            FilePair("example.com.crt", "example.com.issuer.crt", "example.com.key"),
        ),
        (
            "_.example.com.crt _.example.com.key _.example.com.pem _.example.com.pfx",
            FilePair("_.example.com.crt", None, "_.example.com.key"),
        ),
        (
            "*.example.com.cer *.example.com.key *.example.com.csr ca.cer fullchain.cer backup",
            FilePair("fullchain.cer", "ca.cer", "*.example.com.key"),
        ),
        ("a.b.cer a.b.key ca.cer", FilePair("a.b.cer", "ca.cer", "a.b.key")),
    ],
)
def test_the_pair_of_each_program_is_found(names: str, expected: FilePair) -> None:
    assert pairs_in(names.split()) == (expected,)


@pytest.mark.parametrize(
    "names",
    [
        "",
        "README example.com",
        "cert.pem chain.pem fullchain.pem",
        "privkey.pem",
        "example.com.crt",
        "example.com.key",
        "example.com.issuer.crt example.com.issuer.key",
        "a.crt b.key",
        ".crt .key",
        "ca.cer ca.key fullchain.cer fullchain.key",
        "cert1.pem chain1.pem fullchain1.pem privkey1.pem",
    ],
)
def test_what_is_no_pair_is_none(names: str) -> None:
    assert pairs_in(names.split()) == ()


def test_the_order_in_which_a_folder_is_listed_does_not_matter() -> None:
    names = ["a.cer", "a.key", "b.cer", "b.key", "fullchain.cer"]
    assert pairs_in(names) == pairs_in(names[::-1])
    assert [pair.private_key for pair in pairs_in(names)] == ["a.key", "b.key"]


def test_every_certificate_of_a_folder_is_found() -> None:
    names = ["b.crt", "b.key", "b.issuer.crt", "a.crt", "a.key", "cert.pem", "privkey.pem"]
    assert [pair.certificate for pair in pairs_in(names)] == ["a.crt", "b.crt", "cert.pem"]


STEMS = st.sampled_from(["a", "a.issuer", "ca", "fullchain", "cert", "privkey", "chain", ""])
NAMES = st.frozensets(
    st.builds("{}{}".format, STEMS, st.sampled_from([".pem", ".crt", ".cer", ".key", ""]))
)


@given(NAMES)
def test_a_pair_names_files_that_are_there(names: frozenset[str]) -> None:
    found = pairs_in(names)
    assert len(set(found)) == len(found)
    assert pairs_in(sorted(names)) == found
    for pair in found:
        assert {pair.certificate, pair.private_key} <= names
        assert pair.chain is None or pair.chain in names
        assert pair.certificate != pair.private_key


@given(NAMES)
def test_other_files_do_not_matter(names: frozenset[str]) -> None:
    assert pairs_in(names | {"README", "x.json", "x.conf", "x.csr"}) == pairs_in(names)
