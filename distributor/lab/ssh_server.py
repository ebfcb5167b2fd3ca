"""An SSH server on loopback that runs commands as the ordinary user who started it.

It is there for the demo, where no sshd with accounts of its own can be had. Like a box it has exec
channels and neither SFTP nor forwarding (dsm-ssh facts 3.4); it has no root, no sudo and no PAM.
"""

import contextlib
import hmac
import logging
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import paramiko

_PATIENCE: Final = 20.0
_ACCEPT_SECONDS: Final = 0.2
_PIECE: Final = 1 << 15
_LOG: Final = "distributor.lab.ssh"
_SUCCESS, _FAILED = paramiko.common.AUTH_SUCCESSFUL, paramiko.common.AUTH_FAILED

# A client that leaves in the middle, as one does that only looks at the host key, is no news.
logging.getLogger(_LOG).addHandler(logging.NullHandler())


class SshServer:
    """One port of loopback, open while the context lasts; commands begin in `home`."""

    def __init__(self, address: str, home: Path, *, user: str, password: str) -> None:
        self.address = address
        self.commands = 0
        """How many were run."""
        self._home = home
        self._login = (user, password)
        self._host_key = paramiko.ECDSAKey.generate()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._transports: set[paramiko.Transport] = set()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server((address, 0))
        self._listening.settimeout(_ACCEPT_SECONDS)
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every session, and what still runs in one."""
        self._stop.set()
        with self._lock:
            transports, children = tuple(self._transports), tuple(self._children)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for transport in transports:
            transport.close()
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._listening.close()

    def may_log_in(self, user: str, password: str) -> bool:
        """Tell whether these are the words of the one account."""
        given, known = (
            f"{name}\0{secret}".encode() for name, secret in ((user, password), self._login)
        )
        return hmac.compare_digest(given, known)

    def run(self, channel: paramiko.Channel, command: str) -> None:
        """Run a command on a channel until it ends."""
        self.commands += 1
        self._begin(self._work, channel, command)

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="lab-ssh", daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection, _ = self._listening.accept()
                self._begin(self._welcome, connection)

    def _welcome(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.set_log_channel(_LOG)
        with self._lock:
            self._transports.add(transport)
        try:
            transport.add_server_key(self._host_key)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=_Doors(self))
                while transport.is_active() and not self._stop.wait(_ACCEPT_SECONDS):
                    pass
        finally:
            transport.close()
            with self._lock:
                self._transports.discard(transport)

    def _work(self, channel: paramiko.Channel, command: str) -> None:
        child = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._home,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self._home)},
            start_new_session=True,  # its own children end with it
        )
        with self._lock:
            self._children.add(child)
        pumps = [
            threading.Thread(target=_feed, args=(channel, child), daemon=True),
            threading.Thread(target=_tell, args=(child.stdout, channel.sendall), daemon=True),
            threading.Thread(
                target=_tell, args=(child.stderr, channel.sendall_stderr), daemon=True
            ),
        ]
        for pump in pumps:
            pump.start()
        status = child.wait()
        for pump in pumps[1:]:
            pump.join(_PATIENCE)
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            channel.send_exit_status(status & 0xFF)
            channel.close()
        pumps[0].join(_PATIENCE)
        with self._lock:
            self._children.discard(child)


class _Doors(paramiko.ServerInterface):
    """Who comes in, and what is to be had: commands."""

    def __init__(self, server: SshServer) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        return _SUCCESS if self._server.may_log_in(username, password) else _FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del chanid
        if kind == "session":
            return paramiko.common.OPEN_SUCCEEDED
        return paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.run(channel, command.decode("utf-8", "surrogateescape"))
        return True


def _feed(channel: paramiko.Channel, child: "subprocess.Popen[bytes]") -> None:
    """Give the command what comes, and then its end."""
    stdin = child.stdin
    if stdin is None:
        return
    with contextlib.suppress(OSError, EOFError), stdin:
        while piece := channel.recv(_PIECE):
            stdin.write(piece)
            stdin.flush()


def _tell(pipe: object, send: object) -> None:
    """Send what the command writes."""
    with contextlib.suppress(OSError, EOFError), pipe:  # type: ignore[attr-defined]
        while piece := pipe.read1(_PIECE):  # type: ignore[attr-defined]
            send(piece)  # type: ignore[operator]
