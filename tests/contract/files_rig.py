"""A certificate in files for the laws: written in one of the forms that are read."""

import shutil
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from distributor.model.bundle import Bundle
from distributor.model.hosts import FilesSource, WantedCertificate
from distributor.model.renewal import Hints
from distributor.model.secret import Secret
from distributor.sources.contract import Source
from distributor.sources.files import Files
from distributor.store import Store
from tests.certs import DAY, NOW, Issued, hierarchy
from tests.contract.scenarios import bundle_of
from tests.contract.source_laws import NAMES, SourceRig, tree
from tests.layouts import certbot, container, exported, write, zipped

ISSUER = hierarchy(2)
PASSPHRASE = "correct horse & battery staple"


def issued(
    *,
    since: timedelta = 1 * DAY,
    lasts: timedelta = 90 * DAY,
    key: Any = "ec256",
    names: Any = NAMES,
) -> Issued:
    begins = NOW - since
    return ISSUER.issue(names, not_before=begins, not_after=begins + lasts, key=key)


class FilesRig(SourceRig):
    name = "bought"
    forecast_names = ()

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.folder = folder.parent / "files"
        self.in_files = issued(since=10 * DAY)
        self.put(self.in_files)
        self.write(self.folder / "weak", issued(key="rsa1024"))
        self.write(self.folder / "other", issued(names=["other.test"]))

    @abstractmethod
    def write(self, folder: Path, one: Issued) -> None:
        """Write a certificate with its key below a folder."""

    @abstractmethod
    def at(self, folder: Path) -> FilesSource:
        """Say where `write` wrote it."""

    def put(self, one: Issued) -> None:
        """Let the files hold this one."""
        self.in_files = one
        self.write(self.folder / "good", one)

    @property
    def bundle(self) -> Bundle:
        return bundle_of(self.in_files)

    def source(self) -> Files:
        return self.made()

    def made(self, source: FilesSource | None = None, **other: Any) -> Files:
        source = source or self.at(self.folder / "good")
        known: dict[str, Any] = {
            "wanted": WantedCertificate(name=self.name, source=source),
            "source": source,
            "store": self.store,
            "passphrase": None,
            "roots": lambda: [ISSUER.root],
            "now": lambda: NOW,
        }
        return Files(**(known | other))

    def wanting(self, *names: str) -> Files:
        """A source of which the inventory says what it must cover."""
        source = self.source().source
        return self.made(wanted=WantedCertificate(name=self.name, source=source, names=names))

    def failures(self) -> dict[str, Callable[[], Source]]:
        return {
            "there is nothing": lambda: self.made(self.at(self.folder / "nowhere")),
            "the key is weak": lambda: self.made(self.at(self.folder / "weak")),
            "a name is missing": lambda: self.wanting(*NAMES, "www.other.test"),
            "it has ended": lambda: self.made(now=lambda: NOW + 200 * DAY),
        }

    def outside(self) -> object:
        return tree(self.folder)

    def hints_when_due(self) -> Hints:
        return Hints(seen=bundle_of(issued(since=timedelta(0))).certificate(self.name))

    def let_renew(self) -> None:
        self.put(issued(since=timedelta(0)))


class PemRig(FilesRig):
    """Leaf, chain and key in a file each."""

    def write(self, folder: Path, one: Issued) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for part, content in exported(one).items():
            write(folder / part, content)

    def at(self, folder: Path) -> FilesSource:
        cert, chain, key = (folder / name for name in ("cert.pem", "chain.pem", "privkey.pem"))
        return FilesSource(certificate=cert, chain=chain, private_key=key)


class CertbotRig(FilesRig):
    """A folder of certbot."""

    def write(self, folder: Path, one: Issued) -> None:
        versions = len(list(folder.glob("archive/example.test/cert*.pem")))
        certbot(folder, "example.test", one, version=versions + 1)

    def at(self, folder: Path) -> FilesSource:
        return FilesSource(certificate=folder / "live" / "example.test")


class ArchiveRig(FilesRig):
    """What DSM exports."""

    def write(self, folder: Path, one: Issued) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "archive.zip", zipped(exported(one)))

    def at(self, folder: Path) -> FilesSource:
        return FilesSource(archive=folder / "archive.zip")

    def put_both(self, rsa: Issued, ecc: Issued) -> None:
        """Let the archive hold two pairs, with the names that they have on the box."""
        both = exported(rsa, "RSA-") | exported(ecc, "ECC-")
        write(self.folder / "good" / "archive.zip", zipped(both))


class Pkcs12Rig(FilesRig):
    """A container with a passphrase."""

    def write(self, folder: Path, one: Issued) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "home.pfx", container(one, PASSPHRASE))

    def at(self, folder: Path) -> FilesSource:
        return FilesSource(pkcs12=folder / "home.pfx")

    def made(self, source: FilesSource | None = None, **other: Any) -> Files:
        return super().made(source, **({"passphrase": lambda: Secret(PASSPHRASE)} | other))

    def failures(self) -> dict[str, Callable[[], Source]]:
        return super().failures() | {
            "no passphrase": lambda: self.made(passphrase=None),
            "a wrong passphrase": lambda: self.made(passphrase=lambda: Secret("wrong")),
        }


RIGS = (PemRig, CertbotRig, ArchiveRig, Pkcs12Rig)


def remove(rig: FilesRig) -> None:
    """Take the files away."""
    shutil.rmtree(rig.folder / "good")
