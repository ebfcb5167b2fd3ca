"""The commands around the main job: show, issue, status, check, trust, and how they are asked."""

import re
from pathlib import Path

import pytest

from tests.certs import Authority as Issuer
from tests.certs import pem, self_signed
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import House, run, stored_bundle

COMMANDS = (
    "status",
    "check",
    "issue",
    "show",
    "export",
    "revoke",
    "account",
    "account rollover",
    "trust",
    "demo",
    "lab",
    "lab up",
)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help_with_an_example(command: str) -> None:
    words = command.split()
    ran = run(*words, "--help")

    assert ran.code == 0
    assert ran.out.startswith(f"Usage: distribute {command}".rstrip())
    assert f"Example: distribute {command}".rstrip() in ran.out


def test_distribute_alone_prints_its_help() -> None:
    ran = run()

    assert ran.code == 0
    assert ran.out == run("--help").out
    assert all(f"  {name}" in ran.out for name in COMMANDS if " " not in name)


def test_the_version_is_shown() -> None:
    ran = run("--version")

    assert ran.code == 0
    assert re.fullmatch(r"distribute, version \d+\.\d+.*\n", ran.out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("statsu",), "No such command 'statsu'. Did you mean 'status'?"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("--al",), "--all"),
        (("--all", "status"), "--all does not go with 'status'"),
        (("trust",), "Missing argument"),
        (("--save-plan", "x", "status"), "--save-plan does not go with 'status'"),
        (("--accept", "fewer-names", "show"), "--accept does not go with 'show'"),
        (("lab", "up", "--boxes", "0"), "0 is not in the range"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: tuple[str, ...], says: str) -> None:
    ran = run(*arguments)

    assert ran.code == 2
    assert says in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "attik"), "no host 'attik'\ntry: did you mean 'attic'?"),
        (("--host", "zzz"), "no host 'zzz'\ntry: it has: attic"),
        (("--tag", "lib"), "no tag 'lib'\ntry: did you mean 'lab'?"),
        (("status", "--host", "attik"), "did you mean 'attic'?"),
        (("trust", "attik", "--yes"), "did you mean 'attic'?"),
        (("issue", "hoem"), "did you mean 'home'?"),
        (("show", "hoem"), "did you mean 'home'?"),
        (("--all", "--accept", "fewer-name"), "did you mean 'fewer-names'?"),
        (("--all", "--accept", "attik:fewer-names"), "did you mean 'attic'?"),
        (("--host", "\x1b[2J"), r"no host '\x1b[2J'"),
    ],
)
def test_an_unknown_name_is_a_usage_error_with_the_nearest_one(
    house: House, arguments: tuple[str, ...], says: str
) -> None:
    ran = house.run(*arguments)

    assert ran.code == 2
    assert says in ran.err
    assert house.boxes["attic"].requests == ()


def test_global_options_may_stand_before_or_after_the_command(house: House) -> None:
    assert run(*house.options, "check", "--json").code == 0
    assert run("check", *house.options, "--json").report["hosts"] == ["attic"]


def test_check_opens_nothing_and_counts_what_it_read(house: House) -> None:
    house.rewrite('{ file = "attic.password" }', '{ command = ["/bin/false"] }')

    ran = house.run("check")

    assert ran.code == 0
    assert ran.out == f"{house.inventory}: 1 hosts, 1 certificates; nothing wrong\n"
    assert house.boxes["attic"].requests == ()
    house.rewrite('via = "api"', "via = 3")
    assert house.run("check").code == 2


# -- show --------------------------------------------------------------------------------------


def test_show_of_a_name_says_what_the_store_holds_and_when_it_is_due(house: House) -> None:
    ran = house.run("show")

    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0] == "home"
    assert "    names    *.example.test, example.test" in lines
    assert any(line.startswith("    key      ec256, sha256:") for line in lines)
    assert any(line.startswith("    chain    complete, up to Test Root") for line in lines)
    assert any(re.fullmatch(r"    renewal  due from \d{4}-\S+Z: .+", line) for line in lines)
    assert any(line.startswith("    held     ") for line in lines)


def test_show_of_a_name_that_is_not_obtained_says_it_is_due(make_house: MakeHouse) -> None:
    ran = make_house("attic", stored=False).run("show", "home", "--json")

    assert ran.code == 0
    [shown] = ran.report["shown"]
    assert shown.pop("budget")
    assert shown == {
        "what": "home",
        "chain": None,
        "error": None,
        "notes": [],
        "renewal": "due now: none yet",
        "versions": [],
    }


def test_show_of_a_port_tells_an_incomplete_chain(house: House) -> None:
    assert house.run("--all").code == 0
    box = house.boxes["attic"]
    entry = next(i for i, one in box.snapshot()["entries"].items() if one["desc"] == "home")
    box.remove_chain(entry)

    ran = run("show", f"127.0.0.1:{box.port}")

    assert ran.code == 0
    assert "chain    the issuer Test Intermediate 1 is neither sent nor a known root" in ran.out


def test_show_of_a_file_tells_what_is_in_it(tmp_path: Path, issuer: tuple[Issuer, Path]) -> None:
    file = tmp_path / "fullchain.pem"
    file.write_bytes(issuer[0].issue(["nas.example.test"]).fullchain_pem)

    ran = run("show", str(file), "--json")

    shown = ran.report["shown"][0]
    assert ran.code == 0
    assert shown["names"] == ["nas.example.test"]
    assert [link["role"] for link in shown["chain"]["links"]] == ["leaf", "intermediate"]
    assert shown["chain"]["complete"] is False


def test_show_of_a_self_signed_leaf_says_so(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_bytes(pem(self_signed(["nas.example.test"]).leaf))

    assert "chain    self-signed" in run("show", str(file)).out


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_show_of_a_file_without_a_certificate_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "nothing.pem"
    file.write_bytes(content)

    ran = run("show", str(file))

    assert ran.code == 1
    assert "nothing.pem" in ran.err
    assert "try: " in ran.err


def test_show_of_a_port_where_nobody_answers_is_an_error() -> None:
    ran = run("show", "127.0.0.1:9")

    assert ran.code == 1
    assert "no connection to 127.0.0.1:9" in ran.err


def test_show_of_nothing_known_without_an_inventory_is_a_usage_error(tmp_path: Path) -> None:
    ran = run("-i", str(tmp_path / "none.toml"), "show", "home")

    assert ran.code == 2
    assert "'home' is no file and no HOST:PORT" in ran.err


# -- issue -------------------------------------------------------------------------------------


def test_issue_obtains_what_is_due_and_delivers_nothing(issuing: House) -> None:
    ran = issuing.run("issue")

    assert ran.code == 0, ran.said
    assert ran.out.startswith("renewed      certificate home  none yet; ")
    assert issuing.boxes["attic"].requests == ()
    again = issuing.run("issue", "--json")
    assert again.report["certificates"][0]["status"] == "current"
    assert again.report["hosts"] == []


def test_issue_renew_now_keeps_the_versions_before(issuing: House) -> None:
    assert issuing.run("issue").code == 0
    first = issuing.store.bundles.current("home")

    ran = issuing.run("issue", "home", "--renew-now", "--json")

    second = issuing.store.bundles.current("home")
    assert first is not None
    assert second is not None
    assert ran.report["certificates"][0]["reason"] == "asked for"
    assert second.version != first.version
    assert set(issuing.store.bundles.versions("home")) == {first.version, second.version}
    shown = issuing.run("show", "home", "--json").report["shown"][0]
    assert set(shown["versions"]) == {first.version, second.version}


def test_a_changed_key_type_is_a_reason_to_renew(issuing: House) -> None:
    assert issuing.run("issue").code == 0
    issuing.rewrite('key_type = "ec256"', 'key_type = "ec384"')

    ran = issuing.run("issue", "--json")

    assert ran.report["certificates"][0]["status"] == "renewed"
    assert ran.report["certificates"][0]["reason"] == "key type changed (ec256 to ec384)"
    assert issuing.run("show", "home", "--json").report["shown"][0]["key_type"] == "ec384"


# -- status ------------------------------------------------------------------------------------


def test_status_tells_wanted_from_other_without_signing_in(make_house: MakeHouse) -> None:
    house = make_house("attic", "cellar")
    assert house.run("--host", "attic").code == 0
    logins = house.boxes["attic"].logins

    ran = house.run("status", "--json")

    assert ran.code == ran.report["exit"] == 1
    wanted = {one["name"]: [e["wanted"] for e in one["endpoints"]] for one in ran.report["hosts"]}
    assert wanted == {"attic": [True, True], "cellar": [False, False]}
    text = house.run("status")
    assert re.search(r"^attic  \S+  as wanted  ", text.out, re.MULTILINE)
    assert re.search(r"^cellar  \S+  another leaf  ", text.out, re.MULTILINE)
    assert house.run("status", "--host", "attic").code == 0
    assert house.run("-q", "status", "--host", "attic").said == ""
    assert house.boxes["attic"].logins == logins


def test_status_names_an_endpoint_that_cannot_be_asked(house: House) -> None:
    assert house.run("--all").code == 0
    house.boxes.pop("attic").stop()

    ran = house.run("status")

    assert ran.code == 1
    assert "cannot be asked" in ran.out
    assert "Connection refused" in ran.out


def test_status_without_a_stored_certificate_says_that_there_is_none(make_house: MakeHouse) -> None:
    ran = make_house("attic", stored=False).run("status")

    assert ran.code == 1
    assert "none stored" in ran.out


def test_status_tells_a_missing_chain_from_another_leaf(house: House) -> None:
    assert house.run("--all").code == 0
    box = house.boxes["attic"]
    entry = next(i for i, one in box.snapshot()["entries"].items() if one["desc"] == "home")
    box.remove_chain(entry)

    assert "another chain" in house.run("status").out


def test_a_key_type_that_dsm_takes_is_delivered_whatever_it_is(
    house: House, issuer: tuple[Issuer, Path]
) -> None:
    house.rewrite('key_type = "ec256"', 'key_type = "rsa2048"')
    issued = issuer[0].issue(["example.test", "*.example.test"], key="rsa2048")
    from distributor.model.bundle import assemble

    leaf = house.keep(
        assemble(
            certificate=issued.certificate_pem,
            chain=issued.chain_pem,
            private_key=issued.private_key_pem,
        )
    )

    assert house.run("--all").code == 0
    assert house.all_serve(leaf)
    assert stored_bundle(issuer[0]).certificate("home").leaf != leaf
