"""What is said of a chain, link by link, as it was served or stored."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from distributor.model.bundle import fingerprint
from distributor.model.chain import Link, read_chain
from distributor.model.errors import BundleError
from tests.certs import DAY, NOW, hierarchy, self_signed

NAMES = ("example.com", "*.example.com")


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("sent", [True, False], ids=["root sent", "root not sent"])
def test_a_chain_up_to_an_expected_root_is_complete(length: int, sent: bool) -> None:
    issuer, stranger = hierarchy(length), hierarchy(length)
    issued = issuer.issue(NAMES)
    served = (issued.leaf, *issued.chain, *([issuer.root] if sent else []))
    chain = read_chain(served, [stranger.root, issuer.root])
    assert chain.is_complete
    assert (chain.root, chain.verdict) == ("Test Root", "complete, up to Test Root")
    roles = ["leaf"] + ["intermediate"] * length + ["root"] * sent
    assert [link.role for link in chain.links] == roles
    assert [link.fingerprint for link in chain.links] == [fingerprint(one) for one in served]


def test_a_link_says_who_it_is_and_who_signed_it() -> None:
    issued = hierarchy(1).issue(NAMES)
    assert read_chain((issued.leaf,), []).links == (
        Link(
            role="leaf",
            subject="example.com",
            issuer="Test Intermediate 1",
            fingerprint=fingerprint(issued.leaf),
            not_after=issued.leaf.not_valid_after_utc,
        ),
    )


def test_a_chain_without_its_intermediate_names_what_is_missing() -> None:
    issuer = hierarchy(1)
    chain = read_chain((issuer.issue(NAMES).leaf,), [issuer.root])
    assert not chain.is_complete
    assert chain.verdict == "the issuer Test Intermediate 1 is neither sent nor a known root"


def test_a_chain_up_to_a_root_that_nobody_knows_names_it() -> None:
    issuer = hierarchy(1)
    issued = issuer.issue(NAMES)
    served = (issued.leaf, *issued.chain, issuer.root)
    for roots in ([], [hierarchy(1).root]):
        chain = read_chain(served, roots)
        assert (chain.root, chain.verdict) == (None, "ends at the unknown root Test Root")


def test_a_chain_with_a_gap_is_broken_there() -> None:
    issuer = hierarchy(2)
    issued = issuer.issue(NAMES)
    chain = read_chain((issued.leaf, issued.chain[1]), [issuer.root])
    assert not chain.is_complete
    assert chain.verdict == "broken: Test Intermediate 1 does not sign example.com"


def test_a_leaf_that_signed_itself_is_complete_only_where_it_is_expected() -> None:
    leaf = self_signed(("synology",)).leaf
    assert read_chain((leaf,), []).verdict == "self-signed"
    assert read_chain((leaf,), [leaf]).verdict == "complete, up to synology"


@pytest.mark.parametrize("place", [0, 1])
def test_a_malformed_name_anywhere_is_our_own_error(place: int) -> None:
    issued = hierarchy(1).issue(NAMES, common_name="Straße")
    der = issued.leaf.public_bytes(Encoding.DER).replace("Straße".encode(), b"Stra\xff\xffe")
    served = [issued.chain[0], issued.chain[0]]
    served[place] = x509.load_der_x509_certificate(der)
    with pytest.raises(BundleError, match=f"certificate {place + 1} of the chain has malformed"):
        read_chain(served, [])


def test_names_without_common_name_and_with_control_characters_are_shown_harmlessly() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Ex\x1bample")])
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW).sign(
        key, SHA256()
    )
    [link] = read_chain((leaf,), []).links
    assert (link.subject, link.issuer) == (r"O=Ex\x1bample", r"O=Ex\x1bample")
