"""TOML text to `Inventory`, or every problem at once."""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from distributor.inventory.build import build
from distributor.inventory.built import NOT_BUILT, NotBuilt, unbuilt
from distributor.inventory.checks import check
from distributor.inventory.locate import (
    KeyPath,
    key_path,
    line_in_message,
    line_of,
    locate,
)
from distributor.inventory.schema import json_schema
from distributor.inventory.shape import Finding, shape, value_at
from distributor.model.errors import InventoryError, Problem
from distributor.model.hosts import Inventory
from distributor.model.text import printable

__all__ = ["json_schema", "load", "parse"]

SIZE_LIMIT: Final = 4 << 20
"""Bytes: ten thousand hosts have room in it."""
_DOTS: Final = 50
"""In one line, outside of strings and comments: tomllib takes hours for a key of many parts."""
_NO_KEY: Final = re.compile(r"""("[^"\n]*")|('[^'\n]*')|(#[^\n]*)""")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def load(path: Path) -> Inventory:
    """Read and check the inventory at `path`.

    Raises InventoryError with every problem: the file cannot be read, others may write it (told by
    POSIX mode bits only), or its content is wrong.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise InventoryError(str(path), (Problem("", reason),)) from None
    if len(content) > SIZE_LIMIT:
        reason = f"is larger than {SIZE_LIMIT} bytes: is it the right file?"
        raise InventoryError(str(path), (Problem("", reason),))
    writable, private = _rights(mode, is_posix=os.name == "posix")
    problems: tuple[Problem, ...] = ()
    if writable:
        reason = "others may write this file: take the right away with `chmod go-w`"
        problems = (Problem("", reason),)
    text, problem = _decoded(content)
    if problem is not None:
        raise InventoryError(str(path), (*problems, problem))
    inventory, more = read(text, path, private=private)
    return _sound(inventory, path, problems + more)


def parse(text: str, *, path: Path, private: bool) -> Inventory:
    """Check the text of an inventory; nothing is opened.

    Paths in it are relative to the folder of `path`. `private` tells whether nobody but the owner
    may read the file; plain secrets are refused otherwise. Raises InventoryError with every
    problem, in the order of the file.
    """
    inventory, problems = read(text, path, private=private)
    return _sound(inventory, path, problems)


def _decoded(content: bytes) -> tuple[str, Problem | None]:
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return "", Problem("", "is not UTF-8 text", line)


def _rights(mode: int, *, is_posix: bool) -> tuple[bool, bool]:
    """Tell whether others may write a file, and whether nobody else may do anything with it.

    Where there are no mode bits, neither is known: nothing is refused, and nothing is private.
    """
    return (bool(mode & _OTHERS_WRITE), not mode & _OTHERS) if is_posix else (False, False)


def _sound(inventory: Inventory | None, path: Path, problems: tuple[Problem, ...]) -> Inventory:
    # Raised here and not where something was found: what pydantic and tomllib raise holds the text,
    # and with it plain secrets, which an exception's context would carry on.
    if inventory is None or problems:
        raise InventoryError(str(path), problems)
    return inventory


def read(
    text: str, path: Path, *, private: bool, not_built: NotBuilt = NOT_BUILT
) -> tuple[Inventory | None, tuple[Problem, ...]]:
    """Return the inventory, or None and every problem; see `parse`.

    `not_built` is what is refused because nothing is built for it yet.
    """
    try:
        return _read(text, path, private, not_built)
    except RecursionError:
        return None, (Problem("", "lists or tables are nested too deep"),)


def _read(
    text: str, path: Path, private: bool, not_built: NotBuilt
) -> tuple[Inventory | None, tuple[Problem, ...]]:
    document, problem = _document(text)
    if problem is not None:
        return None, (problem,)
    fitting, findings = shape(document, private=private)
    wrong = {finding.path for finding in findings}
    findings += [one for one in check(fitting) if not _within(one.path[:-1], wrong)]
    wrong = {finding.path for finding in findings}
    findings += [one for one in unbuilt(document, not_built) if not _within(one.path, wrong)]
    if findings:
        return None, _problems(findings, document, locate(text))
    return build(fitting, path), ()


def _within(path: KeyPath, wrong: set[KeyPath]) -> bool:
    """Tell whether a path or a table around it is wrong already: more about it is only noise."""
    return any(path[:length] in wrong for length in range(1, len(path) + 1))


def _document(text: str) -> tuple[dict[str, Any], Problem | None]:
    for number, line in enumerate(_NO_KEY.sub("", text).split("\n"), 1):
        if line.count(".") > _DOTS:
            return {}, Problem("", "has a key of too many parts", number)
    try:
        return tomllib.loads(text), None
    except ValueError as error:  # also what int() raises for a number of thousands of digits
        message = printable(error)
        return {}, Problem("", f"is not valid TOML: {message}", line_in_message(message))


def _problems(
    findings: list[Finding], document: Mapping[str, Any], lines: Mapping[KeyPath, int]
) -> tuple[Problem, ...]:
    """Return findings as problems, each once, in the order of the file."""
    problems = [
        Problem(key_path(_written(path, document)), message, line_of(lines, path))
        for path, message in dict.fromkeys(findings)
    ]
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _written(path: KeyPath, document: Mapping[str, Any]) -> KeyPath:
    """Return a path as the file has it: what is inside a short form stands for the whole form."""
    for length in range(1, len(path)):
        if isinstance(value_at(document, path[:length]), str):
            return path[:length]
    return path
