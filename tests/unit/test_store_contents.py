"""What the store keeps comes back as it was; what was cut or damaged is one typed error."""

import json
import stat
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from distributor.model.bundle import Bundle, assemble, fingerprint
from distributor.model.errors import BundleError, Expired, KeyMismatch, StateError
from distributor.model.host_keys import HostKey, PinnedKey
from distributor.model.renewal_window import RenewalInfo
from distributor.model.secret import Secret
from distributor.model.snapshot import Snapshot
from distributor.model.state import UNREADABLE, Address, State
from distributor.model.trust import PinnedLeaf
from distributor.store import Account, NotedValues, PendingOrder, Publisher, Store
from tests.certs import DAY, NOW, Issued, hierarchy, key_pem, private_key

CA = "https://ca.example/directory"
BY = Publisher("home", "rfc2136", "192.0.2.53:53")
NOTED = {"dns": "home", "provider": "rfc2136", "place": "192.0.2.53:53"}
HOME = Address("certificate", "home \u202e/../x", "cG2XBt")


def bundle(issued: Issued | None = None) -> Bundle:
    issued = issued or hierarchy(1).issue(("example.com",))
    return assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def all_closed(folder: Path) -> bool:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    return all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_a_bundle_comes_back_as_the_current_one(store: Store) -> None:
    first, second = bundle(), bundle()
    one = store.bundles.save("home", first, ca=CA, now=NOW)
    two = store.bundles.save("home", second, ca=CA, now=NOW + DAY)
    assert store.bundles.current("home") == two
    assert (two.bundle, two.ca) == (second, CA)
    assert store.bundles.versions("home") == (one.version, two.version)
    assert store.bundles.current("other") is None
    assert store.bundles.versions("other") == ()
    folder = store.folder / "certificates" / "home" / two.version
    assert (folder / "fullchain.pem").read_bytes() == second.fullchain_pem
    assert (folder / "cert.pem").read_bytes() == second.leaf_pem
    assert (folder.parent / "current").read_text() == f"{two.version}\n"
    assert all_closed(store.folder)


def test_an_older_version_can_be_made_current_by_hand(store: Store) -> None:
    one = store.bundles.save("home", bundle(), ca=CA, now=NOW)
    store.bundles.save("home", bundle(), ca=CA, now=NOW + DAY)
    (store.folder / "certificates/home/current").write_text(one.version)
    assert store.bundles.current("home") == one


def test_a_bundle_is_found_by_its_leaf_wherever_it_is(store: Store) -> None:
    kept = {name: bundle() for name in ("home", "away")}
    for name, each in kept.items():
        store.bundles.save(name, each, ca=CA, now=NOW)
        store.bundles.save(name, bundle(), ca=CA, now=NOW + DAY)
    for each in kept.values():
        assert store.bundles.by_leaf(fingerprint(each.leaf)) == each
    assert store.bundles.by_leaf("sha256:" + "0" * 64) is None
    nearly = fingerprint(kept["home"].leaf)[:-1] + "g"
    assert store.bundles.by_leaf(nearly) is None


def test_an_expired_bundle_is_still_held_and_known_to_be_expired(store: Store) -> None:
    old = bundle(
        hierarchy(1).issue(("example.com",), not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    )
    store.bundles.save("home", old, ca=CA, now=NOW)
    current = store.bundles.current("home")
    assert current is not None
    with pytest.raises(Expired):
        current.bundle.require(("example.com",), NOW)


def test_a_save_that_was_cut_is_neither_current_nor_in_the_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = bundle(), bundle()
    one = store.bundles.save("home", first, ca=CA, now=NOW)
    cut = store.folder / "certificates/home/20260101T000000Z-"
    cut = cut.with_name(cut.name + fingerprint(second.leaf).removeprefix("sha256:")[:12])
    cut.mkdir(mode=0o700)
    (cut / "privkey.pem").write_bytes(b"")
    assert store.bundles.current("home") == one
    assert store.bundles.versions("home") == (one.version,)
    assert store.bundles.by_leaf(fingerprint(second.leaf)) is None
    store.bundles.save("home", second, ca=CA, now=NOW + DAY)
    assert store.bundles.by_leaf(fingerprint(second.leaf)) == second


@pytest.mark.parametrize("file", ["cert.pem", "chain.pem", "privkey.pem"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_damaged_files_of_a_bundle_are_a_typed_error(
    store: Store, file: str, content: bytes
) -> None:
    saved = store.bundles.save("home", bundle(), ca=CA, now=NOW)
    (store.folder / "certificates/home" / saved.version / file).write_bytes(content)
    if file == "chain.pem" and not content:
        assert store.bundles.current("home") is not None  # as with a CA without intermediates
        return
    with pytest.raises(BundleError):
        store.bundles.current("home")


def test_a_key_of_another_leaf_is_noticed(store: Store) -> None:
    saved = store.bundles.save("home", bundle(), ca=CA, now=NOW)
    other = bundle().private_key_pem.reveal()
    (store.folder / "certificates/home" / saved.version / "privkey.pem").write_text(other)
    with pytest.raises(KeyMismatch):
        store.bundles.current("home")


@pytest.mark.parametrize("file", ["cert.pem", "privkey.pem", "origin.json"])
def test_a_missing_file_of_the_current_version_is_a_state_error(store: Store, file: str) -> None:
    saved = store.bundles.save("home", bundle(), ca=CA, now=NOW)
    (store.folder / "certificates/home" / saved.version / file).unlink()
    with pytest.raises(StateError, match="is incomplete") as caught:
        store.bundles.current("home")
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}", b"5", b"\xff\xff", b"null"])
def test_damaged_json_is_a_state_error_everywhere(store: Store, content: bytes) -> None:
    saved = store.bundles.save("home", bundle(), ca=CA, now=NOW)
    (store.folder / "certificates/home" / saved.version / "origin.json").write_bytes(content)
    with pytest.raises(StateError, match="cannot be read"):
        store.bundles.current("home")

    store.accounts.save(CA, None, Account(key_pem=KEY, url="https://ca.example/1"))
    next(store.folder.glob("accounts/*/account.json")).write_bytes(content)
    with pytest.raises(StateError, match="cannot be read"):
        store.accounts.load(CA, None)

    store.orders.save("home", ORDER)
    next(store.folder.glob("orders/home/*.json")).write_bytes(content)
    for read in (lambda: store.orders.load("home", CA), lambda: store.orders.all("home")):
        with pytest.raises(StateError, match="cannot be read"):
            read()

    store.orders.note_challenges("home", {BY: {"_acme-challenge.example.com": ("a",)}})
    (store.folder / "orders/home/challenges.json").write_bytes(content)
    with pytest.raises(StateError, match="cannot be read"):
        store.orders.challenges("home")

    store.snapshots.save(Snapshot(host="attic", taken=NOW, before=State({})))
    next(store.folder.glob("snapshots/attic/*/snapshot.json")).write_bytes(content)
    with pytest.raises(StateError, match="cannot be read"):
        store.snapshots.last("attic")


@pytest.mark.parametrize(
    "named", ["", "../../etc", "x\n", "20261121T020000Z-zzzzzzzzzzzz", "\udcff"]
)
def test_a_pointer_to_no_version_is_a_state_error(store: Store, named: str) -> None:
    store.bundles.save("home", bundle(), ca=CA, now=NOW)
    pointer = store.folder / "certificates/home/current"
    pointer.write_bytes(named.encode("utf-8", "surrogateescape"))
    with pytest.raises(StateError, match="names no version"):
        store.bundles.current("home")


def test_a_pointer_to_a_version_that_is_gone_is_a_state_error(store: Store) -> None:
    store.bundles.save("home", bundle(), ca=CA, now=NOW)
    pointer = store.folder / "certificates/home/current"
    pointer.write_text("20200101T000000Z-0123456789ab\n")
    with pytest.raises(StateError, match="is incomplete"):
        store.bundles.current("home")


KEY = Secret(key_pem(private_key()).decode())


def test_an_account_is_kept_per_ca_and_contact(store: Store) -> None:
    known = Account(key_pem=KEY, url="https://ca.example/account/1")
    store.accounts.save(CA, "a@example.com", Account(key_pem=KEY))
    assert store.accounts.load(CA, "a@example.com") == Account(key_pem=KEY)
    store.accounts.save(CA, "a@example.com", known)
    assert store.accounts.load(CA, "a@example.com") == known
    assert store.accounts.load(CA, None) is None
    assert store.accounts.load(CA + "2", "a@example.com") is None
    assert all_closed(store.folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_account_key_is_a_state_error_that_says_what_to_do(
    store: Store, content: bytes
) -> None:
    store.accounts.save(CA, None, Account(key_pem=KEY))
    next(store.folder.glob("accounts/*/key.pem")).write_bytes(content)
    with pytest.raises(StateError, match=r"key\.pem") as caught:
        store.accounts.load(CA, None)
    assert caught.value.hint


def test_the_key_that_is_to_follow_is_kept_until_it_is_known_what_the_ca_did(store: Store) -> None:
    known = Account(key_pem=KEY, url="https://ca.example/account/1")
    other = Secret(key_pem(private_key()).decode())
    store.accounts.save(CA, None, known)

    store.accounts.note_next(CA, None, other)
    assert store.accounts.load(CA, None) == replace(known, next_key_pem=other)
    assert all_closed(store.folder)
    store.accounts.settle_next(CA, None, is_taken=False)
    assert store.accounts.load(CA, None) == known

    store.accounts.note_next(CA, None, other)
    store.accounts.settle_next(CA, None, is_taken=True)
    assert store.accounts.load(CA, None) == replace(known, key_pem=other)


def test_a_leaf_with_another_chain_is_another_version_and_the_newest_counts(store: Store) -> None:
    issuer = hierarchy(2)
    issued = issuer.issue(("example.com",))
    whole = bundle(issued)
    short = assemble(certificate=whole.leaf_pem, private_key=issued.private_key_pem)
    first = store.bundles.save("home", short, ca=CA, now=NOW)
    second = store.bundles.save("home", whole, ca=CA, now=NOW + DAY)
    assert first.version != second.version
    assert store.bundles.by_leaf(fingerprint(whole.leaf)) == whole


WINDOW = RenewalInfo(
    start=NOW, end=NOW + DAY, explanation_url="https://ca.example/why", ask_again=NOW + DAY / 4
)


def test_a_cas_window_is_kept_for_its_leaf_alone(store: Store) -> None:
    noted = store.windows.note("home", "sha256:ours", WINDOW)
    assert store.windows.find("home", "sha256:ours") == noted == WINDOW
    assert store.windows.find("home", "sha256:other") is None
    assert store.windows.find("attic", "sha256:ours") is None
    assert all_closed(store.folder)


def test_a_dry_run_keeps_no_window(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", remembers=False)
    assert store.windows.note("home", "sha256:ours", WINDOW) == WINDOW
    assert store.windows.find("home", "sha256:ours") is None
    assert not store.folder.exists()


def test_a_leaf_that_is_saved_again_is_the_same_version(store: Store) -> None:
    ours = bundle()
    first = store.bundles.save("home", ours, ca=CA, profile="classic", order=CA + "/1", now=NOW)
    again = store.bundles.save("home", ours, ca=CA, now=NOW + DAY)
    assert again.version == first.version
    assert store.bundles.versions("home") == (first.version,)
    assert store.bundles.origin("home", fingerprint(ours.leaf)) == CA
    assert store.bundles.origin("home", "sha256:" + 64 * "0") is None


ORDER = PendingOrder(
    directory_url=CA,
    names=("example.com", "*.example.com"),
    key_type="ec256",
    private_key_pem=KEY,
    csr_pem=b"-----BEGIN CERTIFICATE REQUEST-----\n",
)


def test_an_order_is_taken_up_where_it_stands(store: Store) -> None:
    store.orders.save("home", ORDER)
    assert store.orders.load("home", CA) == ORDER
    placed = replace(ORDER, profile="classic", is_asked=True, url="https://ca.example/order/7")
    store.orders.save("home", placed)
    assert store.orders.load("home", CA) == placed
    assert all_closed(store.folder)
    store.orders.clear("home", CA)
    store.orders.clear("home", CA)
    assert store.orders.load("home", CA) is None


def test_orders_at_several_cas_do_not_touch_each_other(store: Store) -> None:
    other = replace(ORDER, directory_url=CA + "2", url="https://other.example/order/1")
    store.orders.save("home", ORDER)
    store.orders.save("home", other)
    store.orders.note_challenges("home", {BY: {"_acme-challenge.example.com": ("a",)}})
    assert sorted(store.orders.all("home"), key=lambda one: one.directory_url) == [ORDER, other]
    assert store.orders.urls(besides="attic") == {"https://other.example/order/1"}
    assert store.orders.urls(besides="home") == frozenset()
    store.orders.keep_only("home", {CA})
    assert store.orders.all("home") == (ORDER,)
    assert store.orders.all("attic") == ()


def test_an_order_is_noted_with_its_key_in_one_step(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr("distributor.store.orders.write", lambda path, _: written.append(path.name))
    store.orders.save("home", ORDER)
    assert len(written) == 1


def test_challenges_outlive_their_order_until_they_are_removed(store: Store) -> None:
    values: NotedValues = {
        BY: {"_acme-challenge.example.com": ("one", "two")},
        Publisher("other", "rfc2136", "192.0.2.1:53"): {"_acme-challenge.example.com": ("one",)},
    }
    store.orders.save("home", ORDER)
    store.orders.note_challenges("home", values)
    store.orders.clear("home", CA)
    assert store.orders.challenges("home") == values
    store.orders.note_challenges("home", {})
    assert store.orders.challenges("home") == {}


@pytest.mark.parametrize(
    "challenges",
    [
        [{**NOTED, "values": {"x": "a text is no list"}}],
        [{**NOTED, "values": {"x": [1]}}],
        [{**NOTED, "values": {"x": None}}],
        [{**NOTED, "place": None}],
        [{"dns": "home", "values": {}}],
        {"x": ["of another shape"]},
        ["x"],
        None,
    ],
)
def test_challenges_of_another_shape_are_a_state_error(store: Store, challenges: Any) -> None:
    store.orders.note_challenges("home", {BY: {"x": ("a",)}})
    path = store.folder / "orders/home/challenges.json"
    path.write_text(json.dumps({"version": 0, "challenges": challenges}))
    with pytest.raises(StateError, match="cannot be read"):
        store.orders.challenges("home")


def test_a_snapshot_comes_back_with_its_pairs(store: Store) -> None:
    taken = Snapshot(
        host="attic",
        taken=NOW,
        before=State(
            {
                HOME: {"leaf": "sha256:00", "names": ("a", "b"), "key": UNREADABLE},
                Address("default certificate"): {"certificate": HOME},
            }
        ),
        creates=(Address("certificate", "new"),),
        pairs={HOME: bundle()},
    )
    store.snapshots.save(taken)
    assert store.snapshots.last("attic") == taken
    assert all_closed(store.folder)
    assert "PRIVATE" not in next(store.folder.glob("snapshots/attic/*/snapshot.json")).read_text()


def test_the_newest_snapshot_that_is_complete_counts(store: Store) -> None:
    older, newer, cut = (
        Snapshot(host="attic", taken=NOW + n * timedelta(seconds=1), before=State({}))
        for n in range(3)
    )
    for each in (newer, older, cut):
        store.snapshots.save(each)
    newest = max(store.folder.glob("snapshots/attic/*/snapshot.json"))
    newest.unlink()
    assert store.snapshots.last("attic") == newer
    assert store.snapshots.last("cellar") is None


PIN = PinnedLeaf(leaf="sha256:" + "ab" * 32, not_after=NOW + DAY, since=NOW, by="trust")


def test_a_pin_comes_back_and_takes_the_place_of_the_last(store: Store) -> None:
    later = PinnedLeaf(leaf="sha256:" + "cd" * 32, not_after=NOW, since=NOW, by="delivery")
    for host in ("attic", 'a "b".c = [\n'):
        store.trust.pin(host, PIN)
        assert store.trust.pinned(host) == PIN
        store.trust.pin(host, later)
        assert store.trust.pinned(host) == later
    assert store.trust.pinned("cellar") is None
    assert all_closed(store.folder)


def test_pins_in_parallel_are_all_kept(store: Store) -> None:
    hosts = [f"host{number}" for number in range(12)]
    threads = [threading.Thread(target=store.trust.pin, args=(host, PIN)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.trust.pinned(host) for host in hosts] == [PIN] * len(hosts)


def test_a_host_key_and_a_leaf_are_pinned_side_by_side(store: Store) -> None:
    key = PinnedKey(HostKey("ssh-ed25519", "SHA256:" + "a" * 43), since=NOW)
    other = PinnedKey(HostKey("ssh-rsa", "SHA256:" + "b" * 43), since=NOW)
    assert store.trust.host_key("attic") is None
    store.trust.pin_host_key("attic", key)
    assert (store.trust.host_key("attic"), store.trust.pinned("attic")) == (key, None)
    store.trust.pin("attic", PIN)
    assert (store.trust.host_key("attic"), store.trust.pinned("attic")) == (key, PIN)
    store.trust.pin_host_key("attic", other)
    assert (store.trust.host_key("attic"), store.trust.pinned("attic")) == (other, PIN)
    assert store.trust.by_person("attic") == PIN
    assert store.trust.host_key("cellar") is None
    assert all_closed(store.folder)


@pytest.mark.parametrize("content", [b"[hosts.attic]\nssh = 5", b"[hosts.attic.ssh]\ntype = 5"])
def test_a_damaged_host_key_is_a_state_error(store: Store, content: bytes) -> None:
    store.trust.pin("other", PIN)
    (store.folder / "trust.toml").write_bytes(content)
    with pytest.raises(StateError, match="cannot be read"):
        store.trust.host_key("attic")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"hosts = 5", b"[hosts", b"[hosts]\nattic = 5", b"[hosts.attic]\ntls_leaf = 5"],
)
def test_a_damaged_trust_file_is_a_state_error_and_stays_as_it_is(
    store: Store, content: bytes
) -> None:
    store.trust.pin("other", PIN)
    path = store.folder / "trust.toml"
    path.write_bytes(content)
    with pytest.raises(StateError, match="cannot be read"):
        store.trust.pinned("attic")
    assert path.read_bytes() == content
