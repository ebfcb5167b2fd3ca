"""`distribute export`: a certificate of the store as files for other programs."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from distributor.cli.passphrase import Passphrase, passphrase_options
from distributor.cli.settings import OK, Settings, global_options, print_json

if TYPE_CHECKING:
    from distributor.model.bundle import Bundle
    from distributor.model.secret import Secret
    from distributor.store import Stored

_FOUR: Final = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem")


@click.command(epilog="Example: distribute export home --out ./home-files")
@click.argument("name", metavar="CERT")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to; made (mode 700) if it is missing.",
)
@click.option("--zip", "as_zip", is_flag=True, help="One CERT.zip, as DSM exports it.")
@click.option("--pkcs12", is_flag=True, help="One CERT.pfx, under a passphrase.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@passphrase_options
@global_options
@click.pass_context
def export(
    context: click.Context,
    settings: Settings,
    /,
    name: str,
    out: Path,
    as_zip: bool,
    pkcs12: bool,
    force: bool,
    passphrase: Passphrase,
) -> None:
    """Write the current certificate as cert.pem, chain.pem, fullchain.pem and privkey.pem.

    With --zip or --pkcs12 it is one file instead. Only the owner can read what is written (mode
    600); nothing that is there is replaced without --force. The passphrase of --pkcs12 is asked for
    on a terminal, unless --passphrase-file or --passphrase-env says where it is.
    """
    from distributor.access import utc_now
    from distributor.cli.deliver import require_known
    from distributor.store.exported import pem_files, write_set

    require_known("certificate", name, settings.load_inventory().certificates)
    stored = _current(settings, name)
    files: dict[str, bytes] = {}
    words: dict[str, str] = {}
    family: Collection[str] = ()
    if not as_zip and not pkcs12:
        files, words, family = pem_files(stored.bundle), _words_of(stored.bundle), _FOUR
    if as_zip:
        files[f"{name}.zip"], words[f"{name}.zip"] = _zip(stored.bundle)
    if pkcs12:
        secret = _passphrase_for(f"{name}.pfx", passphrase)
        files[f"{name}.pfx"], words[f"{name}.pfx"] = _pkcs12(stored.bundle, name, secret)
    warnings = _warnings(name, stored, utc_now())
    write_set(out, files, family=family or tuple(files), replace=force)
    written = {str(out / file): words[file] for file in words}
    _report(settings, name, stored, written, warnings)
    context.exit(OK)


def _current(settings: Settings, name: str) -> "Stored":
    from distributor.model.errors import BundleError

    stored = settings.store().bundles.current(name)
    if stored is None:
        raise BundleError(
            f"the store holds no certificate '{name}'", hint=f"distribute issue {name}"
        )
    return stored


def _words_of(bundle: "Bundle") -> dict[str, str]:
    """Return what each of the four files is; no chain.pem where there is no intermediate."""
    count = len(bundle.chain)
    words = {
        "cert.pem": "the leaf alone",
        "chain.pem": f"{count} intermediate{'s' * (count != 1)}, in order: DSM's intermediate "
        "certificate",
        "fullchain.pem": "the leaf, then the intermediates",
        "privkey.pem": "the private key, not encrypted",
    }
    if not bundle.chain:
        del words["chain.pem"]
    return words


def _zip(bundle: "Bundle") -> tuple[bytes, str]:
    from distributor.store.exported import archive

    members = "cert.pem, chain.pem and privkey.pem" if bundle.chain else "cert.pem and privkey.pem"
    return archive(bundle), f"{members}, as DSM exports them; the key is not encrypted"


def _pkcs12(bundle: "Bundle", name: str, passphrase: "Secret") -> tuple[bytes, str]:
    from distributor.model.pkcs12 import ENCRYPTION, make_pkcs12

    said = f"leaf, intermediates and key under the passphrase; {ENCRYPTION}"
    return make_pkcs12(bundle, name, passphrase), said


def _passphrase_for(file: str, passphrase: Passphrase) -> "Secret":
    from distributor.model.errors import UsageError

    found = passphrase.given() or passphrase.asked(file, new=True)
    if found is None:
        raise UsageError(
            f"{file} needs a passphrase, and nobody is there to type it",
            hint="--passphrase-file FILE or --passphrase-env NAME",
        )
    return found


def _warnings(name: str, stored: "Stored", now: datetime) -> list[str]:
    from distributor.model.times import rfc3339

    leaf, again = stored.bundle.leaf, f"obtain a new one: distribute issue {name}"
    warnings = []
    if stored.revoked is not None:
        warnings.append(f"this certificate was {stored.revoked}; {again}")
    if now > leaf.not_valid_after_utc:
        ended = rfc3339(leaf.not_valid_after_utc)
        warnings.append(f"this certificate expired at {ended}; {again}")
    return warnings


def _report(
    settings: Settings,
    name: str,
    stored: "Stored",
    written: Mapping[str, str],
    warnings: list[str],
) -> None:
    from distributor.access import utc_now
    from distributor.model.bundle import fingerprint
    from distributor.render.words import certificate_text

    for warning in warnings:
        settings.stderr().print(f"{name}  {warning}", style="yellow", soft_wrap=True)
    if settings.as_json:
        print_json(
            {
                "exit": OK,
                "certificate": name,
                "leaf": fingerprint(stored.bundle.leaf),
                "stored": stored.version,
                "files": [{"path": path, "what": what} for path, what in written.items()],
                "warnings": warnings,
            }
        )
    elif not settings.quiet:
        console = settings.stdout()
        shown = certificate_text(stored.bundle.certificate(name), utc_now())
        console.print(f"{name}  {shown}", soft_wrap=True)
        for path, what in written.items():
            console.print(f"    {path}  {what}", soft_wrap=True)
