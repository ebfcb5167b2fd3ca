"""What answers prove of a challenge: the laws of the verdict, and how each answer is read."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.dns_answers import (
    LISTED,
    Found,
    Place,
    Seen,
    judge,
    merely_dead,
    old_copies,
    read_cached_txt,
    read_serial,
    read_txt,
    shown,
    unasked,
)
from distributor.clients.dns_queries import Answer, Authority, Cause, NoAnswer, question, read
from distributor.model.hosts import SocketAddress
from tests.unit.scripted_nameserver import NAME, Script, nothing, saying, txt

UNHEARD = {Found.SILENT, Found.NO_ROUTE}


def authority(number: int) -> Authority:
    """Two addresses each."""
    return Authority(f"ns{number // 2}.test", SocketAddress(f"192.0.2.{number}", 53))


names = st.sampled_from(["a.test", "b.test"])
places = st.tuples(names, st.builds(authority, st.integers(0, 7)))
rounds = st.dictionaries(places, st.builds(Seen, st.sampled_from(Found)), max_size=10)


@given(rounds)
def test_all_is_proved_only_when_each_name_is_served_by_all_that_can_be_asked(
    seen: dict[Place, Seen],
) -> None:
    verdict = judge(seen)
    for name in {place[0] for place in seen}:
        found = [one.found for place, one in seen.items() if place[0] == name]
        is_proved = not any(place[0] == name for place in verdict.late)
        assert is_proved == (Found.SERVED in found and set(found) <= {Found.SERVED, Found.NO_ROUTE})
        assert (name in verdict.unheard) == (set(found) <= UNHEARD)


@given(rounds)
def test_what_is_late_is_what_was_seen_and_never_what_is_served(seen: dict[Place, Seen]) -> None:
    late = judge(seen).late
    assert all(seen[place] is one for place, one in late.items())
    assert not any(one.found is Found.SERVED for one in late.values())
    must = {place for place, one in seen.items() if one.found not in {Found.SERVED, Found.NO_ROUTE}}
    assert must <= set(late)


@given(rounds, st.randoms())
def test_the_order_of_answers_decides_nothing(seen: dict[Place, Seen], random: object) -> None:
    items = list(seen.items())
    random.shuffle(items)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert judge(dict(items)) == judge(seen)


@given(rounds, places)
def test_an_address_without_route_changes_nothing_of_a_name_that_is_heard(
    seen: dict[Place, Seen], place: Place
) -> None:
    seen.pop(place, None)
    before = judge(seen)
    after = judge({**seen, place: Seen(Found.NO_ROUTE)})
    if place[0] not in before.unheard and any(name == place[0] for name, _ in seen):
        assert after == before
    else:
        assert place in after.late


def at(server: str, host: str, port: int = 53) -> Authority:
    return Authority(server, SocketAddress(host, port))


HERE, DEAD = at("ns.test", "192.0.2.1"), at("ns.test", "2001:db8::1")
SERVED, SILENT, LATE = Seen(Found.SERVED), Seen(Found.SILENT, "no answer"), Seen(Found.LACKING)


@pytest.mark.parametrize(
    ("seen", "passed"),
    [
        ({("a.test", HERE): SERVED, ("a.test", DEAD): SILENT}, True),
        ({("a.test", HERE): LATE, ("a.test", DEAD): SILENT}, False),
        ({("a.test", HERE): SERVED, ("a.test", at("other.test", "192.0.2.9")): SILENT}, False),
        ({("a.test", HERE): SERVED, ("b.test", DEAD): SILENT}, False),
        ({("a.test", HERE): SERVED, ("a.test", at("ns.test", "192.0.2.1", 54)): SILENT}, False),
        ({("a.test", HERE): SERVED, ("a.test", DEAD): Seen(Found.LAME)}, False),
        ({("a.test", HERE): SERVED, ("a.test", DEAD): LATE}, False),
    ],
    ids=["another address", "late", "another server", "another name", "port", "lame", "lags"],
)
def test_a_dead_address_is_passed_over_where_its_own_server_serves_that_name_at_another(
    seen: dict[Place, Seen], passed: bool
) -> None:
    late = judge(seen).late
    assert late, "while there is time it is waited for"
    assert (merely_dead(seen, late) == set(late)) is passed


@given(rounds)
def test_only_silence_is_ever_passed_over(seen: dict[Place, Seen]) -> None:
    late = judge(seen).late
    assert {seen[place].found for place in merely_dead(seen, late)} <= {Found.SILENT}
    assert merely_dead(seen, late) <= set(late)


@given(rounds)
def test_whom_nobody_asked_has_no_address_with_a_route(seen: dict[Place, Seen]) -> None:
    told = unasked(seen)
    for (_, one), what in seen.items():
        if what.found is not Found.NO_ROUTE:
            assert str(one) not in told
    assert all(any(str(one) == text for _, one in seen) for text in told)


def answered(script: Script) -> Answer:
    query = question(NAME, dns.rdatatype.TXT)
    wire = script(query)
    assert wire is not None
    answer = read(query, wire)
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize(
    ("script", "found", "words"),
    [
        (txt("one", "two", "a stranger's"), Found.SERVED, ""),
        (txt("one", "two", authoritative=False), Found.SERVED, ""),
        (txt("one"), Found.LACKING, "1 of 2 values not there yet"),
        (nothing(authoritative=True), Found.LACKING, "2 of 2 values not there yet"),
        (nothing(), Found.LAME, "without authority"),
        (txt("one", authoritative=False), Found.LAME, "without authority"),
        (saying(dns.rcode.REFUSED), Found.LAME, "answers REFUSED: it does not serve"),
        (saying(dns.rcode.SERVFAIL), Found.LAME, "answers SERVFAIL: it cannot serve"),
        (saying(dns.rcode.NOTIMP), Found.LAME, "answers NOTIMP"),
    ],
)
def test_an_authoritys_answer_is_read(script: Script, found: Found, words: str) -> None:
    seen = read_txt(answered(script), ("one", "two"))
    assert seen.found is found
    assert words in seen.words
    assert bool(seen.words) == (found is not Found.SERVED)


@pytest.mark.parametrize("cause", Cause)
def test_that_nothing_came_is_read(cause: Cause) -> None:
    for reading in (read_txt, read_cached_txt):
        seen = reading(NoAnswer(cause, "so it is"), ("one",))
        assert seen == Seen(Found[cause.name], "so it is")


@pytest.mark.parametrize(
    ("script", "found", "seconds"),
    [
        (txt("one", authoritative=False), Found.SERVED, 0),
        (txt("another", authoritative=False), Found.LACKING, 60),
        (nothing(1234), Found.LACKING, 1234),
        (nothing(1234, authoritative=True), Found.LACKING, 0),
        (saying(dns.rcode.SERVFAIL), Found.LAME, 0),
        (saying(dns.rcode.REFUSED), Found.LAME, 0),
    ],
)
def test_a_resolvers_answer_tells_for_how_long_it_will_be_given(
    script: Script, found: Found, seconds: int
) -> None:
    seen = read_cached_txt(answered(script), ("one",))
    assert (seen.found, seen.seconds) == (found, seconds)


def test_a_resolver_that_cannot_validate_the_zone_is_told_apart() -> None:
    assert "signatures" in read_cached_txt(answered(saying(dns.rcode.SERVFAIL)), ("one",)).words


def test_aliases_in_a_ring_are_no_answer_of_a_resolver() -> None:
    def ring(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.answer += [
            dns.rrset.from_text(f"{NAME}.", 60, "IN", "CNAME", "b.test."),
            dns.rrset.from_text("b.test.", 60, "IN", "CNAME", f"{NAME}."),
        ]
        return response.to_wire()

    assert read_cached_txt(answered(ring), ("one",)).found is Found.UNREADABLE


def test_a_serial_is_found_beside_a_negative_answer_too() -> None:
    zone = dns.name.from_text("example.test")
    assert read_serial(answered(nothing())) == (zone, 1)
    assert read_serial(answered(txt("one"))) is None
    assert read_serial(NoAnswer(Cause.SILENT, "nothing")) is None


ZONE = dns.name.from_text("example.test")


def test_a_server_with_an_older_zone_is_named_with_both_serials() -> None:
    old = old_copies({authority(0): (ZONE, 4), authority(2): (ZONE, 7), authority(4): (ZONE, 7)})
    assert old == {authority(0): "its zone is old (serial 4, elsewhere 7)"}


def test_serials_wrap_around_and_zones_are_not_mixed() -> None:
    other = dns.name.from_text("other.test")
    assert list(old_copies({authority(0): (ZONE, 2**32 - 1), authority(2): (ZONE, 1)})) == [
        authority(0)
    ]
    assert old_copies({authority(0): (ZONE, 1), authority(2): (other, 9)}) == {}
    assert old_copies({}) == {}


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
def test_not_all_servers_have_an_old_zone(serials: list[int]) -> None:
    close = [serial % 1000 for serial in serials]
    old = old_copies({authority(n): (ZONE, serial) for n, serial in enumerate(close)})
    assert {authority(n) for n, serial in enumerate(close) if serial < max(close)} == set(old)


def test_each_server_and_reason_is_shown_once_and_many_are_counted() -> None:
    late = {
        (name, authority(number)): Seen(Found.LACKING, "not there")
        for number in range(LISTED + 3)
        for name in ("a.test", "b.test")
    }
    text = shown(late, {authority(0): "its zone is old"})
    assert text.count("not there") == LISTED
    assert "ns0.test (192.0.2.0:53): not there; its zone is old" in text
    assert text.endswith("; and 3 more")
