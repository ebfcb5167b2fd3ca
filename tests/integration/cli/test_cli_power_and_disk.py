"""The state folder of a run when power may be lost, or when the disk is full."""

import errno
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from distributor.lab.diskstation import DiskStation
from distributor.store import files
from tests.certs import Authority as Issuer
from tests.contract.scenarios import is_exhaustive
from tests.integration.cli.conftest import MakeHouse, World, issuing_house
from tests.integration.cli.house import CHILD_SECONDS, QUICK, House, Ran, stored_bundle
from tests.integration.cli.test_cli_processes import is_importing, started, wait_for

WRITES = 24
"""More files than the first run of a house with a CA writes."""
_SEEDED = random.Random("disk")  # noqa: S311 - the same part each time
CHOSEN = range(1, WRITES) if is_exhaustive() else sorted(_SEEDED.sample(range(1, 16), 3))

Deed = Literal["sync", "make", "rename", "write host"]


@dataclass
class Recorded:
    """What was done to files, by what they are and not by what they are called."""

    deeds: list[tuple[Deed, Any, Path | None]] = field(default_factory=list)


@contextmanager
def recorded(state: Path, box: DiskStation, patch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Record each fsync, rename and new folder below `state`, and each write of the box."""
    found = Recorded()
    fsync, rename, mkdir = os.fsync, os.replace, os.mkdir
    writes = box.writes

    def note(deed: Deed, what: Any, path: Path | None) -> None:
        nonlocal writes
        if box.writes > writes:
            writes = box.writes
            found.deeds.append(("write host", None, None))
        found.deeds.append((deed, what, path))

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        note("sync", os.fstat(descriptor).st_ino, None)

    def renamed(old: Any, new: Any) -> None:
        inode = Path(old).stat().st_ino
        rename(old, new)
        if Path(new).is_relative_to(state):
            note("rename", inode, Path(new))

    def made(path: Any, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        if Path(path).is_relative_to(state):
            note("make", None, Path(path))

    with patch.context() as here:
        here.setattr(os, "fsync", synced)
        here.setattr(os, "replace", renamed)
        here.setattr(os, "mkdir", made)
        yield found


def lost_with_power(found: Recorded) -> list[str]:
    """Return what a power cut could leave in part, or take away after it was relied on."""
    lost, known = [], {what for deed, what, _ in found.deeds if deed == "sync"}
    assert known
    synced: set[int] = set()
    open_entries: dict[int, Path] = {}
    for deed, what, path in found.deeds:
        if deed == "sync":
            synced.add(what)
            open_entries.pop(what, None)
        elif deed == "write host":
            lost += [f"{entry} when the host was written to" for entry in open_entries.values()]
        elif path is not None:
            if deed == "rename" and what not in synced:
                lost.append(f"the content of {path}")
            open_entries[path.parent.stat().st_ino] = path
    return [*lost, *(f"{entry} at the end" for entry in open_entries.values())]


def test_power_that_is_lost_leaves_each_file_old_or_new_and_what_a_change_needs_before_it(
    issuing: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuing.run("--all", "--dry-run")  # imports what writes files of its own
    with recorded(issuing.state, issuing.boxes["attic"], monkeypatch) as found:
        ran = issuing.run("--all")

    assert ran.code == 0, ran.said
    renamed = {
        path.relative_to(issuing.state).parts[0]
        for deed, _, path in found.deeds
        if deed == "rename" and path is not None
    }
    assert renamed == {
        "accounts", "orders", "ledger.json", "certificates", "snapshots", "trust.toml"
    }  # fmt: skip
    assert any(deed == "write host" for deed, _, _ in found.deeds)
    assert lost_with_power(found) == []


@contextmanager
def full_disk(at: int, patch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Let no file be written from the one of that number on; give those that were asked for."""
    create, asked = files.create, list[Path]()

    def limited(path: Path, content: bytes) -> None:
        asked.append(path)
        if len(asked) >= at:
            path.touch(mode=0o600)  # the disk has room for a name, as it often has
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        create(path, content)

    with patch.context() as here:
        here.setattr(files, "create", limited)
        yield asked


def require_whole(house: House, ran: Ran) -> None:
    assert ran.code == 0, ran.said
    stored = house.store.bundles.current("home")
    assert stored is not None
    assert house.all_serve(stored.bundle.certificate("home").leaf)
    assert [name for name in house.files() if "/." in f"/{name}"] == []
    again = house.run("--all", "--json")
    assert set(again.statuses().values()) == {"unchanged"}, again.said


def test_a_host_whose_snapshot_cannot_be_kept_is_not_written_to(
    make_house: MakeHouse, issuer: tuple[Issuer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house("attic", "cellar")
    assert house.run("--all").code == 0
    house.keep(stored_bundle(issuer[0]))
    before = house.writes
    at = 0
    while True:
        at += 1
        with full_disk(at, monkeypatch) as asked:
            ran = house.run("--all", "--json")
        if not any("snapshots" in path.parts for path in asked[at - 1 :]):
            break
        assert set(ran.statuses().values()) <= {"failed", "changed"}
        for one in ran.report["hosts"]:
            if one["status"] == "failed":
                assert one["error"]["kind"] == "StateError"
                assert "No space left on device" in one["error"]["message"]
                assert house.writes[one["name"]] == before[one["name"]]
        assert ran.code == 1

    assert at > 1
    require_whole(house, house.run("--all", "--json"))


@pytest.mark.parametrize("at", CHOSEN)
def test_a_run_on_a_full_disk_wastes_no_order_and_the_next_one_goes_on(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    orders = []
    send = requests.Session.send

    def watched(session: Any, request: Any, **options: Any) -> Any:
        answer = send(session, request, **options)
        if "order-plz" in request.url and answer.status_code == requests.codes.created:
            orders.append(answer.headers["Location"])
        return answer

    monkeypatch.setattr(requests.Session, "send", watched)
    with issuing_house(tmp_path, world) as house:
        with full_disk(at, monkeypatch) as asked:
            ran = house.run("--all", "--json")
        if len(asked) >= at:
            assert ran.code in {0, 1, 3}
            assert "No space left on device" in ran.said
            assert "unexpected" not in ran.said
        if (house.state / "ledger.json").exists():
            house.forget_failures()
        require_whole(house, house.run("--all", "--json"))
    assert len(set(orders)) == 1


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_what_was_stopped_at_once_is_made_whole_by_the_next_run(
    make_house: MakeHouse, second: signal.Signals
) -> None:
    house = make_house("attic", knobs={"attic": replace(QUICK, import_seconds=1.5)})
    with started(house, "--all") as child:
        wait_for(is_importing(house))
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        line = ""
        while "stopping" not in line:
            line = child.stderr.readline()
        child.send_signal(second)
        child.communicate(timeout=CHILD_SECONDS)
    assert child.returncode == 130
    wait_for(lambda: house.boxes["attic"].writes > 0)
    house.boxes["attic"].wait_until_serving()
    house.boxes["attic"].knobs = QUICK

    require_whole(house, house.run("--all", "--json"))
    entries = house.boxes["attic"].snapshot()["entries"].values()
    assert sorted(one["desc"] for one in entries) == ["", "home"]
