"""Certificates that lie in files: bought ones, and those of certbot, lego or acme.sh.

Whoever writes them keeps writing them; here they are read at each run and compared by content with
what the store holds. File times say nothing: a restored file is older than the one it replaced.
"""

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from distributor.model.bundle import NEXT, Bundle, Certificate, covers, describe, prove
from distributor.model.errors import (
    BrokenChain,
    BundleError,
    DistributorError,
    IssuanceError,
    KeyMismatch,
    ProtocolError,
)
from distributor.model.hosts import FilesSource, WantedCertificate
from distributor.model.pem import certificates_from
from distributor.model.pkcs12 import read_pkcs12
from distributor.model.renewal import Held, Hints, Outlook, Renewal, renew_at
from distributor.model.secret import Secret
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.protocol.archive import KeyFamily, parse_export
from distributor.protocol.folders import LOOKED_FOR, FilePair, pairs_in
from distributor.sources.contract import Progress, Ready
from distributor.store import Store, Stored

log = logging.getLogger(__name__)

SIZE_LIMIT: Final = 4 << 20
"""Bytes. Three PEM files of the largest size that is read, in an archive that packs nothing."""
ENTRY_LIMIT: Final = 10_000
"""Names looked at in a folder."""

_AGAIN: Final = "if they were just being written, run it again"
_CERTIFICATE_BEGINS: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """What was read, as PEM, and not proved yet."""

    certificate: bytes
    chain: bytes = b""
    private_key: bytes = field(repr=False)
    key_file: Path | None
    """The file that shows the key to whoever may read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """One certificate with `source = "files"`."""

    wanted: WantedCertificate
    source: FilesSource
    store: Store
    passphrase: Callable[[], Secret] | None
    """Gives the passphrase of the PKCS #12 container; raises SecretError."""
    roots: Callable[[], Collection[x509.Certificate]]
    """Gives the roots that hosts are expected to be verified against."""
    now: Callable[[], datetime]

    def current(self) -> Ready | None:
        """Return the store's current version."""
        stored = self.store.bundles.current(self.wanted.name)
        return None if stored is None else self._ready(stored)

    def forecast(self) -> Certificate:
        """Return the name alone: all else is known only once the files were read."""
        name = self.wanted.name
        return Certificate(name=name, leaf=NEXT + name, names=(), key_type="unknown")

    def look(self) -> Hints:
        """Return what the files hold. Where they do not make a bundle, `error` says why."""
        try:
            ready = self.current()
            pair = self._read()
            seen, problem = self._seen(pair)
        except DistributorError as error:
            log.info("source=%s step=look error=%s", self.wanted.name, error.kind)
            said = f"whether there is a newer one could not be seen: {error}"
            return Hints(error=error.message, warnings=(said,))
        held = ready.held if ready is not None else None
        hints = Hints(seen=seen, error=problem.message if problem is not None else None)
        is_due = self.due(held, hints, self.now()) is not None
        warnings = self._warnings(seen, held, problem, is_due=is_due)
        return replace(hints, warnings=(*warnings, *_others_read(pair.key_file)))

    def due(self, current: Held | None, hints: Hints, now: datetime) -> Renewal | None:
        """Return why they are to be taken: none yet, or they hold something else that is newer.

        What cannot be used is due all the same, so that the attempt says why; it has no forecast.
        """
        seen = hints.seen
        usable = seen if seen is not None and hints.error is None else self.forecast()
        if current is None:
            return Renewal(reason="none yet", forecast=usable)
        reason = self._reason(current, seen, now) if seen is not None else None
        return None if reason is None else Renewal(reason=reason, forecast=usable)

    def outlook(self, current: Held, hints: Hints) -> Outlook:  # noqa: ARG002 - the contract's; whoever writes the files decides
        """Return that the files decide."""
        return Outlook(reason="when the files hold a newer one")

    def tidy(self) -> tuple[str, ...]:
        """Return nothing: reading leaves nothing behind."""
        return ()

    def renew(self, progress: Progress, *, is_asked_for: bool = False) -> Ready:  # noqa: ARG002 - the contract's; reading files costs nobody anything
        """Read the files, prove what they hold and store it, older or not.

        Returns what the store holds if it is that already.
        """
        progress(f"reading {self._where}")
        bundle = self._proved(self._read())
        stored = self.store.bundles.current(self.wanted.name)
        if stored is None or stored.ca or _content(stored.bundle) != _content(bundle):
            stored = self.store.bundles.save(self.wanted.name, bundle, ca="", now=self.now())
        return self._ready(stored)

    def _ready(self, stored: Stored) -> Ready:
        certificate = stored.bundle.certificate(self.wanted.name, self.roots())
        return Ready(Held(certificate=certificate, ca=stored.ca), stored.bundle)

    @property
    def _where(self) -> str:
        source = self.source
        return printable(source.certificate or source.archive or source.pkcs12)

    def _reason(self, current: Held, seen: Certificate, now: datetime) -> str | None:
        held = current.certificate
        missing = [name for name in self.wanted.names if not covers(held.names, name)]
        if current.ca:
            return "source changed"
        if missing:
            return f"names changed (new: {', '.join(map(printable, missing))})"
        if seen.leaf == held.leaf:
            return "the files hold another chain for it" if seen.chain != held.chain else None
        if not _is_older(seen, held):
            return "the files hold a newer one"
        if _is_valid(seen, now) and not _is_valid(held, now):
            return "it has ended, and the files hold one that has not"
        return None

    def _seen(self, pair: _Pair) -> tuple[Certificate, BundleError | None]:
        """Return what the files show, and why it cannot be used if that is so."""
        name = self.wanted.name
        try:
            return self._proved(pair).certificate(name, self.roots()), None
        except BundleError as problem:
            given = certificates_from(pair.certificate, self._where)
            if pair.chain:
                given += certificates_from(pair.chain, "the chain")
            return describe(tuple(dict.fromkeys(given)), name), problem

    def _proved(self, pair: _Pair) -> Bundle:
        try:
            return prove(
                certificate=pair.certificate,
                chain=pair.chain,
                private_key=pair.private_key,
                names=self.wanted.names,
                now=self.now(),
            )
        except BundleError as error:
            hint = error.hint
            if isinstance(error, KeyMismatch | BrokenChain):
                hint = f"{hint}; {_AGAIN}"
            message = f"{self._where}: {error.message}"
            raise type(error)(message, hint=hint, step="read") from None

    def _warnings(
        self,
        seen: Certificate,
        held: Held | None,
        problem: BundleError | None,
        *,
        is_due: bool,
    ) -> Iterator[str]:
        if problem is not None and not is_due:
            yield str(problem)
        if held is not None and not is_due and _is_older(seen, held.certificate):
            yield (
                f"{self._where} holds an older certificate ({_dates(seen)}) than the store "
                f"({_dates(held.certificate)}), which is kept: "
                f"`distribute issue {self.wanted.name} --renew-now` takes the older one"
            )
        elif problem is None and self._is_late(seen):
            yield (
                f"{self._where} holds a certificate that ends at {_end(seen)} and was not "
                "replaced yet: see why, or put a new one there"
            )

    def _is_late(self, seen: Certificate) -> bool:
        """Tell whether half of the time has passed in which others usually renew."""
        if seen.not_before is None or seen.not_after is None:
            return False
        usual = renew_at(seen.not_before, seen.not_after, self.wanted)
        return self.now() > usual + (seen.not_after - usual) / 2

    def _read(self) -> _Pair:
        """Return what the files hold; raises IssuanceError or BundleError."""
        source = self.source
        if source.archive is not None:
            return self._archive(source.archive)
        if source.pkcs12 is not None:
            return self._pkcs12(source.pkcs12)
        if source.certificate is None:
            raise TypeError("the inventory was not checked: no file is named")
        if _is_folder(source.certificate):
            return self._folder(source.certificate)
        key_file = source.private_key or source.certificate
        return _Pair(
            certificate=_pem(source.certificate),
            chain=_pem(source.chain) if source.chain is not None else b"",
            private_key=_pem(key_file),
            key_file=key_file,
        )

    def _folder(self, folder: Path) -> _Pair:
        if self.source.private_key is not None or self.source.chain is not None:
            raise BundleError(
                f"{printable(folder)} is a folder, in which chain and key are found by themselves",
                hint="name a file, or leave out `chain` and `private_key`",
                step="read",
            )
        pair = _only_pair(folder)
        certificate, key_file = _pem(folder / pair.certificate), folder / pair.private_key
        alone = certificate.count(_CERTIFICATE_BEGINS) == 1
        return _Pair(
            certificate=certificate,
            chain=_pem(folder / pair.chain) if pair.chain is not None and alone else b"",
            private_key=_pem(key_file),
            key_file=key_file,
        )

    def _archive(self, path: Path) -> _Pair:
        family: KeyFamily = "ECC" if self.wanted.key_type.startswith("ec") else "RSA"
        try:
            pair = parse_export(_content_of(path), family)
        except ProtocolError as error:
            message = f"{printable(path)}: {error.message}"
            raise BundleError(message, hint=error.hint, step="read") from error
        return _Pair(
            certificate=pair.certificate,
            chain=pair.chain,
            private_key=pair.private_key,
            key_file=path,
        )

    def _pkcs12(self, path: Path) -> _Pair:
        passphrase = self.passphrase() if self.passphrase is not None else Secret("")
        given = passphrase.reveal().encode()
        found = read_pkcs12(_content_of(path), given, printable(path))
        return _Pair(
            certificate=found.certificate,
            chain=found.chain,
            private_key=found.private_key.reveal().encode("ascii"),
            key_file=path if passphrase.is_empty else None,
        )


def _content(bundle: Bundle) -> tuple[x509.Certificate, ...]:
    return (bundle.leaf, *bundle.chain)


def _is_older(one: Certificate, other: Certificate) -> bool:
    if one.not_before is None or other.not_before is None:
        return False
    return one.not_before < other.not_before


def _is_valid(one: Certificate, now: datetime) -> bool:
    return one.not_after is not None and now <= one.not_after


def _dates(one: Certificate) -> str:
    return f"issued {rfc3339(one.not_before)}" if one.not_before is not None else "of unknown date"


def _end(one: Certificate) -> str:
    return rfc3339(one.not_after) if one.not_after is not None else "an unknown time"


def _only_pair(folder: Path) -> FilePair:
    """Return the one pair of a folder; raises BundleError when there is none, or more."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name for entry, _ in zip(entries, range(ENTRY_LIMIT), strict=False)}
    except OSError as error:
        raise _unreadable(folder, error) from error
    pairs = pairs_in(names)
    if len(pairs) == 1:
        return pairs[0]
    if not pairs:
        raise BundleError(
            f"{printable(folder)} holds no certificate with its key; looked for {LOOKED_FOR}",
            hint="name the folder of one certificate, or the files themselves",
            step="read",
        )
    found = ", ".join(printable(f"{pair.certificate} with {pair.private_key}") for pair in pairs)
    raise BundleError(
        f"{printable(folder)} holds {len(pairs)} certificates: {printable(found)}",
        hint="name the files of the one that is meant: certificate and private_key",
        step="read",
    )


def _pem(path: Path) -> bytes:
    """Return a PEM file whole; raises BundleError when one of its blocks has no end."""
    content = _content_of(path)
    if content.count(b"-----BEGIN ") != content.count(b"-----END "):
        raise BundleError(
            f"{printable(path)} is cut off: a block has no end",
            hint=f"look at the file; {_AGAIN}",
            step="read",
        )
    return content


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        raise _unreadable(path, error) from error


def _content_of(path: Path) -> bytes:
    try:
        # Looked at first: opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise BundleError(
                f"{printable(path)} is no file", hint="name the file itself", step="read"
            )
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > SIZE_LIMIT:
        raise BundleError(
            f"{printable(path)} is larger than {SIZE_LIMIT} bytes",
            hint="is it the right file?",
            step="read",
        )
    return content


def _unreadable(path: Path, error: OSError) -> IssuanceError:
    return IssuanceError(
        f"{printable(path)} cannot be read: {error.strerror}",
        hint="correct the path in the inventory, or let this account read it",
        step="read",
    )


def _others_read(key_file: Path | None) -> Iterator[str]:
    """Say that everybody on this machine may read the key; told by POSIX mode bits only."""
    if key_file is None or os.name != "posix":
        return
    with suppress(OSError):  # it was read; where it is gone by now there is nothing to warn of
        file = key_file.resolve()
        closed = [one for one in file.parents if not one.stat().st_mode & stat.S_IXOTH]
        if file.stat().st_mode & stat.S_IROTH and not closed:
            yield (
                f"everybody on this machine may read the private key in {printable(key_file)}: "
                f"chmod o-r '{printable(key_file)}'"
            )
