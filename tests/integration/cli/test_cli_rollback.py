"""`distribute rollback` against virtual boxes of DSM 6.2 and 7.2 and a router."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from distributor.clients.dsm import DsmSession
from distributor.lab.accounts import Account
from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import DSM62, DSM72, SRM13, Fault, Profile
from distributor.model.bundle import fingerprint
from distributor.model.revocation import Revocation
from tests.certs import DAY, NOW
from tests.certs import Authority as Issuer
from tests.contract.scenarios import bundle_of
from tests.integration.cli.conftest import NOBODY, MakeHouse
from tests.integration.cli.house import QUICK, USER, ZONE, House, shown_leaf
from tests.integration.cli.terminal import converse

PASSWORD = "pass of attic & more"
ONE = ("rollback", "attic", "--yes")


@contextmanager
def one_box(folder: Path, issuer: tuple[Issuer, Path], profile: Profile) -> Iterator[House]:
    """Give a house with one box of any release; what it gets is stored, and it is pinned."""
    is_router = profile.system == "srm"
    account = Account(USER, PASSWORD)
    with DiskStation("attic", profile=profile, knobs=QUICK, accounts=[account]) as box:
        house = House(
            folder=folder,
            boxes={"attic": box},
            directory_url=f"https://{NOBODY}/dir",
            ca_bundle=issuer[1],
            root=issuer[1],
            nameserver=NOBODY,
            key_type="ec256" if profile is DSM72 else "rsa2048",
        )
        house.write("tsig.key", "bm9ib2R5\n")
        house.write("attic.password", PASSWORD + "\n")
        if is_router:
            lines = house._head()
            lines += ["[hosts.attic]", 'kind = "router"', 'via = "api"']
            lines += [f'address = "{box.address}"', f"port = {box.port}"]
            lines += ['password = { file = "attic.password" }']
            house.write("inventory.toml", "\n".join(lines) + "\n")
        else:
            house.write_inventory()
        house.pin()
        yield house


def renew(house: House, issuer: tuple[Issuer, Path], days: int) -> str:
    """Put another certificate into the store; return its leaf."""
    key: Literal["ec256", "rsa2048"] = "ec256" if house.key_type == "ec256" else "rsa2048"
    issued = issuer[0].issue((ZONE, f"*.{ZONE}"), key=key, not_after=NOW + days * DAY)
    return house.keep(bundle_of(issued))


def delivered(house: House, issuer: tuple[Issuer, Path], days: int) -> str:
    leaf = renew(house, issuer, days)
    ran = house.run("--all", "--json")
    assert (ran.code, ran.statuses()) == (0, {"attic": "changed"}), ran.said
    return leaf


@pytest.fixture(params=[DSM62, DSM72, SRM13], ids=lambda one: one.name)
def release(
    request: pytest.FixtureRequest, tmp_path: Path, issuer: tuple[Issuer, Path]
) -> Iterator[House]:
    with one_box(tmp_path, issuer, request.param) as house:
        yield house


@pytest.fixture
def twice(tmp_path: Path, issuer: tuple[Issuer, Path]) -> Iterator[House]:
    """A DiskStation that got two certificates, one after the other."""
    with one_box(tmp_path, issuer, DSM72) as house:
        delivered(house, issuer, 60)
        delivered(house, issuer, 80)
        yield house


def test_a_host_is_back_at_what_it_had_and_is_held_there_until_it_is_named(
    release: House, issuer: tuple[Issuer, Path]
) -> None:
    box = release.boxes["attic"]
    first = delivered(release, issuer, 60)
    before = box.snapshot()
    second = delivered(release, issuer, 80)
    assert shown_leaf(box) == second

    ran = release.run(*ONE, "--json")

    assert ran.code == 0, ran.said
    assert box.snapshot() == before
    assert shown_leaf(box) == first
    host = ran.host("attic")
    assert (host["status"], host["proof"], host["error"]) == ("rolled_back", "handshake", None)
    assert {one["leaf"] for one in host["endpoints"]} == {first}
    assert all(one["wanted"] for one in host["endpoints"])
    assert ("leaf", second, first) in {
        (one["fact"], one["before"], one["after"])
        for one in host["changes"]
        if one["fact"] == "leaf"
    }
    pinned = release.store.trust.pinned("attic")
    assert pinned is not None
    assert pinned.leaf == first
    assert box.sessions_open == 0

    logins, writes = box.logins, box.writes
    held = release.run("--all", "--json")
    assert (held.code, held.statuses()) == (1, {"attic": "held"})
    assert "a person put it back" in held.host("attic")["error"]["message"]
    assert (box.logins, box.writes) == (logins, writes)
    named = release.run("--host", "attic", "--json")
    assert (named.code, named.statuses()) == (0, {"attic": "changed"})
    assert shown_leaf(box) == second
    assert release.run("--all", "--json").statuses() == {"attic": "unchanged"}


def test_a_box_gets_its_own_certificate_back(release: House, issuer: tuple[Issuer, Path]) -> None:
    box = release.boxes["attic"]
    before, own = box.snapshot(), shown_leaf(box)
    delivered(release, issuer, 60)

    ran = release.run(*ONE, "--json")

    assert ran.code == 0, ran.said
    assert (box.snapshot(), shown_leaf(box)) == (before, own)
    assert release.run("--all", "--json").statuses() == {"attic": "held"}


def test_a_renewed_certificate_ends_the_hold(twice: House, issuer: tuple[Issuer, Path]) -> None:
    assert twice.run(*ONE).code == 0
    assert twice.run("--all", "--json").statuses() == {"attic": "held"}

    delivered(twice, issuer, 90)

    assert (twice.state / "holds.toml").read_text().count("attic") == 0


def test_a_second_time_there_is_nothing_to_do(twice: House) -> None:
    assert twice.run(*ONE).code == 0
    writes = twice.writes

    ran = twice.run(*ONE, "--json")

    assert (ran.code, ran.statuses()) == (0, {"attic": "unchanged"})
    assert twice.writes == writes
    assert "it is held there" in ran.host("attic")["warnings"][0]


def test_a_dry_run_shows_the_diff_and_writes_nothing(twice: House) -> None:
    files, writes = twice.files(), twice.writes

    ran = twice.run("rollback", "attic", "--dry-run")

    assert ran.code == 0, ran.said
    assert re.search(r"^planned +attic ", ran.out, re.MULTILINE)
    assert "~ certificate 'home'" in ran.out
    assert re.search(r"leaf +sha256:[0-9a-f]{12} -> sha256:[0-9a-f]{12}", ran.out)
    assert (twice.files(), twice.writes) == (files, writes)
    again = twice.run("rollback", "attic", "--dry-run", "--json")
    assert (again.report["dry_run"], again.report["summary"]) == (True, {"planned": 1})


def test_an_entry_that_was_made_is_shown_to_go(tmp_path: Path, issuer: tuple[Issuer, Path]) -> None:
    with one_box(tmp_path, issuer, DSM72) as house:
        delivered(house, issuer, 60)
        ran = house.run("rollback", "attic", "--dry-run")
        assert "    - certificate 'home' (" in ran.out
        assert "made by the change that is taken back" in ran.out


def test_without_a_terminal_it_needs_yes(twice: House) -> None:
    writes, requests = twice.writes, len(twice.boxes["attic"].requests)

    ran = twice.run("rollback", "attic")

    assert ran.code == 2
    assert "nobody is there to confirm it" in ran.err
    assert (twice.writes, len(twice.boxes["attic"].requests)) == (writes, requests)


@pytest.mark.parametrize(("answer", "code", "word"), [("y", 0, "rolled_back"), ("n", 1, None)])
def test_on_a_terminal_it_shows_the_diff_and_asks(
    twice: House, answer: str, code: int, word: str | None
) -> None:
    writes = twice.writes

    ran = converse(twice, ((r"Put attic back\? \[y/N\]: ", answer),), "rollback", "attic")

    assert ran.code == code, ran.out
    assert "attic  back to what it had at " in ran.out
    assert ran.out.index("~ certificate 'home'") < ran.out.index("Put attic back?")
    assert (word is None) == (twice.writes == writes)
    assert word is None or re.search(f"^{word} +attic ", ran.out, re.MULTILINE)


def test_a_host_that_was_never_changed_has_nothing_to_go_back_to(house: House) -> None:
    ran = house.run(*ONE)

    assert ran.code == 2
    assert "there is nothing to put attic back to" in ran.err
    assert "--state" in ran.err
    assert house.boxes["attic"].writes == 0
    assert house.run("rollback", "attik", "--yes").code == 2


def refused(house: House) -> dict[str, Any]:
    writes, seen = house.writes, shown_leaf(house.boxes["attic"])
    ran = house.run(*ONE, "--json")
    assert (ran.code, ran.statuses()) == (1, {"attic": "refused"}), ran.said
    assert (house.writes, shown_leaf(house.boxes["attic"])) == (writes, seen)
    assert (
        not (house.state / "holds.toml").exists()
        or "attic" not in (house.state / "holds.toml").read_text()
    )
    error: dict[str, Any] = ran.host("attic")["error"]
    assert "attic" in error["hint"]
    return error


def first_version(house: House) -> str:
    """Return the version of the certificate that the box had before."""
    kept = house.store.snapshots.last("attic")
    assert kept is not None
    (pair,) = kept.pairs.values()
    mark = fingerprint(pair.leaf).removeprefix("sha256:")[:12]
    (version,) = (one for one in house.store.bundles.versions("home") if one.endswith(mark))
    return version


def test_a_pair_that_is_nowhere_any_more_is_said_before_anything(twice: House) -> None:
    first = first_version(twice)
    for path in (twice.state / "certificates/home" / first).iterdir():
        path.unlink()

    error = refused(twice)

    assert error["kind"] == "UnsafePlan"
    assert "neither in the snapshot nor in the store" in error["message"]


def test_a_revoked_certificate_is_not_put_back(twice: House) -> None:
    first = first_version(twice)
    noted = Revocation(when=datetime.now(UTC), reason="superseded")
    twice.store.bundles.mark_revoked("home", first, noted)

    error = refused(twice)

    assert error["kind"] == "Revoked"
    assert "was revoked" in error["message"]


def test_what_somebody_brought_since_is_not_lost(twice: House, issuer: tuple[Issuer, Path]) -> None:
    box = twice.boxes["attic"]
    (entry,) = [k for k, one in box.snapshot()["entries"].items() if one["desc"] == "home"]
    theirs = bundle_of(issuer[0].issue((ZONE,)))
    key = theirs.private_key_pem.reveal().encode()
    box.import_entry(theirs.leaf_pem, key, theirs.chain_pem, desc="home", entry_id=entry)
    assert twice.run("trust", "attic", "--fingerprint", fingerprint(theirs.leaf)).code == 0

    error = refused(twice)

    assert error["kind"] == "StalePlan"
    assert "certificate 'home' holds something else by now" in error["message"]


def test_what_has_nothing_to_do_with_it_stays(twice: House, issuer: tuple[Issuer, Path]) -> None:
    box = twice.boxes["attic"]
    theirs = bundle_of(issuer[0].issue(("intranet.test",)))
    key = theirs.private_key_pem.reveal().encode()
    box.import_entry(theirs.leaf_pem, key, theirs.chain_pem, desc="theirs", entry_id="theirs")

    ran = twice.run(*ONE, "--json")

    assert ran.code == 0, ran.said
    assert "since then new, and left so: certificate 'theirs'" in ran.host("attic")["notes"]
    assert "theirs" in box.snapshot()["entries"]


def test_another_run_at_work_is_not_disturbed(twice: House) -> None:
    with twice.store.lock():
        ran = twice.run(*ONE)

    assert ran.code == 6


class Cut(BaseException):
    """As a process that ends."""


@pytest.mark.parametrize("place", ["before the first write", "after the last one"])
def test_a_process_that_is_killed_leaves_a_host_that_the_next_run_believes(
    release: House,
    issuer: tuple[Issuer, Path],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    delivered(release, issuer, 60)
    second = delivered(release, issuer, 80)
    name = "_tried" if place == "before the first write" else "wait_for"

    def cut(*_: object) -> None:
        raise Cut

    monkeypatch.setattr(f"distributor.rollback.{name}", cut)
    with pytest.raises(Cut):
        release.run(*ONE)
    monkeypatch.undo()
    release.boxes["attic"].wait_until_serving()

    ran = release.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert shown_leaf(release.boxes["attic"]) == second
    kept = release.store.snapshots.last("attic")
    assert kept is not None
    assert not kept.undoing


def test_a_host_that_is_away_has_failed(twice: House) -> None:
    twice.boxes["attic"].stop()

    ran = twice.run(*ONE, "--json")

    assert (ran.code, ran.statuses()) == (1, {"attic": "failed"})
    assert ran.host("attic")["error"]["kind"] == "Unreachable"


def test_a_host_that_cannot_be_put_back_is_broken_and_the_commands_are_said(
    twice: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = DsmSession.__init__.__kwdefaults__
    assert patience is not None
    monkeypatch.setitem(patience, "patience", 0.5)
    monkeypatch.setattr("distributor.delivery.SERVED_SECONDS", 0.5)
    box = twice.boxes["attic"]
    done = box.counted["writes"]
    box.knobs = replace(
        QUICK, faults=tuple(Fault(nth, "before") for nth in range(done + 1, done + 50))
    )

    ran = twice.run(*ONE)

    assert ran.code == 5, ran.said
    assert ran.out.startswith("broken       attic ")
    for command in ("rollback attic", "--host attic", "status --host attic"):
        assert f"distribute {command}" in ran.out
    assert not (twice.state / "holds.toml").exists()
    box.knobs = QUICK
    assert twice.run(*ONE).code == 0


def test_no_key_lies_in_a_snapshot_that_the_store_holds(twice: House) -> None:
    keys = list((twice.state / "snapshots").rglob("privkey.pem"))

    assert keys == []
    assert len(list((twice.state / "snapshots").rglob("stored"))) == 1


def test_a_hold_that_cannot_be_written_is_said_and_is_not_well(
    twice: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.store.holding.HoldsFile.put", _fails)

    ran = twice.run(*ONE, "--json")

    assert (ran.code, ran.statuses()) == (1, {"attic": "rolled_back"})
    assert ran.host("attic")["error"]["kind"] == "StateError"


def _fails(*_: object) -> None:
    from distributor.model.errors import StateError

    raise StateError("no space", hint="make some")


def test_the_options_of_a_run_do_not_go_with_it(make_house: MakeHouse) -> None:
    house = make_house("attic")
    assert house.run("--all", *ONE).code == 2
