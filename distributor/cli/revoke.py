"""`distribute revoke`: have the CA revoke a certificate that nobody serves any more."""

import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from distributor.cli.settings import NOT_WELL, OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from distributor.model.hosts import Host, Inventory
    from distributor.model.revocation import Reason, Revocation
    from distributor.store import Store, Stored
    from distributor.wiring import Workshop

REASON_NAMES = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
)


@click.command(epilog="Example: distribute revoke home --reason keyCompromise")
@click.argument("name", metavar="CERT")
@click.option("--version", metavar="V", help="This version of those that show lists as held.")
@click.option(
    "--reason",
    type=click.Choice(REASON_NAMES),
    default="unspecified",
    show_default=True,
    help="What the CA is told (RFC 5280).",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Go on although an endpoint cannot be asked.")
@global_options
@click.pass_context
def revoke(
    context: click.Context,
    settings: Settings,
    /,
    name: str,
    version: str | None,
    reason: "Reason",
    yes: bool,
    force: bool,
) -> None:
    """Have the CA revoke the current version of a certificate, or another one that is held.

    It asks first. Nothing is revoked while a host of the inventory still serves the certificate, or
    while an endpoint cannot be asked, unless --force says that you know. Afterwards the version
    counts for nothing: the next run obtains a new one. After keyCompromise its key is not used
    again, not even by reuse_key.
    """
    from distributor.cli.deliver import require_known
    from distributor.cli.logs import start_logging
    from distributor.wiring import Workshop

    inventory = settings.load_inventory()
    require_known("certificate", name, inventory.certificates)
    _require_acme(inventory, name)
    _require_somebody(name, yes=yes)
    start_logging(settings, settings.stderr())
    store = settings.store()
    with store.lock():
        stored = _chosen(store, name, version)
        if stored.revoked is not None and not _is_worse(reason, stored.revoked):
            _report(settings, name, stored, stored.revoked, is_new=False)
            context.exit(OK)
        _require_unused(settings, inventory, name, stored, force=force)
        if not yes and not _confirmed(settings, name, stored, reason):
            context.exit(NOT_WELL)
        noted = _revoked(Workshop(inventory, store, threading.Event()), name, stored, reason)
    _report(settings, name, stored, noted, is_new=True)
    context.exit(OK)


def _require_acme(inventory: "Inventory", name: str) -> None:
    from distributor.model.errors import UsageError
    from distributor.model.hosts import AcmeSource

    if not isinstance(inventory.certificates[name].source, AcmeSource):
        raise UsageError(
            f"'{name}' does not come from an ACME CA: it cannot be revoked from here",
            hint="revoke it where it was obtained",
        )


def _require_somebody(name: str, *, yes: bool) -> None:
    from distributor.model.errors import UsageError

    if not yes and not sys.stdin.isatty():
        raise UsageError(
            f"'{name}' was not revoked: nobody is there to confirm it",
            hint="run it in a terminal, or with --yes",
        )


def _chosen(store: "Store", name: str, version: str | None) -> "Stored":
    from distributor.model.errors import BundleError, UsageError
    from distributor.model.text import printable

    if version is not None:
        held = store.bundles.versions(name)
        if version not in held:
            raise UsageError(
                f"the store holds no version '{printable(version)}' of '{name}'",
                hint=f"it holds: {', '.join(held) or 'none'}",
            )
        return store.bundles.load(name, version)
    stored = store.bundles.current(name)
    if stored is None:
        raise BundleError(
            f"the store holds no certificate '{name}'", hint="there is nothing to revoke"
        )
    return stored


def _require_unused(
    settings: Settings, inventory: "Inventory", name: str, stored: "Stored", *, force: bool
) -> None:
    """Raise InUse while a host serves it, or may do so; ask every endpoint of the inventory."""
    from distributor.cli.status import probed
    from distributor.model.bundle import fingerprint
    from distributor.model.errors import InUse

    leaf, hosts = fingerprint(stored.bundle.leaf), tuple(inventory.hosts.values())
    seen = probed(hosts)
    using = [
        f"{host.name} at {one.endpoint}"
        for host, one in seen
        if one.certificate is not None and one.certificate.leaf == leaf
    ]
    if using:
        raise InUse(
            f"it is still served by {', '.join(using)}",
            hint=f"bring another one there first: distribute issue {name} --renew-now, then "
            "distribute --all",
            step="revoke",
        )
    unknown = [
        *(
            f"{host.name} at {one.endpoint} ({one.error.message})"
            for host, one in seen
            if one.error
        ),
        *_without_endpoint(hosts, name),
    ]
    if unknown and not force:
        raise InUse(
            f"whether it is still served cannot be told of {'; '.join(unknown)}",
            hint="bring them up, or take them out of the inventory, or say --force",
            step="revoke",
        )
    for one in unknown:
        settings.stderr().print(f"{name}  not asked: {one}", style="yellow", soft_wrap=True)


def _without_endpoint(hosts: "tuple[Host, ...]", name: str) -> Iterator[str]:
    for host in hosts:
        if name in host.certificates and not any(one.certificate == name for one in host.endpoints):
            yield f"{host.name} (no endpoint shows what it serves)"


def _confirmed(settings: Settings, name: str, stored: "Stored", reason: str) -> bool:
    from distributor.access import utc_now
    from distributor.render.words import certificate_text

    console = settings.stderr()
    shown = certificate_text(stored.bundle.certificate(name), utc_now())
    console.print(f"{name}  {shown}", soft_wrap=True)
    console.print(f"    version  {stored.version}, from {stored.ca}", soft_wrap=True)
    console.print(f"    reason   {reason}", soft_wrap=True)
    return click.confirm("Revoke it for good?", default=False, err=True)


def _is_worse(reason: "Reason", noted: "Revocation") -> bool:
    """Tell whether a revoked certificate is to be known as compromised from now on."""
    from distributor.model.revocation import KEY_COMPROMISE

    return reason == KEY_COMPROMISE and not noted.is_compromise


def _revoked(workshop: "Workshop", name: str, stored: "Stored", reason: "Reason") -> "Revocation":
    """Have the CA revoke it, and note that; a run that is cut in between does both again."""
    from distributor.access import utc_now
    from distributor.model.revocation import REASONS, Revocation

    workshop.acme(name).revoke(stored.bundle.leaf, REASONS[reason])
    noted = Revocation(when=utc_now(), reason=reason)
    workshop.store.bundles.mark_revoked(name, stored.version, noted)
    return noted


def _report(
    settings: Settings, name: str, stored: "Stored", noted: "Revocation", *, is_new: bool
) -> None:
    from distributor.model.bundle import fingerprint
    from distributor.model.times import rfc3339

    bundles = settings.store().bundles
    shown = stored.bundle.certificate(name)
    others = [
        one.leaf
        for one in bundles.certificates(name)
        if noted.is_compromise and one.key == shown.key and one.leaf != shown.leaf
    ]
    if settings.as_json:
        print_json(
            {
                "exit": OK,
                "certificate": name,
                "stored": stored.version,
                "leaf": fingerprint(stored.bundle.leaf),
                "ca": stored.ca,
                "reason": noted.reason,
                "when": rfc3339(noted.when),
                "new": is_new,
                "same_key": others,
            }
        )
        return
    if settings.quiet:
        return
    console = settings.stdout()
    already = "" if is_new else " already"
    console.print(f"{name}  {stored.version} is{already} {noted}", soft_wrap=True)
    for leaf in others:
        console.print(f"    {leaf} has the same key: revoke it, too", soft_wrap=True)
    current = bundles.current(name)
    if current is not None and current.revoked is not None:
        console.print("    the next run obtains a new one: distribute --all", soft_wrap=True)
