"""A fault at a step of a delivery by the Web API ends as the matrix says."""

from pathlib import Path

import pytest

from tests.matrix.cells import Kind, tried
from tests.matrix.chosen import name_of, one_of_each_step
from tests.matrix.page import read_ends
from tests.matrix.web_api import WEB_KINDS


@pytest.mark.parametrize(("kind", "step", "fault"), one_of_each_step(WEB_KINDS), ids=name_of)
def test_a_fault_ends_as_the_matrix_says(kind: Kind, step: str, fault: str, tmp_path: Path) -> None:
    assert tried(kind, step, fault, tmp_path / "state") == read_ends(kind)[step][fault]
