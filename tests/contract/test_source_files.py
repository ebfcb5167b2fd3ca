"""The source `files` keeps the laws in each form that it reads, and decides by what files hold."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from distributor.model.bundle import fingerprint
from distributor.model.errors import (
    BundleError,
    EncryptedKey,
    IssuanceError,
    KeyMismatch,
    NameNotCovered,
    SecretError,
    WeakKey,
)
from distributor.model.hosts import FilesSource
from distributor.model.renewal import Hints
from distributor.model.secret import Secret
from distributor.sources.contract import Ready
from tests.certs import DAY, NOW, hierarchy, key_pem
from tests.contract.files_rig import (
    RIGS,
    ArchiveRig,
    CertbotRig,
    FilesRig,
    PemRig,
    Pkcs12Rig,
    issued,
    remove,
)
from tests.contract.scenarios import bundle_of
from tests.contract.source_laws import NAMES, SourceLaws, SourceRig
from tests.contract.watch import key_lines, watched
from tests.layouts import write


@pytest.fixture
def servers() -> None:
    """What the laws hand through; files need none."""


class FilesLaws(SourceLaws):
    """The laws, and what holds in whatever form it is written."""

    kind: type[FilesRig]

    @contextmanager
    def make_rig(self, servers: Any, folder: Path) -> Iterator[SourceRig]:  # noqa: ARG002 - the laws'
        yield self.kind(folder)

    def test_what_is_seen_is_what_is_stored(self, rig: FilesRig) -> None:
        seen = rig.source().look().seen
        assert seen is not None
        ready = rig.source().renew(hush)
        assert ready.held.certificate == seen
        assert ready.bundle == rig.bundle
        assert seen.leaf == fingerprint(rig.in_files.leaf)
        assert seen.trusted is True
        assert rig.source().look() == Hints(seen=seen)


class TestPem(FilesLaws):
    covers = "files"
    kind = PemRig


class TestCertbot(FilesLaws):
    covers = "files"
    kind = CertbotRig


class TestArchive(FilesLaws):
    covers = "files"
    kind = ArchiveRig


class TestPkcs12(FilesLaws):
    covers = "files"
    kind = Pkcs12Rig


def hush(_line: str) -> None:
    """Take a line of progress, for nobody."""


@pytest.fixture(params=RIGS, ids=lambda kind: kind.__name__)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> FilesRig:
    made: FilesRig = request.param(tmp_path / "state")
    return made


@pytest.fixture
def pem_rig(tmp_path: Path) -> PemRig:
    return PemRig(tmp_path / "state")


def reason(rig: FilesRig, **wanted: Any) -> str | None:
    """Why the files are to be taken now, by a look at them."""
    source = rig.made(**wanted)
    ready = source.current()
    renewal = source.due(ready.held if ready else None, source.look(), NOW)
    return renewal.reason if renewal is not None else None


def test_files_that_hold_what_the_store_holds_are_not_due(rig: FilesRig) -> None:
    assert reason(rig) == "none yet"
    first = rig.source().renew(hush)
    assert reason(rig) is None
    assert rig.source().renew(hush) == first
    assert len(rig.store.bundles.versions(rig.name)) == 1


def test_a_newer_one_is_due_although_its_file_is_older(rig: FilesRig) -> None:
    rig.source().renew(hush)
    rig.let_renew()
    for path in rig.folder.rglob("*"):
        os.utime(path, (0, 0))
    assert reason(rig) == "the files hold a newer one"
    renewal = rig.source().due(current(rig).held, rig.source().look(), NOW)
    assert renewal is not None
    assert renewal.forecast.leaf == fingerprint(rig.in_files.leaf)
    assert renewal.forecast.names == tuple(sorted(NAMES))
    assert rig.source().renew(hush).bundle == rig.bundle


def test_files_that_are_only_touched_are_not_due(rig: FilesRig) -> None:
    rig.source().renew(hush)
    rig.put(rig.in_files)
    assert reason(rig) is None


def test_an_older_one_is_left_and_told_how_to_take(rig: FilesRig) -> None:
    newer = rig.source().renew(hush)
    rig.put(issued(since=30 * DAY))
    assert reason(rig) is None
    (warning,) = rig.source().look().warnings
    assert "holds an older certificate (issued " in warning
    assert "`distribute issue bought --renew-now` takes the older one" in warning
    older = rig.source().renew(hush)
    assert older.bundle == rig.bundle
    assert older.bundle != newer.bundle
    assert rig.source().look().warnings == ()


def test_an_older_one_is_taken_when_the_newer_one_has_ended(rig: FilesRig) -> None:
    rig.put(issued(since=2 * DAY, lasts=3 * DAY))
    rig.source().renew(hush)
    rig.put(issued(since=30 * DAY))
    assert reason(rig) is None
    source = rig.made(now=lambda: NOW + 2 * DAY)
    ready = source.current()
    assert ready is not None
    hints = source.look()
    assert hints.warnings == ()
    renewal = source.due(ready.held, hints, NOW + 2 * DAY)
    assert renewal is not None
    assert renewal.reason == "it has ended, and the files hold one that has not"


def test_one_from_a_ca_in_the_store_is_replaced_even_by_an_older_one(rig: FilesRig) -> None:
    newer = bundle_of(issued(since=timedelta(0)))
    rig.store.bundles.save(rig.name, newer, ca="https://ca.example.test/dir", now=NOW)
    assert reason(rig) == "source changed"
    assert rig.source().look().warnings == ()
    assert rig.source().renew(hush).held.ca == ""


def test_files_that_are_gone_leave_the_current_one_and_a_warning(rig: FilesRig) -> None:
    ready = rig.source().renew(hush)
    remove(rig)
    hints = rig.source().look()
    assert hints.error is not None
    assert "cannot be read: No such file or directory" in hints.error
    (warning,) = hints.warnings
    assert warning.startswith("whether there is a newer one could not be seen: ")
    assert rig.source().due(ready.held, hints, NOW) is None
    with pytest.raises(IssuanceError, match="cannot be read") as caught:
        rig.source().renew(hush)
    assert caught.value.hint
    assert rig.source().current() == ready


def test_names_of_the_inventory_that_the_store_lacks_make_the_files_due(rig: FilesRig) -> None:
    rig.put(issued(since=timedelta(0), names=["example.test"]))
    rig.source().renew(hush)
    rig.put(issued(since=5 * DAY))
    wanting = rig.wanting(*NAMES)
    ready = wanting.current()
    assert ready is not None
    renewal = wanting.due(ready.held, wanting.look(), NOW)
    assert renewal is not None
    assert renewal.reason == "names changed (new: *.example.test)"
    assert wanting.renew(hush).bundle == rig.bundle


def test_names_that_the_files_lack_are_said_at_each_run(rig: FilesRig) -> None:
    ready = rig.source().renew(hush)
    wanting = rig.wanting(*NAMES, "other.test")
    hints = wanting.look()
    renewal = wanting.due(ready.held, hints, NOW)
    assert renewal is not None
    assert renewal.reason == "names changed (new: other.test)"
    assert renewal.forecast.names == ()
    assert hints.error is not None
    assert "does not cover other.test" in hints.error
    with pytest.raises(NameNotCovered):
        wanting.renew(hush)
    assert rig.source().current() == ready


@pytest.mark.parametrize(("days", "late"), [(74, False), (76, True)])
def test_files_that_nobody_replaces_are_warned_of(rig: FilesRig, days: int, late: bool) -> None:
    rig.put(issued(since=timedelta(0)))
    rig.source().renew(hush)
    warnings = rig.made(now=lambda: NOW + days * DAY).look().warnings
    assert bool(warnings) is late
    assert not late or "was not replaced yet: see why, or put a new one there" in warnings[0]


def test_what_has_ended_is_said_once(rig: FilesRig) -> None:
    rig.source().renew(hush)
    (warning,) = rig.made(now=lambda: NOW + 200 * DAY).look().warnings
    assert "the leaf expired at " in warning


def test_a_certificate_that_is_new_beside_an_old_key_is_due_and_refused(pem_rig: PemRig) -> None:
    ready = pem_rig.source().renew(hush)
    newer = issued(since=timedelta(0))
    write(pem_rig.folder / "good" / "cert.pem", newer.certificate_pem)
    source = pem_rig.source()
    hints = source.look()
    renewal = source.due(ready.held, hints, NOW)
    assert renewal is not None
    assert renewal.reason == "the files hold a newer one"
    assert renewal.forecast.names == ()
    assert hints.error is not None
    assert hints.warnings == ()
    with pytest.raises(KeyMismatch, match="does not belong to the leaf") as caught:
        source.renew(hush)
    assert str(caught.value.hint).endswith("; if they were just being written, run it again")
    assert caught.value.message.startswith(str(pem_rig.folder / "good" / "cert.pem"))
    assert source.current() == ready
    write(pem_rig.folder / "good" / "privkey.pem", newer.private_key_pem)
    assert source.renew(hush).bundle == bundle_of(newer)


def test_a_key_that_is_new_beside_an_old_certificate_is_warned_of(pem_rig: PemRig) -> None:
    ready = pem_rig.source().renew(hush)
    write(pem_rig.folder / "good" / "privkey.pem", issued().private_key_pem)
    hints = pem_rig.source().look()
    assert pem_rig.source().due(ready.held, hints, NOW) is None
    (warning,) = hints.warnings
    assert "the private key does not belong to the leaf" in warning
    assert "run it again" in warning


@pytest.mark.parametrize("part", ["cert.pem", "chain.pem", "privkey.pem"])
def test_a_file_that_is_cut_off_is_refused(pem_rig: PemRig, part: str) -> None:
    ready = pem_rig.source().renew(hush)
    path = pem_rig.folder / "good" / part
    path.write_bytes(path.read_bytes()[:-40])
    (warning,) = pem_rig.source().look().warnings
    assert f"{part} is cut off: a block has no end" in warning
    with pytest.raises(BundleError, match="is cut off"):
        pem_rig.source().renew(hush)
    assert pem_rig.source().current() == ready


def test_a_chain_that_was_put_right_is_taken(pem_rig: PemRig) -> None:
    folder = pem_rig.folder / "good"
    alone = FilesSource(certificate=folder / "cert.pem", private_key=folder / "privkey.pem")
    ready = pem_rig.made(alone).renew(hush)
    assert ready.bundle.chain == ()
    assert ready.held.certificate.trusted is False
    assert reason(pem_rig) == "the files hold another chain for it"
    assert pem_rig.source().renew(hush).bundle == pem_rig.bundle
    assert reason(pem_rig) is None


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (key_pem(issued().key, password=b"x"), EncryptedKey, "is protected by a passphrase"),
        (key_pem(issued(key="rsa1024").key), WeakKey, "is RSA with 1024 bits"),
        (b"", BundleError, "holds no private key"),
        (b"\0" * 100, BundleError, "holds no private key"),
    ],
)
def test_a_key_that_cannot_be_delivered_is_refused_with_its_reason(
    pem_rig: PemRig, key: bytes, error: type[BundleError], message: str
) -> None:
    write(pem_rig.folder / "good" / "privkey.pem", key)
    with pytest.raises(error, match=message) as caught:
        pem_rig.source().renew(hush)
    assert type(caught.value) is error
    assert caught.value.hint
    assert pem_rig.source().current() is None


def test_a_stranger_in_the_chain_is_refused(pem_rig: PemRig) -> None:
    write(pem_rig.folder / "good" / "chain.pem", hierarchy(1).issue(["x.test"]).chain_pem)
    with pytest.raises(BundleError, match="does not sign the leaf"):
        pem_rig.source().renew(hush)


def test_no_word_of_a_key_is_said(rig: FilesRig) -> None:
    with watched() as watch:
        lines: list[str] = []
        watch.hear(rig.source().look(), rig.source()._read(), rig.source().renew(lines.append))
        rig.put(issued(since=timedelta(0), key="rsa2048"))
        watch.hear(rig.source().look(), *lines)
        for make in rig.failures().values():
            with pytest.raises((BundleError, IssuanceError)) as caught:
                make().renew(hush)
            watch.hear(caught.value, make().look())
        watch.require_silence(key_lines(rig.bundle, current(rig).bundle))


def current(rig: FilesRig) -> Ready:
    ready = rig.source().current()
    assert ready is not None
    return ready


def test_a_passphrase_that_cannot_be_had_is_an_error_of_the_look(tmp_path: Path) -> None:
    def missing() -> Secret:
        raise SecretError("the variable PFX is not set", hint="set it")

    source = Pkcs12Rig(tmp_path / "state").made(passphrase=missing)
    assert source.look().error == "the variable PFX is not set"
    with pytest.raises(SecretError):
        source.renew(hush)


@pytest.mark.parametrize(("key_type", "index"), [("rsa2048", 0), ("ec256", 1)])
def test_of_an_archive_with_two_pairs_the_key_type_says_which(
    tmp_path: Path, key_type: Any, index: int
) -> None:
    rig = ArchiveRig(tmp_path / "state")
    both = issued(key="rsa2048"), issued(key="ec256")
    rig.put_both(*both)
    wanted = replace(rig.source().wanted, key_type=key_type)
    assert rig.made(wanted=wanted).renew(hush).bundle == bundle_of(both[index])
