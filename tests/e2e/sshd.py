"""A real OpenSSH server with users and sudo of its own, in namespaces of its own.

The server sees this machine's programs, but users, passwords, sudo rules, homes and `/run` that
exist for the test alone; nothing of that is ever on the machine's disk or in its `/etc`. It ends
with its pid namespace, and so do all sessions in it. That takes root: where the tests run as
somebody else, this rig alone goes through `sudo -n`.
"""

import ctypes
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from distributor.lab import child

KeyType = Literal["ed25519", "ecdsa", "rsa"]
Sudo = Literal["password", "nopasswd", "none"]

_START_SECONDS: Final = 15.0
_STOP_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 30.0
_FIRST_UID: Final = 60600
_LAST_UID: Final = 61183
_KEYGEN: Final = "/usr/bin/ssh-keygen"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What matters of a DiskStation's own file (dsm-ssh facts 3.2): administrators give their password,
# no terminal is asked for, PATH is the caller's.
SUDOERS: Final = """\
Defaults syslog=authpriv
root ALL=(ALL) ALL
%administrators ALL=(ALL) ALL
@includedir /etc/sudoers.d
"""

_PAM: Final = """\
auth required pam_unix.so nodelay
account required pam_unix.so
session required pam_permit.so
"""

_SETUP: Final = """\
set -eu
read -r pid rest </proc/self/stat
folder=$1
echo "$pid" >"$folder/pid"
mount -t tmpfs -o mode=0755 tmpfs /mnt
cp -R "$folder/box" /mnt/box
mount -n --bind /mnt /run
umount -n /mnt
chown -R 0:0 /run/box
mkdir -m 755 /run/sshd /run/homes
mount -t proc proc /proc
for file in passwd group shadow sudoers sudoers.d pam.d; do
  mount --bind "/run/box/etc/$file" "/etc/$file"
done
. /run/box/homes.sh
. /run/box/prepare.sh
exec $trace /usr/sbin/sshd -D -e -f /run/box/sshd_config
"""
_TRACE: Final = "strace -f -v -s 65536 -o /run/box/trace -e trace="


@dataclass(frozen=True, slots=True)
class User:
    """An account of the rig. `root` is the machine's own, with what stands here."""

    name: str
    password: str | None = field(default=None, repr=False)
    """None: no password lets it in."""
    authorized_keys: Sequence[str] = ()
    """Lines of `~/.ssh/authorized_keys`."""
    sudo: Sudo = "password"
    shell: str = "/bin/bash"
    home_mode: int = 0o711
    bashrc: str = ""
    """What bash reads, also for a command, when sshd starts it."""

    @property
    def home(self) -> str:
        return f"/run/homes/{self.name}"


class Sshd:
    """OpenSSH's sshd on one free port of 127.0.0.1 and ::1.

    `sshd_config` and `sudoers` are lines put before those of the rig: in sshd_config the first word
    counts, in sudoers the last. `prepare` is a piece of sh that root runs inside, before the server
    starts: what it mounts, nobody else sees. `trace` names system calls to be written down, of the
    server and of all that it starts.
    """

    def __init__(
        self,
        folder: Path,
        users: Sequence[User] = (),
        *,
        host_key_types: Sequence[KeyType] = ("ed25519", "ecdsa", "rsa"),
        sshd_config: Sequence[str] = (),
        sudoers: Sequence[str] = (),
        prepare: str = "",
        noexec_tmp: bool = False,
        port: int | None = None,
        trace: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.users = tuple(users)
        self.address = "127.0.0.1"
        self.port = port or free_port()
        self.host_key_types = tuple(host_key_types)
        self._lines = tuple(sshd_config)
        self._sudoers = tuple(sudoers)
        tmp = "mount -t tmpfs -o mode=1777,noexec tmpfs /tmp\n" if noexec_tmp else ""
        tracing = f"trace='{_TRACE}{','.join(trace)}'\n" if trace else "trace=\n"
        self._prepare = tracing + tmp + prepare
        self._process: subprocess.Popen[bytes] | None = None

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

    @property
    def host_keys(self) -> Mapping[KeyType, str]:
        """Public keys as `authorized_keys` and known_hosts write them: type and base64."""
        return {kind: self._public(kind).rsplit(" ", 1)[0] for kind in self.host_key_types}

    @property
    def host_key_fingerprint(self) -> str:
        """The fingerprint of the first kind of host key, as `ssh-keygen -l` prints it."""
        return self.fingerprint(self.host_key_types[0])

    def fingerprint(self, kind: KeyType) -> str:
        """Ask ssh-keygen for the fingerprint of one host key."""
        shown = subprocess.run(
            [_KEYGEN, "-l", "-f", self._key(kind).with_suffix(".pub")],
            capture_output=True,
            check=True,
            text=True,
        )
        return shown.stdout.split()[1]

    @property
    def log(self) -> str:
        """What the server said so far; as root of the machine might read it."""
        return (self.folder / "sshd.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start the server and wait until it answers; raises AssertionError with its words."""
        self._write()
        log = os.open(self.folder / "sshd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # The supervisor is the first process of the pid namespace: all in it end with it, and
            # it ends when the pipe on its stdin does, however we come to our end.
            self._process = subprocess.Popen(
                [
                    *as_root(),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
                    *(sys.executable, "-I", "-S", child.__file__),
                    *("/bin/sh", str(self.folder / "setup.sh"), str(self.folder)),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": _PATH, "LC_ALL": "C"},
                start_new_session=True,
            )
        finally:
            os.close(log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"sshd did not start: it takes root\n{self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and every session in it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.wait(_STOP_SECONDS)

    def as_root(self, script: str, stdin: bytes = b"") -> str:
        """Return what a piece of sh prints that runs as root inside, past the SSH server."""
        pid = (self.folder / "pid").read_text().strip()
        done = subprocess.run(
            [*as_root(), "nsenter", "--target", pid, "--mount", "--pid", "/bin/sh", "-c", script],
            input=stdin,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
            env={"PATH": _PATH, "LC_ALL": "C"},
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    @property
    def traced(self) -> str:
        """The system calls so far, as strace writes them: arguments and environment in full."""
        return self.as_root("cat /run/box/trace")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as plain:
                return plain.recv(4) == b"SSH-"
        except OSError:
            return False

    def _write(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        box = self.folder / "box"
        if box.exists():  # started again: with the same keys
            return
        etc = box / "etc"
        (etc / "pam.d").mkdir(parents=True)
        (etc / "sudoers.d").mkdir(mode=0o755)
        for kind in self.host_key_types:
            self._make_key(kind)
        for service in ("sshd", "sudo", "sudo-i", "other"):
            _write(etc / "pam.d" / service, _PAM, 0o644)
        _write(etc / "sudoers", "\n".join((*self._sudoers, SUDOERS)), 0o440)
        free = [user.name for user in self.users if user.sudo == "nopasswd"]
        rules = "".join(f"{name} ALL=(ALL) NOPASSWD: ALL\n" for name in free)
        _write(etc / "sudoers.d" / "free", rules, 0o440)
        self._write_accounts(etc)
        _write(box / "sshd_config", self._configuration(), 0o600)
        _write(box / "homes.sh", "".join(_home(user) for user in self.users), 0o600)
        _write(box / "prepare.sh", f"{self._prepare}\n", 0o600)
        _write(self.folder / "setup.sh", _SETUP, 0o600)

    def _write_accounts(self, etc: Path) -> None:
        here = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()
        names = {user.name for user in self.users} | {"root"}
        passwd = [line for line in here if line.split(":")[0] not in names]
        shadow = []
        members = [user.name for user in self.users if user.sudo == "password"]
        accounts = {user.name: user for user in self.users}
        accounts.setdefault("root", User("root", sudo="none"))
        taken = {line.split(":")[2] for line in here}
        free = (uid for uid in range(_FIRST_UID, _LAST_UID) if str(uid) not in taken)
        for user in accounts.values():
            uid = 0 if user.name == "root" else next(free)
            group = 0 if user.name == "root" else 100
            passwd.append(f"{user.name}:x:{uid}:{group}::{user.home}:{user.shell}")
            shadow.append(f"{user.name}:{_hashed(user.password)}:20000:0:99999:7:::")
        groups = Path("/etc/group").read_text(encoding="utf-8").splitlines()
        groups = [line for line in groups if not line.startswith("administrators:")]
        groups.append(f"administrators:x:{_FIRST_UID}:{','.join(members)}")
        _write(etc / "passwd", "\n".join([*passwd, ""]), 0o644)
        _write(etc / "group", "\n".join([*groups, ""]), 0o644)
        _write(etc / "shadow", "\n".join([*shadow, ""]), 0o600)

    def _configuration(self) -> str:
        keys = [f"HostKey /run/box/{kind}" for kind in self.host_key_types]
        return "\n".join(
            (
                *self._lines,
                f"Port {self.port}",
                "ListenAddress 127.0.0.1",
                "ListenAddress ::1",
                *keys,
                # As a DiskStation's (dsm-ssh facts 8.3); who may log in there is not known.
                "PasswordAuthentication yes",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "UsePAM yes",
                "StrictModes yes",
                "AllowTcpForwarding no",
                "LogLevel VERBOSE",
                "PidFile none",
                "PrintMotd no",
                "",
            )
        )

    def _make_key(self, kind: KeyType) -> None:
        make_key(self._key(kind), kind, *(["-b", "2048"] if kind == "rsa" else []))

    def _key(self, kind: KeyType) -> Path:
        return self.folder / "box" / kind

    def _public(self, kind: KeyType) -> str:
        return self._key(kind).with_suffix(".pub").read_text(encoding="utf-8").strip()


def make_key(path: Path, kind: KeyType = "ed25519", *more: str, passphrase: str = "") -> str:
    """Make a key pair with ssh-keygen; return the public line. The passphrase is a throwaway."""
    subprocess.run(
        [_KEYGEN, "-q", "-t", kind, "-N", passphrase, "-C", "rig", *more, "-f", path],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def as_root() -> list[str]:
    """Return what stands before a command that only root may run.

    Whoever is not root needs a sudo that asks for no password, as CI has it.
    """
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def free_port() -> int:
    """Return a port that is free on 127.0.0.1 and, where there is one, on ::1."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as four:
            port = int(four.getsockname()[1])
            try:
                with socket.create_server(("::1", port), family=socket.AF_INET6):
                    return port
            except OSError:
                if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
                    return port


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)


def _home(user: User) -> str:
    keys = shlex.quote("".join(f"{line}\n" for line in user.authorized_keys))
    bashrc = shlex.quote(user.bashrc)
    return f"""\
mkdir -m 700 {user.home} {user.home}/.ssh
printf %s {keys} >{user.home}/.ssh/authorized_keys
printf %s {bashrc} >{user.home}/.bashrc
chown -R {user.name} {user.home}
chmod {user.home_mode:o} {user.home}
"""


def _hashed(password: str | None) -> str:
    """Return a line of shadow(5); `*` lets no password in."""
    if password is None:
        return "*"
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = f"$6${secrets.token_hex(8)}$"
    hashed: bytes = library.crypt(password.encode(), salt.encode())
    return hashed.decode()
