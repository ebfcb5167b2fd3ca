"""Any input from outside ends in time, by itself or by an error of our own tree.

A seeded part of what `python -m tests.fuzz` explores, and every input that showed a mistake once.
"""

import logging
import zlib
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import judging
from tests.fuzz.changing import varied
from tests.fuzz.targets import FOUND, TARGETS


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what is logged of hostile input has tests of its own."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_what_showed_a_mistake_once_shows_none_any_more(name: str) -> None:
    for path in sorted((FOUND / name).glob("*")):
        TARGETS[name].run(path.read_bytes())


def test_inputs_are_kept_for_targets_that_there_are() -> None:
    assert {path.name for path in FOUND.iterdir()} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_taken(name: str) -> None:
    target = TARGETS[name]
    met = []
    for sample in target.samples():
        with judging.noted() as refused:
            target.run(sample)
        met.append(refused)
    assert target.takes is ([] in met), met


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
