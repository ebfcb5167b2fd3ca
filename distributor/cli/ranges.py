"""Opens a lab range for a command, with errors that a newcomer understands."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributor.lab.range import Range


@contextmanager
def opened_range(folder: Path | None, boxes: int, note: Callable[[str], None]) -> "Iterator[Range]":
    """Give a running range in `folder`, or in a temporary folder that is removed at the end.

    Raises UsageError when there is no CA to run, or the folder is not empty.
    """
    from distributor.lab.authority import AuthorityError
    from distributor.lab.range import Range
    from distributor.model.errors import DistributorError, UsageError

    if shutil.which("pebble") is None and importlib.util.find_spec("gunicorn") is None:
        raise UsageError(
            "there is no CA to run: neither the program pebble nor the extra 'lab' is installed",
            hint="in the folder of the sources: pip install '.[lab]'",
        )
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"the folder {folder} is not empty", hint="name an empty or a new one")
    with TemporaryDirectory(prefix="distribute-lab-") as temporary:
        try:
            with Range(folder or Path(temporary), boxes=boxes, note=note) as running:
                yield running
        except AuthorityError as error:
            raise DistributorError(
                f"the CA of the lab did not start: {error}", hint="try again", step="lab"
            ) from error
