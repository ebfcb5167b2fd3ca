"""The ledger comes back as it was noted, without what no longer matters."""

import json
import stat
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from distributor.model.budget import Event, pruned
from distributor.store import Ledger, Store
from tests.certs import DAY

NOW = datetime.fromisoformat("2026-11-21T02:00:00.123456+00:00")
ORDERED = Event(
    at=NOW,
    kind="ordered",
    ca="https://acme-v02.api.letsencrypt.org/directory",
    account="https://ca.example/acct/1",
    names=("example.com", "*.example.com"),
    certificate="home",
    renewal=True,
)
REFUSED = replace(ORDERED, kind="refused-authorization", identifiers=("example.com",))
LIMITED = replace(ORDERED, kind="rate-limited", names=(), until=NOW + DAY)


def test_events_come_back_in_their_order_and_to_the_microsecond(tmp_path: Path) -> None:
    noted = (replace(REFUSED, renewal=False), LIMITED, replace(ORDERED, kind="issued"))
    ledger = Store(tmp_path / "state").ledger
    assert ledger.events() == ()
    for event in noted:
        ledger.note(event)
    assert Store(tmp_path / "state").ledger.events() == ledger.events() == noted
    path = tmp_path / "state" / "ledger.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["version"] == 0


def test_what_no_longer_matters_is_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "ledger.json")
    ledger.note(replace(ORDERED, renewal=False))
    late = replace(LIMITED, at=NOW + DAY, until=NOW + 2 * DAY)
    ledger.note(late)
    assert ledger.events() == (late,)
    assert pruned(ledger.events(), late.at) == ledger.events()


def test_a_dry_run_remembers_without_writing(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", remembers=False)
    store.ledger.note(ORDERED)
    assert store.ledger.events() == (ORDERED,)
    assert not store.folder.exists()


def test_a_dry_run_knows_what_was_written_before(tmp_path: Path) -> None:
    Store(tmp_path / "state").ledger.note(LIMITED)
    path = tmp_path / "state" / "ledger.json"
    before = path.read_bytes()
    dry = Store(tmp_path / "state", remembers=False).ledger
    dry.note(REFUSED)
    assert dry.events() == (LIMITED, REFUSED)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"events": 5}',
        '{"events": [5]}',
        '{"events": [{}]}',
        "kind",
        "at",
        "until",
        "names",
        "identifiers",
        "renewal",
        "account",
    ],
)
def test_a_broken_file_is_as_none_and_a_warning_names_it(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "ledger.json"
    ledger = Ledger(path)
    ledger.note(replace(REFUSED, until=NOW + timedelta(hours=1)))
    if text.isalpha():
        data = json.loads(path.read_text())
        data["events"][0][text] = {"at": "2026-11-21T02:00:00", "until": "soon"}.get(text, 5)
        path.write_text(json.dumps(data))
    else:
        path.write_text(text)
    assert ledger.events() == ()
    assert str(path) in caplog.text
    again = replace(REFUSED, until=NOW + timedelta(hours=1))
    ledger.note(again)
    assert ledger.events() == (again,)
