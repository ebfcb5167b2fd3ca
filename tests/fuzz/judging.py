"""What a target may do with any bytes: end in time, by itself or by an error of our own tree."""

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import thread_time
from typing import Final

from distributor.model.errors import DistributorError

SECONDS: Final = 2.0
"""Of this thread's processor time, for 1 MiB; so that a busy machine fails nothing."""
LONGEST: Final = 6000
"""Characters of a message at most: a CA's own words may have 2000, and ten subproblems follow."""
MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own in it
"""Where files need no disk: a sync takes its time there."""
FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that no text for people has."""

Harness = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One input of the product, and how it is tried."""

    harness: Harness
    """Raises only if the product misbehaves."""
    samples: Callable[[], tuple[bytes, ...]]
    """Gives valid inputs, which changes are made to."""
    form: str = "bytes"
    """Which of `changing.FORMS` knows how such an input is built."""
    takes: bool = True
    """Whether there is a sample that no part of the product refuses."""
    examples: int = 60
    """How many the tests try; those that take longer have fewer."""

    def run(self, data: bytes) -> None:
        """Try it; raises whatever shows that the product misbehaves."""
        started = thread_time()
        self.harness(data)
        took = thread_time() - started
        assert took < SECONDS * max(1.0, len(data) / (1 << 20)), f"{took:.1f} s, {len(data)} bytes"


@contextmanager
def only(*errors: type[Exception]) -> Iterator[None]:
    """Let nothing but these errors end what is inside; what people read of them is harmless."""
    try:
        yield
    except errors as error:
        _refused.append(error)
        if isinstance(error, DistributorError):
            require_shown(error)


_refused: Final = deque[Exception](maxlen=100)


@contextmanager
def noted() -> Iterator[list[Exception]]:
    """Give the errors that `only` let end what is inside, once it is over."""
    _refused.clear()
    found: list[Exception] = []
    yield found
    found += _refused


def require_shown(error: DistributorError) -> None:
    """Fail unless message and hint can be shown to a person as they are, and logged on one line."""
    for text in (error.message, error.hint or "", error.step or ""):
        require_harmless(text)
        assert len(text) <= LONGEST, f"{len(text)} characters: {text[:100]}"
    assert error.message


def require_harmless(text: str) -> None:
    """Fail when a text has anything but characters that a person reads."""
    bad = {character for character in text if unicodedata.category(character) in FORBIDDEN}
    assert not bad, f"{bad} in {text[:200]!r}"


_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def require_harmless_lines(text: str) -> None:
    """The same of lines on a terminal, which may have our colours."""
    for line in _COLOUR.sub("", text).split("\n"):
        require_harmless(line)
