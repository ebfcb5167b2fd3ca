"""Every error is in one tree, which is the tree that is drawn, and says what to do next."""

import inspect
import re
from datetime import UTC, datetime

import pytest

from distributor.model import errors
from distributor.model.errors import (
    DistributorError,
    HostError,
    InventoryError,
    PlanError,
    Problem,
    RateLimited,
    UnsafePlan,
)

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BaseException)
}


def test_every_error_descends_from_the_one_root() -> None:
    assert CLASSES
    assert all(issubclass(kind, DistributorError) for kind in CLASSES.values())


def test_every_error_says_what_it_means() -> None:
    assert all(kind.__doc__ for kind in CLASSES.values())


def drawn() -> dict[str, str]:
    """Return the parent of each class as the module's docstring draws it."""
    parents: dict[str, str] = {}
    branch = ""
    for line in (errors.__doc__ or "").split("```")[1].splitlines():
        # Words after the first wide gap explain; everything else on a line is names.
        names = re.split(r"(?<=[\w)])\s{3,}", line)[0]
        below = dict(re.findall(r"(\w+) \((\w+)\)", names))  # a class and the one below it
        found = re.findall(r"[A-Z]\w+", names)
        if re.match(r"[├└]", line):
            branch = found[0]
        for name in found:
            parents[name] = branch if name != branch else DistributorError.__name__
        parents |= {child: parent for parent, child in below.items()}
    return parents


def test_the_tree_in_the_module_is_the_tree_there_is() -> None:
    there = {name: kind.__base__.__name__ for name, kind in CLASSES.items() if kind.__base__}
    assert drawn() | {"DistributorError": "Exception"} == there


@pytest.mark.parametrize(
    "kind",
    [kind for kind in CLASSES.values() if kind.__init__ is DistributorError.__init__],
)
def test_an_error_carries_what_a_report_shows(kind: type[DistributorError]) -> None:
    error = kind("it broke", hint="mend it", step="login", code=400)
    assert (error.kind, error.message, error.hint) == (kind.__name__, "it broke", "mend it")
    assert (error.step, error.code) == ("login", 400)
    assert str(error) == "it broke: mend it"
    assert error.args == ("it broke",)


def test_an_error_without_a_hint_is_its_message() -> None:
    error = HostError("it broke")
    assert str(error) == "it broke"
    assert (error.hint, error.step, error.code) == (None, None, None)


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        (Problem("hosts.attic.port", "not a port", 7), "line 7: hosts.attic.port: not a port"),
        (Problem("hosts.attic.port", "not a port"), "hosts.attic.port: not a port"),
        (Problem("", "not TOML", 1), "line 1: not TOML"),
        (Problem("", "is empty"), "is empty"),
    ],
)
def test_a_problem_says_its_place_as_far_as_it_is_known(problem: Problem, shown: str) -> None:
    assert str(problem) == shown


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 problems"), (1, "1 problem"), (2, "2 problems")]
)
def test_an_inventory_error_counts_its_problems(count: int, words: str) -> None:
    problems = (Problem("acme", "wrong"),) * count
    error = InventoryError("inventory.toml", problems)
    assert error.message == f"inventory.toml has {words}"
    assert error.problems == problems
    assert (error.source, error.step) == ("inventory.toml", "inventory")


def test_the_name_of_an_inventory_reaches_no_terminal_as_a_command() -> None:
    assert "\x1b" not in str(InventoryError("\x1b[2J.toml", ()))


def test_a_rate_limit_says_when_to_come_back() -> None:
    when = datetime(2026, 11, 22, tzinfo=UTC)
    error = RateLimited("too many", retry_at=when, hint="wait", step="order")
    assert (error.retry_at, error.hint, error.step) == (when, "wait", "order")
    assert RateLimited("too many").retry_at is None


def test_an_unsafe_plan_names_its_hazards() -> None:
    error = UnsafePlan("refused", hazards=("fewer-names",), hint="--accept fewer-names")
    assert isinstance(error, PlanError)
    assert (error.hazards, error.step) == (("fewer-names",), "plan")
