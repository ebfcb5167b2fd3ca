"""Sessions as the product opens them, with the real SSH server of the rig."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distributor.access import Logins, host_key_trust_for
from distributor.clients.ssh import SshSession
from distributor.model.host_keys import HostKey, PinnedKey
from distributor.model.hosts import Host, PlainSecret, SshAccess
from distributor.model.secret import Secret
from distributor.model.times import from_rfc3339
from distributor.store import Store
from tests.e2e.sshd import KeyType, Sshd, make_key

PASSWORD = "the-password-of-certs"
SINCE = from_rfc3339("2026-11-21T00:00:00Z")
TYPES: dict[KeyType, str] = {
    "ed25519": "ssh-ed25519",
    "ecdsa": "ecdsa-sha2-nistp256",
    "rsa": "ssh-rsa",
}


def plain(text: str | None) -> PlainSecret | None:
    return PlainSecret(Secret(text)) if text is not None else None


def host(
    sshd: Sshd,
    user: str,
    *,
    name: str = "attic",
    address: str = "127.0.0.1",
    port: int | None = None,
    **access: Any,
) -> Host:
    """A host as the inventory gives it; secrets and keys are given as text."""
    secrets = ("password", "identity", "identity_passphrase", "sudo_password")
    words: dict[str, Any] = {
        key: plain(value) if key in secrets else value for key, value in access.items()
    }
    return Host(
        name=name,
        kind="diskstation",
        via="ssh",
        address=address,
        access=SshAccess(port=port or sshd.port, user=user, **words),
        deliveries=(),
        endpoints=(),
    )


def pin(store: Store, sshd: Sshd, kind: KeyType = "ed25519", name: str = "attic") -> None:
    key = HostKey(TYPES[kind], sshd.fingerprint(kind))
    store.trust.pin_host_key(name, PinnedKey(key, SINCE))


@contextlib.contextmanager
def session(store: Store, to: Host) -> Iterator[SshSession]:
    """Sign in as a run does; the session is closed whatever happens."""
    assert isinstance(to.access, SshAccess)
    opened = Logins(store).ssh(to, to.access, host_key_trust_for(to, to.access, store))
    try:
        opened.sign_in()
        yield opened
    finally:
        opened.close()


class Relay:
    """Stands between client and server, and hangs up after so many bytes from the client."""

    def __init__(self, port: int, *, cut_after: int) -> None:
        self._to = port
        self._left = cut_after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._carry, name="relay")
        self.has_cut = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _carry(self) -> None:
        self._listening.settimeout(10)
        with contextlib.suppress(OSError):
            client, _ = self._listening.accept()
            with client, socket.create_connection(("127.0.0.1", self._to)) as server:
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                while self._left > 0:
                    data = client.recv(4096)
                    if not data:
                        break
                    server.sendall(data[: self._left])
                    self._left -= len(data)
                self.has_cut = self._left <= 0
                for end in (client, server):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data)


def in_time(condition: Any, seconds: float = 10.0) -> None:
    """Wait for something that the server does in its own time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def known_hosts(home: Path, *lines: str) -> None:
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    (home / ".ssh" / "known_hosts").write_text("\n".join((*lines, "")), encoding="utf-8")


def pin_key(store: Store, fingerprint: str, name: str = "attic") -> None:
    """Pin an ed25519 key that no server need have."""
    store.trust.pin_host_key(name, PinnedKey(HostKey("ssh-ed25519", fingerprint), SINCE))


def is_let_in(store: Store, sshd: Sshd, **access: Any) -> bool:
    with session(store, host(sshd, "certs", password=PASSWORD, **access)) as opened:
        return opened.run(["true"], as_root=False).status == 0


def known_line(sshd: Sshd, kind: KeyType = "ed25519") -> str:
    return f"[127.0.0.1]:{sshd.port} {sshd.host_keys[kind]}"


def stranger(home: Path) -> tuple[str, str]:
    """Another key: its public line, and its fingerprint."""
    line = make_key(home / "stranger").rsplit(" ", 1)[0]
    shown = subprocess.run(
        ["/usr/bin/ssh-keygen", "-l", "-f", home / "stranger.pub"],
        check=True,
        capture_output=True,
        text=True,
    )
    return line, shown.stdout.split()[1]
