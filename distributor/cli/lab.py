"""`distribute lab up`: a range on loopback that keeps running, to rehearse against."""

import shlex
import threading
from pathlib import Path

import click

from distributor.cli.settings import OK, Settings, global_options


@click.group(epilog="Example: distribute lab up --boxes 3")
def lab() -> None:
    """Virtual boxes, a CA and a nameserver on loopback."""


@lab.command(epilog="Example: distribute lab up --boxes 3")
@click.option(
    "--boxes",
    type=click.IntRange(1, 8),
    help="This many DiskStations alike (default: five of different releases, a router and, on "
    "Linux, a web server that is reached by SSH).",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Empty folder for its files (default: a temporary one, removed at the end).",
)
@global_options
@click.pass_context
def up(
    context: click.Context, settings: Settings, /, boxes: int | None, folder: Path | None
) -> None:
    """Start a range and keep it running until Ctrl-C.

    Prints the inventory it wrote and commands to try against it from another terminal.
    """
    from distributor.cli.ranges import opened_range

    console = settings.stdout()
    stop = threading.Event()
    with opened_range(
        folder, lambda line: console.print(line, soft_wrap=True), boxes=boxes
    ) as lab_range:
        where = (
            f"distribute -i {shlex.quote(str(lab_range.inventory))} "
            f"--state {shlex.quote(str(lab_range.state))}"
        )
        try:
            for line in (
                "",
                "From another terminal:",
                f"  {where} trust {' '.join(lab_range.hosts)} --yes",
                f"  {where} --all --dry-run",
                f"  {where} --all",
                f"  {where} status",
                "",
                "Ctrl-C here stops the range and removes its temporary files.",
            ):
                console.print(line, soft_wrap=True)
            while not stop.wait(1):
                pass
        except KeyboardInterrupt:
            console.print("stopping the range")
    context.exit(OK)
