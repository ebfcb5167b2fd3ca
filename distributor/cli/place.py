"""A warning, once in a run, about where the state folder lies."""

from typing import TYPE_CHECKING

from distributor.cli.settings import Settings

if TYPE_CHECKING:
    from distributor.store import Store


def warn_of_place(settings: Settings, store: "Store") -> None:
    """Say on stderr when the state folder lies where its keys may get out."""
    from distributor.checking.place import remark_on_place

    remark = remark_on_place(store.folder)
    if remark is not None and not settings.quiet:
        settings.stderr().print(
            f"warning: {remark.message}; {remark.hint}", style="yellow", soft_wrap=True
        )
