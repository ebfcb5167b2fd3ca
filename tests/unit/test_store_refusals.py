import stat
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor.model.errors import StateError
from distributor.model.secret import DeviceToken, Secret
from distributor.store.devices import DeviceTokens
from distributor.store.host_tables import HostTables
from distributor.store.refusals import REMEMBERED, Refusals

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
WORDS = Secret("correct horse")


def test_the_same_words_are_remembered_for_a_day_also_by_another_run(tmp_path: Path) -> None:
    path = tmp_path / "state" / "refusals.toml"
    Refusals(path, persist=True).note("attic", "certs", WORDS, 400, NOW)
    later = Refusals(path, persist=True)
    found = later.find("attic", "certs", WORDS, NOW + REMEMBERED - timedelta(seconds=1))
    assert found is not None
    assert (found.code, found.when) == (400, NOW)
    assert later.find("attic", "certs", WORDS, NOW + REMEMBERED) is None


def test_other_words_another_user_and_another_host_are_tried(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "state" / "refusals.toml", persist=True)
    refusals.note("attic", "certs", WORDS, 400, NOW)
    assert refusals.find("attic", "certs", Secret("corrected"), NOW) is None
    assert refusals.find("attic", "admin", WORDS, NOW) is None
    assert refusals.find("cellar", "certs", WORDS, NOW) is None


def test_a_clock_that_went_back_does_not_hold_a_host_for_ever(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "state" / "refusals.toml", persist=True)
    refusals.note("attic", "certs", WORDS, 400, NOW)
    assert refusals.find("attic", "certs", WORDS, NOW - timedelta(days=400)) is None


def test_what_is_forgotten_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "refusals.toml"
    refusals = Refusals(path, persist=True)
    refusals.note("attic", "certs", WORDS, 407, NOW)
    refusals.note("cellar", "certs", WORDS, 400, NOW)
    refusals.forget("attic")
    refusals.forget("attic")
    again = Refusals(path, persist=True)
    assert again.find("attic", "certs", WORDS, NOW) is None
    assert again.find("cellar", "certs", WORDS, NOW) is not None


_NOTE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from distributor.model.secret import Secret
from distributor.store.refusals import Refusals
refusals = Refusals(Path(sys.argv[1]), persist=True)
for number in range(5):
    refusals.note(f"{sys.argv[2]}{number}", "certs", Secret("w"), 400, datetime.now(UTC))
"""


def test_two_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "state" / "refusals.toml"
    names = ("attic", "cellar", "garage")
    both = [subprocess.Popen([sys.executable, "-c", _NOTE, str(path), name]) for name in names]
    assert [one.wait(timeout=60) for one in both] == [0, 0, 0]
    noted = tomllib.loads(path.read_text(encoding="utf-8"))["hosts"]
    assert sorted(noted) == sorted(f"{name}{n}" for name in names for n in range(5))


def test_a_change_waits_for_that_of_another_process_and_builds_on_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "refusals.toml"
    remedy, entered = "remove it", threading.Event()
    one, other = HostTables(path, remedy), HostTables(path, remedy)  # two locks, as two processes

    def change() -> None:
        entered.set()
        with other.changing("cellar") as table:
            table["code"] = 2

    waiting = threading.Thread(target=change)
    with one.changing("attic") as table:
        waiting.start()
        assert entered.wait(5)
        waiting.join(0.3)
        assert waiting.is_alive(), "it did not wait"
        table["code"] = 1
    waiting.join(5)
    assert tomllib.loads(path.read_text(encoding="utf-8"))["hosts"] == {
        "attic": {"code": 1},
        "cellar": {"code": 2},
    }


def test_a_lock_that_cannot_be_had_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "refusals.toml"
    monkeypatch.setattr("distributor.store.host_tables._PATIENCE", 0.05)
    with (
        HostTables(path, "remove it").changing("attic"),
        pytest.raises(StateError, match="in use"),
        HostTables(path, "remove it").changing("cellar"),
    ):
        raise AssertionError("two change it at once")


def test_a_dry_run_remembers_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "refusals.toml"
    refusals = Refusals(path, persist=False)
    refusals.note("attic", "certs", WORDS, 400, NOW)
    assert refusals.find("attic", "certs", WORDS, NOW) is not None
    assert not path.parent.exists()


def test_neither_the_password_nor_a_fast_hash_of_it_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "refusals.toml"
    refusals = Refusals(path, persist=True)
    refusals.note("attic", "certs", WORDS, 400, NOW)
    refusals.note("cellar", "certs", WORDS, 400, NOW)
    written = path.read_text(encoding="utf-8")
    assert WORDS.reveal() not in written
    assert len({line for line in written.splitlines() if line.startswith("hash")}) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        "version = 0",
        "hosts = 5",
        "[hosts.attic]\nuser = 'x'",
        "[hosts.attic]\nuser='x'\nsalt='zz'\nhash='x'\ncode=1\nwhen='2026-11-21T02:00:00Z'",
    ],
)
def test_a_broken_file_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "refusals.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match="remove it"):
        Refusals(path, persist=True).find("attic", "certs", WORDS, NOW)


def test_a_device_token_is_found_again_by_host_and_user(tmp_path: Path) -> None:
    path = tmp_path / "state" / "devices.toml"
    tokens = DeviceTokens(path)
    assert tokens.find("attic", "certs") is None
    tokens.keep("attic", "certs", DeviceToken("distribute", Secret("n1H")))
    tokens.keep("attic", "admin", DeviceToken("distribute", Secret("other")))
    assert DeviceTokens(path).find("attic", "certs") == DeviceToken("distribute", Secret("n1H"))
    assert tokens.find("cellar", "certs") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "n1H" not in repr(tokens.find("attic", "certs"))


@pytest.mark.parametrize(
    "text", ["no toml", "hosts = 5", "[hosts]\nattic = 5", "[hosts.attic.certs]\nx=1"]
)
def test_a_broken_token_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match="enrol again") as caught:
        DeviceTokens(path).find("attic", "certs")
    assert caught.value.__cause__ is None
