"""A TLS port of a virtual box beside its web server: the FTP server, or one of a package.

A program of the box: it reads the pair of its service directory at the start and on SIGHUP only,
as the account that owns the directory, and writes its process id to a file. Standard library
only, so that it starts fast.
"""

import argparse
import base64
import os
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Final

_SECONDS: Final = 10.0
_RSA_OID: Final = bytes.fromhex("06092a864886f70d010101")
_PKCS1: Final = "-----BEGIN RSA PRIVATE KEY-----"


class Listener:
    """One port and the pair that it serves; `ftp` wants AUTH TLS first (RFC 4217)."""

    def __init__(self, directory: Path, *, ftp: bool, rsa_only: bool) -> None:
        self._directory = directory
        self._rsa_only = rsa_only
        self._ftp = ftp
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
        if self._rsa_only and not _is_rsa(key.read_text("utf-8")):
            sys.exit(f"{key} is no RSA key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._directory / f"{prefix}fullchain.pem", key)
        return context

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(_SECONDS)
        try:
            with connection:
                if self._ftp and not _asks_for_tls(connection):
                    return
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1024)
                    if self._ftp:
                        secured.sendall(b"221 bye\r\n")
        except OSError as error:  # ssl.SSLError is one: the peer left, or would not have it
            print(f"connection ended: {error}", file=sys.stderr, flush=True)  # noqa: T201 - its log


def _is_rsa(pem: str) -> bool:
    lines = pem.strip().splitlines()
    return lines[0] == _PKCS1 or _RSA_OID in base64.b64decode("".join(lines[1:-1]))


def _asks_for_tls(connection: socket.socket) -> bool:
    """Talk FTP in the clear until the client asks for TLS, or leaves."""
    connection.sendall(b"220 FTP server ready.\r\n")
    while line := _line(connection).upper().split():
        if line[0] == b"AUTH":
            connection.sendall(b"234 AUTH TLS successful\r\n")
            return True
        features = b"211-Features:\r\n AUTH TLS\r\n211 End\r\n"
        connection.sendall(features if line[0] == b"FEAT" else b"530 Please use TLS.\r\n")
    return False


def _line(connection: socket.socket) -> bytes:
    """Read byte by byte, so that nothing of TLS behind the line is lost."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line


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
        os.setgroups([])
        pid_file = chosen.pid_file.open("w", encoding="utf-8")
        os.setgid(chosen.account)
        os.setuid(chosen.account)
        listener = Listener(chosen.directory, ftp=chosen.ftp, rsa_only=chosen.rsa_only)
        signal.signal(signal.SIGHUP, listener.read_again)
        with pid_file:
            pid_file.write(f"{os.getpid()}\n")
        listener.serve(listening)


if __name__ == "__main__":
    main()
