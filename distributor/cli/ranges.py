"""Opens a lab range for a command, with errors that a newcomer understands."""

import importlib.util
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributor.lab.range import Range


@contextmanager
def opened_range(
    folder: Path | None, note: Callable[[str], None], *, boxes: int | None = None
) -> "Iterator[Range]":
    """Give a running range in `folder`, or in a temporary folder that is removed at the end.

    It has `boxes` DiskStations alike, or without that five of different releases, a router and, on
    Linux, a web server with PEM files that is reached by SSH.
    SIGTERM and SIGHUP end it as Ctrl-C does. Raises UsageError when there is no CA to run, or the
    folder is not empty.
    """
    from distributor.lab.authority import AuthorityError
    from distributor.lab.knobs import DSM62, DSM70, DSM72, DSM73, DSM74, SRM13
    from distributor.lab.range import Range
    from distributor.model.errors import DistributorError, UsageError

    if shutil.which("pebble") is None and importlib.util.find_spec("gunicorn") is None:
        raise UsageError(
            "there is no CA to run: neither the program pebble nor the extra 'lab' is installed",
            hint="in the folder of the sources: pip install '.[lab]'",
        )
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"the folder {folder} is not empty", hint="name an empty or a new one")
    mixed = (DSM72, DSM62, DSM70, DSM73, DSM74, SRM13)
    chosen = (DSM72,) * boxes if boxes is not None else mixed
    place = TemporaryDirectory(prefix="distribute-lab-") if folder is None else nullcontext(folder)
    with _ending_as_by_ctrl_c(), place as where:
        try:
            others = boxes is None and sys.platform == "linux"
            with Range(Path(where), profiles=chosen, note=note, with_proxy=others) as running:
                yield running
        except AuthorityError as error:
            raise DistributorError(
                f"the CA of the lab did not start: {error}", hint="try again", step="lab"
            ) from error


@contextmanager
def _ending_as_by_ctrl_c() -> Iterator[None]:
    """Let the signals that end a session clean up, too."""
    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.default_int_handler) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
