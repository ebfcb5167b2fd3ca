"""A virtual DiskStation renames, deletes, binds and exports as real ones do."""

import io
import json
import zipfile
from dataclasses import replace

import pytest

from distributor.lab.box_state import DSM_DESKTOP, FTPS, QUICKCONNECT, reverse_proxy
from distributor.lab.diskstation import DiskStation
from distributor.lab.material import UploadError
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import issue
from tests.integration.lab.plain_client import CRT, QUICK, SERVICE, Client, Response, code, served


def leaf_of(box: DiskStation, entry_id: str) -> str:
    leaf: str = box.snapshot()["entries"][entry_id]["leaf"]
    return leaf


def test_set_renames_and_makes_the_default_but_moves_no_service(box: DiskStation) -> None:
    entry_id = box.import_entry(*issue().files)
    before = box.snapshot()
    client = Client(box).admin()
    quoted = {"id": f'"{entry_id}"', "desc": '"x y"', "as_default": "true"}
    assert client.call(CRT, "set", **quoted) == {"success": True}
    after = box.snapshot()
    assert (after["default"], after["bindings"]) == (entry_id, before["bindings"])
    box.wait_until_serving()
    assert client.call(CRT, "set", id=entry_id, desc="bare words")["success"]
    assert box.snapshot()["entries"][entry_id]["desc"] == "bare words"
    assert code(client.call(CRT, "set", id="nobody", desc="x")) == 5503


def test_set_may_tell_whether_the_web_server_restarts(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, set_tells_restart=True))
    entry_id = box.import_entry(*issue().files)
    client = Client(box).admin()
    renamed = client.call(CRT, "set", id=f'"{entry_id}"', desc="x")
    assert renamed == {"data": {"restart_httpd": False}, "success": True}
    default = client.call(CRT, "set", id=f'"{entry_id}"', as_default="true")
    assert default == {"data": {"restart_httpd": True}, "success": True}


def test_a_service_without_an_entry_goes_with_the_default(box: DiskStation) -> None:
    first, second = issue(), issue()
    box.unbind("FTPS")
    ids = [box.import_entry(*one.files) for one in (first, second)]
    client = Client(box).admin()
    for entry_id, expected in zip(ids, (first, second), strict=True):
        client.call(CRT, "set", id=f'"{entry_id}"', as_default="true")
        box.wait_until_serving()
        assert served(box.service_ports["FTPS"]) == expected.served
    third = issue()
    assert client.upload(third, entry_id=ids[1])["success"]
    box.wait_until_serving()
    assert served(box.service_ports["FTPS"]) == third.served


def test_an_id_that_looks_like_a_number_must_be_quoted(box: DiskStation) -> None:
    box.import_entry(*issue().files, entry_id="12e345")
    client = Client(box).admin()
    assert code(client.call(CRT, "set", id="12e345", desc="x")) == 5503
    assert client.call(CRT, "set", id='"12e345"', desc='"x"')["success"]


def test_delete_wants_a_list_spares_the_default_and_hands_services_to_it(box: DiskStation) -> None:
    entry_id = box.import_entry(*issue().files)
    box.bind("FTPS", entry_id)
    default = box.snapshot()["default"]
    client = Client(box).admin()
    assert code(client.call(CRT, "delete", id=entry_id)) == 5503
    assert code(client.call(CRT, "delete", ids=json.dumps([entry_id, default]))) == 5503
    assert box.writes == 0
    answer = client.call(CRT, "delete", ids=json.dumps([entry_id]))
    assert answer == {"data": {"restart_httpd": False}, "success": True}
    box.wait_until_serving()
    assert box.snapshot()["bindings"]["smbftpd/ftpd"] == default
    assert served(box.service_ports["FTPS"]) == [leaf_of(box, default)]


def test_an_entry_the_user_may_not_delete_stays(box: DiskStation) -> None:
    entry_id = box.import_entry(*issue().files, user_deletable=False, renewable=True)
    client = Client(box).admin()
    entry = client.entries()[1]
    assert (entry["user_deletable"], entry["renewable"]) == (False, True)
    assert code(client.call(CRT, "delete", ids=json.dumps([entry_id]))) == 5503


def test_binding_one_service_changes_what_its_port_serves_and_no_other(box: DiskStation) -> None:
    factory = served(box.port)
    fresh = issue()
    entry_id = box.import_entry(*fresh.files)
    answer = Client(box).admin().bind("FTPS", entry_id)
    assert answer == {"data": {"restart_httpd": False}, "success": True}
    box.wait_until_serving()
    assert served(box.service_ports["FTPS"]) == fresh.served
    assert served(box.port) == factory


def test_reverse_proxies_are_told_apart_by_name(make_box: MakeBox) -> None:
    git, wiki = reverse_proxy("git.example.com"), reverse_proxy("wiki.example.com")
    box = make_box(services=[DSM_DESKTOP, git, wiki])
    factory = served(box.port)
    fresh = issue()
    entry_id = box.import_entry(*fresh.files)
    assert Client(box).admin().bind("git.example.com", entry_id)["data"]["restart_httpd"] is True
    box.wait_until_serving()
    assert served(box.https_port, "git.example.com") == fresh.served
    assert served(box.https_port, "wiki.example.com") == factory
    assert served(box.https_port, "unknown.example.com") == factory
    assert served(box.https_port) == factory


def test_a_service_object_must_be_as_listed(box: DiskStation) -> None:
    entry_id = box.import_entry(*issue().files)
    client = Client(box).admin()
    before = box.snapshot()
    for changed in ({"owner": "me"}, {"extra": 1}, {"isPkg": 0}, {"service": "ftp"}):
        assert code(client.bind("FTPS", entry_id, **changed)) == 5503
    assert code(client.bind("FTPS", "nobody")) == 5503
    assert code(client.call(SERVICE, "set", settings="no json")) == 5503
    assert box.snapshot() == before
    core = {
        "display_name": "FTPS",
        "isPkg": False,
        "owner": "root",
        "service": "ftpd",
        "subscriber": "smbftpd",
    }
    move = {"service": core, "old_id": before["default"], "id": entry_id}
    assert client.call(SERVICE, "set", settings=json.dumps([move]))["success"]
    stale = client.call(SERVICE, "set", settings=json.dumps([move]))
    assert code(stale) == 5503


def test_several_services_move_in_one_call_and_quickconnect_stays(make_box: MakeBox) -> None:
    box = make_box(services=[DSM_DESKTOP, FTPS, QUICKCONNECT])
    fresh = issue()
    entry_id = box.import_entry(*fresh.files)
    default = box.snapshot()["default"]
    client = Client(box).admin()
    moves = [
        {"service": service, "old_id": default, "id": entry_id}
        for service in client.entries()[0]["services"]
    ]
    assert client.call(SERVICE, "set", settings=json.dumps(moves))["success"]
    box.wait_until_serving()
    assert box.snapshot()["bindings"] == {
        "system/default": entry_id,
        "smbftpd/ftpd": entry_id,
        "system/quickconnect": default,
    }
    assert served(box.port) == served(box.service_ports["FTPS"]) == fresh.served


def _members(answer: Response) -> dict[str, bytes]:
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_export_holds_the_files_of_the_entry(box: DiskStation) -> None:
    fresh = issue()
    entry_id = box.import_entry(*fresh.files)
    client = Client(box).admin()
    api = "SYNO.Core.Certificate"
    exported = _members(client.raw(api, "export", file='"archive"', id=f'"{entry_id}"'))
    assert exported == {
        "cert.pem": fresh.cert_pem,
        "privkey.pem": fresh.key_pem,
        "chain.pem": fresh.chain_pem,
    }
    factory = _members(client.raw(api, "export", file="archive", id=box.snapshot()["default"]))
    assert factory.keys() == {"cert.pem", "privkey.pem", "syno-ca-cert.pem", "syno-ca-privkey.pem"}
    assert code(client.call(api, "export", id=entry_id)) == 5503
    assert code(client.call(api, "export", id=entry_id, file="csr_set")) == 117
    assert code(client.call(api, "export", id="nobody", file="archive")) == 5503
    assert box.writes == 0


def test_what_an_administrator_does_at_the_box_is_served_at_once_and_is_no_write(
    box: DiskStation,
) -> None:
    fresh, other = issue(), issue()
    entry_id = box.import_entry(*fresh.files, desc="home", default=True)
    box.bind("system/default", entry_id)
    assert served(box.port) == fresh.served
    box.remove_chain(entry_id)
    assert served(box.port) == fresh.served[:1]
    box.import_entry(*other.files, desc="home", entry_id=entry_id)
    assert served(box.port) == other.served
    assert box.snapshot()["default"] == entry_id
    assert box.writes == 0
    with pytest.raises(UploadError, match="5514"):
        box.import_entry(fresh.cert_pem, other.key_pem)


def test_a_box_can_be_prepared_before_it_starts() -> None:
    fresh = issue()
    box = DiskStation("cellar", knobs=QUICK)
    box.bind("system/default", box.import_entry(*fresh.files))
    with box:
        assert served(box.port) == fresh.served
        assert box.restarts == 0
