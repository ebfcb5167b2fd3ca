"""`distribute secret`: secrets by name, for `{ keyring = "name" }` in the inventory."""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from distributor.cli.settings import NOT_WELL, OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from distributor.clients.keyring import NamedSecrets, Whereabouts
    from distributor.model.secret import Secret


@click.group(epilog="Example: distribute secret set attic")
def secret() -> None:
    """Keep passwords and keys by name, for { keyring = "NAME" } in the inventory.

    They go into the system's keyring (extra `keyring`); where there is none, into secrets.toml in
    the state folder, which its owner alone can read.
    """


@secret.command(
    "set", epilog="Example: distribute secret set attic; op read … | distribute secret set attic"
)
@click.argument("name")
@global_options
@click.pass_context
def set_(context: click.Context, settings: Settings, /, name: str) -> None:
    """Keep a secret: asked for twice on a terminal, else read from standard input.

    It is never an argument: other users of this computer can see those. One final newline of
    standard input does not count.
    """
    _require_name(name)
    value = _asked(name) if sys.stdin.isatty() else _piped()
    with settings.store().lock():
        place = _named(settings).set(name, value)
    if settings.as_json:
        print_json({"exit": OK, "name": name, "place": place})
    elif not settings.quiet:
        settings.stderr().print(f"{name}  kept in {_shown(settings, place)}", soft_wrap=True)
    context.exit(OK)


@secret.command("list", epilog="Example: distribute secret list")
@global_options
@click.pass_context
def list_(context: click.Context, settings: Settings, /) -> None:
    """Show which secrets there are by name, where each lives, and what uses it; never a value.

    A name that the inventory uses and that was not set is `missing`.
    """
    from distributor.model.references import named_secrets

    used = named_secrets(settings.load_inventory())
    named = _named(settings)
    found = {name: named.where(name) for name in sorted({*used, *named.names()})}
    if settings.as_json:
        rows = [_as_json(name, one, used.get(name, ())) for name, one in found.items()]
        print_json({"exit": OK, "secrets": rows})
    else:
        _print_list(settings, found, used)
    context.exit(OK)


@secret.command("delete", epilog="Example: distribute secret delete attic")
@click.argument("name")
@global_options
@click.pass_context
def delete(context: click.Context, settings: Settings, /, name: str) -> None:
    """Remove a secret from the keyring and from secrets.toml; exit code 1 if it was in neither."""
    from distributor.model.text import printable

    with settings.store().lock():
        places = _named(settings).delete(name)
    code = OK if places else NOT_WELL
    if settings.as_json:
        print_json({"exit": code, "name": name, "places": list(places)})
    elif not places:
        settings.stderr().print(f"{printable(name)}  there is no such secret", soft_wrap=True)
    elif not settings.quiet:
        settings.stderr().print(f"{printable(name)}  deleted from {' and '.join(places)}")
    context.exit(code)


def _named(settings: Settings) -> "NamedSecrets":
    from distributor.clients.keyring import NamedSecrets

    return NamedSecrets(settings.store().secrets)


def _require_name(name: str) -> None:
    from distributor.model.errors import UsageError
    from distributor.model.text import printable

    if not name.strip() or printable(name) != name:
        raise UsageError(
            f"'{printable(name)}' is no name for a secret",
            hint="take a word on one line, such as the name of the box",
        )


def _asked(name: str) -> "Secret":
    from distributor.model.secret import Secret

    text = click.prompt(
        f"Secret '{name}' (not shown)", hide_input=True, confirmation_prompt=True, err=True
    )
    return Secret(text)


def _piped() -> "Secret":
    from distributor.clients.secrets import SIZE_LIMIT, secret_from

    stream = getattr(sys.stdin, "buffer", None)
    content = stream.read(SIZE_LIMIT + 1) if stream is not None else sys.stdin.read().encode()
    return secret_from(content, "standard input")


def _print_list(
    settings: Settings, found: "dict[str, Whereabouts]", used: dict[str, tuple[str, ...]]
) -> None:
    from distributor.model.text import printable
    from distributor.render.text import error_lines

    console = settings.stdout()
    if not found:
        console.print("no secret has a name: set one with distribute secret set NAME")
    for name, one in found.items():
        users = ", ".join(printable(place) for place in used.get(name, ())) or "not used"
        console.print(f"{printable(name)}  {one.place}  {users}", soft_wrap=True)
        if one.place == "missing":
            again = shlex.quote(printable(name))
            console.print(f"    try: distribute secret set {again}", soft_wrap=True)
        if one.error is not None:
            for line in error_lines(one.error, "    "):
                console.print(line, soft_wrap=True)


def _as_json(name: str, one: "Whereabouts", users: tuple[str, ...]) -> dict[str, Any]:
    from distributor.render.as_json import error_as_json

    return {
        "name": name,
        "place": one.place,
        "used_by": list(users),
        "error": error_as_json(one.error),
    }


def _shown(settings: Settings, place: str) -> str:
    return "the keyring" if place == "keyring" else str(settings.store().secrets.path)
