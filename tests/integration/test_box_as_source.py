"""The forum's chore: what one box obtained by itself, on every other box, by the command line."""

from typing import Any

from distributor.model.bundle import fingerprint
from tests.integration.sourced_house import BOXES, DECOY, House, sourced_house

__all__ = ["sourced_house"]


def certificate(report: Any) -> Any:
    (found,) = report["certificates"]
    return found


def test_what_one_box_obtained_is_brought_to_the_others(house: House) -> None:
    leaf = fingerprint(house.on_attic.leaf)
    attic = house.boxes["attic"].snapshot()

    code, report, _ = house.report("--all", "--dry-run")
    assert code == 0
    assert (certificate(report)["status"], certificate(report)["leaf"]) == ("due", leaf)
    assert {one["name"]: one["status"] for one in report["hosts"]} == {
        "cellar": "planned",
        "garage": "planned",
    }
    assert house.writes == dict.fromkeys(BOXES, 0)
    assert not (house.folder / "state" / "certificates").exists()

    code, report, said = house.report("--all")
    assert code == 0, said
    assert certificate(report)["status"] == "renewed"
    assert report["summary"] == {"changed": 2}
    assert house.served() == dict.fromkeys(BOXES, leaf)
    assert house.boxes["attic"].snapshot() == attic
    decoy = house.boxes["cellar"].snapshot()
    assert decoy["bindings"]["smbftpd/ftpd"] == DECOY

    writes, logins = house.writes, house.boxes["attic"].logins
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (0, {"unchanged": 2})
    assert certificate(report)["status"] == "current"
    assert (house.writes, house.boxes["attic"].logins) == (writes, logins)

    code, report, _ = house.report("status")
    assert code == 0
    assert [one["name"] for one in report["hosts"]] == list(BOXES)


def test_a_renewal_on_the_box_is_noticed_and_brought_to_the_others(house: House) -> None:
    house.report("--all")
    leaf = house.renew_on_attic()
    code, report, said = house.report("--all")
    assert code == 0, said
    assert certificate(report)["reason"] == "attic has a newer one"
    assert house.served() == dict.fromkeys(BOXES, leaf)
    assert len(house.boxes["cellar"].snapshot()["entries"]) == 3


def test_a_reviewed_plan_is_applied_with_the_leaf_that_was_seen(house: House) -> None:
    plan = str(house.folder / "plan.json")
    house.report("--all", "--dry-run", "--save-plan", plan)
    code, _, said = house.report("--all", "--plan", plan)
    assert code == 0, said
    assert len(set(house.served().values())) == 1


def test_a_source_that_is_off_leaves_the_current_one_and_a_warning(house: House) -> None:
    house.report("--all")
    house.boxes["attic"].stop()
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (0, {"unchanged": 2})
    (warning,) = certificate(report)["warnings"]
    assert warning.startswith("whether there is a newer one could not be seen: attic:")


def test_a_source_that_was_never_asked_fails_its_certificate_alone(house: House) -> None:
    house.boxes["attic"].stop()
    for arguments in (("--all",), ("--all", "--dry-run")):
        code, report, _ = house.report(*arguments)
        assert code == 3
        assert certificate(report)["status"] == "failed"
        assert report["summary"] == {"failed": 2}
        assert house.writes == dict.fromkeys(BOXES, 0)


def test_a_refused_password_is_sent_once(house: House) -> None:
    (house.folder / "password").write_text("open sesame 77")
    code, report, said = house.report("--all")
    assert code == 3
    assert house.boxes["attic"].failed_logins == 1
    message = certificate(report)["error"]["message"]
    assert "attic: login as 'certs' not tried: it was refused at " in message
    assert "(user name or password is wrong)" in message
    assert "sesame" not in said


def test_the_box_itself_is_no_target(house: House) -> None:
    code, report, _ = house.report("--host", "attic")
    assert code == 2
    assert "attic gets no certificate" in report["error"]["message"]


def test_no_key_is_said_or_readable_by_others(house: House) -> None:
    _, _, said = house.report("--all", "-v")
    lines = house.on_attic.private_key_pem.reveal().splitlines()
    assert not [line for line in lines if "-----" not in line and line in said]
    for path in (house.folder / "state").rglob("*"):
        assert not path.stat().st_mode & 0o077, path


def test_issue_exports_and_delivers_nothing(house: House) -> None:
    code, report, _ = house.report("issue", "ddns")
    assert code == 0
    assert certificate(report)["status"] == "renewed"
    assert house.writes == dict.fromkeys(BOXES, 0)
