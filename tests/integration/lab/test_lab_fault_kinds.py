"""Each way in which the n-th request to a virtual box can go wrong."""

import http.client
import json
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from distributor.lab.knobs import Fault
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.issued import issue
from tests.integration.lab.plain_client import CRT, QUICK, Client, code, served

Kind = Any


def struck(make_box: MakeBox, how: Kind, **knobs: Any) -> Client:
    """A client whose second write is struck; the first has been made."""
    box = make_box(knobs=replace(QUICK, faults=(Fault(2, how),), **knobs))
    client = Client(box).admin()
    assert client.upload(issue())["success"]
    return client


def refuses(port: int) -> bool:
    """Whether a port refuses connections, soon."""
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was closed just now
            pass
        time.sleep(0.01)
    return False


def test_a_page_instead_of_an_answer_has_no_effect(make_box: MakeBox) -> None:
    client = struck(make_box, "page")
    before = client.box.snapshot()
    with pytest.raises(json.JSONDecodeError):
        client.upload(issue())
    assert client.box.snapshot() == before
    assert client.upload(issue())["success"]


def test_sessions_end_just_before_the_request(make_box: MakeBox) -> None:
    client = struck(make_box, "session")
    assert code(client.upload(issue())) == 119
    assert client.admin().upload(issue())["success"]
    assert client.box.writes == 2


def test_a_slow_answer_has_its_effect(make_box: MakeBox) -> None:
    client = struck(make_box, "slow", slow_seconds=0.3)
    begun = time.monotonic()
    assert client.upload(issue())["success"]
    assert time.monotonic() - begun >= 0.3
    assert client.box.writes == 2


def test_a_promise_without_effect_leaves_everything_as_it_was(make_box: MakeBox) -> None:
    client = struck(make_box, "nothing")
    before, ports = client.box.snapshot(), served(client.box.port)
    default = before["default"]
    answer = client.upload(issue(), entry_id=default, desc="new")
    assert answer["data"] == {"id": default, "restart_httpd": True}
    client.box.wait_until_serving()
    assert (client.box.snapshot(), served(client.box.port)) == (before, ports)
    assert (client.box.writes, client.box.restarts) == (1, 0)
    assert client.upload(issue(), entry_id=default)["success"]
    assert client.box.snapshot() != before


def test_a_promised_binding_and_deletion_come_to_nothing_too(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, faults=(Fault(1, "nothing"), Fault(2, "nothing"))))
    entry_id = box.import_entry(*issue().files)
    client, before = Client(box).admin(), box.snapshot()
    assert client.bind("FTPS", entry_id)["success"]
    assert client.call(CRT, "delete", ids=json.dumps([entry_id]))["success"]
    assert box.snapshot() == before


def test_a_box_may_be_gone_for_good(make_box: MakeBox) -> None:
    client = struck(make_box, "gone")
    before = client.box.snapshot()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.upload(issue())
    for port in (client.box.port, client.box.https_port, client.box.service_ports["FTPS"]):
        assert refuses(port)
    assert client.box.snapshot() == before


def test_requests_and_writes_are_counted_apart(make_box: MakeBox) -> None:
    box = make_box(knobs=replace(QUICK, faults=(Fault(3, "page", "requests"),)))
    client = Client(box).admin()
    assert code(client.upload(issue(), entry_id="nobody")) == 5503
    assert box.counted == {"requests": 2, "writes": 1}
    with pytest.raises(json.JSONDecodeError):
        client.entries()
    assert len(client.entries()) == 1
