"""Where log records go: to stderr as text, and to a file as JSON lines."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from distributor.cli.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def start_logging(settings: Settings, console: "Console") -> None:
    """Send our own records where the options say; records of libraries stay where they are.

    Libraries may log requests whole, and with them what is secret.
    """
    logger = logging.getLogger("distributor")
    logger.propagate = False
    logger.handlers.clear()
    level = _LEVELS[min(settings.verbose, len(_LEVELS) - 1)]
    shown = _ConsoleHandler(console)
    shown.setLevel(logging.ERROR if settings.quiet else level)
    logger.addHandler(shown)
    logger.setLevel(level)
    if settings.log_file is not None:
        kept = _JsonHandler(settings.log_file)
        kept.setLevel(min(level, logging.INFO))
        logger.setLevel(min(level, logging.INFO))
        logger.addHandler(kept)


class _ConsoleHandler(logging.Handler):
    """Prints through the console, so that a live table stays whole."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record; a failure goes the way of logging's own handlers and ends nothing."""
        try:
            self._print(record)
        except Exception:  # noqa: BLE001 - what a log record meets must not decide a delivery
            self.handleError(record)

    def _print(self, record: logging.LogRecord) -> None:
        from distributor.model.text import printable

        line = f"{record.levelname.lower()} {record.name} {printable(record.getMessage(), 2000)}"
        self._console.print(line, soft_wrap=True)
        if record.exc_info:
            for traced in logging.Formatter().formatException(record.exc_info).splitlines():
                self._console.print(printable(traced, 2000), soft_wrap=True)


class _JsonHandler(logging.FileHandler):
    def __init__(self, path: Path) -> None:
        from distributor.model.errors import UsageError

        try:
            super().__init__(path, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"the log file {path} cannot be written: {error.strerror}",
                hint="choose another with --log-file",
            ) from error

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps(
            {
                "time": when,
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage(),
            }
        )
