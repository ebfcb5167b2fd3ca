"""The lab's CA: a real ACME server, Pebble or acme2certifier, as a child process on loopback."""

import http
import http.client
import logging
import os
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from distributor.lab import acme2certifier, pebble
from distributor.lab.acme2certifier import Acme2certifierOptions
from distributor.lab.child import Child
from distributor.lab.launch import Launch, Site
from distributor.lab.pebble import PebbleOptions
from distributor.lab.signing import make_authority, make_server

_LOG = logging.getLogger(__name__)

Engine = Literal["pebble", "acme2certifier"]

_INSTALLED = {"pebble": pebble.is_installed, "acme2certifier": acme2certifier.is_installed}
_OPTIONS: dict[str, type[PebbleOptions | Acme2certifierOptions]] = {
    "pebble": PebbleOptions,
    "acme2certifier": Acme2certifierOptions,
}
_NINETY_DAYS = 90 * 86_400
_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
_ANSWER_SECONDS = 2.0
_STARTS = 3
_PORT_TAKEN = ("address already in use", "connection in use")
_ENVIRONMENT_KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


class AuthorityError(Exception):
    """The CA of the lab could not be started; the message says why and what to do."""


class _PortTakenError(AuthorityError):
    """Somebody took the port between our looking and the server's start."""


class Authority:
    """A context manager around one ACME server that asks the nameserver at `dns`.

    `engine` None takes Pebble where it is on the PATH, else acme2certifier. `folder` is made if it
    is missing, closed to other users, and keeps keys, configuration and `log`. Certificates are
    valid for `validity_seconds`. AuthorityError if no engine is installed or it does not start,
    ValueError for options that the engine does not have.
    """

    def __init__(
        self,
        *,
        dns: tuple[str, int],
        folder: Path,
        engine: Engine | None = None,
        validity_seconds: int = _NINETY_DAYS,
        options: PebbleOptions | Acme2certifierOptions | None = None,
    ) -> None:
        self.engine = _choose(engine)
        known = _OPTIONS[self.engine]
        if options is not None and not isinstance(options, known):
            raise ValueError(
                f"{type(options).__name__} are not for {self.engine}, which takes {known.__name__}"
            )
        self.folder = folder.absolute()
        self.log = self.folder / f"{self.engine}.log"
        self.ca_bundle = self.folder / "https-root.pem"
        self.root = self.folder / "root.pem"
        self.directory_url = ""
        self._dns = dns
        self._validity_seconds = validity_seconds
        self._options = options or known()
        self._launch: Launch | None = None
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def root_pem(self) -> str:
        """Return the roots that issued chains verify against, as PEM."""
        return self.root.read_text(encoding="ascii")

    def start(self) -> None:
        """Start the server and return once its directory answers; the ports are free ones."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        site = self._make_site()
        for _ in range(_STARTS):
            try:
                self._start_once(self._prepare(site))
            except _PortTakenError as error:
                _LOG.info("event=port-taken engine=%s reason=%s", self.engine, error)
            else:
                _LOG.info("event=authority-started engine=%s", self.engine)
                return
        raise AuthorityError(f"{self.engine} found its port taken {_STARTS} times; try again")

    def stop(self) -> None:
        """End the server; quiet if it is not running. The folder stays."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def restart(self) -> None:
        """End the server and start it again at the same address.

        Pebble forgets everything, its own keys too; acme2certifier keeps its database.
        """
        if self._launch is None:
            raise ValueError("what was never started is not started again")
        self.stop()
        self._start_once(self._launch)

    def _make_site(self) -> Site:
        """Make a CA and a certificate for the HTTPS port; the CA's key is not kept."""
        issuer = make_authority("Lab HTTPS root")
        server = make_server(issuer)
        site = Site(self.folder, self.folder / "https.pem", self.folder / "https.key", self.root)
        self.ca_bundle.write_bytes(issuer.pem())
        site.certificate.write_bytes(server.pem())
        server.write_key(site.key)
        return site

    def _prepare(self, site: Site) -> Launch:
        port, management_port = _free_ports()
        if isinstance(self._options, PebbleOptions):
            return pebble.prepare(
                site,
                ports=(port, management_port),
                dns=self._dns,
                validity_seconds=self._validity_seconds,
                options=self._options,
            )
        return acme2certifier.prepare(
            site,
            port=port,
            dns=self._dns,
            validity_seconds=self._validity_seconds,
            options=self._options,
        )

    def _start_once(self, launch: Launch) -> None:
        child = Child(
            launch.command,
            folder=self.folder,
            log=self.log,
            environment={**_environment(), **launch.environment},
        )
        with ExitStack() as undo:
            undo.callback(child.stop)
            self._wait(child, launch.directory_url)
            if launch.root_urls:
                roots = [self._get(url) for url in launch.root_urls]
                self.root.write_bytes(b"".join(roots))
            undo.pop_all()
        self._child, self._launch = child, launch
        self.directory_url = launch.directory_url

    def _wait(self, child: Child, url: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        reason = "no answer yet"
        while time.monotonic() < deadline:
            if child.exit_code is not None:
                tail = child.tail()
                taken = any(sign in tail.lower() for sign in _PORT_TAKEN)
                raise (_PortTakenError if taken else AuthorityError)(
                    f"{self.engine} ended with exit code {child.exit_code} instead of serving. "
                    f"It said (whole log: {self.log}):\n{tail}"
                )
            try:
                self._get(url)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error)
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise AuthorityError(
            f"{self.engine} did not answer at {url} within {_START_SECONDS:.0f} s ({reason}). "
            f"It said (whole log: {self.log}):\n{child.tail()}"
        )

    def _get(self, url: str) -> bytes:
        """Read one page of the server, verified; an answer other than 200 is an HTTPException."""
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=self.ca_bundle)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS, context=context
        )
        try:
            connection.request("GET", parts.path)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"status {response.status}")
        return content


def _choose(engine: Engine | None) -> Engine:
    candidates: tuple[Engine, ...] = ("pebble", "acme2certifier") if engine is None else (engine,)
    for candidate in candidates:
        if _INSTALLED[candidate]():
            return candidate
    raise AuthorityError(
        f"no ACME server to run ({' or '.join(candidates)}): install Pebble (Debian: apt install "
        "pebble), or the lab extra (pip install 'wildcard-distribute[lab]')"
    )


def _environment() -> dict[str, str]:
    """Return what a server needs of our environment, so that secrets in it stay ours."""
    return {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}


def _free_ports() -> tuple[int, int]:
    """Find two ports that are free now."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        return one.getsockname()[1], other.getsockname()[1]
