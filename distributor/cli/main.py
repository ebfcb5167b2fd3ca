"""The command `distribute`: its options, and the list of its commands."""

import sys
from importlib import import_module
from pathlib import Path

import click

from distributor import __version__
from distributor.cli.settings import INTERRUPTED, Settings, global_options

_COMMANDS = {
    "status": "distributor.cli.status:status",
    "check": "distributor.cli.check:check",
    "issue": "distributor.cli.certificates:issue",
    "show": "distributor.cli.certificates:show",
    "export": "distributor.cli.export:export",
    "revoke": "distributor.cli.revoke:revoke",
    "rollback": "distributor.cli.rollback:rollback",
    "account": "distributor.cli.account:account",
    "trust": "distributor.cli.trust:trust",
    "secret": "distributor.cli.secret:secret",
    "demo": "distributor.cli.demo:demo",
    "lab": "distributor.cli.lab:lab",
}


class _Commands(click.Group):
    """Finds a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            from difflib import get_close_matches

            close = get_close_matches(cmd_name, _COMMANDS, n=1)
            if close:
                ctx.fail(f"No such command '{cmd_name}'. Did you mean '{close[0]}'?")
            return None
        module, name = place.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.command(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: distribute --all --dry-run",
)
@click.option("--all", "all_hosts", is_flag=True, help="Every host of the inventory.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="This host (repeatable).")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Hosts with this tag.")
@click.option("--dry-run", is_flag=True, help="Show each host's diff; write nothing.")
@click.option(
    "--save-plan",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --dry-run: save the plan for --plan.",
)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Apply exactly this saved plan; a host that changed meanwhile or is not in it is refused.",
)
@click.option(
    "--accept",
    multiple=True,
    metavar="[HOST:]HAZARD",
    help="Go on in spite of a named hazard (repeatable).",
)
@click.option(
    "--quick", is_flag=True, help="Sign in only to hosts whose endpoints do not serve it already."
)
@click.option(
    "--all-or-nothing",
    is_flag=True,
    help="Begin only if every host can be begun with; put back the changed ones if one fails.",
)
@click.option("--no-renew", is_flag=True, help="Deliver what the store holds, due or not.")
@click.option("--exit-code", is_flag=True, help="With --dry-run: exit 4 when changes are pending.")
@click.version_option(__version__, prog_name="distribute")
@global_options
@click.pass_context
def cli(context: click.Context, settings: Settings, /, **orders: object) -> None:
    """Bring hosts to their wildcard certificate, and prove that they serve it.

    Renews what is due among the certificates that the chosen hosts use, shows or makes the changes
    on each host, verifies every endpoint by a TLS handshake, and puts a host back if it does not
    serve the certificate. Without --all, --host or --tag nothing is delivered.
    """
    if context.invoked_subcommand is not None:
        given = [one.opts[0] for one in context.command.params if orders.get(one.name or "")]
        if given:
            raise click.UsageError(f"{given[0]} does not go with '{context.invoked_subcommand}'.")
        return
    if not any(orders.values()):
        click.echo(context.get_help())
        context.exit(0)
    from distributor.cli.deliver import deliver

    context.exit(deliver(settings, **orders))  # type: ignore[arg-type]  # click gives them by name


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process with its exit code."""
    try:
        code = cli.main(args=arguments, prog_name="distribute", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read the report has gone; there is nobody left to tell.
        sys.stderr.close()
        code = 1
    raise SystemExit(code if isinstance(code, int) else 0)
