"""Options that every command takes, and how a command ends."""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from distributor.model.errors import DistributorError
    from distributor.model.hosts import Inventory
    from distributor.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])

OK, NOT_WELL, USAGE, LOCKED, INTERRUPTED = 0, 1, 2, 6, 130


@dataclass(frozen=True, slots=True)
class Settings:
    """What the global options say."""

    inventory: Path | None = None
    state: Path | None = None
    as_json: bool = False
    verbose: int = 0
    quiet: bool = False
    log_file: Path | None = None
    no_color: bool = False

    def inventory_path(self) -> Path:
        """Return the inventory to read: as given, else here, else in the configuration folder."""
        if self.inventory is not None:
            return self.inventory
        here = Path("inventory.toml")
        if here.exists():
            return here
        import platformdirs

        return platformdirs.user_config_path("distribute", appauthor=False) / "inventory.toml"

    def load_inventory(self) -> "Inventory":
        """Read the inventory; raises InventoryError with every problem."""
        from distributor.inventory import load

        return load(self.inventory_path())

    def store(self, *, remembers: bool = True) -> "Store":
        """Return the state folder; nothing is created yet. A dry run notes no refusal in it."""
        import platformdirs

        from distributor.store import Store

        folder = self.state or platformdirs.user_state_path("distribute", appauthor=False)
        return Store(folder, remembers=remembers)

    def stdout(self) -> "Console":
        """Return where the report goes."""
        return _console(self, sys.stdout)

    def stderr(self) -> "Console":
        """Return where progress and log go; writing there never fails."""
        from distributor.cli.streams import Aside

        return _console(self, Aside(sys.stderr))


def _console(settings: Settings, file: Any) -> "Console":
    from rich.console import Console

    plain = settings.no_color or bool(os.environ.get("NO_COLOR"))
    return Console(file=file, no_color=plain, highlight=False, markup=False, emoji=False)


_OPTIONS = (
    click.option(
        "-i",
        "--inventory",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Inventory file (default: ./inventory.toml, then the configuration folder).",
    ),
    click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        help="State folder: certificates, keys, trust (default: the platform's).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    click.option("-v", "--verbose", count=True, help="Say more; -vv says all."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but what went wrong."),
    click.option(
        "--log-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Append the log to this file, as JSON lines.",
    ),
    click.option("--no-color", is_flag=True, help="No colour (NO_COLOR does the same)."),
)


def global_options(command: Command) -> Command:
    """Let a command take the global options, and hand it the Settings they make.

    They may stand before the command's name or after it; the later one wins. Errors of our own
    tree end the command with their message and exit code.
    """

    @functools.wraps(command)
    @click.pass_context
    def wrapped(context: click.Context, /, *args: Any, **values: Any) -> Any:
        settings = context.obj if isinstance(context.obj, Settings) else Settings()
        own = ("inventory", "state", "log_file", "as_json", "quiet", "no_color")
        given = {name: values.pop(name) for name in own}
        said: dict[str, Any] = {name: value for name, value in given.items() if value}
        said["verbose"] = settings.verbose + values.pop("verbose")
        settings = replace(settings, **said)
        context.obj = settings
        return _guarded(command, settings, *args, **values)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature


def _guarded(command: Callable[..., Any], settings: Settings, *args: Any, **values: Any) -> Any:
    from distributor.model.errors import DistributorError

    try:
        return command(settings, *args, **values)
    except DistributorError as error:
        finish_with(settings, error)


def finish_with(settings: Settings, error: "DistributorError") -> NoReturn:
    """Say what went wrong, and end with its exit code."""
    from distributor.model.errors import (
        Interrupted,
        InventoryError,
        LockedError,
        UsageError,
    )
    from distributor.render.text import error_lines

    if isinstance(error, InventoryError | UsageError):
        code = USAGE
    elif isinstance(error, LockedError):
        code = LOCKED
    else:
        code = INTERRUPTED if isinstance(error, Interrupted) else NOT_WELL
    if settings.as_json:
        from distributor.render.as_json import failure_as_json

        print_json(failure_as_json(error, code))
    console = settings.stderr()
    if isinstance(error, InventoryError):
        console.print(f"{error.message}:", soft_wrap=True)
        for problem in error.problems:
            console.print(f"  {problem}", soft_wrap=True)
    else:
        for line in error_lines(error, ""):
            console.print(line, soft_wrap=True)
    raise SystemExit(code)


def print_json(data: "Mapping[str, object]") -> None:
    """Print plain data on stdout, with the version of its format at the head."""
    import json

    from distributor.render.as_json import VERSION

    click.echo(json.dumps({"version": VERSION, **data}, indent=2))
