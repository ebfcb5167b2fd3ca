"""A fault at a step of a delivery by SSH ends as the matrix says."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.matrix.cells import Kind, tried
from tests.matrix.chosen import each_step_somewhere, name_of
from tests.matrix.over_ssh import SSH_KINDS
from tests.matrix.page import read_ends


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Kind], None]]:
    """Start the box of a kind, and end that of another: their cells come one after the other."""
    with ExitStack() as running:
        started: list[Kind] = []

        def one(kind: Kind) -> None:
            if started != [kind]:
                running.close()
                running.enter_context(kind.ready(tmp_path_factory.mktemp(kind.name)))
                started[:] = [kind]

        yield one


@pytest.mark.parametrize(("kind", "step", "fault"), each_step_somewhere(SSH_KINDS), ids=name_of)
def test_a_fault_ends_as_the_matrix_says(
    kind: Kind, step: str, fault: str, tmp_path: Path, start: Callable[[Kind], None]
) -> None:
    start(kind)
    assert tried(kind, step, fault, tmp_path / "state") == read_ends(kind)[step][fault]
