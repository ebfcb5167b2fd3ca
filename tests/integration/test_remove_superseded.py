"""`remove_superseded` by the command line: shown before, done last, and never more than ours."""

from distributor.model.bundle import fingerprint
from distributor.store import Store
from tests.integration.sourced_house import DECOY, House, sourced_house

__all__ = ["sourced_house"]


def leave_behind(house: House) -> None:
    """Deliver, let the box renew, and put the earlier one back as an entry that nothing uses."""
    assert house.run("--all")[0] == 0
    earlier = house.on_attic
    house.renew_on_attic()
    house.place("cellar", earlier, "left01", "ddns before")


def entries(house: House) -> set[str]:
    return set(house.boxes["cellar"].snapshot()["entries"])


def ask_for_it(house: House) -> None:
    inventory = house.folder / "inventory.toml"
    text = inventory.read_text()
    inventory.write_text(text.replace("[defaults]\n", "[defaults]\nremove_superseded = true\n"))


def test_it_stays_unless_asked_for(house: House) -> None:
    leave_behind(house)
    assert house.run("--all")[0] == 0
    assert "left01" in entries(house)


def test_it_is_shown_and_then_removed_after_everything_else(house: House) -> None:
    leave_behind(house)
    ask_for_it(house)
    before = entries(house)

    code, _, said = house.run("--all", "--dry-run", "--host", "cellar")
    assert code == 0
    assert "- certificate 'ddns before' (left01)" in said
    assert entries(house) == before

    code, report, said = house.report("--all")
    assert code == 0, said
    (cellar,) = [one for one in report["hosts"] if one["name"] == "cellar"]
    removed = [one for one in cellar["changes"] if one["fact"] == "entry"]
    assert [(one["id"], one["after"]) for one in removed] == [("left01", {"absent": True})]
    assert cellar["warnings"] == []
    assert before - entries(house) == {"left01"}
    assert DECOY in entries(house)
    assert house.served()["cellar"] == fingerprint(house.on_attic.leaf)

    writes = house.writes
    assert house.report("--all")[1]["summary"] == {"unchanged": 2}
    assert house.writes == writes


def test_only_a_leftover_is_a_plan_of_its_own(house: House) -> None:
    leave_behind(house)
    assert house.run("--all")[0] == 0
    ask_for_it(house)
    code, report, said = house.report("--all")
    assert code == 0, said
    assert report["summary"] == {"changed": 1, "unchanged": 1}
    assert "left01" not in entries(house)
    assert len(Store(house.folder / "state").bundles.certificates("ddns")) == 2
