"""A rehearsal of DNS-01: noted before it is published, and what cannot be removed stays noted."""

from datetime import timedelta
from pathlib import Path

import pytest

from distributor.clients.nameservers import Nameservers, no_signal
from distributor.clients.propagation import Progress, Signal, Wanted
from distributor.dns_providers.challenges import MARK, Challenges, rehearse
from distributor.dns_providers.contract import FindProvider, Receipt
from distributor.model.errors import DistributorError, DnsRefused, Interrupted, SecretError
from distributor.model.secret import Secret
from distributor.sources.acme_leftovers import remove_leftovers
from distributor.store import OrderJournal, PendingOrder, Publisher

ORDER = PendingOrder(
    directory_url="https://ca.test/directory",
    names=("example.com",),
    key_type="ec256",
    private_key_pem=Secret("key"),
    csr_pem=b"request",
)
HERE = Publisher("home", "memory", "here")
THERE = Publisher("home", "memory", "there")


def noted(journal: OrderJournal) -> dict[str, tuple[str, ...]]:
    return dict(journal.challenges("home").get(HERE, {}))


class Zone:
    """A provider and the nameservers of a zone in memory; `fails` says what goes wrong."""

    def __init__(self, journal: OrderJournal) -> None:
        self.journal = journal
        self.records: dict[str, set[str]] = {}
        self.seen: list[Receipt] = []
        self.fails: dict[str, DistributorError] = {}
        self.aliases: dict[str, str] = {}
        self.signals: list[bool | None] = []
        self.heard: list[bool | None] = []
        """What waiting heard of the signal."""

    def present(self, receipt: Receipt) -> None:
        assert set(noted(self.journal)[receipt.name]) >= set(receipt.values)
        self._fail("present", receipt.name)
        self.seen.append(receipt)
        self.records.setdefault(receipt.name, set()).update(receipt.values)

    def is_ready(self, receipt: Receipt) -> bool | None:
        assert receipt in self.seen
        return self.signals.pop(0) if self.signals else None

    def cleanup(self, receipt: Receipt) -> None:
        self._fail("cleanup", receipt.name)
        self.records.get(receipt.name, set()).difference_update(receipt.values)

    def _fail(self, what: str, name: str) -> None:
        error = self.fails.get(f"{what} {name}") or self.fails.get(what)
        if error is not None:
            raise error


class SeesAll(Zone):
    """Looks, when it presents the first of some receipts, whether the others are noted too."""

    def present(self, receipt: Receipt) -> None:
        if not self.seen:
            assert noted(self.journal) == dict.fromkeys(PLACES, ("v",))
        super().present(receipt)


class Names(Nameservers):
    """Follows the aliases of `zone`, and waits as it says."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def follow(self, name: str) -> str:
        return self._zone.aliases.get(name, name)

    def wait_for(
        self,
        wanted: Wanted,
        timeout: timedelta,  # noqa: ARG002 - the client's
        progress: Progress,  # noqa: ARG002 - the client's
        signal: Signal = no_signal,
    ) -> None:
        self._zone.heard.append(signal())
        for name in wanted:
            self._zone._fail("wait", name)


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(OrderJournal(tmp_path / "orders"))


def challenges(zone: Zone, find: FindProvider = lambda _publisher: None) -> Challenges:
    return Challenges(
        certificate="home",
        journal=zone.journal,
        publisher=HERE,
        provider=zone,
        find=find,
        nameservers=Names(zone),
        timeout=timedelta(seconds=1),
    )


def quiet(_line: str) -> None:
    """Take a line of progress."""


NAMES = ("example.com", "*.example.com", "a.example.com", "*.b.example.com")
PLACES = [f"_acme-challenge.{name}" for name in ("example.com", "a.example.com", "b.example.com")]


def test_each_name_is_tried_once_with_a_marked_value_of_its_own(zone: Zone) -> None:
    assert rehearse(challenges(zone), NAMES, quiet) == {}
    assert [one.name for one in zone.seen] == PLACES
    values = [value for one in zone.seen for value in one.values]
    assert len(set(values)) == 3
    assert all(value.startswith(MARK) for value in values)
    assert not any(zone.records.values())
    assert noted(zone.journal) == {}


@pytest.mark.parametrize("step", ["present", "wait"])
@pytest.mark.parametrize("error", [DnsRefused("no"), SecretError("none")])
def test_one_name_that_fails_leaves_the_others_tried(
    zone: Zone, step: str, error: DistributorError
) -> None:
    zone.fails[f"{step} {PLACES[1]}"] = error
    assert rehearse(challenges(zone), NAMES, quiet) == {PLACES[1]: error}
    assert not any(zone.records.values())
    assert noted(zone.journal) == {}


def test_a_value_that_cannot_be_removed_is_told_and_stays_noted(zone: Zone) -> None:
    zone.fails[f"cleanup {PLACES[0]}"] = DnsRefused("may not delete")
    failures = rehearse(challenges(zone), NAMES, quiet)
    assert "could not be removed" in failures[PLACES[0]].message
    assert "may not delete" in failures[PLACES[0]].message
    ((name, values),) = noted(zone.journal).items()
    assert name == PLACES[0]
    assert set(values) == zone.records[PLACES[0]]
    zone.fails.clear()
    assert rehearse(challenges(zone), NAMES, quiet) == {}
    assert not any(zone.records.values())


def test_what_an_earlier_run_left_is_removed_by_exact_value(zone: Zone) -> None:
    zone.records[PLACES[0]] = {"left", "a stranger's"}
    zone.journal.note_challenges("home", {HERE: {PLACES[0]: ("left",)}})
    assert rehearse(challenges(zone), ("example.com",), quiet) == {}
    assert zone.records[PLACES[0]] == {"a stranger's"}


def test_a_stop_removes_what_was_published(zone: Zone) -> None:
    zone.fails["wait"] = Interrupted("stopped")
    with pytest.raises(Interrupted):
        rehearse(challenges(zone), NAMES, quiet)
    assert len(zone.seen) == 1
    assert not any(zone.records.values())
    assert noted(zone.journal) == {}


VALUES = [(place, "v") for place in PLACES]


def test_every_value_is_noted_before_the_first_is_published(tmp_path: Path) -> None:
    zone = SeesAll(OrderJournal(tmp_path / "orders"))
    challenges(zone).publish(VALUES, quiet)
    assert [receipt.name for receipt in zone.seen] == PLACES


def test_names_that_lead_to_one_end_are_published_in_one_call(zone: Zone) -> None:
    zone.aliases = {PLACES[0]: "end.test", PLACES[1]: "end.test"}
    values = [(PLACES[0], "a"), (PLACES[1], "b"), (PLACES[0], "c"), (PLACES[2], "d")]
    challenges(zone).publish([*values, values[0]], quiet)
    assert zone.seen == [Receipt("end.test", ("a", "b", "c")), Receipt(PLACES[2], ("d",))]


def test_a_value_is_removed_where_it_was_put_although_the_alias_leads_elsewhere_now(
    zone: Zone,
) -> None:
    zone.aliases = {PLACES[0]: "old.test"}
    challenges(zone).publish([(PLACES[0], "a")], quiet)
    zone.aliases = {PLACES[0]: "new.test"}
    challenges(zone).publish([(PLACES[0], "b")], quiet)
    assert zone.records == {"old.test": {"a"}, "new.test": {"b"}}
    assert challenges(zone).remove() == ()
    assert not any(zone.records.values())
    assert noted(zone.journal) == {}


@pytest.mark.parametrize("failing", range(3))
def test_one_that_cannot_be_removed_keeps_none_of_the_others(zone: Zone, failing: int) -> None:
    challenges(zone).publish(VALUES, quiet)
    zone.fails[f"cleanup {PLACES[failing]}"] = DnsRefused("may not delete")
    (line,) = challenges(zone).remove()
    assert PLACES[failing] in line
    assert noted(zone.journal) == {PLACES[failing]: ("v",)}
    assert {name for name, values in zone.records.items() if values} == {PLACES[failing]}


def test_a_stop_during_removal_is_passed_on_once_all_were_tried(zone: Zone) -> None:
    challenges(zone).publish(VALUES, quiet)
    zone.fails[f"cleanup {PLACES[0]}"] = Interrupted("stopped")
    with pytest.raises(Interrupted):
        challenges(zone).remove()
    assert noted(zone.journal) == {PLACES[0]: ("v",)}
    assert zone.records == {PLACES[0]: {"v"}, PLACES[1]: set(), PLACES[2]: set()}


@pytest.mark.parametrize(
    ("signals", "heard"),
    [
        ([None, None, None], None),
        ([True, True, True], True),
        ([True, False, True], False),
        ([True, None, True], None),
        ([None, False, None], False),
    ],
)
def test_the_signal_is_that_of_all_receipts(
    zone: Zone, signals: list[bool | None], heard: bool | None
) -> None:
    zone.signals = signals
    challenges(zone).publish(VALUES, quiet)
    assert zone.heard == [heard]


def test_a_value_that_fails_to_be_published_leaves_all_noted_for_removal(zone: Zone) -> None:
    zone.fails[f"present {PLACES[1]}"] = DnsRefused("may not write")
    with pytest.raises(DnsRefused):
        challenges(zone).publish(VALUES, quiet)
    assert zone.records == {PLACES[0]: {"v"}}
    assert challenges(zone).remove() == ()
    assert not any(zone.records.values())
    assert noted(zone.journal) == {}


def forget_here(zone: Zone, by: Publisher) -> None:
    """Note a value as one of another publisher's."""
    zone.journal.note_challenges("home", {by: {PLACES[0]: ("left", "too")}})


def test_a_value_of_another_provider_is_removed_there_and_not_here(
    zone: Zone, tmp_path: Path
) -> None:
    other = Zone(OrderJournal(tmp_path / "other"))
    other.records[PLACES[0]], zone.records[PLACES[0]] = {"left", "too"}, {"left", "ours"}
    forget_here(zone, THERE)

    assert challenges(zone, {THERE: other}.get).remove() == ()

    assert (other.records[PLACES[0]], zone.records[PLACES[0]]) == (set(), {"left", "ours"})
    assert zone.journal.challenges("home") == {}


def test_a_value_that_no_provider_leads_to_stays_noted_and_is_told_each_time(zone: Zone) -> None:
    forget_here(zone, THERE)
    for _ in range(2):
        challenges(zone).publish(VALUES, quiet)
        (line,) = challenges(zone).remove()
        for what in (PLACES[0], "left and too", str(THERE), "challenges.json"):
            assert what in line
        assert zone.journal.challenges("home") == {THERE: {PLACES[0]: ("left", "too")}}
    assert not any(zone.records.values())


def test_another_name_for_the_same_place_is_the_same_place(zone: Zone) -> None:
    zone.records[PLACES[0]] = {"left", "too", "a stranger's"}
    forget_here(zone, Publisher("renamed", "memory", "here"))
    assert challenges(zone).remove() == ()
    assert zone.records[PLACES[0]] == {"a stranger's"}


def unwritten() -> DnsRefused:
    error = DnsRefused("unknown key")
    error.wrote_nothing = True
    return error


@pytest.mark.parametrize("error", [unwritten(), SecretError("not set")])
def test_what_was_never_written_is_not_noted_any_more(zone: Zone, error: DistributorError) -> None:
    zone.fails[f"present {PLACES[1]}"] = error
    with pytest.raises(type(error)):
        challenges(zone).publish(VALUES, quiet)
    assert noted(zone.journal) == {PLACES[0]: ("v",)}


def test_a_refusal_forgets_nothing_that_an_earlier_run_wrote(zone: Zone) -> None:
    zone.journal.note_challenges("home", {HERE: {PLACES[0]: ("v", "old")}})
    zone.fails["present"] = unwritten()
    with pytest.raises(DnsRefused):
        challenges(zone).publish(VALUES, quiet)
    assert noted(zone.journal) == {PLACES[0]: ("v", "old")}


def test_what_orders_left_of_certificates_that_nobody_wants_goes(zone: Zone) -> None:
    for name in ("home", "gone", "stuck", "lost"):
        zone.journal.save(name, ORDER)
    zone.records[PLACES[0]] = {"mine", "left", "a stranger's"}
    zone.journal.note_challenges("home", {HERE: {PLACES[0]: ("mine",)}})
    zone.journal.note_challenges("gone", {HERE: {PLACES[0]: ("left",)}})
    zone.journal.note_challenges("stuck", {THERE: {PLACES[1]: ("there",)}})
    zone.journal.challenges_file("lost").write_text("{")

    for _ in range(2):
        told = dict(remove_leftovers(zone.journal, {"home"}, {HERE: zone}.get))
        assert set(told) == {"stuck", "lost"}
        assert str(THERE) in told["stuck"]
        assert "there by hand" in told["stuck"]
        assert "cannot be read; remove it" in told["lost"]

    assert zone.records[PLACES[0]] == {"mine", "a stranger's"}
    assert zone.journal.certificates() == ("home", "lost", "stuck")
    assert zone.journal.all("home") == (ORDER,)
    assert zone.journal.all("stuck") == zone.journal.all("lost") == ()
    assert noted(zone.journal) == {PLACES[0]: ("mine",)}
    assert zone.journal.challenges("stuck") == {THERE: {PLACES[1]: ("there",)}}
