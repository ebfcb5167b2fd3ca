"""The one place that catches every exception, so that what ends one piece of work ends no other."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from distributor.model.errors import DistributorError

log = logging.getLogger(__name__)


@contextmanager
def known_errors(work: str) -> Iterator[None]:
    """Let nothing but a DistributorError out of the block; `work` is what the log calls it.

    Whatever happens with one certificate or host, the others are served, what was written is put
    back, and the report is true: so a mistake of ours must look like any other failure.
    """
    try:
        yield
    except DistributorError:
        raise
    except Exception as error:
        log.error("%s step=unexpected error=%s", work, type(error).__name__)  # noqa: TRY400 - the next line has the trace
        log.debug("%s", work, exc_info=error)
        raise DistributorError(
            f"an error that distribute does not know ({type(error).__name__})",
            hint="run again with -vv and report it",
            step="unexpected",
        ) from error
