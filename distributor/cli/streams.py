"""Where progress and log go: a stream that may go away without ending what is done meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class Aside:
    """A text stream whose reader may leave: a terminal that is closed, a pipe into `head`.

    What is written then is lost, and no write fails: a delivery is decided by what hosts hold, not
    by who listens.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        """Write, or lose the text."""
        with self._whoever_listens():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what is there to be flushed."""
        with self._whoever_listens():
            self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor; raises OSError where there is none."""
        return self._stream.fileno()

    @contextmanager
    def _whoever_listens(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # ValueError: closed, or a character it cannot encode
            with suppress(OSError, ValueError):
                self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        # What is left in its buffer is flushed once more when the process ends; failing then would
        # replace the exit code.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        finally:
            os.close(nowhere)
