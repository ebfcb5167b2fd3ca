"""A host with PEM files: a program that serves them, and an SSH server to bring others by.

Both belong to the ordinary user who runs the lab, and everything lies in one folder of theirs.
"""

import contextlib
import shlex
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from distributor.lab.listener import Listener, server_context
from distributor.lab.material import Material
from distributor.lab.ssh_server import SshServer

USER: Final = "certs"
_LOOKS_EVERY: Final = 0.05
_JOIN_SECONDS: Final = 5.0


class Proxy:
    """The host `name`, with a certificate that it has from the shop.

    Its program reads the files when `reload` told it to, in its own time; with files that are no
    pair it keeps on serving what it has, as web servers do.
    """

    def __init__(
        self, folder: Path, material: Material, *, password: str, address: str = "127.0.0.1"
    ) -> None:
        folder.mkdir(mode=0o700)
        self.address = address
        self.fullchain = folder / "fullchain.pem"
        self.private_key = folder / "privkey.pem"
        self.reloads = 0
        """How often its program read the files after it began."""
        self._told = folder / "told"
        self._material = material
        self._stop = threading.Event()
        self._ssh = SshServer(address, folder, user=USER, password=password)
        self._listener = Listener(address, 0, lambda _connection, _peer: None)
        self._watcher = threading.Thread(target=self._watch, name="lab-proxy", daemon=True)

    @property
    def port(self) -> int:
        """Where its program serves TLS."""
        return self._listener.port

    @property
    def ssh_port(self) -> int:
        """Where to log in."""
        return self._ssh.port

    @property
    def reload(self) -> str:
        """The command that tells its program to read the files."""
        return f"echo reload >{shlex.quote(str(self._told))}"

    def __enter__(self) -> Self:
        for path, content in (
            (self.fullchain, self._material.served_pem),
            (self.private_key, self._material.key_pem),
            (self._told, b""),
        ):
            path.touch(mode=0o600)
            path.write_bytes(content)
        self._listener.open(server_context(self._material))
        self._watcher.start()
        self._ssh.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ssh.__exit__(kind, error, trace)
        self._stop.set()
        self._watcher.join(_JOIN_SECONDS)
        self._listener.end()

    def _watch(self) -> None:
        told = self._told.stat().st_mtime_ns
        while not self._stop.wait(_LOOKS_EVERY):
            now = self._told.stat().st_mtime_ns
            if now != told:
                told = now
                self.reloads += 1
                with contextlib.suppress(ssl.SSLError, OSError):
                    self._read_again()

    def _read_again(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.fullchain, self.private_key)
        self._listener.close()
        self._listener.open(context)
