"""Hears everything that is said while a law is tested, and searches it for secrets."""

import logging
import stat
import traceback
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributor.model.bundle import Bundle


@dataclass
class Watch(logging.Handler):
    """Collects everything that is said, and holds it against what must not be said."""

    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.DEBUG)

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        self.said += [record.getMessage(), repr(record.args)]
        if record.exc_info is not None:
            self.said.append(logging.Formatter().formatException(record.exc_info))

    def hear(self, *things: object) -> None:
        """Take what a person could be shown of these."""
        for thing in things:
            self.said += [repr(thing), str(thing)]
            if isinstance(thing, BaseException):
                self.said += traceback.format_exception(thing)

    def require_silence(self, secrets: Iterable[str]) -> None:
        everything = "\n".join(self.said)
        for secret in secrets:
            assert secret not in everything


@contextmanager
def watched() -> Any:
    """Hear every logger at DEBUG for as long as the context lasts."""
    watch, root = Watch(), logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        root.removeHandler(watch)
        root.setLevel(level)


def key_lines(*bundles: Bundle) -> set[str]:
    """The lines of the private keys that give something away."""
    lines = (line for b in bundles for line in b.private_key_pem.reveal().splitlines())
    return {line for line in lines if "-----" not in line and len(line) > 20}


def require_private(folder: Path) -> None:
    """Nobody else may read what lies in the state folder."""
    for path in folder.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
