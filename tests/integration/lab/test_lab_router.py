"""A virtual router has one certificate and the small dialect of SRM."""

import io
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from distributor.lab.accounts import Account
from distributor.lab.box_state import FTPS, SRM_DESKTOP
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.knobs import SRM12, SRM13, Knobs, Profile
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import Issued, fingerprint, issue, rsa_key
from tests.integration.lab.plain_client import CRT, QUICK, Client, code, request, served

API = "SYNO.Core.Certificate"
OWN_CA = {
    "city": "Taipei",
    "common_name": "Synology Inc. CA",
    "country": "TW",
    "department": "Certificate Authority",
    "email": "product@synology.com",
    "organization": "Synology Inc.",
    "state": "Taiwan",
}


@pytest.fixture(params=[SRM12, SRM13], ids=lambda one: one.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    chosen: Profile = request.param
    return chosen


@pytest.fixture
def router(make_box: MakeBox, profile: Profile) -> DiskStation:
    return make_box(profile=profile)


def log_in(
    router: DiskStation, name: str = ADMIN.name, password: str = ADMIN.password, **more: Any
) -> tuple[Client, Any]:
    client = Client(router)
    answer = client.call(
        "SYNO.API.Auth",
        "Login",
        path="auth.cgi",
        **{"version": 2, "account": name, "passwd": password, "format": "sid", **more},
    )
    client.sid = answer.get("data", {}).get("sid", "")
    return client, answer


def rsa_issued() -> Issued:
    return issue("*.example.com", key=rsa_key())


def upload(client: Client, issued: Issued, chain: bytes | None = None, **fields: str) -> Any:
    files = {
        "key": ("key.pem", issued.key_pem),
        "cert": ("cert.pem", issued.cert_pem),
        "inter_cert": ("chain.pem", issued.chain_pem if chain is None else chain),
    }
    return client.post_form(files, fields)


def test_discovery_knows_logins_at_auth_cgi_and_no_crt(router: DiskStation) -> None:
    found = Client(router).call("SYNO.API.Info", "query", path="query.cgi", query="all")["data"]
    assert found["SYNO.API.Auth"] == {"maxVersion": 2, "minVersion": 1, "path": "auth.cgi"}
    assert found.keys() == {"SYNO.API.Auth", "SYNO.API.Info", API}
    client, _ = log_in(router)
    assert code(client.call(CRT, "list")) == 102
    assert code(client.call("SYNO.API.Auth", "Login", version=2)) == 102


def test_the_login_tells_the_session_and_nothing_else_and_needs_no_token(
    router: DiskStation,
) -> None:
    client, answer = log_in(router, enable_syno_token="yes")
    assert answer == {"data": {"sid": client.sid}, "success": True}
    assert client.call(API, "list")["success"]
    assert client.call("SYNO.API.Auth", "Logout", version=2, path="auth.cgi")["success"]
    assert code(client.call(API, "list")) == 119


def test_a_session_id_in_the_query_must_not_begin_with_a_digit(
    make_box: MakeBox, profile: Profile
) -> None:
    target = f"/webapi/entry.cgi?api={API}&version=1&method=list"
    for starts_with_digit in (False, True):
        knobs = replace(QUICK, sid_starts_with_digit=starts_with_digit)
        router = make_box(profile=profile, knobs=knobs)
        client, _ = log_in(router)
        assert client.sid[0].isdigit() is starts_with_digit
        by_cookie = request(router.port, "GET", target, headers={"Cookie": f"id={client.sid}"})
        assert by_cookie.json["success"]
        by_query = request(router.port, "GET", f"{target}&_sid={client.sid}")
        assert by_query.json["success"] is not starts_with_digit
        if starts_with_digit:
            assert code(by_query.json) == 119


def test_the_list_is_the_captured_one(router: DiskStation) -> None:
    client, _ = log_in(router)
    assert upload(client, rsa_issued())["success"]
    router.wait_until_serving()
    assert client.call(API, "list") == {
        "data": {
            "certificates": [
                {
                    "issuer": {"common_name": "Lab Middle"},
                    "signature_algorithm": "ecdsa-with-SHA256",
                    "subject": {"common_name": "*.example.com"},
                    "type": "server_cert",
                },
                {
                    "issuer": OWN_CA,
                    "signature_algorithm": "sha256WithRSAEncryption",
                    "subject": OWN_CA,
                    "type": "root_cert",
                },
                {
                    "issuer": {"common_name": "Lab Root"},
                    "signature_algorithm": "ecdsa-with-SHA256",
                    "subject": {"common_name": "Lab Middle"},
                    "type": "inter_cert",
                },
            ],
            "renewable": False,
        },
        "success": True,
    }


def test_a_router_from_the_shop_lists_its_own_certificate_and_ca(router: DiskStation) -> None:
    client, _ = log_in(router)
    listed = client.call(API, "list")["data"]["certificates"]
    assert [one["type"] for one in listed] == ["server_cert", "root_cert"]
    assert listed[0]["issuer"] == OWN_CA
    assert served(router.port) == [fingerprint(router.factory_certificate.leaf)]


def test_an_import_replaces_the_one_certificate_on_every_port(
    make_box: MakeBox, profile: Profile
) -> None:
    router = make_box(profile=profile, services=[SRM_DESKTOP, FTPS])
    client, _ = log_in(router)
    fresh = rsa_issued()
    answer = upload(client, fresh, id="cG2XBt", desc="home", as_default="true")
    assert answer == {"data": {"restart_httpd": True}, "success": True}
    router.wait_until_serving()
    assert served(router.port) == served(router.service_ports["FTPS"]) == fresh.served
    (entry,) = router.snapshot()["entries"].values()
    assert (entry["leaf"], entry["desc"]) == (fresh.served[0], "")
    assert (router.writes, router.restarts) == (1, 1)


def test_a_chain_that_begins_with_an_empty_line_is_refused(router: DiskStation) -> None:
    client, _ = log_in(router)
    fresh, before = rsa_issued(), router.snapshot()
    for blank in (b"\n", b"\r\n"):
        assert code(upload(client, fresh, blank + fresh.chain_pem)) == 5512
    assert router.snapshot() == before
    assert upload(client, fresh, fresh.chain_pem + b"\n")["success"]


@pytest.mark.parametrize(("knob", "expected"), [(5529, 5529), (5598, 5598), (None, None)])
def test_an_ec_key_is_refused_or_taken(
    make_box: MakeBox, profile: Profile, knob: int | None, expected: int | None
) -> None:
    client, _ = log_in(make_box(profile=profile, knobs=replace(QUICK, router_ec_code=knob)))
    assert upload(client, issue()).get("error", {}).get("code") == expected


def test_an_export_needs_the_word_archive_and_no_id(router: DiskStation) -> None:
    client, _ = log_in(router)
    fresh = rsa_issued()
    upload(client, fresh)
    router.wait_until_serving()
    assert code(client.call(API, "export")) == 5503
    assert code(client.call(API, "export", file="zip")) == 117
    answer = client.raw(API, "export", file='"archive"')
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        exported = {name: archive.read(name) for name in archive.namelist()}
    assert exported == {
        "cert.pem": fresh.cert_pem,
        "privkey.pem": fresh.key_pem,
        "chain.pem": fresh.chain_pem,
    }


def test_only_the_first_administrator_is_let_in(make_box: MakeBox, profile: Profile) -> None:
    accounts = [Account("guest", "g", admin=False), ADMIN, Account("second", "s")]
    router = make_box(profile=profile, accounts=accounts)
    for name, password in (("guest", "g"), ("second", "s")):
        assert code(log_in(router, name, password)[1]) == 402
    assert log_in(router)[1]["success"]
    router.knobs = replace(QUICK, router_refuses_late=True)
    for name, password in (("guest", "g"), ("second", "s")):
        client, answer = log_in(router, name, password)
        assert answer["success"]
        assert code(client.call(API, "list")) == 117
        assert code(upload(client, rsa_issued())) == 117
    assert router.writes == 0


def test_a_second_factor_is_asked_for_by_code_alone(make_box: MakeBox, profile: Profile) -> None:
    account = Account("u", "p", otp_codes=frozenset({"123456"}))
    router = make_box(profile=profile, accounts=[account])
    assert log_in(router, "u", "p")[1] == {"error": {"code": 403}, "success": False}
    assert log_in(router, "u", "p", otp_code="123456")[1]["success"]


def test_what_is_open_about_a_router_can_be_turned(make_box: MakeBox, profile: Profile) -> None:
    knobs = replace(QUICK, router_auth_max=6, router_crt="as_router")
    router = make_box(profile=profile, knobs=knobs)
    client, answer = log_in(router, version=6)
    assert answer["data"].keys() == {"sid"}
    assert client.call(CRT, "list") == client.call(API, "list")
    router.knobs = replace(QUICK, router_crt="as_dsm")
    (entry,) = client.entries()
    assert (entry["id"], entry["desc"]) == (router.snapshot()["default"], "")
    assert code(client.call(CRT, "set", id=entry["id"], desc="x")) == 103


def test_an_administrator_replaces_it_at_the_router_itself(router: DiskStation) -> None:
    fresh = rsa_issued()
    entry_id = router.import_entry(*fresh.files)
    assert router.snapshot()["entries"].keys() == {entry_id}
    assert served(router.port) == fresh.served
    assert router.writes == 0


def test_the_knobs_of_every_box_work_on_a_router(make_box: MakeBox, profile: Profile) -> None:
    router = make_box(profile=profile, knobs=Knobs(restart_seconds=0.05, html_status=404))
    assert request(router.port, "GET", "/webapi/query.cgi").status == 404
    router.knobs = replace(QUICK, restart_ends_sessions=True, restart_httpd_absent=True)
    client, _ = log_in(router)
    assert upload(client, rsa_issued()) == {"data": {}, "success": True}
    router.wait_until_serving()
    assert code(client.call(API, "list")) == 119
