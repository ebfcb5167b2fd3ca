"""Whom to believe: one basis, alone; never a guess, never nobody."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import fingerprint, spki_fingerprint
from distributor.model.errors import Untrusted
from distributor.model.state import CERTIFICATE, DEFAULT, UNREADABLE, Address, State
from distributor.model.state import LEAF as LEAF_FACT
from distributor.model.trust import EXPIRED_AT_MOST, PinnedLeaf, Trust, own_leaf, trust_of
from tests.certs import DAY, NOW, hierarchy, self_signed

CA = hierarchy(1)
LEAF = CA.issue(("attic.example.com",)).leaf
OTHER = CA.issue(("attic.example.com",)).leaf
SECOND = timedelta(seconds=1)


def pinned(leaf: str) -> PinnedLeaf:
    return PinnedLeaf(leaf=leaf, not_after=NOW + DAY, since=NOW, by="trust")


def of(
    tls_pin: str | None = None,
    pin: PinnedLeaf | None = None,
    verified: str | None = None,
    delivery: tuple[str, ...] = (),
) -> Trust:
    return trust_of(
        "attic", tls_pin=tls_pin, pinned=pin, verified_leaf=verified, during_delivery=delivery
    )


@pytest.mark.parametrize("delivery", [(), ("sha256:new", "sha256:old")])
def test_the_first_basis_that_applies_counts_alone(delivery: tuple[str, ...]) -> None:
    extra = frozenset(delivery)
    key = Trust(host="attic", keys=frozenset({"sha256:k"}), leaves=extra)
    leaf = Trust(host="attic", leaves=frozenset({"sha256:p"}) | extra)
    vouched = Trust(host="attic", leaves=frozenset({"sha256:v"}) | extra)
    for pin in (None, pinned("sha256:p")):
        for verified in (None, "sha256:v"):
            assert of("sha256:k", pin, verified, delivery) == key
    for verified in (None, "sha256:v"):
        assert of(None, pinned("sha256:p"), verified, delivery) == leaf
    assert of(None, None, "sha256:v", delivery) == vouched


@pytest.mark.parametrize("delivery", [(), (fingerprint(LEAF),)])
def test_without_a_basis_nobody_is_believed_not_even_during_a_delivery(
    delivery: tuple[str, ...],
) -> None:
    with pytest.raises(Untrusted, match="never pinned") as caught:
        of(delivery=delivery)
    assert "distribute trust attic" in (caught.value.hint or "")
    assert caught.value.step == "trust"


def test_each_basis_lets_in_what_it_names() -> None:
    same_key = CA.issue(("attic.example.com",), key=self_signed(("x",)).key).leaf
    of(tls_pin=spki_fingerprint(LEAF)).check(LEAF, NOW)
    of(pin=pinned(fingerprint(LEAF))).check(LEAF, NOW)
    of(verified=fingerprint(LEAF)).check(LEAF, NOW)
    of(pin=pinned("sha256:x"), delivery=(fingerprint(LEAF),)).check(LEAF, NOW)
    of(tls_pin=spki_fingerprint(same_key)).check(same_key, NOW)


@pytest.mark.parametrize(
    "trust",
    [
        of(tls_pin=spki_fingerprint(LEAF)),
        of(tls_pin=fingerprint(OTHER)),
        of(pin=pinned(fingerprint(LEAF))),
        of(pin=pinned(spki_fingerprint(OTHER))),
        of(pin=pinned(fingerprint(LEAF)), verified=fingerprint(OTHER)),
        of(tls_pin=spki_fingerprint(LEAF), pin=pinned(fingerprint(OTHER))),
        of(verified=fingerprint(LEAF), delivery=(fingerprint(LEAF),)),
        Trust(host="attic"),
    ],
)
def test_another_leaf_is_refused_and_the_way_to_pin_it_named(trust: Trust) -> None:
    with pytest.raises(Untrusted, match="not the one that is pinned for attic") as caught:
        trust.check(OTHER, NOW)
    shown = fingerprint(OTHER)
    assert shown in caught.value.message
    assert f"distribute trust attic --fingerprint {shown}" in (caught.value.hint or "")
    assert caught.value.step == "trust"


def test_a_leaf_with_another_leafs_key_is_let_in_by_the_key_alone() -> None:
    first = CA.issue(("attic",))
    second = CA.issue(("attic",), key=first.key).leaf
    of(tls_pin=spki_fingerprint(first.leaf)).check(second, NOW)
    with pytest.raises(Untrusted):
        of(pin=pinned(fingerprint(first.leaf))).check(second, NOW)


ENDED = CA.issue(("attic",), not_after=NOW).leaf


@given(st.integers(-90, 90).map(lambda days: days * DAY), st.sampled_from(["trust", "delivery"]))
def test_a_leaf_that_ended_is_believed_for_thirty_days(after: timedelta, by: str) -> None:
    known = PinnedLeaf(leaf=fingerprint(ENDED), not_after=NOW, since=NOW - DAY, by=by)
    trust = of(pin=known)
    if after <= 30 * DAY:
        trust.check(ENDED, NOW + after)
    else:
        with pytest.raises(Untrusted, match="more than 30 days ago") as caught:
            trust.check(ENDED, NOW + after)
        assert "distribute trust attic --fingerprint sha256:" in (caught.value.hint or "")


@given(st.integers(0, 4000).map(lambda days: days * DAY), st.integers(0, 60))
def test_a_leaf_that_a_person_pinned_after_its_end_is_believed_for_thirty_days_from_then(
    late: timedelta, days: int
) -> None:
    known = PinnedLeaf(
        leaf=fingerprint(ENDED), not_after=NOW, since=NOW + late + SECOND, by="trust"
    )
    when = known.since + days * DAY
    if days <= 30:
        of(pin=known).check(ENDED, when)
    else:
        with pytest.raises(Untrusted, match="more than 30 days ago"):
            of(pin=known).check(ENDED, when)


def test_what_a_delivery_pinned_after_its_end_gets_no_more_time() -> None:
    known = PinnedLeaf(leaf=fingerprint(ENDED), not_after=NOW, since=NOW + 40 * DAY, by="delivery")
    with pytest.raises(Untrusted, match="more than 30 days ago"):
        of(pin=known).check(ENDED, NOW + 41 * DAY)


def test_time_given_to_one_leaf_is_not_given_to_another() -> None:
    other = CA.issue(("attic",), not_after=NOW).leaf
    known = PinnedLeaf(leaf=fingerprint(ENDED), not_after=NOW, since=NOW + 40 * DAY, by="trust")
    with pytest.raises(Untrusted, match="more than 30 days ago"):
        of(pin=known, delivery=(fingerprint(other),)).check(other, NOW + 41 * DAY)


@given(st.integers(-90, 4000).map(lambda days: days * DAY))
def test_a_key_that_the_inventory_names_has_no_end(after: timedelta) -> None:
    of(tls_pin=spki_fingerprint(ENDED)).check(ENDED, NOW + after)


FACTORY, HOME = Address("certificate", "", "a"), Address("certificate", "home", "b")
DESKTOP = Address("service", "DSM Desktop Service", "system/default")
FTPS = Address("service", "FTPS", "smbftpd/ftpd")


@pytest.mark.parametrize(
    ("facts", "leaf"),
    [
        ({DESKTOP: FACTORY, FTPS: HOME, DEFAULT: HOME}, "sha256:factory"),
        ({DESKTOP: HOME, FTPS: FACTORY}, "sha256:home"),
        ({FTPS: FACTORY, DEFAULT: HOME}, "sha256:home"),
        ({FTPS: FACTORY}, None),
        ({}, None),
    ],
)
def test_the_leaf_of_a_hosts_own_port_is_that_of_its_desktop(
    facts: dict[Address, Address], leaf: str | None
) -> None:
    state = State(
        {place: {CERTIFICATE: entry} for place, entry in facts.items()}
        | {FACTORY: {LEAF_FACT: "sha256:factory"}, HOME: {LEAF_FACT: "sha256:home"}}
    )
    assert own_leaf(state) == leaf


def test_the_one_certificate_of_a_router_is_what_its_own_port_serves() -> None:
    assert own_leaf(State({HOME: {LEAF_FACT: "sha256:home"}})) == "sha256:home"
    two = State({HOME: {LEAF_FACT: "sha256:home"}, FACTORY: {LEAF_FACT: "sha256:factory"}})
    assert own_leaf(two) is None


def test_a_leaf_that_no_handshake_told_is_not_known() -> None:
    assert own_leaf(State({DESKTOP: {CERTIFICATE: HOME}, HOME: {LEAF_FACT: UNREADABLE}})) is None


def test_the_thirty_days_are_whole() -> None:
    assert EXPIRED_AT_MOST == 30 * DAY
    trust = of(verified=fingerprint(ENDED))
    trust.check(ENDED, NOW + 30 * DAY)
    with pytest.raises(Untrusted):
        trust.check(ENDED, NOW + 30 * DAY + SECOND)


def test_a_leaf_without_end_never_ends() -> None:
    # RFC 5280 section 4.1.2.5 gives this date to certificates that are to live for ever.
    leaf = CA.issue(("attic",), not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)).leaf
    of(pin=pinned(fingerprint(leaf))).check(leaf, NOW)


@pytest.mark.parametrize("basis", ["key", "pin", "verified", "delivery"])
def test_a_revoked_leaf_is_nobody_s_whatever_speaks_for_it(basis: str) -> None:
    shown = fingerprint(LEAF)
    trust = trust_of(
        "attic",
        tls_pin=spki_fingerprint(LEAF) if basis == "key" else None,
        pinned=pinned(shown if basis == "pin" else "sha256:x"),
        verified_leaf=shown if basis == "verified" else None,
        during_delivery=[shown] if basis == "delivery" else [],
        revoked=frozenset({shown}),
    )
    with pytest.raises(Untrusted, match="which was revoked") as caught:
        trust.check(LEAF, NOW)
    assert caught.value.hint
    with pytest.raises(Untrusted):
        trust.check(OTHER, NOW)
