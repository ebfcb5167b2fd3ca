"""Whom to believe by an SSH host key: one basis, alone; nobody unseen, nobody revoked."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import Untrusted
from distributor.model.host_keys import (
    HostKey,
    HostKeyTrust,
    KnownKeys,
    PinnedKey,
    host_key_trust_of,
    jump_trust_of,
    pinning,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def key(letter: str, kind: str = "ssh-ed25519") -> HostKey:
    return HostKey(kind, "SHA256:" + letter * 43)


A, B, C = key("a"), key("b"), key("c", "ssh-rsa")
KEYS = st.sampled_from([A, B, C])
SETS = st.frozensets(KEYS)
KNOWN = st.builds(KnownKeys, SETS, SETS)
PINNED = st.none() | st.builds(PinnedKey, KEYS, st.just(NOW))
IN_INVENTORY = st.none() | KEYS.map(lambda one: one.fingerprint)


def test_the_inventory_s_key_counts_before_the_pinned_one_and_that_before_known_hosts() -> None:
    known = KnownKeys(frozenset({C}))
    pinned = PinnedKey(B, NOW)
    trust = host_key_trust_of("attic", host_key=A.fingerprint, pinned=pinned, known=known)
    assert [trust.accepts(one) for one in (A, B, C)] == [True, False, False]
    assert trust.types == frozenset()
    trust = host_key_trust_of("attic", host_key=None, pinned=pinned, known=known)
    assert [trust.accepts(one) for one in (A, B, C)] == [False, True, False]
    assert trust.types == {"ssh-ed25519"}
    trust = host_key_trust_of("attic", host_key=None, pinned=None, known=known)
    assert [trust.accepts(one) for one in (A, B, C)] == [False, False, True]
    assert trust.types == {"ssh-rsa"}


def test_a_host_that_nobody_has_seen_is_not_believed() -> None:
    with pytest.raises(Untrusted, match=r"was never pinned: .* distribute trust attic"):
        host_key_trust_of("attic", host_key=None, pinned=None, known=KnownKeys())
    with pytest.raises(Untrusted, match="not in known_hosts"):
        jump_trust_of("me@gate:22", KnownKeys())


@pytest.mark.parametrize(
    ("trust", "cure"),
    [
        (
            HostKeyTrust(
                host="attic",
                fingerprints=frozenset({A.fingerprint}),
                basis="the inventory's host_key",
            ),
            "correct host_key in the inventory",
        ),
        (
            HostKeyTrust(host="attic", fingerprints=frozenset({A.fingerprint})),
            f"distribute trust attic --fingerprint {B.fingerprint}",
        ),
        (jump_trust_of("attic", KnownKeys(frozenset({A}))), "ssh-keygen -R"),
    ],
)
def test_a_changed_key_is_refused_with_both_fingerprints_and_what_to_do(
    trust: HostKeyTrust, cure: str
) -> None:
    with pytest.raises(Untrusted) as caught:
        trust.check(B)
    assert A.fingerprint in caught.value.message
    assert str(B) in caught.value.message
    assert cure in (caught.value.hint or "")
    trust.check(A)


@given(shown=KEYS, host_key=IN_INVENTORY, pinned=PINNED, known=KNOWN)
def test_a_revoked_key_is_never_believed(
    shown: HostKey, host_key: str | None, pinned: PinnedKey | None, known: KnownKeys
) -> None:
    known = KnownKeys(known.keys, known.revoked | {shown})
    with pytest.raises(Untrusted):
        host_key_trust_of("attic", host_key=host_key, pinned=pinned, known=known).check(shown)
    for fingerprint in (None, shown.fingerprint):
        with pytest.raises(Untrusted):
            pinning(
                "attic",
                shown,
                fingerprint=fingerprint,
                host_key=host_key,
                pinned=pinned,
                known=known,
            )


@given(shown=KEYS, given_key=st.none() | KEYS, host_key=IN_INVENTORY, pinned=PINNED, known=KNOWN)
def test_what_trust_pins_is_what_a_person_said_and_is_believed_afterwards(
    shown: HostKey,
    given_key: HostKey | None,
    host_key: str | None,
    pinned: PinnedKey | None,
    known: KnownKeys,
) -> None:
    fingerprint = given_key.fingerprint if given_key is not None else None
    try:
        needed = pinning(
            "attic",
            shown,
            fingerprint=fingerprint,
            host_key=host_key,
            pinned=pinned,
            known=known,
        )
    except Untrusted:
        return
    nobody_said = fingerprint is None and host_key is None and pinned is None and not known.keys
    assert (needed == "ask") is nobody_said
    after = pinned if needed == "nothing" else PinnedKey(shown, NOW)
    trust = host_key_trust_of("attic", host_key=host_key, pinned=after, known=known)
    assert trust.accepts(shown)
    # Without a fingerprint nothing is replaced that a person or ssh has said before.
    if fingerprint is None and pinned is not None:
        assert needed == "nothing"
    if needed == "pin" and fingerprint is None:
        assert shown in known.keys


def test_a_changed_key_is_pinned_by_its_fingerprint_alone() -> None:
    pinned = PinnedKey(A, NOW)
    for known in (KnownKeys(), KnownKeys(frozenset({A}))):
        for was in (pinned, None) if known.keys else (pinned,):
            with pytest.raises(Untrusted, match="is not the one that is pinned"):
                pinning("attic", B, fingerprint=None, host_key=None, pinned=was, known=known)
            assert (
                pinning(
                    "attic", B, fingerprint=B.fingerprint, host_key=None, pinned=was, known=known
                )
                == "pin"
            )
    with pytest.raises(Untrusted, match="shows another host key than"):
        pinning(
            "attic", B, fingerprint=A.fingerprint, host_key=None, pinned=pinned, known=KnownKeys()
        )
