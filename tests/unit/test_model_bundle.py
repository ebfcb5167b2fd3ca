"""A bundle is proved to belong together, and what is shown of it holds no key."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import (
    Bundle,
    assemble,
    prove,
)
from distributor.model.errors import (
    BrokenChain,
    BundleError,
    Expired,
    KeyMismatch,
    NameNotCovered,
)
from tests.certs import (
    DAY,
    NOW,
    Authority,
    Issued,
    KeyKind,
    PrivateKey,
    authority,
    hierarchy,
    key_pem,
    pem,
    private_key,
    self_signed,
)

NAMES = ("*.example.com", "example.com")
CA = hierarchy(2)
ISSUED = CA.issue(NAMES)
SECOND = timedelta(seconds=1)


def bundle_of(issued: Issued) -> Bundle:
    return assemble(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
    )


def proved(issued: Issued, names: tuple[str, ...] = NAMES, now: datetime = NOW) -> Bundle:
    return prove(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
        names=names,
        now=now,
    )


# --- what fits together -------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 2, 3])
@pytest.mark.parametrize("key", ["ec256", "ec384", "rsa2048"])
def test_leaf_chain_and_key_that_fit_make_a_bundle(length: int, key: KeyKind) -> None:
    issued = hierarchy(length).issue(NAMES, key=key)
    bundle = proved(issued)
    assert (bundle.leaf, bundle.chain) == (issued.leaf, issued.chain)
    assert len(bundle.chain) == length
    assert bundle.leaf_pem == issued.certificate_pem
    assert bundle.chain_pem == issued.chain_pem
    assert bundle.fullchain_pem == issued.fullchain_pem
    assert bundle.private_key_pem.reveal().encode() == issued.private_key_pem


def test_a_self_signed_leaf_makes_a_bundle_without_chain() -> None:
    issued = self_signed(("attic",))
    assert proved(issued, ("attic",)).chain == ()


def test_a_certificate_that_is_its_own_ca_makes_a_bundle_without_chain() -> None:
    own = authority("attic")
    bundle = assemble(certificate=pem(own.certificate), private_key=key_pem(own.key))
    assert (bundle.leaf, bundle.chain) == (own.certificate, ())


@given(st.data())
def test_however_often_a_certificate_is_handed_in_it_stands_once_and_in_its_place(
    data: st.DataObject,
) -> None:
    order = (ISSUED.leaf, *ISSUED.chain)
    given_as_certificate = order[: data.draw(st.integers(1, len(order)), "in the certificate")]
    # The chain has what is missing, in order; anything already there may come again anywhere.
    chain = list(order[len(given_as_certificate) :])
    for again in data.draw(st.lists(st.sampled_from(given_as_certificate), max_size=4), "again"):
        chain.insert(data.draw(st.integers(0, len(chain))), again)
    bundle = assemble(
        certificate=pem(*given_as_certificate),
        chain=pem(*chain),
        private_key=ISSUED.private_key_pem,
    )
    assert bundle == bundle_of(ISSUED)


def test_a_fullchain_with_the_issuer_twice_is_put_right() -> None:
    bundle = assemble(
        certificate=ISSUED.fullchain_pem + ISSUED.chain_pem,
        chain=ISSUED.chain_pem,
        private_key=ISSUED.private_key_pem,
    )
    assert bundle.fullchain_pem == ISSUED.fullchain_pem


@pytest.mark.parametrize("blank", [b"", b"\n", b" \r\n\t"])
def test_an_empty_chain_file_is_no_chain(blank: bytes) -> None:
    issued = hierarchy(0).issue(NAMES)
    bundle = assemble(
        certificate=issued.certificate_pem, chain=blank, private_key=issued.private_key_pem
    )
    assert bundle.chain_pem == b""


def test_a_chain_file_without_a_certificate_is_an_error() -> None:
    with pytest.raises(BundleError, match="the chain holds no certificate"):
        assemble(
            certificate=ISSUED.certificate_pem,
            chain=b"<html>not found</html>",
            private_key=ISSUED.private_key_pem,
        )


# --- what does not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [private_key(), private_key("ec384"), private_key("rsa2048")],
    ids=["ec256", "ec384", "rsa2048"],
)
def test_a_key_of_another_leaf_is_refused(key: PrivateKey) -> None:
    stranger = replace(ISSUED, key=key)
    with pytest.raises(KeyMismatch, match=r"does not belong to the leaf.*request"):
        bundle_of(stranger)


def test_two_rsa_keys_are_not_taken_for_each_other() -> None:
    issued = CA.issue(NAMES, key=private_key("rsa2048", number=1))
    with pytest.raises(KeyMismatch):
        bundle_of(replace(issued, key=private_key("rsa2048", number=2)))
    assert bundle_of(issued).leaf == issued.leaf


@pytest.mark.parametrize("place", [1, 2])
def test_a_leaf_that_is_not_first_is_refused_and_its_place_named(place: int) -> None:
    order = list(ISSUED.chain)
    order.insert(place, ISSUED.leaf)
    with pytest.raises(KeyMismatch, match=f"certificate {place} after the leaf.*leaf first"):
        assemble(certificate=pem(*order), private_key=ISSUED.private_key_pem)


def test_a_chain_handed_in_as_the_certificate_with_its_own_key_is_refused() -> None:
    with pytest.raises(BrokenChain, match=r"first certificate is a CA's.*leaf first"):
        assemble(certificate=ISSUED.chain_pem, private_key=key_pem(CA.key))


def test_a_chain_out_of_order_is_refused_and_both_are_named() -> None:
    with pytest.raises(BrokenChain) as caught:
        assemble(
            certificate=ISSUED.certificate_pem,
            chain=pem(*reversed(ISSUED.chain)),
            private_key=ISSUED.private_key_pem,
        )
    assert caught.value.message == "certificate 1 of the chain does not sign the leaf"
    assert caught.value.hint == (
        "the leaf was issued by 'Test Intermediate 2', certificate 1 is 'Test Intermediate 1'"
    )


def test_a_chain_with_a_gap_is_refused_at_the_gap() -> None:
    issued = hierarchy(3).issue(NAMES)
    with pytest.raises(BrokenChain, match="certificate 2 of the chain does not sign certificate 1"):
        bundle_of(replace(issued, chain=(issued.chain[0], issued.chain[2])))


@pytest.mark.parametrize(
    "chain",
    [
        lambda: hierarchy(1).chain,
        lambda: (CA.issue(("other.example",)).leaf,),
        lambda: (*ISSUED.chain, hierarchy(1).root),
        lambda: (*ISSUED.chain, CA.issue(("other.example",)).leaf),
    ],
    ids=["of another CA", "a leaf", "another root above", "a leaf above"],
)
def test_a_chain_that_does_not_sign_is_refused(
    chain: Callable[[], tuple[x509.Certificate, ...]],
) -> None:
    with pytest.raises(BrokenChain):
        bundle_of(replace(ISSUED, chain=chain()))


def test_the_right_name_with_the_wrong_key_does_not_sign() -> None:
    issued = CA.impostor().issue(NAMES)
    with pytest.raises(BrokenChain, match="certificate 1 of the chain does not sign the leaf"):
        bundle_of(issued)


def test_an_issuer_that_is_no_ca_does_not_sign() -> None:
    issuer = authority("No CA", parent=CA, is_ca=False)
    with pytest.raises(BrokenChain, match="certificate 1 of the chain does not sign the leaf"):
        bundle_of(issuer.issue(NAMES))


def test_an_issuer_without_basic_constraints_does_not_sign() -> None:
    bare = self_signed(("bare",))
    issuer = Authority(certificate=bare.leaf, key=bare.key, parent=authority("Root"))
    with pytest.raises(BrokenChain):
        bundle_of(issuer.issue(NAMES))


def test_an_issuer_without_a_name_is_shown_as_something() -> None:
    nameless = CA.issue((), common_name=None)
    with pytest.raises(BrokenChain, match="certificate 1 is ''"):
        bundle_of(replace(ISSUED, chain=(nameless.leaf,)))


@given(st.permutations((0, 1, 2, 3)), st.integers(1, 4))
def test_of_all_orders_and_selections_only_the_right_beginnings_pass(
    order: list[int], count: int
) -> None:
    issued = FOUR
    every = (issued.leaf, *issued.chain)
    chosen = order[:count]
    right = chosen == list(range(count))
    arguments = {
        "certificate": pem(*(every[number] for number in chosen)),
        "private_key": issued.private_key_pem,
    }
    if right:
        assert len(assemble(**arguments).chain) == count - 1
    else:
        with pytest.raises(BundleError):
            assemble(**arguments)


FOUR = hierarchy(3).issue(NAMES)


# --- names and time -----------------------------------------------------------------------------


def test_a_wildcard_alone_does_not_cover_the_apex() -> None:
    with pytest.raises(NameNotCovered) as caught:
        proved(CA.issue(("*.example.com",)))
    assert caught.value.message == "the certificate does not cover example.com"
    assert caught.value.hint == "it covers *.example.com"


def test_the_apex_alone_does_not_cover_the_wildcard() -> None:
    with pytest.raises(NameNotCovered, match=r"does not cover \*\.example\.com: it covers example"):
        proved(CA.issue(("example.com",)))


def test_a_common_name_is_not_a_name() -> None:
    issued = CA.issue((), common_name="example.com")
    with pytest.raises(NameNotCovered, match="it covers no name at all"):
        proved(issued, ("example.com",))


def test_hostile_names_are_shown_harmlessly() -> None:
    issued = CA.issue(("\x1b[2j.example.com",))
    with pytest.raises(NameNotCovered) as caught:
        proved(issued)
    assert "\x1b" not in str(caught.value)
    assert r"\x1b[2j.example.com" in str(caught.value)


@given(st.integers(-100, 100), st.integers(0, 100), st.integers(-250, 250))
def test_a_bundle_is_valid_from_its_first_to_its_last_second(
    begins: int, lasts: int, at: int
) -> None:
    first, last, now = NOW + begins * DAY, NOW + (begins + lasts) * DAY, NOW + at * DAY
    bundle = bundle_of(CA.issue(NAMES, not_before=first, not_after=last))
    if first <= now <= last:
        bundle.require(NAMES, now)
    else:
        with pytest.raises(Expired, match="expired at" if now > last else "not valid before"):
            bundle.require(NAMES, now)


def test_the_edges_of_validity_are_whole_seconds() -> None:
    bundle = bundle_of(CA.issue(NAMES, not_before=NOW, not_after=NOW + DAY))
    bundle.require(NAMES, NOW)
    bundle.require(NAMES, NOW + DAY)
    with pytest.raises(Expired, match=r"the leaf is not valid before .*clock"):
        bundle.require(NAMES, NOW - SECOND)
    with pytest.raises(Expired, match=r"the leaf expired at .*obtain"):
        bundle.require(NAMES, NOW + DAY + SECOND)


def test_an_expired_intermediate_is_named() -> None:
    upper = authority("Upper", parent=authority("Root"), not_after=NOW - DAY)
    issued = authority("Lower", parent=upper).issue(NAMES)
    with pytest.raises(Expired, match="intermediate 2 expired at"):
        proved(issued)


def test_an_intermediate_from_the_future_is_named() -> None:
    issued = authority("Lower", parent=authority("Root"), not_before=NOW + DAY).issue(NAMES)
    with pytest.raises(Expired, match="intermediate 1 is not valid before"):
        proved(issued)
