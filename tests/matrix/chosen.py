"""Which cells of the matrix a run of the tests tries: all, or the same part each time."""

import random
from collections.abc import Sequence

from tests.contract.scenarios import is_exhaustive
from tests.matrix.cells import Kind

Cell = tuple[Kind, str, str]


def every_cell(kinds: Sequence[Kind]) -> list[Cell]:
    """Return kind, step and fault of all that is tried."""
    return [(kind, *cell) for kind in kinds for cell in kind.cells()]


def one_of_each_step(kinds: Sequence[Kind]) -> list[Cell]:
    """Return a fault for each step of each kind, or every cell if all are asked for."""
    if is_exhaustive():
        return every_cell(kinds)
    return [_chosen(kind, step) for kind in kinds for step in kind.steps if _is_tried(kind, step)]


def each_step_somewhere(kinds: Sequence[Kind]) -> list[Cell]:
    """Return a fault for each step of some kind, each kind in turn; or every cell."""
    if is_exhaustive():
        return every_cell(kinds)
    steps = list(dict.fromkeys(step for kind in kinds for step in kind.steps))
    found = []
    for number, step in enumerate(steps):
        turn = [kinds[(number + more) % len(kinds)] for more in range(len(kinds))]
        kind = next(one for one in turn if step in one.steps and _is_tried(one, step))
        found.append(_chosen(kind, step))
    return sorted(found, key=lambda cell: kinds.index(cell[0]))


def _is_tried(kind: Kind, step: str) -> bool:
    return any(where == step for where, _ in kind.cells())


def _chosen(kind: Kind, step: str) -> Cell:
    faults = [fault for where, fault in kind.cells() if where == step]
    seed = f"{kind.name} {step}"
    return kind, step, random.Random(seed).choice(faults)  # noqa: S311 - the same part each time


def name_of(value: object) -> str:
    """Return what a cell's part is called in a test's name."""
    return value.name if isinstance(value, Kind) else str(value).replace(" ", "-")
