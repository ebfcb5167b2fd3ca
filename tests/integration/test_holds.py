"""A host that is put back twice is left alone, by the command line against virtual boxes."""

from dataclasses import replace

from tests.integration.sourced_house import QUICK, House, sourced_house

__all__ = ["sourced_house"]


def status(house: House, *arguments: str) -> tuple[int, str]:
    code, report, _ = house.report(*arguments)
    (cellar,) = [one for one in report["hosts"] if one["name"] == "cellar"]
    return code, cellar["status"]


def test_it_is_held_from_the_third_run_on_until_it_is_named_or_the_leaf_changes(
    house: House,
) -> None:
    stuck = house.boxes["cellar"]
    stuck.knobs = replace(QUICK, binding_not_moved=True)
    file = house.folder / "state" / "holds.toml"

    assert status(house, "--all") == (1, "rolled_back")
    assert status(house, "--all") == (1, "rolled_back")
    writes, logins = stuck.writes, stuck.logins
    assert status(house, "--all") == (1, "held")
    code, report, _ = house.report("--all")
    assert (stuck.writes, stuck.logins) == (writes, logins)
    assert report["summary"] == {"held": 1, "unchanged": 1}
    (cellar,) = [one for one in report["hosts"] if one["name"] == "cellar"]
    assert cellar["error"]["kind"] == "Held"
    assert "put back 2 times" in cellar["error"]["message"]
    code, _, said = house.run("--all", "--dry-run")
    assert code == 1
    assert "held" in said
    assert file.stat().st_mode & 0o777 == 0o600

    assert status(house, "--host", "cellar", "--dry-run") == (0, "planned")
    assert "rolled_back = 2" in file.read_text()
    assert status(house, "--host", "cellar") == (1, "rolled_back")
    assert status(house, "--all") == (1, "held")

    house.renew_on_attic()
    assert status(house, "--all") == (1, "rolled_back")
    stuck.knobs = QUICK
    assert status(house, "--all") == (0, "changed")
    assert "cellar" not in file.read_text()


def test_a_memory_that_cannot_be_read_fails_the_host_and_is_said(house: House) -> None:
    folder = house.folder / "state"
    (folder / "holds.toml").write_text("broken [")
    code, report, _ = house.report("--all")
    assert code == 1
    assert report["summary"] == {"failed": 2}
    assert {one["error"]["kind"] for one in report["hosts"]} == {"StateError"}
    assert house.writes == dict.fromkeys(house.boxes, 0)
