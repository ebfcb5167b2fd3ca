"""Laws of which versions of a certificate may go."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from distributor.model.keeping import KEPT, Version, expendable
from tests.certs import DAY, NOW

LEAVES = [f"sha256:{number:02}" for number in range(12)]


@st.composite
def held(draw: st.DrawFn) -> list[Version]:
    """Up to twelve versions, some with one key, some ended, some compromised; in any order."""
    count = draw(st.integers(0, 12))
    versions = [
        Version(
            name=f"202601{number + 1:02}T000000Z-0123456789ab",
            leaf=LEAVES[number],
            key=draw(st.sampled_from(["k1", "k2", "k3"])),
            not_after=NOW + timedelta(days=draw(st.integers(-100, 100))),
            compromised=draw(st.booleans()),
        )
        for number in range(count)
    ]
    return list(draw(st.permutations(versions)))


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Version], str | None, frozenset[str]]:
    versions = draw(held())
    names = [one.name for one in versions]
    current = draw(st.sampled_from([*names, None, "20200101T000000Z-0123456789ab"]))
    return versions, current, draw(st.frozensets(st.sampled_from(LEAVES), max_size=4))


@given(situations())
def test_what_is_needed_stays(situation: tuple[list[Version], str | None, frozenset[str]]) -> None:
    versions, current, referred = situation
    gone = set(expendable(versions, current=current, referred=referred, now=NOW))
    newest = sorted(one.name for one in versions)[-KEPT:]

    assert current not in gone
    assert not gone & set(newest)
    assert not any(one.name in gone and one.not_after >= NOW for one in versions)
    assert not any(one.name in gone and one.leaf in referred for one in versions)


@given(situations())
def test_what_goes_is_held_and_oldest_first_and_goes_once(
    situation: tuple[list[Version], str | None, frozenset[str]],
) -> None:
    versions, current, referred = situation
    gone = expendable(versions, current=current, referred=referred, now=NOW)
    left = [one for one in versions if one.name not in gone]

    assert set(gone) <= {one.name for one in versions}
    assert list(gone) == sorted(set(gone))
    assert len(left) >= min(len(versions), KEPT)
    assert expendable(left, current=current, referred=referred, now=NOW) == ()


@given(situations())
def test_a_compromised_key_stays_known_as_such_while_anything_has_it(
    situation: tuple[list[Version], str | None, frozenset[str]],
) -> None:
    versions, current, referred = situation
    gone = expendable(versions, current=current, referred=referred, now=NOW)
    left = [one for one in versions if one.name not in gone]

    bad = {one.key for one in versions if one.compromised}
    known = {one.key for one in left if one.compromised}
    assert not {one.key for one in left if one.key in bad} - known


@given(situations(), st.integers(0, 200), st.frozensets(st.sampled_from(LEAVES)))
def test_time_only_frees_and_references_only_hold(
    situation: tuple[list[Version], str | None, frozenset[str]], days: int, more: frozenset[str]
) -> None:
    versions, current, referred = situation
    versions = [one for one in versions if not one.compromised]
    gone = set(expendable(versions, current=current, referred=referred, now=NOW))
    later = expendable(versions, current=current, referred=referred, now=NOW + days * DAY)
    held_more = expendable(versions, current=current, referred=referred | more, now=NOW)

    assert gone <= set(later)
    assert set(held_more) <= gone


@given(held(), st.frozensets(st.sampled_from(LEAVES)))
def test_nothing_goes_while_none_is_known_to_be_current(
    versions: list[Version], referred: frozenset[str]
) -> None:
    assert expendable(versions, current=None, referred=referred, now=NOW) == ()
    assert expendable(versions, current="gone", referred=referred, now=NOW) == ()


def test_of_seven_that_have_ended_the_oldest_two_go() -> None:
    versions = [
        Version(
            name=f"2026010{n}T000000Z-{n:012}", leaf=LEAVES[n], key=f"k{n}", not_after=NOW - DAY
        )
        for n in range(1, 8)
    ]
    gone = expendable(versions, current=versions[-1].name, referred=(), now=NOW)
    assert gone == (versions[0].name, versions[1].name)
