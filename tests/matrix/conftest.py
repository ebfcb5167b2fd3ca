"""What is held against the matrix explains itself when it does not hold."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.delivering",
    "tests.contract.lab_rig",
    "tests.contract.target_laws",
    "tests.matrix.cells",
)
