"""A TLS port of a virtual box beside its web server: the FTP server, or one of a package.

A program of the box: it reads the pair of its service directory at the start and on SIGHUP only,
as the account that owns the directory, and writes its process id to a file.
"""

import argparse
import os
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from distributor.lab.starttls import upgrades

_SECONDS = 10.0


class Listener:
    """One port and the pair that it serves."""

    def __init__(self, directory: Path, *, ftp: bool, rsa_only: bool) -> None:
        self._directory = directory
        self._rsa_only = rsa_only
        self._upgrade = upgrades()["ftp"] if ftp else None
        self._context = self._read()

    def read_again(self, *_: object) -> None:
        """Take what the directory holds now; what cannot be served ends the program."""
        self._context = self._read()

    def serve(self, listening: socket.socket) -> None:
        """Answer every connection in a thread of its own."""
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _read(self) -> ssl.SSLContext:
        prefix = "" if (self._directory / "cert.pem").exists() else "RSA-"
        key = self._directory / f"{prefix}privkey.pem"
        # dsm-ssh 2.2: with an EC key the FTP server of DSM 6.1 does not start.
        if self._rsa_only and not isinstance(
            load_pem_private_key(key.read_bytes(), None), RSAPrivateKey
        ):
            sys.exit(f"{key} is no RSA key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._directory / f"{prefix}fullchain.pem", key)
        return context

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(_SECONDS)
        peer = "peer"
        try:
            with connection:
                if self._upgrade is not None and not self._upgrade.clear(connection, peer):
                    return
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    if self._upgrade is not None:
                        self._upgrade.serve(secured, peer)
                    else:
                        secured.recv(1)
        except OSError as error:  # ssl.SSLError is one: the peer left, or would not have it
            print(f"connection ended: {error}", file=sys.stderr, flush=True)  # noqa: T201 - its log


def main() -> None:
    """Bind first, then enter the box and drop to the account: only it may read the pair."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("pid_file", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("account", type=int)
    parser.add_argument("--ftp", action="store_true")
    parser.add_argument("--rsa-only", action="store_true")
    chosen = parser.parse_args()
    with socket.create_server(("127.0.0.1", chosen.port)) as listening:
        os.chroot(chosen.root)
        os.chdir("/")
        chosen.pid_file.write_text(f"{os.getpid()}\n", encoding="utf-8")
        os.setgroups([])
        os.setgid(chosen.account)
        os.setuid(chosen.account)
        listener = Listener(chosen.directory, ftp=chosen.ftp, rsa_only=chosen.rsa_only)
        signal.signal(signal.SIGHUP, listener.read_again)
        listener.serve(listening)


if __name__ == "__main__":
    main()
