"""What runs do to the store when their work is done: what nobody needs goes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from distributor.store import Store


def prune(store: "Store", console: "Console") -> None:
    """Remove old snapshots, then versions that nobody needs; the caller holds the run lock.

    What keeps that from being done is said, and is no failure of the run: nothing is lost by it.
    """
    import logging

    from distributor.access import utc_now
    from distributor.model.errors import StateError
    from distributor.render.text import error_lines

    log = logging.getLogger(__name__)
    try:
        for host, taken in store.snapshots.prune(utc_now()):
            log.info("store step=prune host=%s snapshot=%s", host, taken)
        for name, version in store.prune(utc_now()):
            log.info("store step=prune certificate=%s version=%s", name, version)
    except StateError as error:
        for line in error_lines(error, "what is old is kept: "):
            console.print(line, soft_wrap=True)
