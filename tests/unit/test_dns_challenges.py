"""A rehearsal of DNS-01: noted before it is published, and what cannot be removed stays noted."""

from datetime import timedelta
from pathlib import Path

import pytest

from distributor.clients.nameservers import Nameservers
from distributor.clients.propagation import Wanted
from distributor.dns_providers.challenges import MARK, Challenges, rehearse
from distributor.dns_providers.contract import Receipt
from distributor.model.errors import DistributorError, DnsRefused, Interrupted, SecretError
from distributor.store import OrderJournal


class Zone:
    """A provider and the nameservers of a zone in memory; `fails` says what goes wrong."""

    def __init__(self, journal: OrderJournal) -> None:
        self.journal = journal
        self.records: dict[str, set[str]] = {}
        self.seen: list[Receipt] = []
        self.fails: dict[str, DistributorError] = {}

    def present(self, receipt: Receipt) -> None:
        assert set(self.journal.challenges("home")[receipt.name]) >= set(receipt.values)
        self._fail("present", receipt.name)
        self.seen.append(receipt)
        self.records.setdefault(receipt.name, set()).update(receipt.values)

    def is_ready(self, receipt: Receipt) -> bool | None:  # noqa: ARG002 - it has no signal
        return None

    def cleanup(self, receipt: Receipt) -> None:
        self._fail("cleanup", receipt.name)
        self.records.get(receipt.name, set()).difference_update(receipt.values)

    def _fail(self, what: str, name: str) -> None:
        error = self.fails.get(f"{what} {name}") or self.fails.get(what)
        if error is not None:
            raise error


class Names(Nameservers):
    """Follows no alias, and waits as `zone` says."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def follow(self, name: str) -> str:
        return name

    def wait_for(self, wanted: Wanted, *_more: object) -> None:
        for name in wanted:
            self._zone._fail("wait", name)


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(OrderJournal(tmp_path / "orders"))


def challenges(zone: Zone) -> Challenges:
    return Challenges(
        certificate="home",
        journal=zone.journal,
        provider=zone,
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
    assert zone.journal.challenges("home") == {}


@pytest.mark.parametrize("step", ["present", "wait"])
@pytest.mark.parametrize("error", [DnsRefused("no"), SecretError("none")])
def test_one_name_that_fails_leaves_the_others_tried(
    zone: Zone, step: str, error: DistributorError
) -> None:
    zone.fails[f"{step} {PLACES[1]}"] = error
    assert rehearse(challenges(zone), NAMES, quiet) == {PLACES[1]: error}
    assert not any(zone.records.values())
    assert zone.journal.challenges("home") == {}


def test_a_value_that_cannot_be_removed_is_told_and_stays_noted(zone: Zone) -> None:
    zone.fails[f"cleanup {PLACES[0]}"] = DnsRefused("may not delete")
    failures = rehearse(challenges(zone), NAMES, quiet)
    assert "could not be removed" in failures[PLACES[0]].message
    assert "may not delete" in failures[PLACES[0]].message
    noted = zone.journal.challenges("home")
    assert set(noted) == {PLACES[0]}
    assert set(noted[PLACES[0]]) == zone.records[PLACES[0]]
    zone.fails.clear()
    assert rehearse(challenges(zone), NAMES, quiet) == {}
    assert not any(zone.records.values())


def test_what_an_earlier_run_left_is_removed_by_exact_value(zone: Zone) -> None:
    zone.records[PLACES[0]] = {"left", "a stranger's"}
    zone.journal.note_challenges("home", {PLACES[0]: ("left",)})
    assert rehearse(challenges(zone), ("example.com",), quiet) == {}
    assert zone.records[PLACES[0]] == {"a stranger's"}


def test_a_stop_removes_what_was_published(zone: Zone) -> None:
    zone.fails["wait"] = Interrupted("stopped")
    with pytest.raises(Interrupted):
        rehearse(challenges(zone), NAMES, quiet)
    assert len(zone.seen) == 1
    assert not any(zone.records.values())
    assert zone.journal.challenges("home") == {}
