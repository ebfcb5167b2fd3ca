"""A port of the lab, and the threads that open and close it."""

import sys
import threading
from collections.abc import Iterator

import pytest

from distributor.lab.diskstation import DiskStation
from distributor.lab.listener import Listener, server_context

ROUNDS = 50


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_a_port_may_be_closed_by_several_threads_at_once(box: DiskStation) -> None:
    context = server_context(box.factory_certificate)
    listener = Listener("127.0.0.1", 0, lambda _connection, _peer: None)
    met: list[Exception] = []

    def close(together: threading.Barrier) -> None:
        together.wait()
        try:
            listener.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is to name it
            met.append(error)

    try:
        for _ in range(ROUNDS):
            listener.open(context)
            together = threading.Barrier(4)
            threads = [threading.Thread(target=close, args=(together,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        listener.end()

    assert met == []
