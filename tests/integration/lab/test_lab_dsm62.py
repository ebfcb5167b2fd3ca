"""A virtual DiskStation on DSM 6.2 speaks the older dialect."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from distributor.lab.accounts import Account
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.knobs import DSM62
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import Issued, issue, rsa_key
from tests.integration.lab.plain_client import CRT, QUICK, SERVICE, Client, code, request, served


@pytest.fixture
def box(make_box: MakeBox) -> DiskStation:
    return make_box(profile=DSM62)


def logged_in(box: DiskStation) -> Client:
    client = Client(box, version=6)
    assert client.login(ADMIN.name, ADMIN.password, path="auth.cgi")["success"]
    return client


def rsa_issued() -> Issued:
    return issue(key=rsa_key())


def test_discovery_tells_where_logins_go(box: DiskStation) -> None:
    query = "api=SYNO.API.Info&version=1&method=query&query="
    answer = request(box.port, "GET", f"/webapi/query.cgi?{query}SYNO.API.Auth")
    assert answer.body == (
        b'{"data":{"SYNO.API.Auth":{"maxVersion":6,"minVersion":1,"path":"auth.cgi"}},'
        b'"success":true}'
    )
    assert answer.headers["Content-Type"] == 'text/plain; charset="UTF-8"'
    found = request(box.port, "GET", f"/webapi/query.cgi?{query}all").json["data"]
    assert found["SYNO.API.Info"]["path"] == "query.cgi"
    assert "SYNO.API.Auth.UIConfig" not in found


@pytest.mark.parametrize(
    ("version", "path", "expected"), [(6, "entry.cgi", 102), (7, "auth.cgi", 104)]
)
def test_a_login_of_dsm_7_is_not_understood(
    box: DiskStation, version: int, path: str, expected: int
) -> None:
    client = Client(box, version=version)
    assert code(client.login(ADMIN.name, ADMIN.password, path=path)) == expected
    assert box.logins == box.failed_logins == 0


def test_old_versions_of_the_login_still_work(box: DiskStation) -> None:
    client = Client(box, version=2)
    answer = client.login(ADMIN.name, ADMIN.password, path="auth.cgi", enable_syno_token="no")
    assert answer["data"].keys() == {"sid"}


def test_the_login_answer_has_the_keys_of_version_6(box: DiskStation) -> None:
    answer = Client(box, version=6).login(ADMIN.name, ADMIN.password, path="auth.cgi")
    assert answer["data"].keys() == {"is_portal_port", "sid", "synotoken"}


def test_a_second_factor_is_asked_for_by_code_alone_and_gives_a_did(make_box: MakeBox) -> None:
    account = Account("u", "p", otp_codes=frozenset({"123456"}))
    client = Client(make_box(profile=DSM62, accounts=[account]), version=6)
    refusal = client.login("u", "p", path="auth.cgi")
    assert refusal == {"error": {"code": 403}, "success": False}
    device = {"enable_device_token": "yes", "device_name": "lab", "path": "auth.cgi"}
    data = client.login("u", "p", otp_code="123456", **device)["data"]
    assert "device_id" not in data
    trusted = {"device_name": "lab", "device_id": data["did"], "path": "auth.cgi"}
    assert client.login("u", "p", **trusted)["success"]


def test_the_list_lacks_the_keys_of_dsm_7(box: DiskStation) -> None:
    box.import_entry(*rsa_issued().files, desc="home")
    entries = logged_in(box).entries()
    newer = {"is_broken", "key_types", "user_deletable"}
    assert [entry["desc"] for entry in entries] == ["", "home"]
    assert not any(newer & entry.keys() for entry in entries)
    for service in entries[0]["services"]:
        assert not {"multiple_cert", "user_setable"} & service.keys()
    assert entries[0]["services"][0]["display_name_i18n"] == "common:web_desktop"


def test_rsa_is_taken_and_ec_is_refused(make_box: MakeBox) -> None:
    box = make_box(profile=DSM62)
    client = logged_in(box)
    before = box.snapshot()
    assert code(client.upload(issue(), entry_id=before["default"])) == 5529
    box.knobs = replace(QUICK, ec_refused_code=5598)
    assert code(client.upload(issue(), entry_id=before["default"])) == 5598
    assert box.snapshot() == before
    fresh = rsa_issued()
    answer = client.upload(fresh, entry_id=before["default"])
    assert answer["data"] == {"id": before["default"], "restart_httpd": True}
    box.wait_until_serving()
    assert served(box.port) == served(box.service_ports["FTPS"]) == fresh.served


def test_der_is_refused(box: DiskStation) -> None:
    fresh = rsa_issued()
    der = serialization.Encoding.DER
    key = fresh.key.private_bytes(
        der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    client = logged_in(box)
    files = {"key": ("k", fresh.key_pem), "cert": ("c", fresh.leaf.public_bytes(der))}
    assert code(client.post_form(files, {})) == 5510
    files = {"key": ("k", key), "cert": ("c", fresh.cert_pem)}
    assert code(client.post_form(files, {})) == 5511
    assert box.writes == 0


def test_a_service_bound_to_where_it_is_loses_its_certificate(box: DiskStation) -> None:
    client = logged_in(box)
    default = box.snapshot()["default"]
    fresh = rsa_issued()
    new = box.import_entry(*fresh.files)
    assert client.bind("FTPS", default)["success"]
    box.wait_until_serving()
    assert box.snapshot()["bindings"] == {"system/default": default, "smbftpd/ftpd": ""}
    names = [one["display_name"] for entry in client.entries() for one in entry["services"]]
    assert names == ["DSM Desktop Service"]
    ftps = {
        "display_name": "FTPS",
        "isPkg": False,
        "owner": "root",
        "service": "ftpd",
        "subscriber": "smbftpd",
    }
    move = {"service": ftps, "old_id": "", "id": new}
    assert client.call(SERVICE, "set", settings=json.dumps([move]))["success"]
    box.wait_until_serving()
    assert served(box.service_ports["FTPS"]) == fresh.served


def test_on_dsm_7_the_same_call_changes_nothing(make_box: MakeBox) -> None:
    box = make_box()
    before = box.snapshot()
    assert Client(box).admin().bind("FTPS", before["default"])["success"]
    assert box.snapshot() == before


@pytest.mark.parametrize(("knob", "expected"), [(None, 106), (105, 105), (119, 119)])
def test_a_lost_session_has_the_code_of_dsm_6_or_of_the_knob(
    make_box: MakeBox, knob: Any, expected: int
) -> None:
    box = make_box(profile=DSM62, knobs=replace(QUICK, session_lost_code=knob))
    client = logged_in(box)
    elsewhere = Client(box, client.sid, client.token, source="127.0.0.2")
    assert code(elsewhere.call(CRT, "list")) == expected
    box.end_sessions()
    assert code(client.call(CRT, "list")) == expected
