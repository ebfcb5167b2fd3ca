"""Where in a TOML text each key stands, which `tomllib` does not tell.

The text must be one that `tomllib` accepts: the scanner here finds places, it does not judge.
"""

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from distributor.model.text import printable

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the top of the document down."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_GAP: Final = re.compile(r"[ \t]*")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""(?P<bare>[A-Za-z0-9_-]+)|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def key_path(path: KeyPath) -> str:
    """Return a path as TOML writes it: `hosts.attic.deliver[0].id`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _quoted(part)
    return text


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of a path, or of the nearest table or list around it that has one."""
    for length in range(len(path), 0, -1):
        line = lines.get(path[:length])
        if line is not None:
            return line
    return None


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key, table and list item of a valid TOML text.

    A table's line is its header's, where it has one; else that of the first key in it.
    """
    return _Scanner(text).lines()


def _quoted(key: str) -> str:
    # JSON's escapes of a string are TOML's, too; `printable` escapes the rest.
    return key if _BARE.fullmatch(key) else printable(json.dumps(key, ensure_ascii=False))


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._found: dict[KeyPath, int] = {}
        self._tables_seen: dict[KeyPath, int] = {}

    def lines(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._found

    def _header(self) -> KeyPath:
        line = self._line()
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        keys = self._keys()
        self._at += 2 if is_list else 1
        path: KeyPath = ()
        for depth, key in enumerate(keys):
            path += (key,)
            if is_list and depth == len(keys) - 1:
                self._tables_seen[path] = self._tables_seen.get(path, 0) + 1
            self._found.setdefault(path, line)
            if path in self._tables_seen:
                path += (self._tables_seen[path] - 1,)
        self._found[path] = line
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        keys = self._keys()
        for depth in range(1, len(keys)):
            self._found.setdefault(table + keys[:depth], line)
        path = table + keys
        self._found[path] = line
        self._at += 1
        self._skip(_GAP)
        self._value(path)

    def _keys(self) -> tuple[str, ...]:
        """Step over a dotted key and the gap behind it."""
        keys: list[str] = []
        while True:
            self._skip(_GAP)
            key = self._skip(_KEY)
            keys.append(key if _BARE.fullmatch(key) else tomllib.loads(f"key = {key}")["key"])
            self._skip(_GAP)
            if self._text[self._at] != ".":
                return tuple(keys)
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._items(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if opening in "\"'" else _SCALAR)

    def _items(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._next_until("]"):
            self._found[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._next_until("}"):
            self._pair(path)

    def _next_until(self, closing: str) -> bool:
        """Step to the next item of a list or inline table; False once behind its end."""
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] == closing:
            self._at += 1
            return False
        return True

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:  # only a text that tomllib refuses comes here
            raise ValueError(f"unexpected text in line {self._line()}")
        self._at = match.end()
        return match.group()

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)


def line_in_message(message: str) -> int | None:
    """Return the line that a message of `tomllib` names."""
    found = re.search(r"\(at line (\d+), column \d+\)", message)
    return int(found[1]) if found else None
