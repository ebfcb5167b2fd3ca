"""The process is killed at any moment of an issuance; the next run brings that to its end.

Nothing of it stays in the zone, and no order is wasted. A seeded part of all moments is tried, or
each of them with DISTRIBUTE_EXHAUSTIVE=1.
"""

import itertools
import random
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from distributor.lab import authority as lab_authority
from distributor.lab.authority import Authority
from distributor.lab.pebble import PebbleOptions
from tests.contract.scenarios import is_exhaustive
from tests.e2e.killing import GRANT, ZONE, Case, Run
from tests.e2e.servers import Bind, MakeBind, MakePebble, Zone, free_dns_port

MakeCase = Callable[[], Case]

STEADY = PebbleOptions(nonce_reject_percent=0, authorization_reuse_percent=0)
CRITICAL = {
    "account made, not noted": r"got newAccount",
    "order made, not noted": r"got newOrder",
    "TXT noted, not published": r"send TXT-add",
    "TXT published, not seen": r"got TXT-add",
    "CA looks": r"got challenge",
    "TXT removed, still noted": r"got TXT-delete",
    "issued, not fetched": r"got finalize",
    "stored in part": r"rename certificates/home/.*chain\.pem",
    "stored, still under way": r"(?<=rename certificates/home/current 1\n)",
}
"""By what is true then: how the moment's line begins; the first of such a run counts."""
WHERE = ("got newOrder 1", "got TXT-add 1", "got challenge 1", "got finalize 1")
HOW = (signal.SIGINT, signal.SIGTERM)

ALL = is_exhaustive()
STOPPED = tuple(itertools.product(HOW, WHERE)) if ALL else tuple(zip(HOW, WHERE[1:], strict=False))
PARTS = 16 if ALL else 1
IN_PART = 4
"""How many moments are tried besides the critical ones, where not all are."""
PAIRS = 40 if ALL else 1
SEED = "kill"


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that was killed, and what is wrong after the one that followed."""

    second: Run
    complaints: tuple[str, ...]
    litter: tuple[str, ...]


@dataclass(slots=True)
class Trials:
    """What became of a run that was killed at a moment; each is tried once."""

    make_case: MakeCase
    known: dict[str, Trial] = field(default_factory=dict)

    def of(self, moment: str) -> Trial:
        if moment not in self.known:
            case = self.make_case()
            case.killed_at(moment)
            second = case.run()
            complaints = wrong_after(case, second)
            litter = case.litter() if second.code == 0 else []
            self.known[moment] = Trial(
                second,
                tuple(f"killed at {moment!r}: {complaint}" for complaint in complaints),
                tuple(f"killed at {moment!r}: {name} stays" for name in litter),
            )
        return self.known[moment]


def wrong_after(case: Case, last: Run, *, orders: int = 1, valid: int = 1) -> list[str]:
    """Return what is wrong after the run that was to bring everything to its end."""
    if last.code != 0:
        return [f"it does not come to its end: {last}"]
    return [*case.complaints(orders=orders, valid=valid), *case.settled()]


@pytest.fixture(scope="module")
def bind(make_bind: MakeBind) -> Bind:
    return make_bind(Zone(ZONE, grants=[GRANT]))


@pytest.fixture(scope="module")
def authority(make_pebble: MakePebble, bind: Bind) -> Authority:
    return make_pebble(dns=bind.endpoint, options=STEADY)


@pytest.fixture(scope="module")
def make_case(
    tmp_path_factory: pytest.TempPathFactory, bind: Bind, authority: Authority
) -> MakeCase:
    folder = tmp_path_factory.mktemp("cases")
    numbers = itertools.count(1)

    def make() -> Case:
        name = f"case{next(numbers)}"
        return Case(folder=folder / name, name=f"{name}.{ZONE}", bind=bind, authority=authority)

    return make


@pytest.fixture(scope="module")
def trials(make_case: MakeCase) -> Trials:
    return Trials(make_case)


@pytest.fixture(scope="module")
def unharmed(make_case: MakeCase) -> tuple[Run, list[str]]:
    """A run that nobody ends, and what is wrong after it."""
    case = make_case()
    run = case.run()
    return run, wrong_after(case, run)


@pytest.fixture(scope="module")
def moments(unharmed: tuple[Run, list[str]]) -> tuple[str, ...]:
    return unharmed[0].moments


def test_a_run_that_nobody_kills_comes_to_its_end(unharmed: tuple[Run, list[str]]) -> None:
    run, wrong = unharmed
    assert not wrong, "\n".join(wrong)
    assert run.created("newOrder")
    assert run.created("newAccount")


@pytest.mark.parametrize("what", CRITICAL)
def test_a_run_killed_at_a_critical_moment_is_brought_to_its_end(
    trials: Trials, moments: tuple[str, ...], what: str
) -> None:
    wrong = trials.of(critical(what, moments)).complaints
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_killed_anywhere_is_brought_to_its_end(
    trials: Trials, moments: tuple[str, ...], part: int
) -> None:
    chosen = in_part(moments, part)
    assert chosen
    wrong = [complaint for moment in chosen for complaint in trials.of(moment).complaints]
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_half_written_stays_after_the_next_run(
    trials: Trials, moments: tuple[str, ...], part: int
) -> None:
    chosen = {*in_part(moments, part), critical("stored in part", moments)}
    left = [litter for moment in sorted(chosen) for litter in trials.of(moment).litter]
    assert not left, "\n".join(left)


@pytest.mark.parametrize("pair", range(PAIRS))
def test_a_run_killed_twice_is_brought_to_its_end(
    trials: Trials, make_case: MakeCase, moments: tuple[str, ...], pair: int
) -> None:
    seeded = seeded_by(f"{SEED} {pair}")
    first = seeded.choice(moments if ALL else in_part(moments, 0))
    second = seeded.choice(trials.of(first).second.moments)
    case = make_case()

    case.killed_at(first)
    case.killed_at(second)

    wrong = wrong_after(case, case.run())
    assert not wrong, f"killed at {first!r}, then at {second!r}: " + "\n".join(wrong)


@pytest.mark.parametrize("moment", WHERE if ALL else WHERE[:1])
def test_a_renewal_that_is_killed_is_brought_to_its_end(make_case: MakeCase, moment: str) -> None:
    case = make_case()
    assert case.run().code == 0
    before = case.leaf()

    case.killed_at(moment, "--renew-now")
    again = case.run("", "--renew-now")

    wrong = wrong_after(case, again, orders=2, valid=2)
    assert not wrong, "\n".join(wrong)
    assert case.leaf() != before


def test_a_renewal_does_not_bring_back_the_order_of_what_is_stored(
    make_case: MakeCase, moments: tuple[str, ...]
) -> None:
    case = make_case()
    case.killed_at(critical("stored, still under way", moments))
    before = case.leaf()

    renewed = case.run("", "--renew-now")

    wrong = wrong_after(case, renewed, orders=2, valid=2)
    assert not wrong, "\n".join(wrong)
    assert case.leaf() != before


def test_txt_of_a_renewal_that_nobody_asks_for_again_are_removed(make_case: MakeCase) -> None:
    case = make_case()
    assert case.run().code == 0
    before = case.leaf()
    case.killed_at("got TXT-add 1", "--renew-now")
    assert case.txt(), "Pebble may take an authorization of the first order for good"

    again = case.run()

    assert again.code == 0, again
    assert case.txt() == set()
    assert case.leaf() == before


def test_txt_stay_noted_while_nobody_takes_updates(make_case: MakeCase) -> None:
    case = make_case()
    case.killed_at("got TXT-add 1")
    published = case.txt()
    assert len(published) == 2

    case.want(case.name, update_at=f"127.0.0.1:{free_dns_port()}")
    second = case.run()
    assert second.code == 3, second
    assert case.txt() == published

    case.want(case.name)
    wrong = wrong_after(case, case.run("", "home"))
    assert not wrong, "\n".join(wrong)


def test_txt_and_key_of_a_certificate_that_was_renamed_are_removed(make_case: MakeCase) -> None:
    case = make_case()
    case.killed_at("got TXT-add 1")
    assert len(case.txt()) == 2
    old = case.name

    case.want(f"renamed.{old}", certificate="renamed")
    again = case.run()

    assert again.code == 0, again
    assert case.txt(old) == case.txt() == set()
    assert case.files("orders") == {}


def test_txt_of_a_provider_that_the_inventory_left_are_told_of_until_it_is_back(
    make_case: MakeCase,
) -> None:
    case = make_case()
    case.killed_at("got TXT-add 1")
    left = case.txt()
    elsewhere = f"127.0.0.1:{free_dns_port()}"
    case.want(case.name, update_at=elsewhere, certificate="renamed")
    for _ in range(2):
        run = case.run()
        assert f"_acme-challenge.{case.name} was published by [dns.home] (rfc2136 at " in run.err
        assert all(value in run.err for value in left)
        assert case.txt() == left

    case.want(case.name)
    again = case.run("", "home")

    assert again.code == 0, again
    assert case.txt() == set()


def test_txt_that_could_not_be_removed_are_removed_when_nothing_else_is_due(
    make_case: MakeCase, bind: Bind
) -> None:
    case = make_case()
    case.killed_at("send TXT-delete 1")
    assert len(case.txt()) == 2

    with down(bind):
        second = case.run()
    assert second.code == 0, second
    assert "could not be removed yet" in second.err
    assert len(case.txt()) == 2

    wrong = wrong_after(case, case.run())
    assert not wrong, "\n".join(wrong)


def test_an_order_that_became_invalid_meanwhile_is_followed_by_one_new(make_case: MakeCase) -> None:
    case = make_case()
    case.killed_at("got TXT-add 1")
    case.spoil_order()

    wrong = wrong_after(case, case.run(), orders=2)
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_other_names_in_the_inventory_need_one_new_order(
    make_case: MakeCase, moments: tuple[str, ...], part: int
) -> None:
    wrong = []
    for moment in in_part(moments, part) if ALL else ["got TXT-add 1"]:
        case = make_case()
        killed, old = case.killed_at(moment), case.name
        case.want(f"other.{old}")
        orders = 1 + len(killed.created("newOrder"))
        valid = 1 + ("got finalize" in killed.did())
        found = wrong_after(case, case.run(), orders=orders, valid=valid)
        found += [f"TXT of {old} stays"] if case.txt(old) else []
        wrong += [f"killed at {moment!r}: {complaint}" for complaint in found]
    assert not wrong, "\n".join(wrong)


def test_a_ca_that_forgot_everything_gets_one_new_account_and_order(
    tmp_path: Path, make_pebble: MakePebble, bind: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_pebble(dns=bind.endpoint, options=STEADY)
    case = Case(folder=tmp_path / "case", name=f"forgot.{ZONE}", bind=bind, authority=authority)
    case.killed_at("got TXT-add 1")
    assert len(case.txt()) == 2

    restart(authority, monkeypatch)
    case.runs.clear()

    wrong = wrong_after(case, case.run())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("moment", WHERE if ALL else WHERE[:1])
def test_a_ca_that_rejects_nonces_is_no_hindrance(
    tmp_path: Path, make_pebble: MakePebble, bind: Bind, moment: str
) -> None:
    options = PebbleOptions(nonce_reject_percent=20, authorization_reuse_percent=0)
    authority = make_pebble(dns=bind.endpoint, options=options)
    name = f"nonces-{WHERE.index(moment)}.{ZONE}"
    case = Case(folder=tmp_path / "case", name=name, bind=bind, authority=authority)
    case.killed_at(moment)

    wrong = wrong_after(case, case.run())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("how", "moment"), STOPPED)
def test_a_run_that_is_told_to_stop_leaves_the_zone_clean(
    make_case: MakeCase, how: signal.Signals, moment: str
) -> None:
    case = make_case()

    stopped = case.run(moment, by=how)

    assert moment in stopped.moments
    assert stopped.code == 130, stopped
    assert case.txt() == set()
    wrong = wrong_after(case, case.run())
    assert not wrong, "\n".join(wrong)


def critical(what: str, moments: Sequence[str]) -> str:
    found = re.search(f"^{CRITICAL[what]}.*$", "\n".join(moments), re.MULTILINE)
    assert found is not None, f"a run has no such moment any more: {what}"
    return found[0]


def in_part(moments: Sequence[str], part: int) -> list[str]:
    """Return every sixteenth moment, or a few that are none of the critical ones."""
    if ALL:
        return list(moments[part::PARTS])
    tried = {critical(what, moments) for what in CRITICAL}
    return seeded_by(SEED).sample([moment for moment in moments if moment not in tried], IN_PART)


def seeded_by(text: str) -> random.Random:
    return random.Random(text)  # noqa: S311 - the same part each time


@contextmanager
def down(bind: Bind) -> Iterator[None]:
    bind.stop()
    try:
        yield
    finally:
        bind.start()


def restart(authority: Authority, patch: pytest.MonkeyPatch) -> None:
    """Start the CA again at the same URL; Pebble keeps nothing."""
    url = authority.directory_url
    port = int(url.split(":")[2].split("/")[0])
    (_, other) = lab_authority._free_ports()
    authority.stop()
    patch.setattr(lab_authority, "_free_ports", lambda: (port, other))
    authority.start()
    assert authority.directory_url == url
