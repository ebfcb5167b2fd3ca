"""What is said along the way goes to a stream that may be gone."""

import io
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from distributor.cli.logs import start_logging
from distributor.cli.settings import Settings
from distributor.cli.streams import Aside
from distributor.model.report import Outcome
from distributor.render.progress import shown_progress


class Gone(io.StringIO):
    """A terminal whose other side has left."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.error, self.tried = error, 0

    def write(self, _text: str) -> int:
        self.tried += 1
        raise self.error()

    def isatty(self) -> bool:
        return True


ERRORS = [BrokenPipeError, lambda: OSError(5, "Input/output error"), lambda: ValueError("closed")]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("steps", [True, False])
def test_progress_on_a_stream_that_is_gone_fails_nowhere(
    error: Callable[[], Exception], steps: bool
) -> None:
    stream = Gone(error)
    outcome = Outcome(host="attic", kind="diskstation", via="api", status="changed")

    aside: Any = Aside(stream)

    with shown_progress(Console(file=aside), ["attic"], quiet=False, steps=steps) as progress:
        progress.certificate("home", "ordering")
        progress.step("attic", "changing")
        progress.ended(outcome)

    assert stream.tried > 0


@pytest.mark.parametrize("error", ERRORS)
def test_a_log_record_for_a_stream_that_is_gone_fails_nowhere(
    error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Gone(error)
    monkeypatch.setattr("sys.stderr", stream)
    settings = Settings()
    start_logging(settings, settings.stderr())
    try:
        logging.getLogger("distributor.test").warning("host=%s", "attic")
    finally:
        logging.getLogger("distributor").handlers.clear()
        logging.getLogger("distributor").propagate = True

    assert stream.tried > 0


def test_a_log_record_that_cannot_be_printed_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings()
    start_logging(settings, settings.stderr())
    monkeypatch.setattr("distributor.model.text.printable", _fails)
    try:
        logging.getLogger("distributor.test").warning("host=%s", "attic")
    finally:
        logging.getLogger("distributor").handlers.clear()
        logging.getLogger("distributor").propagate = True

    assert "ZeroDivisionError" in capsys.readouterr().err


def _fails(*_: object) -> str:
    raise ZeroDivisionError


def test_what_cannot_be_written_leads_nowhere_from_then_on() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        Aside(stream).write("lost")
        Aside(stream).flush()
        stream.write("lost too")  # closing it flushes, which would fail


def test_what_can_be_written_is() -> None:
    stream = io.StringIO()
    aside = Aside(stream)

    assert aside.write("said") == 4
    aside.flush()

    assert (stream.getvalue(), aside.isatty()) == ("said", False)
