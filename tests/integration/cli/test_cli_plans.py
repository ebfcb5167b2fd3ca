"""`--save-plan` and `--plan`: what was reviewed is applied, exactly that, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import House, shown_leaf


def reviewed(house: House) -> Path:
    plan = house.folder / "plan.json"
    ran = house.run("--all", "--dry-run", "--save-plan", str(plan))
    assert ran.code == 0, ran.said
    return plan


def test_a_saved_plan_is_applied(house: House) -> None:
    plan = reviewed(house)

    ran = house.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 0, ran.said
    assert ran.statuses() == {"attic": "changed"}


def test_a_host_that_changed_after_the_review_is_refused_and_the_others_go_on(
    make_house: MakeHouse,
) -> None:
    house = make_house("attic", "cellar", "garage")
    plan = reviewed(house)
    box = house.boxes["attic"]
    factory = box.factory_certificate
    box.import_entry(factory.cert_pem, factory.key_pem, desc="somebody's")

    ran = house.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "refused", "cellar": "changed", "garage": "changed"}
    error = ran.host("attic")["error"]
    assert (error["kind"], error["step"]) == ("StalePlan", "plan")
    assert "attic is not as it was" in error["message"]
    assert "--save-plan" in error["hint"]
    assert box.writes == 0


def test_a_plan_for_a_leaf_still_to_be_issued_is_applied_after_issuing(issuing: House) -> None:
    plan = reviewed(issuing)
    assert '"next:home"' in plan.read_text()

    ran = issuing.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 0, ran.said
    assert ran.report["certificates"][0]["status"] == "renewed"
    assert ran.statuses() == {"attic": "changed"}
    assert issuing.all_serve(ran.report["certificates"][0]["leaf"])


def test_names_that_changed_after_the_review_are_refused_and_nothing_is_ordered(
    issuing: House,
) -> None:
    plan = reviewed(issuing)
    files = issuing.files()
    issuing.rewrite('"*.example.test"]', '"*.example.test", "a.b.example.test"]')

    ran = issuing.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "refused"}
    assert ran.host("attic")["error"]["kind"] == "StalePlan"
    assert "'home' is not the one that was reviewed" in ran.host("attic")["error"]["message"]
    assert ran.report["certificates"][0]["status"] == "due"
    assert issuing.files() == files
    assert issuing.writes == {"attic": 0}


def test_another_leaf_than_the_reviewed_one_is_refused(issuing: House) -> None:
    assert issuing.run("issue").code == 0
    plan = reviewed(issuing)
    assert issuing.run("issue", "--renew-now").code == 0

    ran = issuing.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 1
    assert ran.host("attic")["error"]["kind"] == "StalePlan"
    assert issuing.writes == {"attic": 0}


def edited(data: dict[str, Any]) -> str:
    data["hosts"]["attic"]["digest"] = "0" * 64
    return json.dumps(data)


def of_another_version(data: dict[str, Any]) -> str:
    return json.dumps(data | {"version": 99})


def of_other_content(_data: dict[str, Any]) -> str:
    return "[]"


def no_json(_data: dict[str, Any]) -> str:
    return "{"


@pytest.mark.parametrize("spoil", [edited, of_another_version, of_other_content, no_json])
def test_a_plan_that_is_not_as_it_was_saved_is_a_usage_error(house: House, spoil: Any) -> None:
    plan = reviewed(house)
    plan.write_text(spoil(json.loads(plan.read_text())))
    requests = len(house.boxes["attic"].requests)

    ran = house.run("--all", "--plan", str(plan))

    assert ran.code == 2
    assert str(plan) in ran.err
    assert "try: make" in ran.err
    assert len(house.boxes["attic"].requests) == requests


def test_a_plan_that_is_not_there_is_a_usage_error(house: House) -> None:
    ran = house.run("--all", "--plan", str(house.folder / "none.json"))

    assert ran.code == 2
    assert "none.json cannot be read: No such file or directory" in ran.err


def test_a_host_that_was_not_reviewed_is_refused_and_the_others_go_on(
    make_house: MakeHouse,
) -> None:
    house = make_house("attic", "cellar")
    plan = house.folder / "plan.json"
    house.run("--host", "attic", "--dry-run", "--save-plan", str(plan))

    ran = house.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "changed", "cellar": "refused"}
    error = ran.host("cellar")["error"]
    assert (error["kind"], error["step"]) == ("StalePlan", "plan")
    assert "the plan says nothing of cellar" in error["message"]
    assert house.boxes["cellar"].requests == ()


@pytest.mark.parametrize("place", ["no/plan.json", "."])
def test_a_plan_that_cannot_be_saved_is_found_out_before_anything_is_tried(
    house: House, place: str
) -> None:
    ran = house.run("--all", "--dry-run", "--save-plan", str(house.folder / place))

    assert ran.code == 2
    assert "cannot be saved" in ran.err or "is a directory" in ran.err
    assert house.boxes["attic"].requests == ()


def test_a_plan_that_cannot_be_saved_at_the_end_leaves_the_report(house: House) -> None:
    ran = house.run("--all", "--dry-run", "--save-plan", "/dev/full", "--json")

    assert ran.code == 2
    assert ran.statuses() == {"attic": "planned"}
    assert "cannot be saved to /dev/full: No space left on device" in ran.err


def test_a_run_that_saves_no_plan_leaves_the_file_as_it_was(house: House) -> None:
    there, new = house.write("plan.json", "of yesterday"), house.folder / "new.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distributor.sync.run", _does_not_end)
        for path in (there, new):
            with pytest.raises(ZeroDivisionError):
                house.run("--all", "--dry-run", "--save-plan", str(path))

    assert there.read_text(encoding="utf-8") == "of yesterday"
    assert not new.exists()


def _does_not_end(*_: object) -> None:
    raise ZeroDivisionError


def test_a_saved_plan_holds_no_secret(house: House) -> None:
    text = reviewed(house).read_text()

    assert house.passwords["attic"] not in text
    assert "PRIVATE" not in text
    stored = house.store.bundles.current("home")
    assert stored is not None
    key = stored.bundle.private_key_pem.reveal().splitlines()[1]
    assert key not in text
    assert stored.bundle.certificate("home").leaf in text


def test_a_plan_that_was_applied_is_stale_afterwards(house: House) -> None:
    plan = reviewed(house)
    assert house.run("--all", "--plan", str(plan)).code == 0
    leaf, writes = shown_leaf(house.boxes["attic"]), house.writes

    ran = house.run("--all", "--plan", str(plan), "--json")

    assert ran.code == 1
    assert ran.host("attic")["error"]["kind"] == "StalePlan"
    assert (shown_leaf(house.boxes["attic"]), house.writes) == (leaf, writes)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--all", "--plan", "x", "--dry-run"), "take one of them"),
        (("--all", "--save-plan", "x"), "goes with --dry-run"),
        (("--all", "--exit-code"), "goes with --dry-run"),
        (("--dry-run",), "--all, --host NAME or --tag TAG"),
        (("--no-renew",), "--all, --host NAME or --tag TAG"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(
    house: House, options: tuple[str, ...], says: str
) -> None:
    ran = house.run(*options)

    assert ran.code == 2
    assert says in ran.err
