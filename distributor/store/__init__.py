"""The state folder: bundles, accounts, orders, ledger, trust, snapshots, holds, secrets, run lock.

Folders have mode 700 and files 600 from their first byte; every file is written by temporary
file, fsync and rename, so that a cut leaves the old content or the new.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from distributor.model.errors import LockedError, StateError
from distributor.store.accounts import Account, Accounts
from distributor.store.bundles import Bundles, Stored
from distributor.store.devices import DeviceTokens
from distributor.store.files import make_folder, sweep
from distributor.store.holding import HoldsFile
from distributor.store.installation import Installation
from distributor.store.ledger import Ledger
from distributor.store.orders import NotedValues, OrderJournal, PendingOrder, Publisher
from distributor.store.refusals import Refusals
from distributor.store.secrets_file import SecretsFile
from distributor.store.snapshots import Snapshots
from distributor.store.trusted import TrustFile
from distributor.store.windows import Windows

__all__ = [
    "Account",
    "Accounts",
    "Bundles",
    "HoldsFile",
    "Installation",
    "Ledger",
    "NotedValues",
    "OrderJournal",
    "PendingOrder",
    "Publisher",
    "SecretsFile",
    "Store",
    "Stored",
    "TrustFile",
]


class Store:
    """One state folder. Nothing is created until something is written.

    In a dry run (`remembers` false) refused logins and the ledger are kept in memory alone.
    """

    def __init__(self, folder: Path, *, remembers: bool = True) -> None:
        self.folder = folder
        self.bundles = Bundles(folder / "certificates")
        self.windows = Windows(folder / "certificates", persist=remembers)
        self.accounts = Accounts(folder / "accounts")
        self.orders = OrderJournal(folder / "orders")
        self.ledger = Ledger(folder / "ledger.json", persist=remembers)
        self.snapshots = Snapshots(folder / "snapshots", self.bundles.by_leaf)
        self.trust = TrustFile(folder / "trust.toml")
        self.installation = Installation(folder / "installation")
        self.holds = HoldsFile(folder / "holds.toml")
        self.secrets = SecretsFile(folder / "secrets.toml")
        self.devices = DeviceTokens(folder / "devices.toml")
        self.refusals = Refusals(folder / "refusals.toml", persist=remembers)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run lock; raises LockedError at once when another run holds it.

        The lock is the operating system's own: it ends with the process, however that ends. What
        killed processes left half written is removed first.
        """
        from filelock import FileLock, Timeout

        make_folder(self.folder)
        lock = FileLock(self.folder / "run.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise LockedError(
                f"another run is at work in {self.folder}", hint="wait until it has ended"
            ) from error
        except OSError as error:
            raise StateError(
                f"cannot lock {self.folder}: {error.strerror}", hint="check its owner and mode"
            ) from error
        try:
            sweep(self.folder, time.time())
            yield
        finally:
            lock.release()

    def prune(self, now: datetime) -> tuple[tuple[str, str], ...]:
        """Remove versions of certificates that nobody needs; return name and version of each.

        The leaves that trust, holds and any snapshot speak of stay. The caller holds the run lock.
        Raises StateError, with nothing removed, when one of these cannot be read.
        """
        referred = self.trust.leaves() | self.holds.leaves() | self.snapshots.leaves()
        return tuple(
            (name, version)
            for name in self.bundles.names()
            for version in self.bundles.prune(name, referred, now)
        )
