"""Virtual DiskStations that restart fast."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from distributor.lab.diskstation import DiskStation
from distributor.lab.knobs import Knobs
from tests.integration.lab.plain_client import QUICK

MakeBox = Callable[..., DiskStation]


@pytest.fixture
def make_box() -> Iterator[MakeBox]:
    with ExitStack() as boxes:

        def make(*, knobs: Knobs = QUICK, **more: Any) -> DiskStation:
            return boxes.enter_context(DiskStation("attic", knobs=knobs, **more))

        yield make


@pytest.fixture
def box(make_box: MakeBox) -> DiskStation:
    return make_box()
