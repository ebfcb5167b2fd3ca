"""What runs do to the store when their work is done: versions that nobody needs go."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from distributor.store import Store


def prune(store: "Store", console: "Console") -> None:
    """Remove such versions; the caller holds the run lock.

    What keeps that from being done is said, and is no failure of the run: nothing is lost by it.
    """
    import logging

    from distributor.access import utc_now
    from distributor.model.errors import StateError
    from distributor.render.text import error_lines

    try:
        for name, version in store.prune(utc_now()):
            logging.getLogger(__name__).info(
                "store step=prune certificate=%s version=%s", name, version
            )
    except StateError as error:
        for line in error_lines(error, "old versions are kept: "):
            console.print(line, soft_wrap=True)
