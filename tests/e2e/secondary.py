"""Knot DNS as a secondary that fetches a zone only when it is told to."""

import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.rcode

from distributor.lab.child import Child
from tests.e2e.servers import Bind, ask, free_dns_port, txt

_START_SECONDS = 10.0
_CONTROL_SECONDS = 20.0
_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin"


class Knot:
    """A secondary of all zones of a BIND, as whoever runs the tests, on a port of 127.0.0.1.

    It has the zones as they were when it started. BIND does not notify it, and their refresh is an
    hour away: what is changed afterwards it learns by `refresh`.
    """

    def __init__(self, folder: Path, primary: Bind) -> None:
        self.folder = folder
        self.primary = primary
        self.port = free_dns_port()

    @property
    def endpoint(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        program = _program("knotd")
        self._configuration = self._configure()
        self._child = Child(
            [program, "-c", str(self._configuration)],
            folder=self.folder,
            log=self.folder / "knotd.log",
            environment={"PATH": "/usr/bin:/bin"},
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._has_all_zones():
            if self._child.exit_code is not None or time.monotonic() > deadline:
                tail = self._child.tail()
                self._child.stop()
                raise AssertionError(f"knotd did not start:\n{tail}")
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.stop()

    def refresh(self) -> None:
        """Fetch what changed at the primary; returns when it is served."""
        command = [_program("knotc"), "-c", str(self._configuration), "-b", "zone-refresh"]
        subprocess.run(command, check=True, capture_output=True, timeout=_CONTROL_SECONDS)

    def txt(self, name: str) -> set[str]:
        return txt(self.endpoint, name)

    def _configure(self) -> Path:
        primary = self.primary
        zones = "".join(
            f"  - domain: {zone.origin}\n    storage: {self.folder}\n    master: primary\n"
            for zone in primary.zones
        )
        path = self.folder / "knot.conf"
        path.touch(mode=0o600)
        path.write_text(
            f"server:\n  rundir: {self.folder}\n  listen: 127.0.0.1@{self.port}\n"
            "  udp-workers: 1\n  tcp-workers: 2\n  background-workers: 1\n"
            f"database:\n  storage: {self.folder}\n"
            "log:\n  - target: stderr\n    any: info\n"
            f"key:\n  - id: {primary.key_name}\n    algorithm: hmac-sha256\n"
            f"    secret: {primary.key_secret}\n"
            f"remote:\n  - id: primary\n    address: {primary.address}@{primary.port}\n"
            f"    key: {primary.key_name}\n"
            f"zone:\n{zones}"
        )
        return path

    def _has_all_zones(self) -> bool:
        try:
            return all(
                ask(self.endpoint, zone.origin, "SOA").rcode() == dns.rcode.NOERROR
                for zone in self.primary.zones
            )
        except (OSError, EOFError, dns.exception.DNSException):
            return False


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found, f"{name} is missing: apt install knot"
    return found
