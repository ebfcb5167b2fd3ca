"""A virtual DiskStation lists and imports certificates as real ones do."""

import http.client
import json
import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL

from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import DSM74, HOSTILE_DESCRIPTION
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import Issued, issue, key_pem, pem, rsa_key
from tests.integration.lab.plain_client import (
    CRT,
    QUICK,
    Client,
    code,
    served,
    unverified,
)


def test_the_list_is_sorted_without_white_space_and_pads_days_with_blanks(box: DiskStation) -> None:
    fifth = datetime(2026, 3, 5, 10, tzinfo=UTC)
    box.import_entry(*issue(start=fifth).files, desc="home")
    client = Client(box).admin()
    body = client.raw(CRT, "list").body
    assert b'"desc":"home","id":"' in body
    assert (
        body
        == json.dumps(
            json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
    )
    entry = client.entries()[1]
    assert entry["valid_from"] == "Mar  5 10:00:00 2026 GMT"
    assert entry["valid_till"] == "Jun  3 10:00:00 2026 GMT"
    assert entry["key_types"] == "ECC"
    assert entry["subject"]["sub_alt_name"] == ["example.com", "*.example.com"]
    assert "self_signed_cacrt_info" not in entry


def test_two_boxes_entries_may_share_a_description_full_of_control_characters(
    make_box: MakeBox,
) -> None:
    knobs = replace(QUICK, description=HOSTILE_DESCRIPTION, twins=True, expired_at_start=True)
    first, twin = Client(make_box(knobs=knobs)).admin().entries()
    assert first["desc"] == twin["desc"] == HOSTILE_DESCRIPTION
    assert first["id"] != twin["id"]
    assert [one["is_default"] for one in (first, twin)] == [True, False]
    assert twin["services"] == []


def test_a_new_entry_serves_nobody_and_restarts_nothing(box: DiskStation) -> None:
    before = box.snapshot()
    fresh = issue()
    answer = Client(box).admin().upload(fresh, desc="home")
    new_id = answer["data"]["id"]
    assert answer == {"data": {"id": new_id}, "success": True}
    after = box.snapshot()
    assert after["bindings"] == before["bindings"]
    assert after["default"] == before["default"]
    assert [after["entries"][new_id]["leaf"], *after["entries"][new_id]["chain"]] == fresh.served
    assert (box.writes, box.restarts) == (1, 0)


def test_replacing_what_is_served_keeps_bindings_and_serves_the_new_leaf(box: DiskStation) -> None:
    before = box.snapshot()
    fresh = issue(key=rsa_key())
    answer = Client(box).admin().upload(fresh, entry_id=before["default"], desc="new words")
    assert answer["data"] == {"id": before["default"], "restart_httpd": True}
    box.wait_until_serving()
    after = box.snapshot()
    assert after["bindings"] == before["bindings"]
    assert after["entries"][before["default"]]["desc"] == "new words"
    for port in (box.port, box.https_port, box.service_ports["FTPS"]):
        assert served(port) == fresh.served
    assert (box.writes, box.restarts) == (1, 1)


def test_replacing_what_nobody_serves_restarts_nothing(box: DiskStation) -> None:
    entry_id = box.import_entry(*issue().files)
    restarts = box.restarts
    answer = Client(box).admin().upload(issue(), entry_id=entry_id)
    assert answer["data"] == {"id": entry_id, "restart_httpd": False}
    box.wait_until_serving()
    assert box.restarts == restarts


def test_a_web_server_that_restarts_refuses_and_comes_back(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, restart_seconds=0.4))
    old = served(box.port)
    fresh = issue()
    Client(box).admin().upload(fresh, entry_id=box.snapshot()["default"])
    seen = set()
    ends = time.monotonic() + 5
    while "new" not in seen and time.monotonic() < ends:
        try:
            seen.add("old" if served(box.port) == old else "new")
        except ConnectionRefusedError:
            seen.add("refused")
        except (ConnectionError, SSL.Error):
            seen.add("cut")
        time.sleep(0.01)
    assert {"refused", "new"} <= seen
    assert served(box.port) == fresh.served


def _say_and_hear(kept: socket.socket) -> None:
    kept.sendall(b"GET / HTTP/1.1\r\n\r\n")
    if not kept.recv(4096):
        raise ConnectionAbortedError("closed")


def test_a_restart_cuts_connections_that_are_kept(box: DiskStation) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", box.port, timeout=5, context=unverified())
    try:
        connection.request("GET", "/")
        assert connection.getresponse().read()
        Client(box).admin().upload(issue(), entry_id=box.snapshot()["default"])
        box.wait_until_serving()
        kept = connection.sock
        assert kept is not None
        kept.settimeout(5)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            _say_and_hear(kept)
    finally:
        connection.close()


@pytest.mark.parametrize("as_default", ["true", "false", "0"])
def test_any_text_in_as_default_makes_it_the_default_and_moves_no_service(
    box: DiskStation, as_default: str
) -> None:
    before = box.snapshot()
    answer = Client(box).admin().upload(issue(), as_default=as_default)
    assert answer["data"]["restart_httpd"] is True
    after = box.snapshot()
    assert after["default"] == answer["data"]["id"] != before["default"]
    assert after["bindings"] == before["bindings"]


def test_an_unknown_id_is_refused_or_makes_a_new_entry(make_box: MakeBox) -> None:
    box = make_box()
    client = Client(box).admin()
    assert code(client.upload(issue(), entry_id="nobody")) == 5503
    box.knobs = replace(QUICK, unknown_id_is_new=True)
    made = client.upload(issue(), entry_id="nobody")["data"]["id"]
    assert made != "nobody"
    assert len(client.entries()) == 2


def _der(issued: Issued) -> tuple[bytes, bytes, bytes]:
    encoding = serialization.Encoding.DER
    key = issued.key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (
        issued.leaf.public_bytes(encoding),
        key,
        issued.intermediate.public_bytes(encoding),
    )


def test_uploads_in_der_and_with_a_byte_order_mark_are_taken(box: DiskStation) -> None:
    client = Client(box).admin()
    for cert, key, chain in (
        _der(issue()),
        tuple(b"\xef\xbb\xbf" + one for one in issue(key=rsa_key()).files),
    ):
        files = {"key": ("k", key), "cert": ("c", cert), "inter_cert": ("i", chain)}
        assert client.post_form(files, {})["success"]


def test_a_fullchain_as_certificate_is_served_whole(box: DiskStation) -> None:
    fresh = issue()
    files = {"key": ("k", fresh.key_pem), "cert": ("c", fresh.cert_pem + fresh.chain_pem)}
    answer = Client(box).admin().post_form(files, {"id": box.snapshot()["default"]})
    assert answer["success"]
    box.wait_until_serving()
    assert served(box.port) == fresh.served


def _broken_uploads() -> dict[str, tuple[int, bytes, bytes, bytes | None]]:
    one, other = issue(), issue()
    cert, key, chain = one.files
    weak = issue(key=rsa_key(1024))
    ed25519 = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "everything is empty": (5510, b"", b"", b""),
        "the certificate is garbled": (5510, cert[:80] + b"!" + cert[81:], key, chain),
        "the key is empty": (5511, cert, b"", chain),
        "the key is encrypted": (5511, cert, key_pem(one.key, b"secret"), chain),
        "the key is of a strange type": (5513, cert, ed25519, chain),
        "the chain is empty": (5512, cert, key, b""),
        "the key belongs to another": (5514, cert, other.key_pem, chain),
        "the chain belongs to another": (5517, cert, key, other.chain_pem),
        "the chain is a fullchain": (5517, cert, key, cert + chain),
        "the chain is upside down": (5517, cert, key, pem(one.root) + chain),
        "the text is not UTF-8": (5516, b"# \xff\n" + cert, key, chain),
        "the key is weak": (5534, weak.cert_pem, weak.key_pem, weak.chain_pem),
    }


@pytest.mark.parametrize("case", list(_broken_uploads()))
def test_a_broken_upload_is_refused_with_its_code_and_changes_nothing(
    box: DiskStation, case: str
) -> None:
    expected, cert, key, chain = _broken_uploads()[case]
    before = box.snapshot()
    files = {"key": ("k", key), "cert": ("c", cert), "inter_cert": ("i", chain or b"")}
    assert code(Client(box).admin().post_form(files, {})) == expected
    assert box.snapshot() == before
    assert box.writes == 0


def test_a_form_without_the_key_lacks_a_parameter(box: DiskStation) -> None:
    assert code(Client(box).admin().post_form({"cert": ("c", issue().cert_pem)}, {})) == 114


def test_the_form_must_be_spelt_as_dsm_spells_it(box: DiskStation) -> None:
    client = Client(box).admin()
    fresh = issue()
    files = {"key": ("k", fresh.key_pem), "cert": ("c", fresh.cert_pem)}
    quoted = 'multipart/form-data; boundary="----lab-test-boundary"'
    assert code(client.post_form(files, {}, quoted)) == 108
    starred = {"key": ('k"; filename*="k', fresh.key_pem), "cert": ("c", fresh.cert_pem)}
    assert code(client.post_form(starred, {})) == 108
    assert box.writes == 0


def test_only_dsm_74_refuses_file_names_with_a_path(make_box: MakeBox) -> None:
    fresh = issue()
    files = {"key": ("a/k.pem", fresh.key_pem), "cert": ("c.pem", fresh.cert_pem)}
    new = make_box(profile=DSM74)
    answer = Client(new).admin().post_form(files, {})
    assert answer == {"error": {"code": 108, "errors": {"upload_err": -8}}, "success": False}
    assert Client(make_box()).admin().post_form(files, {})["success"]
