"""The other ports of a virtual box: without TLS, with old TLS, with two pairs, of other names."""

import http.client
import io
import json
import socket
import ssl
import warnings
import zipfile
from dataclasses import replace
from typing import Any

import pytest
from OpenSSL import SSL

from distributor.lab.box_state import DRIVE, DSM_DESKTOP, FTPS
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.knobs import DSM62, DSM73
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import fingerprint, issue, rsa_key
from tests.integration.lab.plain_client import (
    CRT,
    QUICK,
    SERVICE,
    Client,
    request,
    served,
    unverified,
)

INFO = "/webapi/query.cgi?api=SYNO.API.Info&version=1&method=query&query=SYNO.API.Auth"


def in_clear(box: DiskStation, target: str, host: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", box.http_port, timeout=5)
    try:
        connection.request("GET", target, headers={"Host": host, "Connection": "close"})
        with connection.getresponse() as response:
            return response.status, response.getheader("Location"), response.read()
    finally:
        connection.close()


def test_the_http_port_speaks_the_same_api_without_tls(box: DiskStation) -> None:
    status, _, body = in_clear(box, INFO, "attic:5000")
    assert (status, json.loads(body)["success"]) == (200, True)
    assert [seen.in_clear for seen in box.requests] == [True]


def test_the_http_port_may_send_everybody_to_the_tls_port(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, http_redirects=True))
    status, location, _ = in_clear(box, INFO, "attic.example.com:5000")
    assert (status, location) == (302, f"https://attic.example.com:{box.port}{INFO}")
    assert request(box.port, "GET", INFO).status == 200
    assert [seen.in_clear for seen in box.requests] == [True, False]


def test_a_customised_domain_is_served_on_443_and_missing_on_the_own_port(
    make_box: MakeBox,
) -> None:
    box = make_box(knobs=replace(QUICK, customised_domain="nas.example.com"))
    for host in ("nas.example.com", "NAS.example.com:5001"):
        page = request(box.port, "GET", INFO, headers={"Host": host})
        assert (page.status, page.headers["Content-Type"]) == (404, "text/html")
    assert in_clear(box, INFO, "nas.example.com")[0] == 404
    for host in ("attic.example.com", "127.0.0.1:5001", "[::1]", "[::1]:5001"):
        assert request(box.port, "GET", INFO, headers={"Host": host}).json["success"]
    own = request(box.https_port, "GET", INFO, headers={"Host": "nas.example.com"})
    assert own.json["success"]
    other = request(box.https_port, "GET", INFO, headers={"Host": "git.example.com"})
    assert other.headers["Content-Type"] == "text/html"


def old_client() -> ssl.SSLContext:
    context = unverified()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def test_old_firmware_speaks_only_to_clients_that_lower_themselves(make_box: MakeBox) -> None:
    box = make_box(profile=DSM62, knobs=replace(QUICK, old_tls=True))
    fresh = issue(key=rsa_key())
    box.import_entry(*fresh.files, entry_id=box.snapshot()["default"])
    for port in (box.port, box.https_port, box.service_ports["FTPS"]):
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
            request(port, "GET", "/")
        address = ("127.0.0.1", port)
        with (
            socket.create_connection(address, timeout=5) as raw,
            old_client().wrap_socket(raw) as tls,
        ):
            assert tls.version() == "TLSv1.1"
            leaf = tls.getpeercert(binary_form=True)
        assert leaf == ssl.PEM_cert_to_DER_cert(fresh.cert_pem.decode())


def shown_to(port: int, algorithms: bytes) -> list[str]:
    """Fingerprints that a client of TLS 1.2 sees which signs by these cipher suites only."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(algorithms)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.settimeout(None)
        connection = SSL.Connection(context, raw)
        connection.set_connect_state()
        connection.do_handshake()
        chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    return [fingerprint(one) for one in chain]


@pytest.mark.parametrize(
    ("dual", "prefixes"), [("prefixed", ("ECC-", "RSA-")), ("ecc", ("",)), ("rsa", ("",))]
)
def test_an_entry_with_two_pairs_serves_and_exports_both(
    make_box: MakeBox, dual: Any, prefixes: tuple[str, ...]
) -> None:
    box = make_box(profile=DSM73, knobs=replace(QUICK, dual_export=dual))
    ecc, rsa = issue(), issue(key=rsa_key())
    entry_id = box.import_entry(*ecc.files, entry_id=box.snapshot()["default"], desc="both")
    box.add_rsa_pair(entry_id, *rsa.files)
    assert shown_to(box.port, b"ECDHE+ECDSA") == ecc.served
    assert shown_to(box.port, b"ECDHE+aRSA") == rsa.served
    held = box.snapshot()["entries"][entry_id]
    assert (held["leaf"], held["rsa"]["leaf"]) == (ecc.served[0], rsa.served[0])
    client = Client(box).admin()
    (entry,) = client.entries()
    assert entry["key_types"] == "RSA/ECC"
    answer = client.raw("SYNO.Core.Certificate", "export", file='"archive"', id=f'"{entry_id}"')
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        keys = {name: archive.read(name) for name in archive.namelist() if "privkey" in name}
    assert keys.keys() == {f"{prefix}privkey.pem" for prefix in prefixes}
    expected = [rsa.key_pem] if dual == "rsa" else [ecc.key_pem, rsa.key_pem][: len(prefixes)]
    assert list(keys.values()) == expected
    box.remove_chain(entry_id)
    assert shown_to(box.port, b"ECDHE+aRSA") == rsa.served[:1]


def test_importing_over_two_pairs_leaves_one(make_box: MakeBox) -> None:
    box = make_box(profile=DSM73)
    entry_id = box.snapshot()["default"]
    box.add_rsa_pair(entry_id, *issue(key=rsa_key()).files)
    fresh = issue()
    assert Client(box).admin().upload(fresh, entry_id=entry_id)["success"]
    box.wait_until_serving()
    assert served(box.port) == fresh.served
    assert "rsa" not in box.snapshot()["entries"][entry_id]


def test_a_package_restarts_alone_and_restarts_are_counted(make_box: MakeBox) -> None:
    box = make_box(services=[DSM_DESKTOP, FTPS, DRIVE])
    entry_id = box.import_entry(*issue().files)
    client = Client(box).admin()
    kept = http.client.HTTPSConnection("127.0.0.1", box.port, timeout=5, context=unverified())
    try:
        kept.request("GET", INFO)
        assert kept.getresponse().read()
        desk = kept.sock
        before = box.restarts
        answer = client.bind("Synology Drive Server", entry_id)
        assert answer["data"] == {"restart_httpd": False}
        box.wait_until_serving()
        assert box.restarts == before + 1
        kept.request("GET", INFO)
        assert json.loads(kept.getresponse().read())["success"]
        assert kept.sock is desk
    finally:
        kept.close()


def test_a_service_without_a_certificate_is_not_listed_until_it_is_bound(box: DiskStation) -> None:
    default = box.snapshot()["default"]
    listed = Client(box).admin().entries()[0]["services"]
    box.unbind("FTPS")
    client = Client(box)
    client.login(ADMIN.name, ADMIN.password)
    (entry,) = client.entries()
    assert [one["display_name"] for one in entry["services"]] == ["DSM Desktop Service"]
    assert served(box.service_ports["FTPS"]) == [fingerprint(box.factory_certificate.leaf)]
    move = {"service": listed[1], "old_id": "", "id": default}
    assert client.call(SERVICE, "set", settings=json.dumps([move]))["success"]
    assert client.call(CRT, "list")["data"]["certificates"][0]["services"] == listed
