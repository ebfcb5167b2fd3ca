"""Any input from outside ends in time, by itself or by an error of our own tree.

A seeded part of what `python -m tests.fuzz` explores, and every input that showed a mistake once.
"""

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.changing import varied
from tests.fuzz.targets import FOUND, TARGETS

KEPT = sorted(path for path in FOUND.glob("*/*") if path.is_file())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what is logged of hostile input has tests of its own."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_showed_a_mistake_once_shows_none_any_more(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


def test_inputs_are_kept_for_targets_that_there_are() -> None:
    assert {path.parent.name for path in KEPT} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_taken(name: str) -> None:
    for sample in TARGETS[name].samples():
        TARGETS[name].run(sample)


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_ends_in_time_and_by_an_error_of_ours_at_most(name: str) -> None:
    target = TARGETS[name]
    samples = target.samples()

    @seed(zlib.crc32(name.encode()))
    @settings(max_examples=target.examples, database=None)
    @given(st.randoms(use_true_random=False))
    def explore(random: Random) -> None:
        target.run(varied(random, samples, target.form))

    explore()
