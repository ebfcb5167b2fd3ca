"""`distribute --all` against virtual boxes: dead hosts among living ones, and the report."""

import json
import re
import time
from dataclasses import replace

import pytest

from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import NAMES, QUICK, House, shown_leaf

HEX = r"sha256:[0-9a-f]{64}"
UTC_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.mark.parametrize("dead", ["attic", "garage", "studio"])
def test_one_dead_host_of_five_leaves_four_served_and_is_named_with_its_reason(
    five: House, dead: str
) -> None:
    leaf = five.run("show", "home", "--json").report["shown"][0]["leaf"]
    five.boxes.pop(dead).stop()

    ran = five.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == dict.fromkeys(NAMES, "changed") | {dead: "failed"}
    error = ran.host(dead)["error"]
    assert error["kind"] == "Unreachable"
    assert error["step"] == "connect"
    assert "127.0.0.1:" in error["message"]
    assert error["hint"]
    assert five.all_serve(leaf)
    text = five.run("--all")
    assert text.code == 1
    assert re.search(rf"^failed +{dead} ", text.out, re.MULTILINE)
    assert "Connection refused" in text.out
    assert "hosts: 1 failed, 4 unchanged" in text.out


@pytest.mark.parametrize("hang", ["handshake", "answer"])
def test_the_time_outs_of_silent_hosts_do_not_add_up(
    make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch, hang: str
) -> None:
    silent = ("attic", "cellar", "garage")
    house = make_house(*NAMES)
    for name in silent:
        house.boxes[name].knobs = replace(QUICK, hang=hang)  # type: ignore[arg-type]
    monkeypatch.setattr("distributor.clients.http.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("distributor.clients.web_api.READ_SECONDS", 2.0)
    monkeypatch.setattr("distributor.clients.tls.probe.__defaults__", (1.0,))
    started = time.monotonic()

    ran = house.run("--all", "--json")

    took = time.monotonic() - started
    assert ran.code == 1
    assert ran.statuses() == {name: "failed" if name in silent else "changed" for name in NAMES}
    assert {ran.host(name)["error"]["kind"] for name in silent} == {"Unreachable"}
    assert took < 3 * 2.5, "three silent hosts cost more than one and a delivery"


def test_the_json_report_has_the_keys_of_the_interface(house: House) -> None:
    ran = house.run("--all", "--json")

    report = ran.report
    assert set(report) == {
        *("version", "exit", "dry_run", "plan", "started", "seconds"),
        *("certificates", "hosts", "summary"),
    }
    assert (report["version"], report["exit"], report["dry_run"]) == (1, 0, False)
    assert re.fullmatch(r"[0-9a-f]{64}", report["plan"])
    assert re.fullmatch(UTC_TIME, report["started"])
    assert report["seconds"] > 0
    assert report["summary"] == {"changed": 1}
    (certificate,) = report["certificates"]
    assert set(certificate) == {
        *("name", "status", "reason", "leaf", "names", "not_before", "not_after", "issuer"),
        *("renewal", "warnings", "error"),
    }
    assert (certificate["name"], certificate["status"]) == ("home", "current")
    assert re.fullmatch(HEX, certificate["leaf"])
    assert certificate["names"] == ["*.example.test", "example.test"]
    assert re.fullmatch(UTC_TIME, certificate["not_before"])
    assert re.fullmatch(UTC_TIME, certificate["not_after"])
    assert certificate["issuer"] == "Test Intermediate 1"
    assert certificate["error"] is None


def test_a_changed_host_of_the_json_report_has_the_keys_of_the_interface(house: House) -> None:
    before = shown_leaf(house.boxes["attic"])

    host = house.run("--all", "--json").host("attic")

    assert set(host) == {
        *("name", "kind", "via", "status", "seconds", "proof", "certificates", "changes"),
        *("endpoints", "unproved", "hazards", "notes", "warnings", "error"),
    }
    assert (host["name"], host["kind"], host["via"]) == ("attic", "diskstation", "api")
    assert (host["status"], host["proof"], host["certificates"]) == (
        "changed",
        "handshake",
        ["home"],
    )
    leaf = shown_leaf(house.boxes["attic"])
    assert leaf != before
    for change in host["changes"]:
        assert set(change) >= {"certificate", "address", "fact", "before", "after"}
        assert change["certificate"] == "home"
    facts = {(one["address"], one["fact"]): one["after"] for one in host["changes"]}
    assert facts["certificate 'home'", "leaf"] == leaf
    assert facts["service 'FTPS'", "certificate"] == "certificate 'home'"
    assert facts["service 'DSM Desktop Service'", "certificate"] == "certificate 'home'"
    assert len(host["endpoints"]) == 2
    for endpoint in host["endpoints"]:
        assert set(endpoint) >= {
            *("address", "server_name", "certificate", "leaf", "not_after", "wanted", "error")
        }
        assert (endpoint["leaf"], endpoint["wanted"], endpoint["error"]) == (leaf, True, None)
        assert endpoint["server_name"] == "attic.example.test"
    assert (host["hazards"], host["warnings"], host["error"]) == ([], [], None)


def test_every_error_of_the_json_report_has_the_keys_of_the_interface(house: House) -> None:
    house.boxes.pop("attic").stop()

    host = house.run("--all", "--json").host("attic")

    assert set(host["error"]) == {"kind", "step", "message", "hint", "code"}
    assert host["endpoints"] == []
    assert host["changes"] == []


def test_the_same_dry_run_has_the_same_digest_twice_and_writes_nothing(five: House) -> None:
    before = five.files()

    first, second = (five.run("--all", "--dry-run", "--json") for _ in range(2))

    assert first.code == second.code == 0
    assert first.report["plan"] == second.report["plan"]
    assert first.report["dry_run"] is True
    assert first.report["summary"] == {"planned": 5}
    assert set(five.writes.values()) == {0}
    assert five.files() == before
    five.run("--host", "attic")
    assert five.run("--all", "--dry-run", "--json").report["plan"] != first.report["plan"]


def test_a_report_on_a_pipe_is_plain_text(house: House) -> None:
    ran = house.child("--all", "--dry-run")

    assert ran.code == 0
    assert "\x1b" not in ran.said
    assert re.match(r"current      certificate home .* renewal from \d{4}-", ran.out)
    assert "\nplanned      attic " in ran.out
    assert "+ certificate 'home' (new)" in ran.out
    assert ran.err == "attic: planned\n"


def test_the_report_is_on_stdout_and_progress_on_stderr(house: House) -> None:
    ran = house.child("--all", "--json", "-v")

    assert json.loads(ran.out)["hosts"][0]["status"] == "changed"
    assert "attic: signing in" in ran.err
    assert "attic: proving" in ran.err


def test_quiet_prints_nothing_when_all_is_well_and_the_report_when_not(house: House) -> None:
    ran = house.child("-q", "--all")
    assert (ran.code, ran.out, ran.err) == (0, "", "")

    house.boxes.pop("attic").stop()

    ran = house.child("--all", "-q")
    assert ran.code == 1
    assert "failed" in ran.out
    assert "attic" in ran.out


def test_verbose_shows_the_diff_of_a_changed_host(house: House) -> None:
    ran = house.run("--all", "-v")

    assert re.search(
        r"^changed +attic +certificate 'home' made, 2 services moved", ran.out, re.MULTILINE
    )
    assert "~ service 'FTPS' (smbftpd/ftpd)" in ran.out


def test_hosts_are_chosen_by_name_and_tag_as_a_union(five: House) -> None:
    five.rewrite(
        'password = { file = "studio.password" }\ntags = ["lab"]',
        'password = { file = "studio.password" }\ntags = ["far", "lab"]',
    )

    ran = five.run("--host", "cellar", "--tag", "far", "--dry-run", "--json")

    assert ran.statuses() == {"cellar": "planned", "studio": "planned"}


def test_the_second_run_writes_nothing(five: House) -> None:
    assert five.run("--all").code == 0
    writes = five.writes

    ran = five.run("--all", "--json")

    assert ran.code == 0
    assert ran.report["summary"] == {"unchanged": 5}
    assert five.writes == writes
    assert all(box.sessions_open == 0 for box in five.boxes.values())


def test_the_inventorys_order_is_the_reports_order(make_house: MakeHouse) -> None:
    house = make_house("attic", "cellar", "garage")
    house.write_inventory(["garage", "attic", "cellar"])

    ran = house.run("--all", "--json")

    assert list(ran.statuses()) == ["garage", "attic", "cellar"]


def test_exit_code_tells_pending_changes_from_none(house: House) -> None:
    assert house.run("--all", "--dry-run", "--exit-code").code == 4
    assert house.run("--all", "--dry-run").code == 0
    assert house.run("--all").code == 0
    assert house.run("--all", "--dry-run", "--exit-code").code == 0
