"""What is said of a chain, link by link, as it was served or stored."""

from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import fingerprint
from distributor.model.chain import Chain, Link, Missing, read_chain
from distributor.model.errors import BundleError
from tests.certs import DAY, NOW, authority, cross_signed, hierarchy, self_signed

NAMES = ("example.com", "*.example.com")
THREE = hierarchy(3)
ISSUED = THREE.issue(NAMES)
FULL = (ISSUED.leaf, *ISSUED.chain)
STRANGER = hierarchy(1).certificate


def names(chain: Chain) -> list[str]:
    return [finding.name for finding in chain.findings]


def text(chain: Chain, name: str) -> str:
    [found] = [finding.text for finding in chain.findings if finding.name == name]
    return found


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("sent", [True, False], ids=["root sent", "root not sent"])
def test_a_chain_up_to_an_expected_root_is_complete(length: int, sent: bool) -> None:
    issuer, stranger = hierarchy(length), hierarchy(length)
    issued = issuer.issue(NAMES)
    served = (issued.leaf, *issued.chain, *([issuer.root] if sent else []))
    chain = read_chain(served, [stranger.root, issuer.root], NOW)
    assert chain.is_complete
    assert (chain.root, chain.verdict) == ("Test Root", "complete, up to Test Root")
    roles = ["leaf"] + ["intermediate"] * length + ["root"] * sent
    assert [link.role for link in chain.links] == roles
    assert [link.fingerprint for link in chain.links] == [fingerprint(one) for one in served]
    assert (chain.intermediates, chain.is_root_sent) == (length, sent)
    assert names(chain) == ["root-included"] * sent


def test_a_link_says_who_it_is_and_who_signed_it() -> None:
    issued = hierarchy(1).issue(NAMES)
    assert read_chain((issued.leaf,), [], NOW).links == (
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
    chain = read_chain((issuer.issue(NAMES).leaf,), [issuer.root], NOW)
    assert not chain.is_complete
    assert chain.verdict == "the issuer Test Intermediate 1 is neither sent nor a known root"
    assert chain.missing == Missing("Test Intermediate 1", "example.com", None)
    assert text(chain, "missing").startswith("'Test Intermediate 1', which signed 'example.com'")


def test_a_missing_intermediate_is_told_with_the_place_where_its_ca_publishes_it() -> None:
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP,
                x509.UniformResourceIdentifier("http://ocsp.example/"),
            ),
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier("http://ca.example/1\x1b.crt"),
            ),
        ]
    )
    chain = read_chain((hierarchy(1).issue(NAMES, extensions=[access]).leaf,), [], NOW)
    assert chain.missing is not None
    assert chain.missing.url == r"http://ca.example/1\x1b.crt"
    assert r"its CA publishes it at http://ca.example/1\x1b.crt (not fetched)" in text(
        chain, "missing"
    )


PRIVATE = "or it is a private root: --ca-bundle FILE (in the inventory `ca_bundle`)"


def test_a_leaf_alone_may_have_been_signed_by_a_private_root() -> None:
    chain = read_chain((hierarchy(0).issue(NAMES).leaf,), [], NOW)
    assert names(chain) == ["missing"]
    assert text(chain, "missing").endswith(PRIVATE)


@pytest.mark.parametrize("length", [1, 2])
def test_above_an_intermediate_one_cannot_tell_a_root_from_a_further_intermediate(
    length: int,
) -> None:
    """What is not there is only the root, which is not to be sent; or one more."""
    issued = hierarchy(length).issue(NAMES)
    for served, leaf_first in (((issued.leaf, *issued.chain), True), (issued.chain, False)):
        chain = read_chain(served, [hierarchy(1).root], NOW, leaf_first=leaf_first)
        assert not chain.is_complete
        assert chain.missing == Missing("Test Root", "Test Intermediate 1", None)
        assert chain.verdict == "the issuer Test Root is neither sent nor a known root"
        assert names(chain) == ["no-leaf"] * (not leaf_first) + ["unknown-root"]
        said = text(chain, "unknown-root")
        assert said.startswith("'Test Root', which signed 'Test Intermediate 1', is none of the ")
        assert "a root, which is not to be sent, or a further intermediate, which is" in said
        assert "cannot be told" in said
        assert said.endswith(PRIVATE)


def test_a_chain_up_to_a_root_that_nobody_knows_names_it() -> None:
    issuer = hierarchy(1)
    issued = issuer.issue(NAMES)
    served = (issued.leaf, *issued.chain, issuer.root)
    for roots in ([], [hierarchy(1).root]):
        chain = read_chain(served, roots, NOW)
        assert (chain.root, chain.verdict) == (None, "ends at the unknown root Test Root")
        assert names(chain) == ["unknown-root"]
        assert "--ca-bundle FILE" in text(chain, "unknown-root")


def test_a_chain_with_a_gap_names_what_is_missing_there() -> None:
    issuer = hierarchy(2)
    issued = issuer.issue(NAMES)
    chain = read_chain((issued.leaf, issued.chain[1]), [issuer.root], NOW)
    assert not chain.is_complete
    assert chain.missing == Missing("Test Intermediate 2", "example.com", None)
    assert [link.role for link in chain.links] == ["leaf", "stranger"]
    assert text(chain, "stranger") == (
        "nothing here was signed by 'Test Intermediate 1'; or what it signed is missing"
    )


def test_a_leaf_that_signed_itself_is_complete_only_where_it_is_expected() -> None:
    leaf = self_signed(("synology",)).leaf
    assert read_chain((leaf,), [], NOW).verdict == "self-signed"
    assert names(read_chain((leaf,), [], NOW)) == ["self-signed"]
    known = read_chain((leaf,), [leaf], NOW)
    assert known.verdict == "complete, up to synology"
    assert known.is_complete


def test_a_wrong_order_is_told_with_the_right_one() -> None:
    leaf, low, middle, high = FULL
    chain = read_chain((leaf, middle, low, high), [THREE.root], NOW)
    assert not chain.is_complete
    assert chain.verdict == "in the wrong order; all that leads up to Test Root is there"
    assert text(chain, "wrong-order").endswith(
        "'example.com', 'Test Intermediate 3', 'Test Intermediate 2', 'Test Intermediate 1'"
    )


def test_a_leaf_that_is_repeated_in_the_chain_is_told() -> None:
    chain = read_chain((ISSUED.leaf, *FULL), [THREE.root], NOW)
    assert chain.is_complete
    assert chain.links[1].role == "repeated"
    assert text(chain, "repeated").startswith("the leaf is there more than once")


def test_a_cross_sign_is_no_stranger_and_no_link_that_is_needed() -> None:
    """As Let's Encrypt's default chain: leaf, YE, Root YE by X2, X2 by X1, where X2 is known."""
    x1, x2 = authority("X1"), authority("X2")
    ye_root = authority("Root YE", parent=x2)
    ye = authority("YE", parent=ye_root)
    issued = ye.issue(NAMES)
    served = (issued.leaf, ye.certificate, ye_root.certificate, cross_signed(x2, by=x1))

    both = read_chain(served, [x1.certificate, x2.certificate], NOW)
    assert both.verdict == "complete, up to X2"
    assert [link.role for link in both.links] == [
        "leaf",
        "intermediate",
        "intermediate",
        "cross-sign",
    ]
    assert names(both) == ["cross-signed"]
    assert text(both, "cross-signed").startswith("'X2' is here as signed by 'X1'")

    old = read_chain(served, [x1.certificate], NOW)
    assert old.verdict == "complete, up to X1"
    assert old.intermediates == 3
    assert names(old) == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_file_of_intermediates_alone_has_no_leaf(place: int) -> None:
    served = ISSUED.chain if place else tuple(reversed(ISSUED.chain))
    chain = read_chain(served, [THREE.root], NOW, leaf_first=False)
    assert (chain.leaf_at, chain.is_complete, chain.intermediates) == (None, False, 3)
    assert chain.verdict == "no leaf; leads up to Test Root"
    assert names(chain) == ["no-leaf"] + ["wrong-order"] * (not place)


def test_a_file_of_roots_alone_is_no_chain_and_says_nothing_more() -> None:
    roots = [authority(f"Root {number}").certificate for number in range(4)]
    chain = read_chain(roots, roots, NOW, leaf_first=False)
    assert {link.role for link in chain.links} == {"root"}
    assert names(chain) == ["no-leaf"]


def test_a_leaf_anywhere_in_a_file_is_found_and_its_place_told() -> None:
    served = (*ISSUED.chain, ISSUED.leaf)
    chain = read_chain(served, [THREE.root], NOW, leaf_first=False)
    assert chain.leaf_at == 3
    assert chain.links[3].role == "leaf"
    assert names(chain) == ["wrong-order"]


def test_a_link_that_is_not_valid_now_is_told() -> None:
    old = authority("Old", parent=THREE, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    late = authority("Late", parent=old, not_before=NOW + DAY)
    issued = late.issue(NAMES)
    chain = read_chain((issued.leaf, *issued.chain), [THREE.root], NOW)
    assert text(chain, "expired").startswith("'Old' expired at ")
    assert text(chain, "not-yet-valid").startswith("'Late' is not valid before ")


def test_many_strangers_are_counted_and_not_all_named() -> None:
    crowd = [authority(f"Stranger {number}").certificate for number in range(9)]
    chain = read_chain((*FULL, *crowd), [THREE.root], NOW)
    assert text(chain, "stranger").endswith("'Stranger 4' and 4 more")
    assert chain.is_complete


@pytest.mark.parametrize("place", [0, 1])
def test_a_malformed_name_anywhere_is_our_own_error(place: int) -> None:
    issued = hierarchy(1).issue(NAMES, common_name="Straße")
    der = issued.leaf.public_bytes(Encoding.DER).replace("Straße".encode(), b"Stra\xff\xffe")
    served = [issued.chain[0], issued.chain[0]]
    served[place] = x509.load_der_x509_certificate(der)
    with pytest.raises(BundleError, match=f"certificate {place + 1} of the chain has malformed"):
        read_chain(served, [], NOW)


def test_names_without_common_name_and_with_control_characters_are_shown_harmlessly() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Ex\x1bample")])
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW).sign(
        key, SHA256()
    )
    [link] = read_chain((leaf,), [], NOW).links
    assert (link.subject, link.issuer) == (r"O=Ex\x1bample", r"O=Ex\x1bample")


@given(
    served=st.permutations([0, 1, 2, 3, 4, 5]).flatmap(
        lambda order: st.integers(1, 6).map(lambda count: order[:count])
    ),
    again=st.lists(st.integers(0, 5), max_size=2),
)
def test_whatever_a_file_holds_each_thing_is_said_of_it_and_nothing_else(
    served: list[int], again: list[int]
) -> None:
    """Leaf, three intermediates, root and a stranger, in any order, some of them twice."""
    all_of_them = (*FULL, THREE.root, STRANGER)
    again = [one for one in again if one in served]
    given_ = [all_of_them[one] for one in (*served, *again)]
    chain = read_chain(given_, [THREE.root], NOW, leaf_first=False)

    if 0 not in served:
        assert chain.leaf_at is None
        assert not chain.is_complete
        return
    needed = [one for one in served if one < 4]
    assert chain.leaf_at == served.index(0)
    assert (chain.root is not None) == (set(needed) == {0, 1, 2, 3})
    assert ("repeated" in names(chain)) == bool(again)
    if chain.root is not None:
        assert chain.is_complete == (needed == sorted(needed) and served[0] == 0)
        assert ("wrong-order" in names(chain)) == (not chain.is_complete)
        assert ("stranger" in names(chain)) == (5 in served)
        assert ("root-included" in names(chain)) == (4 in served)
        assert chain.intermediates == 3
        assert chain.missing is None
    else:
        gone = min({1, 2, 3} - set(served))
        assert chain.missing is not None
        assert chain.missing.issuer == f"Test Intermediate {4 - gone}"
    assert len(chain.links) == len(given_)


@given(order=st.permutations(range(5)))
def test_the_order_changes_neither_the_root_nor_what_each_certificate_is(
    order: Sequence[int],
) -> None:
    certificates = (*FULL, THREE.root)
    straight = read_chain(certificates, [THREE.root], NOW)
    mixed = read_chain([certificates[n] for n in order], [THREE.root], NOW, leaf_first=False)
    assert mixed.root == straight.root
    assert {link.fingerprint: link.role for link in mixed.links} == {
        link.fingerprint: link.role for link in straight.links
    }
