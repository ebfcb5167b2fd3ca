"""`status --services`: what each host reports, what proves it, and hosts that cannot be read."""

from collections.abc import Callable

from tests.integration.checking.conftest import Lab


def test_each_service_is_shown_with_its_entry_and_the_endpoint_that_proves_it(
    make_lab: Callable[[int], Lab],
) -> None:
    lab = make_lab(2)
    assert lab.run("--all").code == 0
    box = lab.range.boxes["attic"]
    writes, entries = box.writes, box.snapshot()["entries"]

    ran = lab.run("status", "--services", "--json")

    assert ran.code == 0, ran.said
    attic = ran.report["hosts"][0]
    assert attic["error"] is None
    served = {one["address"]: one["leaf"] for one in attic["endpoints"]}
    assert {one["service"]: one["proved_by"] for one in attic["services"]} == {
        "DSM Desktop Service": [f"127.0.0.1:{box.port}"],
        "FTPS": [f"127.0.0.1:{box.service_ports['FTPS']}"],
    }
    for one in attic["services"]:
        assert one["description"] == "home"
        assert one["leaf"] == entries[one["entry"]]["leaf"] == served[one["proved_by"][0]]
    assert [one["id"] for one in attic["services"]] == ["system/default", "smbftpd/ftpd"]
    assert box.writes == writes
    assert box.sessions_open == 0
    text = lab.run("status", "--services")
    assert f"FTPS: certificate 'home' ({attic['services'][1]['entry']}), sha256:" in text.out
    assert f"proved by 127.0.0.1:{box.port}" in text.out


def test_a_service_without_an_endpoint_is_said_to_be_unproved(
    make_lab: Callable[[int], Lab],
) -> None:
    lab = make_lab(1)
    ftps = f"127.0.0.1:{lab.range.boxes['attic'].service_ports['FTPS']}"
    lab.rewrite(
        f'  {{ address = "{ftps}", server_name = "attic.example.test", service = "FTPS" }},\n', ""
    )
    assert "no endpoint proves it" in lab.run("status", "--services").out
    ran = lab.run("status", "--services", "--json")
    services = {one["service"]: one for one in ran.report["hosts"][0]["services"]}
    assert services["FTPS"]["proved_by"] == []
    assert ran.code == 1  # nothing is stored yet, so that no endpoint serves what it should


def test_a_host_that_cannot_be_read_is_shown_and_the_others_go_on(
    make_lab: Callable[[int], Lab],
) -> None:
    lab = make_lab(3)
    assert lab.run("--all").code == 0
    lab.range.boxes["attic"].stop()
    (lab.range.folder / "cellar.password").write_text("wrong")

    ran = lab.run("status", "--services", "--json")

    assert ran.code == 1
    hosts = {one["name"]: one for one in ran.report["hosts"]}
    assert hosts["attic"]["error"]["kind"] == "Unreachable"
    assert hosts["cellar"]["error"]["kind"] == "AuthRefused"
    assert hosts["cellar"]["services"] == []
    assert hosts["garage"]["error"] is None
    assert len(hosts["garage"]["services"]) == 2
    text = lab.run("status", "--services").out
    assert "attic  services  cannot be read" in text
    assert "try: " in text
    assert "garage  services\n" in text


def test_without_the_switch_nobody_signs_in(make_lab: Callable[[int], Lab]) -> None:
    lab = make_lab(1)
    ran = lab.run("status", "--json")
    assert "services" not in ran.report["hosts"][0]
    assert lab.range.boxes["attic"].logins == 0
