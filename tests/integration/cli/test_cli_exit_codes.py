"""Exit codes of runs in which several things happen at once, and options that bear on them."""

from dataclasses import replace
from pathlib import Path

import pytest

from distributor.clients.dsm import DsmSession
from distributor.lab.knobs import Fault
from tests.certs import Authority as Issuer
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import QUICK, House, stored_bundle

THREE = ("attic", "cellar", "garage")
STUCK = replace(QUICK, binding_not_moved=True)
BROKEN = replace(QUICK, faults=tuple(Fault(nth, "before") for nth in range(2, 100)))


@pytest.fixture
def three(make_house: MakeHouse) -> House:
    return make_house(*THREE)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a box that is away half a second."""
    patience = DsmSession.__init__.__kwdefaults__
    assert patience is not None
    monkeypatch.setitem(patience, "patience", 0.5)
    monkeypatch.setattr("distributor.delivery.SERVED_SECONDS", 0.5)


def let_renewal_fail(house: House) -> None:
    """Ask for a name more, from a CA that is not there; the stored one is still delivered."""
    house.rewrite('"*.example.test"]', '"*.example.test", "a.b.example.test"]')


@pytest.mark.parametrize(
    ("renewal_fails", "dead", "broken", "code"),
    [
        (False, False, False, 0),
        (False, True, False, 1),
        (True, False, False, 3),
        (True, True, False, 3),
        (False, True, True, 5),
        (True, True, True, 5),
    ],
)
def test_the_worst_that_happened_decides(
    three: House, impatient: None, renewal_fails: bool, dead: bool, broken: bool, code: int
) -> None:
    if renewal_fails:
        let_renewal_fail(three)
    if dead:
        three.boxes.pop("attic").stop()
    if broken:
        three.boxes["cellar"].knobs = BROKEN

    ran = three.run("--all", "--json")

    assert (ran.code, ran.report["exit"]) == (code, code), ran.said
    statuses = ran.statuses()
    assert (statuses["attic"] == "failed") == dead
    assert (statuses["cellar"] == "broken") == broken
    assert (ran.report["certificates"][0]["status"] == "failed") == renewal_fails


def test_a_pending_change_is_told_by_4_only_where_nothing_is_wrong(three: House) -> None:
    asked = ("--all", "--dry-run", "--exit-code")
    assert three.run(*asked).code == 4
    three.boxes["garage"].stop()
    assert three.run(*asked).code == 1


def test_what_is_broken_is_told_before_the_certificates(three: House, impatient: None) -> None:
    let_renewal_fail(three)
    three.boxes["attic"].knobs = BROKEN

    ran = three.run("--all")

    assert ran.code == 5
    lines = ran.out.splitlines()
    assert lines[0].startswith("broken       attic ")
    assert ran.out.index("broken ") < ran.out.index("certificate home")
    assert ran.out.count("broken       attic ") == 1


# -- who goes first -------------------------------------------------------------------------------


def test_a_canary_that_cannot_be_reached_passes_its_role_on(make_house: MakeHouse) -> None:
    house = make_house(*THREE, knobs={"attic": STUCK})
    house.rewrite("parallel = 8", 'parallel = 8\ncanary = "garage"')
    house.boxes.pop("garage").stop()

    ran = house.run("--all", "--json")

    assert ran.statuses() == {"attic": "rolled_back", "cellar": "skipped", "garage": "failed"}
    assert ran.host("cellar")["warnings"] == ["the canary attic did not take the change"]


# -- all or nothing -------------------------------------------------------------------------------


def test_all_or_nothing_puts_back_the_changed_ones(make_house: MakeHouse) -> None:
    house = make_house(*THREE, knobs={"garage": STUCK})
    before = {name: box.snapshot() for name, box in house.boxes.items()}

    ran = house.run("--all", "--all-or-nothing", "--json")

    assert (ran.code, set(ran.statuses().values())) == (1, {"rolled_back"}), ran.said
    assert {name: box.snapshot() for name, box in house.boxes.items()} == before
    error = ran.host("attic")["error"]
    assert error["kind"] == "AllOrNothing"
    assert "garage is rolled_back" in error["message"]
    assert all(box.sessions_open == 0 for box in house.boxes.values())
    assert "[hosts.attic]" not in (house.state / "holds.toml").read_text()

    house.boxes["garage"].knobs = QUICK
    again = house.run("--all", "--all-or-nothing", "--json")
    assert (again.code, set(again.statuses().values())) == (0, {"changed"}), again.said


def test_all_or_nothing_begins_nowhere_while_a_host_is_away(three: House) -> None:
    three.boxes["garage"].stop()
    boxes = (three.boxes["attic"], three.boxes["cellar"])

    ran = three.run("--all", "--all-or-nothing")

    assert ran.code == 1
    assert "all or nothing: garage is failed" in ran.out
    assert [box.writes for box in boxes] == [0, 0]


# -- quick ----------------------------------------------------------------------------------------


def test_quick_signs_in_only_to_hosts_whose_endpoints_differ(
    three: House, issuer: tuple[Issuer, Path]
) -> None:
    assert three.run("--all").code == 0
    box = three.boxes["cellar"]
    box.bind("FTPS", next(k for k, one in box.snapshot()["entries"].items() if not one["desc"]))
    logins = {name: one.logins for name, one in three.boxes.items()}

    ran = three.run("--all", "--quick", "--json")

    assert ran.statuses() == {"attic": "unchanged", "cellar": "changed", "garage": "unchanged"}
    assert ran.host("attic")["proof"] == "handshake"
    now = {name: one.logins for name, one in three.boxes.items()}
    assert [name for name in THREE if now[name] != logins[name]] == ["cellar"]
    three.keep(stored_bundle(issuer[0]))
    assert set(three.run("--all", "--quick", "--json").statuses().values()) == {"changed"}


def test_quick_does_not_go_with_a_saved_plan(three: House) -> None:
    for more in (("--dry-run", "--save-plan", "p.json"), ("--plan", "p.json")):
        ran = three.run("--all", "--quick", *more)
        assert ran.code == 2
        assert "--quick" in ran.err


# -- where the state folder lies ------------------------------------------------------------------


def test_a_state_folder_in_a_git_work_tree_is_said_once_by_runs_and_by_check(house: House) -> None:
    (house.folder / ".git").mkdir()

    ran = house.run("--all", "--json")
    for words in (("--all", "--dry-run"), ("rollback", "attic", "--dry-run")):
        assert house.run(*words).err.count("warning: the state folder") == 1

    assert ran.code == 0
    (line,) = [one for one in ran.err.splitlines() if one.startswith("warning: ")]
    assert f"is inside the git work tree {house.folder}" in line
    assert "--state" in line
    checked = house.run("check", "--json")
    assert checked.code == 0
    assert "state-folder-place" in {note["name"] for note in checked.report["notes"]}
    assert "warning" not in house.run("--all", "-q").err
