"""What `distribute show` sees in files: PEM, DER, PKCS#12, folders, and DSM's zip."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from distributor.cli.shown import Shown
from distributor.cli.ways import Ways, roots_words

if TYPE_CHECKING:
    from cryptography import x509

    from distributor.model.chain import Chain
    from distributor.model.pem import PrivateKey
    from distributor.protocol.folders import FilePair

_SETS: Final = ("", "RSA-", "ECC-")
"""How the names of a set of files begin: an entry of DSM may hold two pairs."""
_PARTS: Final = ("cert.pem", "chain.pem", "fullchain.pem", "privkey.pem")
_BOXES_OWN_CA: Final = "syno-ca-cert.pem"
_MEMBERS: Final = (*(mark + part for mark in _SETS for part in _PARTS), _BOXES_OWN_CA)
_KEY: Final = "privkey.pem"
_KEYS: Final = frozenset(mark + _KEY for mark in _SETS)


def look_at_file(path: Path, ways: Ways) -> list[Shown]:
    """Return what a file holds: more than one thing, for an archive with two pairs."""
    from distributor.model.pkcs12 import is_pkcs12
    from distributor.protocol.archive import members_of

    content, what = _content(path), str(path)
    if content.startswith(b"PK"):
        return _sets(what, members_of(content, _MEMBERS), "an archive as DSM exports it", ways)
    if is_pkcs12(content):
        return [_pkcs12(content, what, ways)]
    return [_pem(content, what, ways)]


def look_at_folder(path: Path, ways: Ways) -> list[Shown]:
    """Return what a folder holds that DSM, certbot, lego, acme.sh or `export` wrote."""
    from distributor.protocol.folders import pairs_in

    names = _names_in(path)
    members = {name: _content(path / name) for name in _MEMBERS if name in names - _KEYS}
    keys, notes = _readable(path, names & _KEYS)
    pairs = pairs_in(names) if not members else ()
    if pairs:
        return [_pair(path, pair, ways) for pair in pairs]
    return _sets(str(path), members | keys, "a folder", ways, notes)


def _names_in(folder: Path) -> frozenset[str]:
    from distributor.model.errors import UsageError

    try:
        return frozenset(one.name for one in folder.iterdir() if one.is_file())
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be read: {error.strerror}", hint="correct the path or its mode"
        ) from error


def _readable(folder: Path, names: frozenset[str]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the content of keys by name; and notes on those that are for others' eyes alone."""
    from distributor.model.errors import UsageError

    found: dict[str, bytes] = {}
    notes: list[str] = []
    for name in sorted(names):
        try:
            found[name] = _content(folder / name)
        except UsageError as error:
            notes.append(f"{error.message}: whether it fits the leaf is not known")
    return found, tuple(notes)


def _pair(folder: Path, pair: "FilePair", ways: Ways) -> Shown:
    """Return a pair as lego and acme.sh keep it; some of its files may repeat others."""
    from distributor.model.pem import certificates_from

    parts = [pair.certificate, *([pair.chain] if pair.chain is not None else [])]
    certificates = tuple(
        dict.fromkeys(
            one
            for name in parts
            for one in certificates_from(_content(folder / name), str(folder / name))
        )
    )
    content, notes = _readable(folder, frozenset({pair.private_key}))
    key = None
    if content:
        key, notes = _key(content[pair.private_key], pair.private_key)
    what = f"{folder} ({pair.certificate})"
    return _judged(what, certificates, ways, f"a folder: {', '.join(parts)}", key, notes)


def _sets(
    what: str,
    members: Mapping[str, bytes],
    holder: str,
    ways: Ways,
    notes: tuple[str, ...] = (),
) -> list[Shown]:
    """Return each pair among the members; raises BundleError when there is none."""
    from distributor.model.errors import BundleError
    from distributor.protocol.folders import LOOKED_FOR

    found = [
        _set(what, mark, members, holder, ways, notes)
        for mark in _SETS
        if f"{mark}cert.pem" in members or f"{mark}fullchain.pem" in members
    ]
    if not found:
        raise BundleError(
            f"{what} holds no certificate by a name that is known",
            hint=f"name the file itself; known are {LOOKED_FOR}",
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
        taken = ["cert.pem", *(["chain.pem"] if own.get("chain.pem", b"").strip() else [])]
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
    from distributor.model.pkcs12 import look_into

    given = ways.passphrase.given()
    try:
        found = look_into(content, given, what)
    except EncryptedKey:
        asked = ways.passphrase.asked(what, new=False) if given is None else None
        if asked is None:
            raise
        found = look_into(content, asked, what)
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
        roots=roots_words(ways.ca_bundle),
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
