"""The page of the fault matrix is whole, is what the tests expect, and shows nothing bad."""

import re

import pytest

from tests.matrix.cells import FAULTS, Kind
from tests.matrix.chosen import each_step_somewhere, one_of_each_step
from tests.matrix.kinds import KINDS
from tests.matrix.over_ssh import SSH_KINDS
from tests.matrix.page import PAGE, page, read_ends
from tests.matrix.web_api import WEB_KINDS

END = re.compile(
    r"(changed: new|(failed|refused|rolled_back): as before \([A-Za-z]+\)"
    r"|broken: (as before|new|in between) \(RollbackFailed\))"
)

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.name)


def test_the_page_is_made_of_what_the_tests_expect() -> None:
    """Made anew by `python -m tests.matrix.write --page`."""
    assert PAGE.read_text(encoding="utf-8") == page(KINDS)


@every_kind
def test_every_cell_has_an_end_or_a_reason_and_never_both(kind: Kind) -> None:
    ends = read_ends(kind)
    assert list(ends) == list(kind.steps)
    for step in kind.steps:
        for fault in FAULTS:
            assert (fault in ends[step]) != bool(kind.why_never(step, fault)), (step, fault)


@every_kind
def test_no_end_is_a_false_success_or_a_torn_host_that_is_not_said(kind: Kind) -> None:
    for step, found in read_ends(kind).items():
        for fault, end in found.items():
            assert END.fullmatch(end), (step, fault, end)


@every_kind
def test_every_reason_of_a_cell_is_on_the_page_in_words(kind: Kind) -> None:
    shown = page([kind])
    for step in kind.steps:
        for fault in FAULTS:
            why = kind.why_never(step, fault)
            assert why is None or (len(why.split()) > 4 and why in shown)


def test_what_is_tried_each_time_meets_every_step_and_every_kind() -> None:
    by_web = {(kind.name, step) for kind, step, _ in one_of_each_step(WEB_KINDS)}
    assert by_web == {(kind.name, step) for kind in WEB_KINDS for step in kind.steps}
    by_ssh = each_step_somewhere(SSH_KINDS)
    assert {step for _, step, _ in by_ssh} == {step for kind in SSH_KINDS for step in kind.steps}
    assert {kind.name for kind, _, _ in by_ssh} == {kind.name for kind in SSH_KINDS}
