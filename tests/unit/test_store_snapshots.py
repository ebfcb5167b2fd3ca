"""Snapshots: what is kept of them, for how long, and that no key lies about twice."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import Bundle, fingerprint
from distributor.model.keeping import SNAPSHOTS_KEPT, SNAPSHOTS_STAY, expendable_snapshots
from distributor.model.snapshot import Snapshot
from distributor.model.state import LEAF, UNREADABLE, Address, State
from distributor.store import Store
from tests.certs import DAY, NOW
from tests.unit.bench import issue

HOME = Address("certificate", "home", "abc")
OTHER = Address("certificate", "other", "def")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def snapshot(*, taken: datetime = NOW, **pairs: Bundle) -> Snapshot:
    entries = {"home": HOME, "other": OTHER}
    return Snapshot(
        host="attic",
        taken=taken,
        before=State({HOME: {LEAF: UNREADABLE}, OTHER: {LEAF: UNREADABLE}}),
        pairs={entries[name]: pair for name, pair in pairs.items()},
    )


def keys_in(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()
    ]


def test_a_pair_that_the_store_holds_is_not_written_again_and_comes_from_there(
    store: Store,
) -> None:
    held, foreign = issue(), issue()
    store.bundles.save("home", held, ca="", now=NOW)
    taken = snapshot(home=held, other=foreign)

    store.snapshots.save(taken)

    assert len(keys_in(store.folder / "snapshots")) == 1
    assert store.snapshots.last("attic") == taken
    assert fingerprint(held.leaf) in store.snapshots.leaves()


def test_a_pair_that_the_store_holds_with_another_chain_is_written(store: Store) -> None:
    held = issue()
    bare = Bundle(leaf=held.leaf, chain=(), private_key_pem=held.private_key_pem)
    store.bundles.save("home", held, ca="", now=NOW)

    store.snapshots.save(snapshot(home=bare))

    assert len(keys_in(store.folder / "snapshots")) == 1
    kept = store.snapshots.last("attic")
    assert kept is not None
    assert kept.pairs == {HOME: bare}


def test_a_pair_that_is_nowhere_any_more_is_left_out(store: Store) -> None:
    held = issue()
    version = store.bundles.save("home", held, ca="", now=NOW).version
    store.snapshots.save(snapshot(home=held))
    for path in (store.folder / "certificates/home" / version).iterdir():
        path.unlink()

    kept = store.snapshots.last("attic")

    assert kept is not None
    assert kept.pairs == {}


def test_a_stored_version_that_cannot_be_read_is_a_pair_less_and_no_error(store: Store) -> None:
    held = issue()
    version = store.bundles.save("home", held, ca="", now=NOW).version
    store.snapshots.save(snapshot(home=held))
    (store.folder / "certificates/home" / version / "cert.pem").write_text("nothing")

    kept = store.snapshots.last("attic")

    assert kept is not None
    assert kept.pairs == {}


@pytest.mark.parametrize("damage", ["sha256:**/..**", "../../../etc", "/", "[", "*", "", "\0"])
def test_a_damaged_word_of_what_is_stored_is_a_pair_less_and_no_error(
    store: Store, damage: str
) -> None:
    held = issue()
    store.bundles.save("home", held, ca="", now=NOW)
    store.snapshots.save(snapshot(home=held))
    [path] = (store.folder / "snapshots").rglob("stored")
    path.write_text(damage)

    kept = store.snapshots.last("attic")

    assert kept is not None
    assert kept.pairs == {}
    assert store.snapshots.leaves()


def test_that_it_is_being_undone_is_noted_in_the_newest_alone(store: Store) -> None:
    older, newer = snapshot(), snapshot(taken=NOW + DAY)
    store.snapshots.mark("attic", undoing=True)  # there is none yet
    for one in (older, newer):
        store.snapshots.save(one)

    store.snapshots.mark("attic", undoing=True)

    assert [_is_undoing(store, one) for one in (older, newer)] == [False, True]
    store.snapshots.mark("attic", undoing=False)
    assert store.snapshots.last("attic") == newer


def _is_undoing(store: Store, one: Snapshot) -> bool:
    path = store.folder / "snapshots/attic" / f"{one.taken:%Y%m%dT%H%M%S.%fZ}" / "snapshot.json"
    return bool(json.loads(path.read_text())["undoing"])


moments = st.integers(-400 * 24, 400 * 24).map(lambda hours: NOW + timedelta(hours=hours))


@given(st.lists(moments, unique=True, max_size=20))
def test_the_newest_and_the_young_stay_and_all_others_go(taken: list[datetime]) -> None:
    gone = expendable_snapshots(taken, NOW)

    kept = set(taken) - set(gone)
    assert list(gone) == sorted(gone)
    assert set(gone) <= set(taken)
    assert len(kept) >= min(SNAPSHOTS_KEPT, len(taken))
    assert all(NOW - one > SNAPSHOTS_STAY for one in gone)
    assert all(one < other for one in gone for other in kept)
    if len(kept) > SNAPSHOTS_KEPT:
        assert all(NOW - one <= SNAPSHOTS_STAY for one in sorted(kept)[:-SNAPSHOTS_KEPT])


def test_what_goes_goes_with_its_keys_and_foreign_files_stay(store: Store) -> None:
    folder = store.folder / "snapshots/attic"
    for number in range(SNAPSHOTS_KEPT + 2):
        store.snapshots.save(snapshot(taken=NOW + number * DAY, home=issue()))
    first, second, *_ = sorted(folder.iterdir())
    (second / "notes.txt").write_text("mine")
    (folder / "mine").mkdir()

    gone = store.snapshots.prune(NOW + 100 * DAY)

    assert [taken for _, taken in gone] == [first.name, second.name]
    assert not first.exists()
    assert [path.name for path in second.iterdir()] == ["notes.txt"]
    assert (folder / "mine").is_dir()
    assert len(keys_in(folder)) == SNAPSHOTS_KEPT


def test_what_a_cut_left_goes_and_a_cut_at_any_removal_leaves_whole_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(SNAPSHOTS_KEPT + 1):
        store.snapshots.save(snapshot(taken=NOW + number * DAY, home=issue()))
    folder = store.folder / "snapshots/attic"
    oldest = min(folder.iterdir())
    unlink = Path.unlink

    class Cut(BaseException):
        """As a process that ends."""

    for most in range(10):
        calls = 0

        def counted(path: Path, missing_ok: bool = False, most: int = most) -> None:
            nonlocal calls
            calls += 1
            if calls > most:
                raise Cut
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", counted)
        try:
            store.snapshots.prune(NOW + 100 * DAY)
        except Cut:
            monkeypatch.undo()
        else:
            break
        whole = [one for one in folder.iterdir() if (one / "snapshot.json").is_file()]
        assert len(whole) >= SNAPSHOTS_KEPT
        assert (oldest in whole) == (most == 0)
    else:
        pytest.fail("it never came to its end")
    assert most > 2
    assert not oldest.exists()
