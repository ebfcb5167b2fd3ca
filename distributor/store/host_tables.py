"""A TOML file with one table per host, changed as a whole, from several threads and processes."""

import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from distributor.model.errors import StateError
from distributor.store.files import DAMAGED, make_folder, read, write

Value = TypeVar("Value")

_PATIENCE: Final = 10.0
"""Seconds to wait for another process that changes the file: it needs milliseconds."""


class HostTables:
    """`[hosts.NAME]` tables; `remedy` is what a person does when the file cannot be read."""

    def __init__(self, path: Path, remedy: str) -> None:
        self._path = path
        self._remedy = remedy
        self._lock = threading.RLock()  # hosts are worked on in parallel; the file is one

    def read(self, host: str, parse: Callable[[Any], Value]) -> Value | None:
        """Return what `parse` makes of the host's table, or None when there is none.

        Raises StateError, without quoting the file, for one that is not as it was written.
        """
        with self._lock:
            table = self._hosts().get(host)
        if table is None:
            return None
        with self._readable():
            return parse(table)

    def hosts(self) -> tuple[str, ...]:
        """Return the hosts that have a table; raises StateError as `read` does."""
        with self._lock:
            return tuple(self._hosts())

    @contextmanager
    def changing(self, host: str) -> Iterator[dict[str, Any]]:
        """Give the host's table (empty where there is none) to change; it is written at the end.

        An empty table is removed; one that did not change is not written. Other processes wait
        meanwhile, also those without the run lock. Raises StateError.
        """
        import tomli_w

        with self._lock, self._alone():
            hosts = self._hosts()
            before = hosts.pop(host, None)
            with self._readable():
                table = dict(before or {})
            yield table
            if table:
                hosts[host] = table
            if table != (before or {}):
                with self._readable():  # other hosts' tables may hold what cannot be written again
                    content = tomli_w.dumps({"version": 0, "hosts": hosts}).encode("utf-8")
                write(self._path, content)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the system's lock on all such files of the folder; it ends with the process."""
        from filelock import FileLock, Timeout

        make_folder(self._path.parent)
        lock = FileLock(self._path.with_name("tables.lock"), mode=0o600)
        try:
            lock.acquire(timeout=_PATIENCE, poll_interval=0.01)
        except (Timeout, OSError) as error:
            raise StateError(
                f"cannot lock {self._path}: {getattr(error, 'strerror', None) or 'it is in use'}",
                hint="check its folder's owner, and whether another run hangs",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _hosts(self) -> dict[str, Mapping[str, Any]]:
        written = read(self._path)
        if written is None:
            return {}
        with self._readable():
            return dict(tomllib.loads(written.decode("utf-8"))["hosts"])

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except DAMAGED:
            # The cause is not chained: it could quote a token or a hash.
            raise StateError(f"{self._path} cannot be read", hint=self._remedy) from None
