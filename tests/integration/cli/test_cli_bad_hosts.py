"""Hosts that refuse, pretend, break off or lie: one clear error each, and the others served."""

import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from distributor.clients.dsm import DsmSession
from distributor.lab.knobs import HOSTILE_DESCRIPTION, Fault, Knobs
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import QUICK, Ran, shown_leaf

TWO = ("attic", "cellar")


def is_plain(text: str) -> bool:
    """Whether nothing in a text is a command for a terminal."""
    return not any(
        unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"} for one in text if one != "\n"
    )


def failed_alone(ran: Ran, kind: str) -> dict[str, Any]:
    """Require that attic failed without having been changed and cellar was served."""
    assert ran.code == 1, ran.said
    assert ran.statuses() == {"attic": "failed", "cellar": "changed"}
    error: dict[str, Any] = ran.host("attic")["error"]
    assert error["kind"] == kind
    assert error["hint"]
    return error


def test_a_wrong_password_is_tried_once(make_house: MakeHouse) -> None:
    house = make_house(*TWO)
    house.write("attic.password", "not it")

    error = failed_alone(house.run("--all", "--json"), "AuthRefused")

    assert (error["step"], error["code"]) == ("login", 400)
    assert "login as 'certs' refused: user name or password is wrong" in error["message"]
    assert house.boxes["attic"].failed_logins == 1
    assert house.boxes["attic"].writes == 0


@pytest.mark.parametrize(
    ("account", "knobs", "code", "says"),
    [
        ({"disabled": True}, QUICK, 401, "disabled"),
        ({"dsm_right": False}, QUICK, 402, "may not sign in to DSM"),
        ({"otp_codes": frozenset({"123456"})}, QUICK, 403, "second factor"),
        ({"enforce_2fa": True}, QUICK, 406, "2FA"),
        ({}, replace(QUICK, auto_block_after=0), 407, "blocks this computer"),
        ({"locked": True}, QUICK, 411, "locked"),
    ],
)
def test_an_account_that_may_not_sign_in_is_tried_once(
    make_house: MakeHouse, account: dict[str, Any], knobs: Knobs, code: int, says: str
) -> None:
    house = make_house(*TWO, accounts={"attic": account}, knobs={"attic": knobs})

    error = failed_alone(house.run("--all", "--json"), "AuthRefused")

    assert (error["step"], error["code"]) == ("login", code)
    assert says in error["message"]
    assert house.boxes["attic"].failed_logins == 1


def test_an_account_without_rights_is_told_which_it_lacks(make_house: MakeHouse) -> None:
    house = make_house(*TWO, accounts={"attic": {"admin": False}})

    error = failed_alone(house.run("--all", "--json"), "DeviceRefused")

    assert error["code"] == 105
    assert "administrators" in error["hint"]
    assert house.boxes["attic"].sessions_open == 0


def test_a_peer_that_was_never_pinned_gets_no_request(make_house: MakeHouse) -> None:
    house = make_house(*TWO, pinned=False)
    house.pin("cellar")

    error = failed_alone(house.run("--all", "--json"), "Untrusted")

    assert "never pinned" in error["message"]
    assert "distribute trust attic" in error["hint"]
    assert house.boxes["attic"].requests == ()


def test_a_peer_that_changed_gets_no_request(make_house: MakeHouse) -> None:
    house = make_house(*TWO)
    other = house.store.bundles.current("home")
    assert other is not None
    box, stranger = house.boxes["attic"], house.boxes["cellar"].factory_certificate
    entry = box.import_entry(stranger.cert_pem, stranger.key_pem, desc="somebody else's")
    box.bind("system/default", entry)

    error = failed_alone(house.run("--all", "--json"), "Untrusted")

    assert "not the one that is pinned for attic" in error["message"]
    assert f"distribute trust attic --fingerprint {shown_leaf(box)}" in error["hint"]
    assert box.requests == ()


def test_a_tls_pin_of_the_inventory_is_enough(make_house: MakeHouse) -> None:
    house = make_house("attic", pinned=False)
    text = house.run("trust", "attic").out
    key = re.findall(r"key +(sha256:[0-9a-f]{64})", text)
    assert len(key) == 1
    house.add_to_host("attic", f'tls_pin = "{key[0]}"')

    assert house.run("--all", "--json").statuses() == {"attic": "changed"}
    assert house.run("--all", "--json").statuses() == {"attic": "unchanged"}


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_host_that_answers_html_fails_alone(make_house: MakeHouse, status: int) -> None:
    house = make_house(*TWO, knobs={"attic": replace(QUICK, html_status=status)})

    error = failed_alone(house.run("--all", "--json"), "ProtocolError")

    assert f"HTTP {status}" in error["message"]
    assert "not from the Web API" in error["message"]


def test_hostile_text_of_a_box_is_shown_and_never_obeyed(make_house: MakeHouse) -> None:
    hostile = replace(QUICK, description=HOSTILE_DESCRIPTION, twins=True)
    house = make_house("attic", knobs={"attic": hostile})

    said = [house.run(*words) for words in (("--all", "--dry-run", "-vv"), ("--all", "-vv"))]
    said += [house.run("--all", "--json"), house.run("status"), house.child("--all", "--dry-run")]

    assert [ran.code for ran in said] == [0] * 5
    for ran in said:
        assert is_plain(ran.said)
    assert "pwned" in said[0].out
    assert r"\x1b[2J" in said[0].out
    assert r"\u202e" in said[0].out
    assert house.run("--all", "--json").statuses() == {"attic": "unchanged"}


def test_a_box_that_says_success_and_moves_nothing_is_put_back(make_house: MakeHouse) -> None:
    house = make_house("attic", knobs={"attic": replace(QUICK, binding_not_moved=True)})
    before = house.boxes["attic"].snapshot()

    ran = house.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "rolled_back"}
    error = ran.host("attic")["error"]
    assert (error["kind"], error["step"]) == ("ApplyFailed", "bind")
    assert "did not move" in error["message"]
    assert house.boxes["attic"].snapshot() == before
    assert house.boxes["attic"].sessions_open == 0
    text = house.run("--all")
    assert re.match(r"rolled_back  attic  \d\.\d s, seen to be as it was before\n", text.out)


def test_a_canary_that_does_not_take_the_change_spares_the_others(make_house: MakeHouse) -> None:
    house = make_house(
        *("attic", "cellar", "garage"),
        knobs={"attic": replace(QUICK, binding_not_moved=True)},
    )

    ran = house.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "rolled_back", "cellar": "skipped", "garage": "skipped"}
    assert ran.host("cellar")["warnings"] == ["the canary attic did not take the change"]
    assert house.writes["cellar"] == house.writes["garage"] == 0
    assert all(box.sessions_open == 0 for box in house.boxes.values())


def test_the_canary_of_the_inventory_goes_first(make_house: MakeHouse) -> None:
    house = make_house(
        *("attic", "cellar", "garage"),
        knobs={"garage": replace(QUICK, binding_not_moved=True)},
    )
    house.rewrite("parallel = 8", 'parallel = 8\ncanary = "garage"')

    ran = house.run("--all", "--json")

    assert ran.statuses() == {"attic": "skipped", "cellar": "skipped", "garage": "rolled_back"}


@pytest.mark.parametrize(
    "knobs",
    [
        replace(QUICK, faults=(Fault(1, "before"),)),
        replace(QUICK, faults=(Fault(1, "after"),)),
        replace(QUICK, faults=(Fault(2, "before"),)),
        replace(QUICK, faults=(Fault(2, "after"),)),
        replace(QUICK, restart_drops_answer=True),
        replace(QUICK, restart_answers_502=True, restart_seconds=1.0),
        replace(QUICK, restart_seconds=2.5),
        replace(QUICK, restart_ends_sessions=True),
        replace(QUICK, id_absent=True, restart_httpd_absent=True),
    ],
    ids=lambda knobs: ", ".join(
        f"{name}={value}"
        for name in ("faults", *knobs.__slots__)
        if (value := getattr(knobs, name)) != getattr(QUICK, name)
    )[:60],
)
def test_a_box_that_breaks_off_or_stays_away_is_brought_to_its_end(
    make_house: MakeHouse, knobs: Knobs
) -> None:
    house = make_house("attic", knobs={"attic": knobs})

    ran = house.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert ran.statuses() == {"attic": "changed"}
    assert house.all_serve(ran.report["certificates"][0]["leaf"])
    descriptions = [one["desc"] for one in house.boxes["attic"].snapshot()["entries"].values()]
    assert sorted(descriptions) == ["", "home"]
    assert house.run("--all", "--json").statuses() == {"attic": "unchanged"}


def test_an_endpoint_that_does_not_answer_leaves_the_host_unchanged(make_house: MakeHouse) -> None:
    house = make_house(*TWO)
    ftps = house.boxes["attic"].service_ports["FTPS"]
    house.rewrite(f"127.0.0.1:{ftps}", "127.0.0.1:9")

    error = failed_alone(house.run("--all", "--json"), "VerifyFailed")

    assert "127.0.0.1:9 shows no certificate" in error["message"]
    assert "nothing was changed" in error["hint"]
    assert house.boxes["attic"].writes == 0


def test_an_endpoint_that_still_serves_something_else_has_its_host_put_back(
    make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.delivery.SERVED_SECONDS", 0.5)
    house = make_house("attic")
    house.rewrite(', service = "FTPS"', "")
    before = house.boxes["attic"].snapshot()
    factory = shown_leaf(house.boxes["attic"])

    ran = house.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "rolled_back"}
    error = ran.host("attic")["error"]
    assert error["kind"] == "VerifyFailed"
    assert f"serves {factory}" in error["message"]
    assert "Name it as `service`" in error["hint"]
    assert house.boxes["attic"].snapshot() == before
    assert shown_leaf(house.boxes["attic"]) == factory


def test_a_box_that_cannot_be_put_back_heads_the_report_with_code_5(
    make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = DsmSession.__init__.__kwdefaults__
    assert patience is not None
    monkeypatch.setitem(patience, "patience", 0.5)
    house = make_house("attic", "cellar", "garage")
    house.rewrite("parallel = 8", 'parallel = 8\ncanary = "cellar"')
    house.boxes["cellar"].knobs = replace(
        QUICK, faults=tuple(Fault(nth, "before") for nth in range(2, 100))
    )
    house.boxes.pop("attic").stop()

    ran = house.run("--all")

    assert ran.code == 5
    lines = ran.out.splitlines()
    assert lines[0].startswith("broken       cellar ")
    message = next(line for line in lines if "RollbackFailed [rollback]" in line)
    assert "then putting it back failed" in message
    assert "try: look at the box: Control Panel > Security > Certificate" in ran.out
    assert "snapshots/cellar" in ran.out
    assert re.search(r"^failed +attic ", ran.out, re.MULTILINE)
    assert re.search(r"^skipped +garage ", ran.out, re.MULTILINE)
    assert (house.state / "snapshots" / "cellar").is_dir()


def test_a_hazard_is_refused_until_it_is_accepted_by_name(make_house: MakeHouse) -> None:
    house = make_house(*TWO)
    house.rewrite(f"ca_bundle = '{house.root}'\n\n[defaults]", "\n[defaults]")

    ran = house.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "refused", "cellar": "refused"}
    assert ran.host("attic")["hazards"][0]["name"] == "untrusted-issuer"
    error = ran.host("attic")["error"]
    assert error["kind"] == "UnsafePlan"
    assert error["hint"].endswith("--accept attic:untrusted-issuer")
    assert set(house.writes.values()) == {0}

    one = house.run("--all", "--accept", "attic:untrusted-issuer", "--json")
    assert one.statuses() == {"attic": "changed", "cellar": "refused"}
    house.rewrite("[defaults]\n", '[defaults]\naccept = ["untrusted-issuer"]\n')
    assert house.run("--all", "--json").statuses() == {"attic": "unchanged", "cellar": "changed"}


def test_a_secret_that_is_not_set_is_named_and_nothing_is_asked(make_house: MakeHouse) -> None:
    house = make_house(*TWO)
    house.rewrite('{ file = "attic.password" }', '{ env = "ATTIC_PASSWORD_IS_NOT_SET" }')

    error = failed_alone(house.run("--all", "--json"), "SecretError")

    assert "ATTIC_PASSWORD_IS_NOT_SET is not set" in error["message"]
    assert house.boxes["attic"].failed_logins == house.boxes["attic"].logins == 0


def test_a_secret_file_that_others_may_read_is_refused(make_house: MakeHouse) -> None:
    house = make_house(*TWO)
    (house.folder / "attic.password").chmod(0o644)

    error = failed_alone(house.run("--all", "--json"), "SecretError")

    assert "others may read" in error["message"]
    assert error["hint"].startswith("chmod 600 ")


def test_an_unknown_error_ends_one_host_only(
    make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(*TWO)
    target = "distributor.targets.diskstation_api.DiskstationApi.desired"
    from distributor.targets.diskstation_api import DiskstationApi

    real = DiskstationApi.desired

    def desired(self: DiskstationApi, certificates: Any) -> Any:
        if self._host.name == "attic":
            raise ZeroDivisionError("with a secret in it \x1b[2J")
        return real(self, certificates)

    monkeypatch.setattr(target, desired)

    ran = house.run("--all", "--json")

    error = failed_alone(ran, "DistributorError")
    assert "ZeroDivisionError" in error["message"]
    assert "with a secret in it" not in ran.said
    house.write_inventory(["attic"])
    verbose = house.run("--all", "-vv")
    assert r"ZeroDivisionError: with a secret in it \x1b[2J" in verbose.err, "for a bug report"
    assert is_plain(verbose.said)
