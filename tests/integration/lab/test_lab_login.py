"""A virtual DiskStation is discovered and logged in to as real ones are."""

from dataclasses import replace
from typing import Any

import pytest

from distributor.lab.accounts import Account
from distributor.lab.diskstation import ADMIN, DiskStation
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import fingerprint, issue
from tests.integration.lab.plain_client import CRT, QUICK, SERVICE, Client, code, request, served


def test_a_box_from_the_shop_serves_its_own_certificate_on_every_port(box: DiskStation) -> None:
    factory = fingerprint(box.factory_certificate.leaf)
    assert served(box.port) == [factory]
    assert served(box.https_port) == [factory]
    assert served(box.service_ports["FTPS"]) == [factory]


def test_a_box_from_the_shop_lists_one_self_signed_default_without_a_description(
    box: DiskStation,
) -> None:
    (entry,) = Client(box).admin().entries()
    synology = {"city": "Taipei", "country": "TW", "organization": "Synology Inc."}
    authority = synology | {"common_name": "Synology Inc. CA"}
    assert entry["desc"] == ""
    assert entry["is_default"] is True
    assert entry["issuer"] == authority
    assert entry["subject"] == synology | {"common_name": "synology", "sub_alt_name": []}
    assert entry["self_signed_cacrt_info"] == {"issuer": authority, "subject": authority}
    assert entry["signature_algorithm"] == "sha256WithRSAEncryption"
    assert [one["display_name"] for one in entry["services"]] == ["DSM Desktop Service", "FTPS"]
    assert "display_name_i18n" not in entry["services"][1]


def test_discovery_answers_before_login_at_both_paths(box: DiskStation) -> None:
    query = "api=SYNO.API.Info&version=1&method=query&query=SYNO.API.Auth"
    for program in ("query.cgi", "entry.cgi"):
        answer = request(box.port, "GET", f"/webapi/{program}?{query}")
        assert answer.body == (
            b'{"data":{"SYNO.API.Auth":{"maxVersion":7,"minVersion":1,"path":"entry.cgi"}},'
            b'"success":true}'
        )
        assert answer.headers["Content-Type"] == 'application/json; charset="UTF-8"'


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SYNO.API.Auth,SYNO.API.Info,SYNO.None", {"SYNO.API.Auth", "SYNO.API.Info"}),
        ("SYNO.Core.Certificate.", {CRT, SERVICE}),
        ("SYNO.None", set()),
    ],
)
def test_discovery_takes_lists_and_prefixes(box: DiskStation, query: str, found: set[str]) -> None:
    answer = Client(box).call("SYNO.API.Info", "query", path="query.cgi", query=query)
    assert answer["data"].keys() == found


@pytest.mark.parametrize(
    ("api", "method", "version", "path", "expected"),
    [
        ("", "list", 1, "entry.cgi", 101),
        ("SYNO.None", "list", 1, "entry.cgi", 102),
        (CRT, "list", 1, "auth.cgi", 102),
        (CRT, "import", 1, "entry.cgi", 103),
        (SERVICE, "list", 1, "entry.cgi", 103),
        ("SYNO.Core.Certificate", "list", 1, "entry.cgi", 103),
        ("SYNO.API.Auth", "login", 2, "entry.cgi", 103),
        ("SYNO.API.Auth", "login", 8, "entry.cgi", 104),
        (CRT, "list", "x", "entry.cgi", 104),
        (CRT, "list", 1, "entry.cgi", 119),
    ],
)
def test_calls_that_do_not_exist_have_their_codes(
    box: DiskStation, api: str, method: str, version: object, path: str, expected: int
) -> None:
    assert code(Client(box).call(api, method, path=path, version=version)) == expected


def test_a_login_of_version_7_tells_account_session_and_token(box: DiskStation) -> None:
    data = Client(box).login(ADMIN.name, ADMIN.password)["data"]
    assert data.keys() == {
        "account",
        "device_id",
        "ik_message",
        "is_portal_port",
        "sid",
        "synotoken",
    }
    assert (data["account"], data["device_id"], data["ik_message"]) == (ADMIN.name, "", "")
    assert box.logins == 1
    assert box.sessions_open == 1


def test_a_token_that_was_not_asked_for_is_eight_dashes_and_not_needed(box: DiskStation) -> None:
    client = Client(box)
    answer = client.login(ADMIN.name, ADMIN.password, enable_syno_token="no")
    assert answer["data"]["synotoken"] == "--------"
    client.token = ""
    assert len(client.entries()) == 1


@pytest.mark.parametrize("expected", [119, 103, 105])
def test_a_token_that_was_asked_for_must_be_sent(make_box: MakeBox, expected: Any) -> None:
    client = Client(make_box(knobs=replace(QUICK, token_missing_code=expected))).admin()
    client.token = ""
    assert code(client.call(CRT, "list")) == expected


def test_the_session_may_come_as_parameter_or_cookie_but_not_as_part_of_a_form(
    box: DiskStation,
) -> None:
    client = Client(box).admin()
    sid, token, client.sid = client.sid, client.token, ""
    assert client.call(CRT, "list", _sid=sid)["success"]
    client.token = ""
    assert client.call(CRT, "list", _sid=sid, SynoToken=token)["success"]
    client.token = token
    fresh = issue()
    files = {"key": ("k.pem", fresh.key_pem), "cert": ("c.pem", fresh.cert_pem)}
    assert code(client.post_form(files, {"_sid": sid})) == 119


def test_format_cookie_sets_the_session_cookie_and_format_sid_does_not(box: DiskStation) -> None:
    login: dict[str, Any] = {"account": ADMIN.name, "passwd": ADMIN.password, "version": 7}
    by_cookie = Client(box).raw("SYNO.API.Auth", "login", **login, format="cookie")
    assert by_cookie.cookies[0].startswith(f"id={by_cookie.json['data']['sid']};")
    assert Client(box).raw("SYNO.API.Auth", "login", **login, format="sid").cookies == []


def test_old_versions_of_login_answer_less(box: DiskStation) -> None:
    client = Client(box, version=3)
    answer = client.login(ADMIN.name, ADMIN.password, enable_syno_token="no")
    assert answer["data"].keys() == {"sid"}
    client = Client(box, version=6)
    answer = client.login(ADMIN.name, ADMIN.password)
    assert answer["data"].keys() == {"is_portal_port", "sid", "synotoken"}


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (Account("u", "other"), 400),
        (Account("u", "p", disabled=True), 401),
        (Account("u", "p", dsm_right=False), 402),
        (Account("u", "p", otp_codes=frozenset({"123456"})), 403),
        (Account("u", "p", enforce_2fa=True), 406),
        (Account("u", "p", locked=True), 411),
    ],
)
def test_logins_are_refused_with_their_codes(
    make_box: MakeBox, account: Account, expected: int
) -> None:
    box = make_box(accounts=[account])
    assert code(Client(box).login("u", "p")) == expected
    assert (box.logins, box.failed_logins, box.sessions_open) == (0, 1, 0)


def test_an_address_is_blocked_after_so_many_wrong_passwords(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, auto_block_after=2))
    codes = [code(Client(box).login(ADMIN.name, "wrong")) for _ in range(3)]
    assert codes == [400, 400, 407]
    assert code(Client(box).login(ADMIN.name, ADMIN.password)) == 407


def test_a_one_time_code_works_once_and_buys_a_device_id(make_box: MakeBox) -> None:
    account = Account("u", "p", otp_codes=frozenset({"123456"}))
    box = make_box(accounts=[account])
    client = Client(box)
    refusal = client.login("u", "p")
    assert refusal["error"]["errors"]["types"] == [{"type": "otp"}]
    assert code(client.login("u", "p", otp_code="000000")) == 404
    device = {"enable_device_token": "yes", "device_name": "lab"}
    trusted = client.login("u", "p", otp_code="123456", **device)["data"]["device_id"]
    assert trusted
    assert code(client.login("u", "p", otp_code="123456")) == 404
    assert client.login("u", "p", device_name="lab", device_id=trusted)["success"]
    assert code(client.login("u", "p", device_name="other", device_id=trusted)) == 403
    box.forget_devices()
    assert code(client.login("u", "p", device_name="lab", device_id=trusted)) == 403


def test_the_device_id_has_the_key_of_the_version_and_a_cookie(make_box: MakeBox) -> None:
    box = make_box(accounts=[Account("u", "p", otp_codes=frozenset({"1", "2"}))])
    login = {"account": "u", "passwd": "p", "enable_device_token": "yes", "device_name": "lab"}
    old = Client(box).raw("SYNO.API.Auth", "login", version=6, otp_code="1", **login)
    assert "device_id" not in old.json["data"]
    assert old.cookies[1].startswith(f"did={old.json['data']['did']};")
    new = Client(box).raw("SYNO.API.Auth", "login", version=7, otp_code="2", **login)
    assert new.cookies[1].startswith(f"did={new.json['data']['device_id']};")


def test_sessions_can_be_ended_at_the_box(box: DiskStation) -> None:
    client = Client(box).admin()
    box.end_sessions()
    assert box.sessions_open == 0
    assert code(client.call(CRT, "list")) == 119


def test_a_session_belongs_to_the_address_it_came_from(box: DiskStation) -> None:
    client = Client(box).admin()
    elsewhere = Client(box, client.sid, client.token, source="127.0.0.2")
    assert code(elsewhere.call(CRT, "list")) == 150
    assert client.call(CRT, "list")["success"]


def test_the_token_of_the_second_step_replaces_the_password(make_box: MakeBox) -> None:
    box = make_box(accounts=[Account("u", "p", otp_codes=frozenset({"123456"}))])
    step = Client(box).login("u", "p")["error"]["errors"]["token"]
    assert Client(box).login("u", step, otp_code="123456")["success"]


def test_a_user_who_is_no_administrator_may_log_in_and_nothing_else(make_box: MakeBox) -> None:
    box = make_box(accounts=[Account("u", "p", admin=False)])
    client = Client(box)
    assert client.login("u", "p")["success"]
    assert code(client.call(CRT, "list")) == 105
    assert code(client.upload(issue())) == 105
    assert box.writes == 0


def test_logout_ends_the_session_only_when_it_is_named(box: DiskStation) -> None:
    client = Client(box).admin()
    sid, client.sid = client.sid, ""
    assert client.call("SYNO.API.Auth", "logout", version=7)["success"]
    assert box.sessions_open == 1
    client.sid = sid
    assert client.call("SYNO.API.Auth", "logout", version=7)["success"]
    assert box.sessions_open == 0
    assert code(client.call(CRT, "list")) == 119


def test_passwords_in_a_url_are_noticed(box: DiskStation) -> None:
    Client(box).admin()
    assert [seen.credentials_in_query for seen in box.requests] == [False]
    login = "api=SYNO.API.Auth&version=7&method=login&account=admin&passwd=x"
    request(box.port, "GET", f"/webapi/entry.cgi?{login}")
    assert box.credentials_in_urls
    seen = box.requests[-1]
    assert (seen.method, seen.api_method, seen.names) == ("GET", "login", ())
    assert "passwd" in box.requests[0].names
