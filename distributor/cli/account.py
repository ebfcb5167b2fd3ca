"""`distribute account`: the accounts with ACME CAs, and a new key for them."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from distributor.cli.settings import NOT_WELL, OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from distributor.model.errors import DistributorError
    from distributor.sources.acme_account import StoredAccount
    from distributor.store import Store


@click.group(
    invoke_without_command=True,
    epilog="Example: distribute account; distribute account rollover --ca letsencrypt",
)
@global_options
@click.pass_context
def account(context: click.Context, settings: Settings, /) -> None:
    """Show the accounts with the ACME CAs of the inventory: contact, URL and type of the key.

    An account is registered when a certificate is first obtained.
    """
    if context.invoked_subcommand is not None:
        return
    accounts = _accounts(settings, settings.store())
    if settings.as_json:
        rows = [_as_json(one) for one in accounts]
        print_json({"exit": OK, "accounts": rows})
    else:
        console = settings.stdout()
        for one in accounts:
            console.print(_line(one), soft_wrap=True)
        if not accounts:
            console.print("no certificate of the inventory comes from an ACME CA")
    context.exit(OK)


@account.command(epilog="Example: distribute account rollover --ca letsencrypt")
@click.option(
    "--ca", metavar="CA", help="Only the account with this CA, as the inventory names it."
)
@global_options
@click.pass_context
def rollover(context: click.Context, settings: Settings, /, ca: str | None) -> None:
    """Give the accounts a new key each; account URL and certificates stay as they are.

    Exit code 1 when one did not get it. Where the answer was lost, the next run asks the CA which
    key it knows.
    """
    from distributor.cli.deliver import require_known
    from distributor.cli.logs import start_logging
    from distributor.model.errors import DistributorError

    start_logging(settings, settings.stderr())
    store = settings.store()
    accounts = _accounts(settings, store)
    if ca is not None:
        require_known("CA", ca, [one.ca for one in accounts])
    chosen = [one for one in accounts if ca in {None, one.ca}]
    done: list[tuple[StoredAccount, DistributorError | None]] = []
    with store.lock():
        for one in chosen:
            try:
                one.roll_over()
            except DistributorError as error:
                done.append((one, error))
            else:
                done.append((one, None))
    code = OK if all(error is None for _, error in done) else NOT_WELL
    _report(settings, done, code)
    context.exit(code)


def _accounts(settings: Settings, store: "Store") -> "tuple[StoredAccount, ...]":
    from distributor.wiring import Workshop

    return Workshop(settings.load_inventory(), store, threading.Event()).accounts()


def _line(one: "StoredAccount") -> str:
    from distributor.model.text import printable

    contact = printable(one.email) if one.email else "no contact"
    url = printable(one.url) if one.url is not None else "not registered yet"
    key = f", {one.key_type} key" if one.key_type is not None else ""
    return f"{one.ca}  {contact}  {url}{key}"


def _as_json(one: "StoredAccount") -> dict[str, Any]:
    return {"ca": one.ca, "contact": one.email, "url": one.url, "key_type": one.key_type}


def _report(
    settings: Settings, done: "Sequence[tuple[StoredAccount, DistributorError | None]]", code: int
) -> None:
    from distributor.render.as_json import error_as_json
    from distributor.render.text import error_lines

    for one, error in done:
        if error is not None:
            for line in error_lines(error, f"{one.ca}  "):
                settings.stderr().print(line, soft_wrap=True)
        elif not settings.as_json and not settings.quiet:
            settings.stdout().print(f"{_line(one)}  has a new key", soft_wrap=True)
    if settings.as_json:
        rows = [_as_json(one) | {"error": error_as_json(error)} for one, error in done]
        print_json({"exit": code, "accounts": rows})
