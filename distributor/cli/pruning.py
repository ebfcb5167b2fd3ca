"""What runs do to the state folder besides their work: what nobody needs any more goes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from distributor.store import Store
    from distributor.wiring import Workshop


def remove_leftovers(workshop: "Workshop", console: "Console") -> None:
    """Remove orders and TXT of certificates that the inventory no longer gets from an ACME CA.

    The caller holds the run lock. What stays is said in every run, and is no failure of it.
    """
    from rich.text import Text

    from distributor.model.errors import DistributorError
    from distributor.model.text import printable
    from distributor.render.text import error_lines
    from distributor.unexpected import known_errors

    try:
        with known_errors("step=leftovers"):
            for name, line in workshop.remove_leftovers():
                text = Text(f"certificate {printable(name)}: {printable(line, 1000)}")
                console.print(text, soft_wrap=True)
    except DistributorError as error:
        for text in error_lines(error, "what orders left is kept: "):
            console.print(text, soft_wrap=True)


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
