"""What `distribute show` looks at: certificates of the inventory, files, folders, zips, ports."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from distributor.cli.passphrase import Passphrase
from distributor.cli.shown import Shown

if TYPE_CHECKING:
    from cryptography import x509

    from distributor.cli.settings import Settings
    from distributor.model.chain import Chain
    from distributor.model.hosts import Inventory, StartTls
    from distributor.model.pem import PrivateKey
    from distributor.wiring import Workshop

_USUAL_ROOTS: Final = "known to clients (Mozilla's list)"
_SETS: Final = ("", "RSA-", "ECC-")
"""How the names of a set of files begin: an entry of DSM may hold two pairs."""
_PARTS: Final = ("cert.pem", "chain.pem", "fullchain.pem", "privkey.pem")
_BOXES_OWN_CA: Final = "syno-ca-cert.pem"
_MEMBERS: Final = (*(mark + part for mark in _SETS for part in _PARTS), _BOXES_OWN_CA)
_KEY: Final = "privkey.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How files and ports are looked at."""

    passphrase: Passphrase = field(default_factory=Passphrase)
    ca_bundle: Path | None = None
    """Roots to judge by; None for the usual ones."""
    starttls: "StartTls | None" = None
    legacy_tls: bool = False
    server_name: str | None = None
    """Sent as SNI; None for the host's own."""

    def port_options(self) -> list[str]:
        """Return the options given that are for ports alone."""
        given = {
            "--starttls": self.starttls,
            "--legacy-tls": self.legacy_tls,
            "--server-name": self.server_name,
        }
        return [name for name, value in given.items() if value]


def look_at(settings: "Settings", things: Sequence[str], ways: Ways) -> list[Shown]:
    """Return what `things` are: names of the inventory, files, folders, zips, or HOST:PORT.

    Raises UsageError for one that is none of these, and the error of whatever could not be read.
    """
    from distributor.model.errors import UsageError

    ports = {thing: port for thing in things if (port := _port_of(thing)) is not None}
    if ways.port_options() and not ports:
        raise UsageError(
            f"{ways.port_options()[0]} is for HOST:PORT", hint="name a port, such as nas:5001"
        )
    if not things:
        inventory = settings.load_inventory()
        return [_stored(settings, inventory, name) for name in inventory.certificates]
    found: list[Shown] = []
    for thing in things:
        if thing in ports:
            found.append(_served(*ports[thing], ways))
        elif Path(thing).is_file():
            found += _file(Path(thing), ways)
        elif Path(thing).is_dir() and (os.sep in thing or "/" in thing):
            found += _folder(Path(thing), ways)
        else:
            found.append(_named(settings, thing))
    return found


def _port_of(thing: str) -> tuple[str, int] | None:
    """Return host and port of HOST:PORT; a file of that name comes first."""
    host, colon, port = thing.rpartition(":")
    if Path(thing).is_file() or not (colon and host and port.isdecimal()):
        return None
    if not 0 < int(port) < 65536:  # noqa: PLR2004 - TCP ports
        return None
    return host.strip("[]"), int(port)


def _named(settings: "Settings", thing: str) -> Shown:
    from distributor.cli.deliver import require_known
    from distributor.model.errors import InventoryError, UsageError
    from distributor.model.text import printable

    try:
        inventory = settings.load_inventory()
    except InventoryError:
        if settings.inventory_path().exists():
            raise
        raise UsageError(
            f"'{printable(thing)}' is no file and no HOST:PORT, and there is no inventory to find "
            "it in",
            hint="name the inventory with -i; for a folder write ./FOLDER",
        ) from None
    require_known("certificate", thing, inventory.certificates)
    return _stored(settings, inventory, thing)


def _stored(settings: "Settings", inventory: "Inventory", name: str) -> Shown:
    import threading

    from distributor.access import utc_now
    from distributor.clients.tls import load_roots
    from distributor.model.chain import read_chain
    from distributor.wiring import Workshop

    store = settings.store()
    wanted = inventory.certificates[name]
    workshop = Workshop(inventory, store, threading.Event())
    source = workshop.source(name)
    ready, stored, hints = source.current(), store.bundles.current(name), source.look()
    due = source.due(ready.held if ready else None, hints, utc_now())
    if ready is None or stored is None:
        reason = due.reason if due else "none"
        return Shown(what=name, certificates=(), chain=None, renewal=f"due now: {reason}")
    renewal = f"due now: {due.reason}" if due else f"due {source.outlook(ready.held, hints)}"
    certificates = (ready.bundle.leaf, *ready.bundle.chain)
    return Shown(
        what=name,
        certificates=certificates,
        chain=read_chain(certificates, load_roots(wanted.ca_bundle), utc_now()),
        roots=_roots_words(wanted.ca_bundle),
        renewal=renewal,
        budget=_budget(workshop, name),
        version=stored.version,
        versions=store.bundles.versions(name),
        revoked=store.bundles.revocations(name),
    )


def _budget(workshop: "Workshop", name: str) -> tuple[str, ...]:
    """Return what the rate limits of the certificate's CAs leave, one line each."""
    from distributor.access import utc_now
    from distributor.model.hosts import AcmeSource
    from distributor.render.budget import budget_lines

    source = workshop.inventory.certificates[name].source
    if not isinstance(source, AcmeSource):
        return ()
    events, asks = workshop.store.ledger.events(), workshop.acme(name).asks()
    return tuple(
        f"{ca.ca}: {line}" if source.fallback else line
        for ca, ask in zip((source, *source.fallback), asks, strict=True)
        for line in budget_lines(events, ask, utc_now())
    )


def _served(host: str, port: int, ways: Ways) -> Shown:
    from distributor.access import utc_now
    from distributor.clients import legacy_tls
    from distributor.clients.tls import is_ip, load_roots, served_chain
    from distributor.model.chain import read_chain
    from distributor.model.errors import ProtocolError
    from distributor.model.hosts import SocketAddress

    address, name = SocketAddress(host, port), ways.server_name or host
    try:
        certificates = served_chain(address, name, starttls=ways.starttls, legacy=ways.legacy_tls)
    except ProtocolError as error:
        if error.hint == legacy_tls.HINT:
            error.hint = "it speaks only old TLS: --legacy-tls looks at it all the same"
        raise
    return Shown(
        what=str(address),
        certificates=certificates,
        chain=read_chain(certificates, load_roots(ways.ca_bundle), utc_now()),
        roots=_roots_words(ways.ca_bundle),
        # Who writes an address has no name in mind that the leaf should be for.
        server_name=None if is_ip(name) else name,
    )


def _file(path: Path, ways: Ways) -> list[Shown]:
    from distributor.protocol.archive import members_of
    from distributor.protocol.pkcs12 import is_pkcs12

    content, what = _content(path), str(path)
    if content.startswith(b"PK"):
        return _sets(what, members_of(content, _MEMBERS), "an archive as DSM exports it", ways)
    if is_pkcs12(content):
        return [_pkcs12(content, what, ways)]
    return [_pem(content, what, ways)]


def _folder(path: Path, ways: Ways) -> list[Shown]:
    from distributor.model.errors import UsageError

    members: dict[str, bytes] = {}
    notes: tuple[str, ...] = ()
    for name in _MEMBERS:
        if not (path / name).is_file():
            continue
        try:
            members[name] = _content(path / name)
        except UsageError as error:
            if not name.endswith(_KEY):
                raise
            notes += (f"{error.message}: whether it fits the leaf is not known",)
    return _sets(str(path), members, "a folder", ways, notes)


def _sets(
    what: str,
    members: Mapping[str, bytes],
    holder: str,
    ways: Ways,
    notes: tuple[str, ...] = (),
) -> list[Shown]:
    """Return each pair among the members; raises BundleError when there is none."""
    from distributor.model.errors import BundleError

    found = [
        _set(what, mark, members, holder, ways, notes)
        for mark in _SETS
        if f"{mark}cert.pem" in members or f"{mark}fullchain.pem" in members
    ]
    if not found:
        raise BundleError(
            f"{what} holds neither cert.pem nor fullchain.pem", hint="name the file itself"
        )
    return found


def _set(
    what: str,
    mark: str,
    members: Mapping[str, bytes],
    holder: str,
    ways: Ways,
    notes: tuple[str, ...],
) -> Shown:
    from distributor.model.pem import certificates_from

    own = {part: members[mark + part] for part in _PARTS if mark + part in members}
    if not mark and _BOXES_OWN_CA in members:
        own.setdefault("chain.pem", members[_BOXES_OWN_CA])
        notes = (*notes, f"signed by the box's own CA ({_BOXES_OWN_CA}): nobody else trusts it")
    if "cert.pem" in own:
        taken = [part for part in ("cert.pem", "chain.pem") if own.get(part, b"").strip()]
    else:
        taken = ["fullchain.pem"]
    certificates = tuple(
        one for part in taken for one in certificates_from(own[part], f"{what}: {mark}{part}")
    )
    if "fullchain.pem" in own and "fullchain.pem" not in taken:
        full = certificates_from(own["fullchain.pem"], f"{what}: {mark}fullchain.pem")
        if full != certificates:
            notes = (
                *notes,
                f"{mark}fullchain.pem is not {' and '.join(taken)} one after the other",
            )
    key, said = _key(own[_KEY], f"{mark}{_KEY}") if _KEY in own else (None, ())
    shown = f"{what} ({mark.removesuffix('-')})" if mark else what
    return _judged(shown, certificates, ways, f"{holder}: {', '.join(own)}", key, notes + said)


def _pkcs12(content: bytes, what: str, ways: Ways) -> Shown:
    from distributor.model.errors import BundleError, EncryptedKey, WeakKey
    from distributor.model.pem import usable_key
    from distributor.protocol.pkcs12 import read_pkcs12

    given = ways.passphrase.given()
    try:
        found = read_pkcs12(content, given, what)
    except EncryptedKey:
        asked = ways.passphrase.asked(what, new=False) if given is None else None
        if asked is None:
            raise
        found = read_pkcs12(content, asked, what)
    if not found.certificates:
        raise BundleError(f"{what} holds no certificate", hint="is it the right file?")
    if found.key is None:
        return _judged(what, found.certificates, ways, "PKCS#12 without a key")
    try:
        key = usable_key(found.key, "its private key")
    except WeakKey as error:
        return _judged(what, found.certificates, ways, "PKCS#12", None, (error.message,))
    return _judged(what, found.certificates, ways, "PKCS#12", key)


def _pem(content: bytes, what: str, ways: Ways) -> Shown:
    from distributor.model.errors import BundleError
    from distributor.model.pem import certificates_from, der_certificate, has_private_key

    single = der_certificate(content)
    if single is not None:
        return _judged(what, (single,), ways)
    has_key = has_private_key(content, what)
    try:
        certificates = certificates_from(content, what)
    except BundleError:
        if has_key and b"CERTIFICATE" not in content:
            raise BundleError(
                f"{what} holds a private key and no certificate",
                hint="a key is never shown: name the file of the certificate",
            ) from None
        raise
    key, notes = _key(content, what) if has_key else (None, ())
    return _judged(what, certificates, ways, "", key, notes)


def _judged(
    what: str,
    certificates: "tuple[x509.Certificate, ...]",
    ways: Ways,
    holder: str = "",
    key: "PrivateKey | None" = None,
    notes: tuple[str, ...] = (),
) -> Shown:
    """Return certificates of a file, judged as a chain, and the key that came along."""
    from distributor.access import utc_now
    from distributor.clients.tls import load_roots
    from distributor.model.bundle import fits
    from distributor.model.chain import read_chain

    chain = read_chain(certificates, load_roots(ways.ca_bundle), utc_now(), leaf_first=False)
    leaf = certificates[chain.leaf_at] if chain.leaf_at is not None else None
    return Shown(
        what=what,
        certificates=certificates,
        chain=chain,
        roots=_roots_words(ways.ca_bundle),
        holds=holder or _file_words(chain),
        key_fits=None if key is None or leaf is None else fits(key, leaf),
        notes=notes,
    )


def _file_words(chain: "Chain") -> str:
    """Say what a file with these certificates is."""
    if chain.leaf_at is not None:
        alone = len(chain.links) == 1
        return "a leaf alone, as cert.pem" if alone else "a leaf and more, as fullchain.pem"
    if chain.intermediates:
        return "certificates of CAs and no leaf, as chain.pem"
    return "roots alone: what a client trusts, nothing that a server sends"


def _key(pem: bytes, what: str) -> "tuple[PrivateKey | None, tuple[str, ...]]":
    """Return the private key, or why it cannot be compared with the leaf."""
    from distributor.model.errors import BundleError
    from distributor.model.pem import private_key_from

    try:
        return private_key_from(pem, f"the private key in {what}"), ()
    except BundleError as error:
        return None, (error.message,)


def _content(path: Path) -> bytes:
    from distributor.model.errors import UsageError
    from distributor.model.pem import SIZE_LIMIT

    try:
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="correct the path or its mode"
        ) from error


def _roots_words(ca_bundle: Path | None) -> str:
    return _USUAL_ROOTS if ca_bundle is None else f"known from {ca_bundle}"
