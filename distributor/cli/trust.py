"""`distribute trust`: look at a host's TLS certificate or SSH host key, and pin it."""

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from distributor.cli.settings import NOT_WELL, OK, USAGE, Settings, global_options, print_json

if TYPE_CHECKING:
    from cryptography import x509

    from distributor.model.bundle import Certificate
    from distributor.model.errors import DistributorError
    from distributor.model.host_keys import HostKey
    from distributor.model.hosts import ApiAccess, Host
    from distributor.store import Store


@dataclass(slots=True)
class _Looked:
    """What became of one host; filled in as it goes."""

    host: str
    shown: "Certificate | None" = None
    """The leaf that its own port serves."""
    host_key: "HostKey | None" = None
    """The SSH host key that it shows, where it is reached by SSH."""
    is_pinned: bool = False
    """Whether that leaf or key is the one that is pinned at the end."""
    error: "DistributorError | None" = None


@click.command(epilog="Example: distribute trust attic --fingerprint sha256:1f…")
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option("--fingerprint", metavar="F", help="Pin only this leaf or SSH host key.")
@click.option("--yes", is_flag=True, help="Pin at first sight without asking; never a changed one.")
@global_options
@click.pass_context
def trust(
    context: click.Context,
    settings: Settings,
    /,
    hosts: tuple[str, ...],
    fingerprint: str | None,
    yes: bool,
) -> None:
    """Show what a host's own port serves, and pin it as the host's.

    That is the TLS leaf (sha256: and 64 hex digits), or with via = "ssh" the SSH host key (SHA256:
    and base64, as ssh-keygen -l prints it).

    Compare the fingerprint with the one that the box itself shows, or look at it over a network
    that you trust. A host that serves something else than what is pinned is pinned anew only with
    --fingerprint. A leaf that has ended, as on a box that lay on a shelf, is believed for 30 days
    after you pinned it.

    A login that a pinned host refused earlier is forgotten. In a terminal it also signs in, once:
    you are asked for the one-time code of an account with a second factor, unless the inventory has
    its TOTP secret, and the device token that the box gives is kept.
    """
    from distributor.cli.deliver import select
    from distributor.model.errors import UsageError

    if fingerprint is not None and len(hosts) > 1:
        raise UsageError("--fingerprint is for one host", hint="name one host at a time")
    inventory = settings.load_inventory()
    chosen = select(inventory, all_hosts=False, hosts=hosts, tags=())
    expected = _as_ours(fingerprint, chosen[0]) if fingerprint is not None else None
    store = settings.store()
    code, looked = OK, [_Looked(host.name) for host in chosen]
    with store.lock():
        for host, one in zip(chosen, looked, strict=True):
            code = max(code, _look(settings, store, host, expected, yes, one))
    if settings.as_json:
        print_json({"exit": code, "hosts": [_as_json(one) for one in looked]})
    context.exit(code)


def _look(
    settings: Settings,
    store: "Store",
    host: "Host",
    fingerprint: str | None,
    yes: bool,
    one: _Looked,
) -> int:
    """Show, pin and try one host, and note in `one` what became of it; return its exit code."""
    from distributor.cli.trust_ssh import pin_key, shown_key, sign_in_by_ssh
    from distributor.model.bundle import describe
    from distributor.model.errors import DistributorError, UsageError
    from distributor.model.hosts import SshAccess
    from distributor.render.text import error_lines

    access = host.access
    try:
        if isinstance(access, SshAccess):
            one.host_key = shown_key(host, access, store, fingerprint)
            if not settings.as_json:
                settings.stdout().print(f"{host.name}  host key {one.host_key}", soft_wrap=True)
            one.is_pinned = pin_key(
                settings,
                store,
                host,
                access,
                one.host_key,
                fingerprint,
                lambda: yes or _confirmed(host, "host key"),
            )
        else:
            leaf = _served_leaf(host, access)
            one.shown = describe((leaf,), host.name)
            if not settings.as_json:
                _show(settings, host, one.shown)
            one.is_pinned = _pin(settings, store, host, leaf, fingerprint, yes)
        if not one.is_pinned:
            return NOT_WELL
        store.refusals.forget(host.name)  # a person has seen to it
        well = True
        if sys.stdin.isatty():
            if isinstance(access, SshAccess):
                sign_in_by_ssh(settings, store, host, access)
            else:
                well = _sign_in(settings, store, host, access)
    except DistributorError as error:
        one.error = error
        for line in error_lines(error, f"{host.name}  "):
            settings.stderr().print(line, soft_wrap=True)
        return USAGE if isinstance(error, UsageError) else NOT_WELL
    return OK if well else NOT_WELL


def _as_json(one: _Looked) -> dict[str, Any]:
    from distributor.model.times import rfc3339
    from distributor.render.as_json import error_as_json

    shown, key = one.shown, one.host_key
    return {
        "name": one.host,
        "leaf": shown.leaf if shown else None,
        "key": shown.key if shown else None,
        "names": list(shown.names) if shown else [],
        "not_before": rfc3339(shown.not_before) if shown and shown.not_before else None,
        "not_after": rfc3339(shown.not_after) if shown and shown.not_after else None,
        "issuer": (shown.issued_by or None) if shown else None,
        "host_key": {"type": key.type, "fingerprint": key.fingerprint} if key else None,
        "pinned": one.is_pinned,
        "error": error_as_json(one.error),
    }


def _as_ours(text: str, host: "Host") -> str:
    """Return a fingerprint as reports have it; browsers and openssl put colons and capitals.

    That of an SSH host key is as ssh-keygen prints it. Raises UsageError for anything but SHA-256.
    """
    from distributor.model.errors import UsageError
    from distributor.model.text import printable

    if host.via == "ssh":
        if re.fullmatch("SHA256:[A-Za-z0-9+/]{43}", text.strip()) is None:
            raise UsageError(
                f"'{printable(text)}' is no SHA-256 fingerprint of an SSH host key",
                hint="give SHA256: and 43 characters of base64, as ssh-keygen -l prints it",
            )
        return text.strip()
    found = re.fullmatch("(?:sha256)?([0-9a-f]{64})", text.strip().lower().replace(":", ""))
    if found is None:
        raise UsageError(
            f"'{printable(text)}' is no SHA-256 fingerprint",
            hint="give sha256: and 64 hex digits; colons between them do no harm",
        )
    return f"sha256:{found[1]}"


def _served_leaf(host: "Host", access: "ApiAccess") -> "x509.Certificate":
    """Return the leaf that the host's own port serves."""
    from distributor.clients.tls import served_chain
    from distributor.model.hosts import SocketAddress

    return served_chain(
        SocketAddress(host.address, access.port), access.server_name, legacy=access.legacy_tls
    )[0]


def _pin(
    settings: Settings,
    store: "Store",
    host: "Host",
    leaf: "x509.Certificate",
    fingerprint: str | None,
    yes: bool,
) -> bool:
    """Pin the leaf of one host; return whether it is pinned at the end."""
    from distributor.access import pin_of
    from distributor.model.bundle import fingerprint as fingerprint_of
    from distributor.model.errors import Untrusted

    shown = fingerprint_of(leaf)
    known = store.trust.pinned(host.name)
    if shown in store.bundles.revoked_leaves():
        raise Untrusted(
            "the leaf that it serves was revoked: it proves nothing",
            hint="bring another certificate to the box by hand first",
            step="trust",
        )
    if fingerprint is not None and fingerprint != shown:
        raise Untrusted(
            f"it serves another leaf than {fingerprint}",
            hint="nothing was pinned; is the address right, and who answers there?",
            step="trust",
        )
    # By --fingerprint it is pinned anew: of a leaf that has ended, that is a person's word again.
    if known is not None and known.leaf == shown and fingerprint is None:
        settings.stderr().print(f"{host.name}  is pinned to this already", soft_wrap=True)
        return True
    if known is not None and fingerprint is None:
        raise Untrusted(
            f"it is pinned to another leaf, {known.leaf}",
            hint=f"if you know why: distribute trust {host.name} --fingerprint {shown}",
            step="trust",
        )
    if fingerprint is None and not yes and not _confirmed(host, "leaf"):
        return False
    store.trust.pin(host.name, pin_of(leaf, by="trust"))
    settings.stderr().print(f"{host.name}  pinned", soft_wrap=True)
    return True


def _sign_in(settings: Settings, store: "Store", host: "Host", access: "ApiAccess") -> bool:
    """Try the account while somebody is there to give a one-time code.

    Return whether later runs get in without one.
    """
    from distributor.access import Logins, trust_for
    from distributor.model.secret import Secret

    asked = False

    def ask() -> Secret:
        nonlocal asked
        asked = True
        what = f"One-time code of '{access.user}' on {host.name}"
        return Secret(click.prompt(what, hide_input=True, err=True).strip())

    had = store.devices.find(host.name, access.user)
    Logins(store).enrol(host, access, trust_for(host, access, store, ()), ask)
    has = store.devices.find(host.name, access.user)
    kept = "; its device token is kept, no code is needed from now on" if has != had else ""
    lacks = asked and has == had
    if lacks:
        kept = (
            ", but it gave no device token: every run would be asked for a code. Give the "
            f"account's TOTP secret as `otp` of {host.name}"
        )
    settings.stderr().print(f"{host.name}  signed in as {access.user}{kept}", soft_wrap=True)
    return not lacks


def _show(settings: Settings, host: "Host", about: "Certificate") -> None:
    from distributor.access import utc_now
    from distributor.model.text import printable
    from distributor.render.words import certificate_text

    console = settings.stdout()
    console.print(f"{host.name}  {certificate_text(about, utc_now())}", soft_wrap=True)
    console.print(f"    leaf    {about.leaf}", soft_wrap=True)
    console.print(f"    key     {about.key}", soft_wrap=True)
    console.print(f"    issuer  {printable(about.issued_by)}", soft_wrap=True)


def _confirmed(host: "Host", what: str) -> bool:
    from distributor.model.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            f"{host.name} was not pinned: nobody is there to compare the fingerprint",
            hint=f"distribute trust {host.name} --fingerprint F, or --yes to pin at first sight",
        )
    return click.confirm(f"Is this the {what} of {host.name}?", default=False, err=True)
