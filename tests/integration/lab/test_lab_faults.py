"""A virtual DiskStation fails as real ones were seen to."""

import http.client
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from distributor.lab.accounts import Account
from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import Fault
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import issue
from tests.integration.lab.plain_client import (
    CRT,
    QUICK,
    Client,
    Response,
    code,
    request,
    served,
    unverified,
)


def test_a_restart_may_answer_502_pages(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, restart_answers_502=True, restart_seconds=0.5))
    client, fresh = Client(box).admin(), issue()
    client.upload(fresh, entry_id=box.snapshot()["default"])
    pages: list[Response] = []
    ends = time.monotonic() + 5
    while not pages and time.monotonic() < ends:
        answer = request(box.port, "GET", "/")
        if answer.status == 502:
            pages.append(answer)
        time.sleep(0.01)
    assert pages[0].headers["Content-Type"] == "text/html"
    box.wait_until_serving()
    assert served(box.port) == fresh.served


def test_a_restart_may_overtake_its_own_answer(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, restart_drops_answer=True))
    client, fresh = Client(box).admin(), issue()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.upload(fresh, entry_id=box.snapshot()["default"])
    box.wait_until_serving()
    assert served(box.port) == fresh.served
    assert box.writes == 1


def test_a_restart_may_end_all_sessions(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, restart_ends_sessions=True))
    client = Client(box).admin()
    assert client.upload(issue(), entry_id=box.snapshot()["default"])["success"]
    box.wait_until_serving()
    assert box.sessions_open == 0
    assert code(client.call(CRT, "list")) == 119


def test_keys_of_answers_may_be_absent(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, restart_httpd_absent=True))
    client = Client(box).admin()
    default = box.snapshot()["default"]
    assert client.upload(issue(), entry_id=default)["data"] == {"id": default}
    box.wait_until_serving()
    box.knobs = replace(QUICK, id_absent=True)
    assert client.upload(issue(), entry_id=default)["data"] == {"restart_httpd": True}
    box.wait_until_serving()
    box.knobs = replace(QUICK, data_absent=frozenset({"import", "list"}))
    assert client.upload(issue()) == {"success": True}
    assert client.call(CRT, "list") == {"success": True}


def test_a_binding_may_be_promised_and_not_moved(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, binding_not_moved=True))
    entry_id = box.import_entry(*issue().files)
    before = box.snapshot()
    assert Client(box).admin().bind("FTPS", entry_id)["success"]
    assert box.snapshot() == before


def test_a_device_id_may_come_empty(make_box: MakeBox) -> None:
    account = Account("u", "p", otp_codes=frozenset({"1"}))
    box = make_box(accounts=[account], knobs=replace(QUICK, device_id_empty=True))
    device = {"enable_device_token": "yes", "device_name": "lab"}
    assert Client(box).login("u", "p", otp_code="1", **device)["data"]["device_id"] == ""


def test_json_may_come_as_plain_text_or_not_at_all(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, plain_text=True))
    answer = Client(box).raw("SYNO.API.Info", "query", path="query.cgi")
    assert answer.headers["Content-Type"] == 'text/plain; charset="UTF-8"'
    assert answer.json["success"]
    box.knobs = replace(QUICK, html_status=404)
    answer = Client(box).raw("SYNO.API.Info", "query", path="query.cgi")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")


@pytest.mark.parametrize("hang", ["handshake", "answer"])
def test_a_box_that_hangs_answers_nobody_and_still_stops(hang: Any) -> None:
    with DiskStation("cellar", knobs=replace(QUICK, hang=hang)) as box:
        with pytest.raises(TimeoutError):
            request(box.port, "GET", "/", timeout=0.3)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2


def test_a_slow_import_takes_its_time(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, import_seconds=0.3))
    client = Client(box).admin()
    begun = time.monotonic()
    assert client.upload(issue())["success"]
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("when", "writes"), [("before", 0), ("after", 1)])
def test_the_nth_write_may_be_cut_before_or_after_its_effect(
    make_box: MakeBox, when: Any, writes: int
) -> None:
    box = make_box(knobs=replace(QUICK, faults=(Fault(2, when),)))
    client = Client(box).admin()
    assert client.upload(issue())["success"]
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.upload(issue())
    assert box.writes == 1 + writes
    assert len(client.entries()) == 2 + writes
    assert client.upload(issue())["success"]


def test_any_nth_request_may_be_cut(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, faults=(Fault(2, "before", "requests"),)))
    client = Client(box).admin()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.entries()
    assert len(client.entries()) == 1


def test_slow_and_broken_clients_hold_up_nobody(box: DiskStation) -> None:
    with ExitStack() as idle:
        for first_bytes in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
            client = socket.create_connection(("127.0.0.1", box.port))
            idle.enter_context(client)
            client.sendall(first_bytes)
        assert request(box.port, "GET", "/", timeout=2).status == 404


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", 400),
        (b"PUT / HTTP/1.1\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", 100),
    ],
)
def test_what_cannot_be_read_is_answered_with_a_page(
    box: DiskStation, said: bytes, status: int
) -> None:
    with (
        socket.create_connection(("127.0.0.1", box.port), timeout=5) as raw,
        unverified().wrap_socket(raw) as tls,
    ):
        tls.sendall(said)
        assert tls.recv(4096).split(b" ")[1] == str(status).encode()
    assert request(box.port, "GET", "/").status == 404


def test_five_boxes_run_side_by_side_with_keys_of_their_own() -> None:
    with ExitStack() as boxes:
        range_of_five = [
            boxes.enter_context(DiskStation(f"box{number}", knobs=QUICK)) for number in range(5)
        ]
        leaves = {served(one.port)[0] for one in range_of_five}
        keys = {
            entry["key"] for one in range_of_five for entry in one.snapshot()["entries"].values()
        }
    assert (len(leaves), len(keys)) == (5, 5)


def test_a_stopped_box_leaves_no_thread_and_refuses() -> None:
    threads = threading.active_count()
    with DiskStation("attic", knobs=QUICK) as box:
        Client(box).admin().upload(issue(), entry_id=box.snapshot()["default"])
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        served(box.port)


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(box: DiskStation) -> None:
    with pytest.raises(OSError, match="in use"):
        DiskStation("other", port=box.port).start()
