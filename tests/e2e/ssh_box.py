"""A virtual DiskStation or router in its own root: real sshd, sudo, nginx or Apache.

`SshBox` makes a root filesystem in memory, in a mount and process namespace of its own, with the
files, programs and quirks that the facts on DSM and SRM over SSH name ("dsm-ssh N"). Only a
correct delivery changes what its HTTPS ports serve. It needs root, or `sudo` without a password,
and leave to mount: on this machine nothing else changes, and nothing outlives the process.
"""

import contextlib
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from tests.certs import Issued, authority, private_key
from tests.e2e import ssh_box_people as people
from tests.e2e import ssh_box_ports as ports
from tests.e2e import ssh_box_system as system
from tests.e2e import ssh_box_tree as tree
from tests.e2e.ssh_box_people import Person
from tests.e2e.ssh_box_root import HERE, BoxRoot
from tests.e2e.ssh_box_tree import DRIVE, FTPS, UIDS, Entry, Item, Release

Fault = Literal[
    "nginx-not-enabled",
    "deploy-error",
    "default-mode",
    "gen-all-fails",
    "gen-all-takes",
    "reload-does-nothing",
    "hook-fails",
    "package-restart-fails",
    "synowebapi-fails",
]
"""What `SshBox.fault` switches on; `gen-all-takes` has seconds as its value."""

_PORTS: Final = ("ssh", "http", "dsm", "https", "ftps", "drive")
_SSHD: Final = ("/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config")
_START_SECONDS: Final = 20.0
_ROOT_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a program of Synology's on the box."""

    uid: int
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.argv[0].rpartition("/")[2], *self.argv[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What differs from box to box; the defaults are those of a box that works out of it.

    `home_mode` None means no home folder; "release" takes what the release has. `busybox` (tools
    of BusyBox without `install` and `flock`) and `synowebapi` are by default SRM's and 7.3's.
    """

    dual: bool = False
    """The first entry holds an ECC and an RSA pair (dsm-ssh fact 5)."""
    synowebapi: bool | None = None
    busybox: bool | None = None
    noexec_tmp: bool | None = None
    home_mode: int | Literal["release"] | None = "release"
    auto_block: int | None = None
    legacy: bool = False
    """sshd offers `ssh-rsa` with SHA-1 only."""
    entries: tuple[Entry, ...] | None = None
    """Instead of `standard_entries`; the first is the default."""


class SshBox(BoxRoot):
    """A box that runs between `__enter__` and `__exit__`, on free ports of loopback.

    `target` is what the entry `tree.TARGET_ID` and its services hold at first, `decoy` what all
    others hold. `ports` are `ssh`, `http`, `dsm` (5001, or 8001 of a router), `https` (443, by
    SNI), `ftps` (explicit TLS) and `drive` (a package's own TLS).
    """

    def __init__(
        self,
        folder: Path,
        release: Release = "dsm72",
        knobs: Knobs | None = None,
        *,
        target: Issued | None = None,
        decoy: Issued | None = None,
    ) -> None:
        self.release = release
        self.knobs = knobs or Knobs()
        super().__init__(folder)
        self.name = f"box-{release}"
        rsa_only = release in {"dsm62", "srm13"}
        self.target = target or _pair("example.test", rsa=rsa_only, number=80)
        self.decoy = decoy or _pair("other.test", rsa=rsa_only, number=81)
        self.entries = self._entries()
        self.ports = dict(zip(_PORTS, ports.free_ports(len(_PORTS)), strict=True))
        self.admin = self._person("keeper", "id_keeper")
        self.silent = self._person("silent", "id_silent")
        self.visitor = self._person("visitor", None)
        self.root = Person(
            user="root",
            password=self.admin.password if release == "srm13" else secrets.token_urlsafe(12),
            key_file=folder / "id_root",
        )
        self._host_keys = people.host_keys()

    @property
    def host_keys(self) -> Mapping[str, str]:
        """Kind of key to the `SHA256:…` fingerprint that people see."""
        return {kind: people.fingerprint(public) for kind, (_, public) in self._host_keys.items()}

    @property
    def known_hosts(self) -> str:
        """The lines of a known_hosts file for this box."""
        where = f"[{ports.LOCAL}]:{self.ports['ssh']}"
        return "".join(f"{where} {public}\n" for _, public in self._host_keys.values())

    def __enter__(self) -> Self:
        self._begin()
        try:
            self._ask(
                "build",
                items=[item.as_json() for item in self._items()],
                size=_ROOT_BYTES,
                noexec_tmp=self._or(self.knobs.noexec_tmp, {"dsm72", "dsm73"}),
                name=self.name,
            )
            self._start_servers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def fault(self, name: Fault, value: str = "") -> None:
        """Let the box fail that way from now on."""
        self.place(Item(path=f"/opt/box/faults/{name}", content=value.encode(), mode=0o644))

    def no_fault(self, name: Fault) -> None:
        """Take `fault` back."""
        self.remove(f"/opt/box/faults/{name}")

    def calls(self) -> list[Call]:
        """Return each call of Synology's programs until now, first one first."""
        records = self.read("/opt/box/calls").decode().split("\x1e")[:-1]
        return [_call(record) for record in records]

    def forget_calls(self) -> None:
        """Begin the command log anew."""
        self.place(_calls_file())

    def trap(self, tool: str, at: int, what: Literal["fail", "cut", "die"]) -> None:
        """Let the `at`th call of a tool (mv, cat, …) go wrong.

        `fail`: it says the disk is full and ends with 1. `cut`: the connection is gone, and the
        tool still does its work. `die`: the session's processes are gone at once, as in a power
        cut, and the tool did nothing. 0 only counts.
        """
        own = f"/opt/box/traps/{tool}"
        where = self.run("/usr/bin/readlink", "-f", f"/usr/bin/{tool}").stdout.decode().strip()
        values = {"count": "0", "at": str(at), "what": what}
        items = [
            Item(path=f"{own}/{name}", content=f"{value}\n".encode(), mode=0o666)
            for name, value in values.items()
        ]
        if where != "/opt/box/trap.sh":
            items.append(Item(path=f"{own}/real/{tool}", link=where))
            items.append(Item(path=f"/usr/bin/{tool}", link="/opt/box/trap.sh"))
        self.place(*items)

    def trapped(self, tool: str) -> int:
        """Return how often a tool with a trap was called."""
        return int(self.read(f"/opt/box/traps/{tool}/count"))

    def cut(self) -> int:
        """End every SSH session, as a pulled cable does; return how many processes ended."""
        return int(self._ask("cut"))

    def rest(self) -> None:
        """Wait until nothing that came in by SSH runs any more: after a cut, a script goes on."""
        self._wait(lambda: not self.busy(), "rest")

    def busy(self) -> list[str]:
        """Return the programs that run without being one of the box's servers."""
        return list(self._ask("busy"))

    def change_host_keys(self) -> None:
        """Give the box new host keys, as after a reinstallation."""
        self._host_keys = people.host_keys()
        self._ask("stop", name="sshd")
        self.place(*self._host_key_items())
        self._start_sshd()

    def restart_web(self) -> None:
        """Do what a reboot does to the web server."""
        if self.release == "dsm62":
            self.run("/usr/syno/sbin/synoservice", "--restart", "nginx")
        elif self.release == "srm13":
            self.run("/usr/syno/sbin/synoservicecfg", "--restart", "httpd-sys")
        else:
            self.run("/usr/syno/bin/synosystemctl", "restart", "nginx")

    def served(self, port: str = "dsm", server_name: str | None = None) -> str | None:
        """Return the SHA-256 of the leaf that a port serves, as hex; None when nothing answers."""
        return ports.served(self.ports[port], server_name, ftp=port == "ftps")

    @contextlib.contextmanager
    def traced(self, *calls: str, quickly: bool = False) -> Iterator[Path]:
        """Trace the system calls of everything that comes in by SSH into the file that is given.

        `calls` are what `strace -e trace=` takes. The file is complete when the block has ended.
        `quickly` lets the kernel choose the calls, with which sudo does not work, nor `cut`.
        """
        log = self.folder / f"trace-{secrets.token_hex(4)}"
        argv = ["strace", "-f", "-v", "-y", "-s", "65536", "-e", f"trace={','.join(calls)}"]
        argv += ["-o", str(log)]
        with self._traced_from_its_start(argv) if quickly else self._attached(argv):
            yield log

    @contextlib.contextmanager
    def _attached(self, argv: list[str]) -> Iterator[None]:
        listener = self.run("/usr/bin/cat", "/run/sshd.pid").stdout.decode().strip()
        self._ask(
            "start",
            name="strace",
            argv=[*argv, "-p", listener],
            log="/var/log/strace.log",
            inside=False,
        )
        self._wait(lambda: b"attached" in self.read("/var/log/strace.log"), "strace")
        try:
            yield
        finally:
            self._ask("stop", name="strace")
            self.remove("/var/log/strace.log")

    @contextlib.contextmanager
    def _traced_from_its_start(self, argv: list[str]) -> Iterator[None]:
        self._ask("stop", name="sshd")
        inside = ["/usr/sbin/chroot", str(self.folder / "root"), *_SSHD]
        self._ask(
            "start",
            name="sshd",
            argv=[*argv, "--seccomp-bpf", *inside],
            log="/var/log/sshd.log",
            inside=False,
        )
        self._wait(lambda: ports.answers(self.ports["ssh"]), "sshd")
        try:
            yield
        finally:
            # Without strace, what it has chosen calls of can go on no more: sshd ends first.
            self.run("/bin/sh", "-c", "kill $(cat /run/sshd.pid)")
            self._wait(lambda: self._ask("exit_code", name="sshd") is not None, "strace")
            self._ask("stop", name="sshd")
            self._start_sshd()

    def log(self, name: str = "sshd") -> str:
        """Return what one of the servers wrote down: sshd, ftpd, drive or nginx."""
        place = "nginx/error" if name == "nginx" else name
        return self.read(f"/var/log/{place}.log").decode(errors="replace")

    def _entries(self) -> tuple[Entry, ...]:
        """Return what the archive holds at first."""
        chosen = self.knobs.entries
        if chosen is None:
            chosen = tree.standard_entries(self.target, self.decoy, self.release)
        if self.knobs.dual:
            half = replace(chosen[0], pair=_pair("example.test", rsa=True, number=82))
            chosen = (replace(half, second=self.target), *chosen[1:])
        return chosen

    def _person(self, user: str, key: str | None) -> Person:
        return Person(
            user=user,
            password=secrets.token_urlsafe(12),
            key_file=None if key is None else self.folder / key,
        )

    def _or(self, chosen: bool | None, releases: set[str]) -> bool:
        return self.release in releases if chosen is None else chosen

    def _items(self) -> list[Item]:
        knobs, entries = self.knobs, self.entries
        is_router = self.release == "srm13"
        accounts = self._accounts()
        doors = system.Doors(
            port=self.ports["ssh"],
            addresses=ports.loopback(),
            auto_block=knobs.auto_block,
            legacy=knobs.legacy,
            root_password=is_router,
        )
        items = [
            *system.tool_items(self.release, busybox=self._or(knobs.busybox, {"srm13"})),
            *people.account_items(accounts),
            *system.door_items(doors, self.name, self.silent.user),
            *tree.product_items(self.release),
            *tree.shim_items(self.release, synowebapi=self._or(knobs.synowebapi, {"dsm73"})),
            *self._host_key_items(),
            *(Item(path=path) for path in ("/run/sshd", "/var/log", "/var/run", "/opt/box/faults")),
            Item(path="/opt/box/auto_block", content=f"{knobs.auto_block}".encode(), mode=0o644),
            _calls_file(),
        ]
        if is_router:
            items += [*tree.router_items(self.target), *system.apache_items(self.ports["dsm"])]
        else:
            items += tree.certificate_items(entries, self.release)
            items += system.nginx_items(entries, self.release, self.ports)
        return items

    def _accounts(self) -> list[people.Account]:
        modes = {"dsm62": 0o755, "dsm72": 0o711, "dsm73": 0o711, "srm13": 0o755}  # dsm-ssh 3.3
        home = modes[self.release] if self.knobs.home_mode == "release" else self.knobs.home_mode
        if self.release == "srm13":  # dsm-ssh 4: the account is named admin
            self.admin = Person(
                user="admin", password=self.root.password, key_file=self.admin.key_file
            )
        accounts = []
        for uid, person in zip(
            (0, 1026, 1027, 1028), (self.root, self.admin, self.silent, self.visitor), strict=True
        ):
            public = None if person.key_file is None else people.new_key(person.key_file)
            accounts.append(
                people.Account(
                    name=person.user,
                    uid=uid,
                    password_hash=people.hashed(person.password),
                    administrator=person is not self.visitor,
                    home_mode=home,
                    authorized_key=public,
                    # dsm-ssh 3.1: who is no administrator gets a shell that only says no.
                    shell="/sbin/nologin" if person is self.visitor else "/bin/sh",
                )
            )
        return accounts

    def _host_key_items(self) -> list[Item]:
        return [
            Item(path=f"/etc/ssh/ssh_host_{kind}_key", content=private, mode=0o600)
            for kind, (private, _) in self._host_keys.items()
        ]

    def _start_servers(self) -> None:
        self._start_sshd()
        if self.release == "srm13":
            self._succeed("/usr/syno/sbin/synoservicecfg", "--restart", "httpd-sys")
        else:
            self._start_listener("ftpd", FTPS, "ftps", "--ftp")
            self._start_listener("SynologyDrive", DRIVE, "drive")
            if self.release != "dsm62":
                self._succeed("/usr/syno/bin/synow3tool", "--gen-all")
            self._succeed("/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf")
            for port in ("ftps", "drive"):
                self._wait(lambda port=port: ports.answers(self.ports[port]), port)
        self._wait(lambda: ports.answers(self.ports["dsm"]), "web server")
        self.forget_calls()

    def _start_sshd(self) -> None:
        self._ask("start", name="sshd", argv=list(_SSHD), log="/var/log/sshd.log", inside=True)
        self._wait(lambda: ports.answers(self.ports["ssh"]), "sshd")

    def _start_listener(self, name: str, service: tree.Service, port: str, *options: str) -> None:
        if not any(service in entry.services for entry in self.entries):
            return
        pid_file = f"/run/{name}.pid"
        argv = [
            sys.executable,
            "-I",
            "-S",
            str(HERE / "ssh_box_listener.py"),
            str(self.folder / "root"),
            service.directory,
            pid_file,
            str(self.ports[port]),
            str(UIDS[service.owner]),
            *options,
        ]
        if self.release == "dsm62" and "--ftp" in options:
            argv.append("--rsa-only")
        self._ask("start", name=name, argv=argv, log=f"/var/log/{name}.log", inside=False)

    def _succeed(self, *argv: str) -> None:
        done = self.run(*argv)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.returncode}: {done}")

    def _wait(self, is_so: Any, what: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                logs = self.run("/bin/sh", "-c", "tail -n 20 /var/log/*.log").stdout.decode()
                raise RuntimeError(f"the box waited too long for {what}:\n{logs}")
            time.sleep(0.01)


def _pair(apex: str, *, rsa: bool, number: int) -> Issued:
    issuer = authority("Box Intermediate", parent=authority("Box Root"))
    key = private_key("rsa2048" if rsa else "ec256", number=number)
    return issuer.issue([apex, f"*.{apex}"], key=key)


def _calls_file() -> Item:
    return Item(path="/opt/box/calls", content=b"", mode=0o666)


def _call(record: str) -> Call:
    uid, *argv = record.split("\x1f")[:-1]
    return Call(uid=int(uid), argv=tuple(argv))
