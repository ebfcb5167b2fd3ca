"""`distribute check`: every problem of the inventory at once."""

import click

from distributor.cli.settings import OK, Settings, global_options


@click.command(epilog="Example: distribute check -i inventory.toml")
@global_options
@click.pass_context
def check(context: click.Context, settings: Settings, /) -> None:
    """Read the inventory and name every problem, each with its line.

    Opens no connection and runs no command. Exit code 0 when nothing is wrong, 2 when the
    inventory cannot be used.
    """
    inventory = settings.load_inventory()
    if settings.as_json:
        from distributor.cli.settings import print_json

        print_json(
            {
                "version": 0,
                "exit": OK,
                "inventory": str(inventory.path),
                "certificates": list(inventory.certificates),
                "hosts": list(inventory.hosts),
                "findings": [],
            }
        )
    elif not settings.quiet:
        counts = f"{len(inventory.hosts)} hosts, {len(inventory.certificates)} certificates"
        settings.stdout().print(f"{inventory.path}: {counts}; nothing wrong", soft_wrap=True)
    context.exit(OK)
