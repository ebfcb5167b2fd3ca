"""Old versions go when nobody needs them, and a cut at any step leaves nothing that misleads."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from distributor.model.bundle import Bundle, assemble, fingerprint
from distributor.model.errors import BundleError, StateError
from distributor.model.holds import Hold
from distributor.model.keeping import KEPT, SNAPSHOTS_KEPT, SNAPSHOTS_STAY
from distributor.model.revocation import REASONS, Reason, Revocation
from distributor.model.secret import Secret
from distributor.model.snapshot import Snapshot
from distributor.model.state import LEAF, Address, State
from distributor.model.trust import PinnedLeaf
from distributor.store import Store
from distributor.store.files import LEFTOVER_SECONDS, sweep
from tests.certs import DAY, NOW, hierarchy, key_pem, private_key

ISSUER = hierarchy(1)
CA = "https://ca.example/directory"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def bundle(*, not_after: datetime = NOW - DAY, key: object = "ec256") -> Bundle:
    issued = ISSUER.issue(
        ["example.test"],
        key=key,  # type: ignore[arg-type]  # a kind of key, or a key
        not_before=NOW - 90 * DAY,
        not_after=not_after,
    )
    return assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem)


def fill(store: Store, count: int, name: str = "home") -> list[str]:
    """Save so many versions that have all ended; return them, oldest first."""
    return [
        store.bundles.save(name, bundle(), ca=CA, now=NOW - (100 - number) * DAY).version
        for number in range(count)
    ]


def leaf_of(store: Store, version: str) -> str:
    return fingerprint(store.bundles.load("home", version).bundle.leaf)


def test_the_newest_stay_and_the_rest_goes_with_its_keys(store: Store) -> None:
    versions = fill(store, KEPT + 3)

    assert store.prune(NOW) == tuple(("home", version) for version in versions[:3])
    assert store.bundles.versions("home") == tuple(versions[3:])
    folders = [path.name for path in (store.folder / "certificates/home").iterdir()]
    assert sorted(folders) == [*versions[3:], "current"]
    assert store.prune(NOW) == ()
    current = store.bundles.current("home")
    assert current is not None
    assert current.version == versions[-1]


def test_an_empty_state_folder_has_nothing_to_prune_and_stays_empty(store: Store) -> None:
    assert store.prune(NOW) == ()
    assert not store.folder.exists()


def test_what_is_still_valid_stays_however_old(store: Store) -> None:
    old = store.bundles.save(
        "home", bundle(not_after=NOW + DAY), ca=CA, now=NOW - 200 * DAY
    ).version
    fill(store, KEPT + 1)
    store.prune(NOW)
    assert old in store.bundles.versions("home")


def _pinned(store: Store, leaf: str) -> None:
    store.trust.pin("attic", PinnedLeaf(leaf=leaf, not_after=NOW, since=NOW, by="delivery"))


def _pinned_by_person(store: Store, leaf: str) -> None:
    store.trust.pin("attic", PinnedLeaf(leaf=leaf, not_after=NOW, since=NOW, by="trust"))
    _pinned(store, "sha256:" + "0" * 64)


def _held(store: Store, leaf: str) -> None:
    hold = Hold(leaves=frozenset({leaf}), rolled_back=1, by="run", since=NOW, reason="x")
    store.holds.put("attic", hold)


def _snapshot(store: Store, leaf: str) -> None:
    before = State({Address("certificate", "home", "abc"): {LEAF: leaf}})
    store.snapshots.save(Snapshot(host="attic", taken=NOW, before=before))


@pytest.mark.parametrize("refer", [_pinned, _pinned_by_person, _held, _snapshot])
def test_what_trust_holds_or_a_rollback_speak_of_stays(
    store: Store, refer: Callable[[Store, str], None]
) -> None:
    versions = fill(store, KEPT + 2)
    refer(store, leaf_of(store, versions[0]))

    assert store.prune(NOW) == (("home", versions[1]),)


def test_every_snapshot_that_is_kept_counts_and_none_that_went(store: Store) -> None:
    versions = fill(store, KEPT + 1)
    _snapshot(store, leaf_of(store, versions[0]))
    for day in range(1, SNAPSHOTS_KEPT + 1):
        taken = NOW + day * DAY
        store.snapshots.save(Snapshot(host="attic", taken=taken, before=State({})))
    later = NOW + SNAPSHOTS_STAY + DAY

    assert store.snapshots.prune(NOW + SNAPSHOTS_STAY) == ()
    assert store.prune(NOW) == ()
    assert store.snapshots.prune(later) == (("attic", f"{NOW:%Y%m%dT%H%M%S.%fZ}"),)
    assert store.prune(later) == (("home", versions[0]),)


@pytest.mark.parametrize("file", ["trust.toml", "holds.toml", "snapshots/attic/x/snapshot.json"])
def test_nothing_goes_while_it_cannot_be_read_what_is_needed(store: Store, file: str) -> None:
    versions = fill(store, KEPT + 1)
    path = store.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hosts = 5", encoding="utf-8")

    with pytest.raises(StateError, match="cannot be read"):
        store.prune(NOW)
    assert store.bundles.versions("home") == tuple(versions)


def test_a_cut_at_any_removal_leaves_whole_versions_or_none_and_the_next_time_all_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = fill(store, KEPT + 1)
    unlink, calls = Path.unlink, 0

    class Cut(BaseException):
        """As a process that ends."""

    def cut_at(count: int) -> None:
        nonlocal calls
        calls = 0

        def counted(path: Path, missing_ok: bool = False) -> None:
            nonlocal calls
            calls += 1
            if calls > count:
                raise Cut
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", counted)

    for count in range(20):
        cut_at(count)
        try:
            gone = store.prune(NOW)
        except Cut:
            monkeypatch.undo()
        else:
            monkeypatch.undo()
            break
        for version in store.bundles.versions("home"):
            assert store.bundles.load("home", version).version == version
        assert len(store.bundles.certificates("home")) == len(store.bundles.versions("home"))
    else:
        pytest.fail("it never came to its end")
    assert count >= 5
    assert gone in {(), (("home", versions[0]),)}
    assert not (store.folder / "certificates/home" / versions[0]).exists()


def test_what_a_cut_save_left_goes_too_but_no_file_of_somebody_else(store: Store) -> None:
    fill(store, 1)
    home = store.folder / "certificates/home"
    cut, kept = home / "20260101T000000Z-0123456789ab", home / "20260102T000000Z-0123456789ab"
    for folder in (cut, kept):
        folder.mkdir(mode=0o700)
        (folder / "privkey.pem").write_text("half")
        (folder / ".cert.pem.0123456789ab").write_text("half")
    (kept / "notes.txt").write_text("mine")
    (home / "mine").mkdir()

    store.prune(NOW)

    assert not cut.exists()
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    assert (home / "mine").is_dir()


# -- what a revocation leaves ------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(REASONS))
def test_a_revoked_version_says_so_and_says_nothing_of_the_others(
    store: Store, reason: Reason
) -> None:
    first, second = fill(store, 2)
    noted = Revocation(when=NOW, reason=reason)

    assert store.bundles.mark_revoked("home", first, noted).revoked == noted
    assert store.bundles.load("home", first).revoked == noted
    assert store.bundles.load("home", second).revoked is None
    assert store.bundles.revocations("home") == {first: noted}
    assert store.bundles.revoked_leaves() == {leaf_of(store, first)}
    key = store.bundles.load("home", first).bundle.private_key_pem
    assert store.bundles.is_compromised(key) == (reason == "keyCompromise")
    path = store.folder / "certificates/home" / first / "revoked.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_compromised_key_is_known_under_any_name_and_in_any_wrapping(store: Store) -> None:
    key = private_key("rsa2048")
    stored = store.bundles.save("home", bundle(key=key), ca=CA, now=NOW)
    store.bundles.mark_revoked("home", stored.version, Revocation(when=NOW, reason="keyCompromise"))
    from cryptography.hazmat.primitives.serialization import PrivateFormat

    other = Secret(key_pem(key, PrivateFormat.TraditionalOpenSSL).decode())
    assert store.bundles.is_compromised(other)
    assert not store.bundles.is_compromised(Secret(key_pem(private_key()).decode()))
    with pytest.raises(BundleError):
        store.bundles.is_compromised(Secret("no key"))


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "null", '{"when": "x", "reason": "superseded"}', '{"reason": "x"}']
)
def test_a_damaged_mark_is_a_state_error_and_never_none(store: Store, content: str) -> None:
    [version] = fill(store, 1)
    (store.folder / "certificates/home" / version / "revoked.json").write_text(content)

    for read in (
        lambda: store.bundles.current("home"),
        store.bundles.revoked_leaves,
        lambda: store.bundles.revocations("home"),
    ):
        with pytest.raises(StateError, match=r"revoked\.json cannot be read"):
            read()


def test_a_compromised_version_outlives_its_successors_with_the_same_key(store: Store) -> None:
    key = private_key("rsa2048")
    old = store.bundles.save("home", bundle(key=key), ca=CA, now=NOW - 200 * DAY).version
    store.bundles.mark_revoked("home", old, Revocation(when=NOW, reason="keyCompromise"))
    fill(store, KEPT)
    store.bundles.save("home", bundle(key=key), ca=CA, now=NOW)

    store.prune(NOW)
    assert old in store.bundles.versions("home")


# -- temporary files of killed processes -------------------------------------------------------


def test_temporary_files_go_a_day_after_their_process_was_killed(store: Store) -> None:
    [version] = fill(store, 1)
    home = store.folder / "certificates/home"
    old = [store.folder / ".devices.toml.0123456789ab", home / ".window.json.0123456789ab"]
    young = [store.folder / ".devices.toml.ba9876543210", home / ".window.json.ba9876543210"]
    strangers = [store.folder / ".hidden", store.folder / ".x.0123456789aZ", home / "old.txt"]
    now = young_time = 2_000_000_000.0
    for path in (*old, *young, *strangers):
        path.write_text("half")
        age = 60 if path in young else LEFTOVER_SECONDS + 1
        os.utime(path, (young_time - age, young_time - age))

    sweep(store.folder, now)

    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*young, *strangers))
    assert store.bundles.versions("home") == (version,)


def test_what_only_the_locks_holder_writes_goes_at_once(store: Store) -> None:
    [version] = fill(store, 1)
    home, orders = store.folder / "certificates/home", store.folder / "orders/home"
    orders.mkdir(parents=True)
    left = [
        home / version / ".privkey.pem.0123456789ab",
        home / ".current.0123456789ab",
        orders / ".0123456789abcdef.json.0123456789ab",
        store.folder / ".ledger.json.0123456789ab",
        store.folder / ".trust.toml.0123456789ab",
        store.folder / ".holds.toml.0123456789ab",
        store.folder / ".secrets.toml.0123456789ab",
    ]
    for path in left:
        path.write_text("half")
        os.utime(path, (1000, 1000))

    sweep(store.folder, 1000.0)

    assert not any(path.exists() for path in left)


def test_the_run_lock_sweeps_and_a_folder_of_that_name_is_left_alone(store: Store) -> None:
    fill(store, 1)
    left = store.folder / ".holds.toml.0123456789ab"
    folder = store.folder / ".mine.0123456789ab"
    left.write_text("half")
    folder.mkdir()
    for path in (left, folder):
        os.utime(path, (0, 0))

    with store.lock():
        assert not left.exists()
    assert folder.is_dir()
