"""Hosts whose programs print and end as they like: what drivers make of it over SSH."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from distributor.clients.remote_files import RemoteFiles
from distributor.clients.shell import COMMAND_SECONDS, Result, Shell
from distributor.model.errors import DistributorError
from distributor.model.hosts import Host, PemPaths, SshAccess
from distributor.model.plan import make_plan
from distributor.model.state import LEAF, State
from distributor.protocol.dsm_commands import MARKS, NGINX_SH, ROUTER_FILES
from distributor.protocol.dsm_info import ARCHIVE, CERTIFICATES, BoundService
from distributor.targets.contract import Target as Driver
from distributor.targets.diskstation_ssh import DiskstationSsh
from distributor.targets.dsm_reload import Reload
from distributor.targets.remote_lock import RemoteLock
from distributor.targets.remote_set import RemoteSet, mark_of
from distributor.targets.router_ssh import RouterSsh
from distributor.targets.ssh_files import SshFiles
from distributor.targets.ssh_rights import account_of
from distributor.targets.synowebapi import Synowebapi
from tests.certs import NOW, hierarchy, self_signed
from tests.fuzz import devices
from tests.fuzz.judging import Target, only, require_harmless

_BETWEEN: Final = b"\n--\n"
_ACCESS: Final = SshAccess(port=22, user="certs")
_FOLDER: Final = "/var/lib/distribute"
_LEAF: Final = "sha256:" + "0" * 64
_MOST: Final = 500
"""Commands, so that a host cannot keep us busy for ever."""


class _Scripted(RemoteFiles):
    """Gives one result after the other, whatever it is asked; the last one stays."""

    def __init__(self, data: bytes) -> None:
        self._results = data.split(_BETWEEN)
        self._asked = 0

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,  # noqa: ARG002 - the contract's
        stdin: bytes = b"",  # noqa: ARG002 - the contract's
        seconds: float = COMMAND_SECONDS,  # noqa: ARG002 - the contract's
    ) -> Result:
        """Answer: the first line is the status, the rest is what was printed."""
        "\0".join(command).encode("utf-8", "surrogateescape")
        self._asked += 1
        assert self._asked < _MOST, "asks without end"
        results = self._results
        status, _, said = (results.pop(0) if len(results) > 1 else results[0]).partition(b"\n")
        number = int(status) % 256 if status.isdigit() and len(status) < 4 else None
        return Result(number, said, said)

    def close(self) -> None:
        """Do nothing."""


Connect = Callable[[], AbstractContextManager[Shell]]


@contextmanager
def _connected(data: bytes) -> Iterator[Shell]:
    yield _Scripted(data)


def _host(kind: str) -> Host:
    files = PemPaths(fullchain="/srv/certs/full.pem", private_key="/srv/certs/key.pem")
    return Host(
        name="attic",
        kind=kind,  # type: ignore[arg-type]  # one of the literals
        via="ssh",
        address="192.0.2.1",
        access=_ACCESS,
        deliveries=(),
        endpoints=(),
        files=files if kind == "files" else None,
    )


def _inspected(make: Callable[[Connect], Driver]) -> Callable[[bytes], None]:
    """Return what looks at a host twice, and plans and keeps what would be changed there."""

    def harness(data: bytes) -> None:
        with only(DistributorError), make(lambda: _connected(data)).open() as session:
            before = session.inspect(())
            for address in before.facts:
                require_harmless(str(address))
            assert session.traits is not None
            held = [one for one in before.facts if one.kind in {"certificate", "file"}]
            wanted = State({address: {LEAF: _LEAF} for address in held})
            plan = make_plan("attic", before, wanted, ())
            session.foresee(plan)
            session.snapshot(plan)

    return harness


def _files(data: bytes) -> None:
    """Use each thing that drivers are made of on a host of its own."""
    for use in (
        lambda shell: shell.look(["/etc/passwd", "/etc/group"], as_root=False),
        lambda shell: shell.names("/etc", as_root=False),
        lambda shell: shell.read("/etc/passwd", as_root=False),
        lambda shell: account_of(shell, ["/etc"]),
        lambda shell: _lock(shell).take(),
        lambda shell: RemoteSet(shell, _lock(shell), _FOLDER, as_root=True).kept(mark_of(_NOTHING)),
        lambda shell: Synowebapi(shell, _lock(shell), _FOLDER).certificates(),
        lambda shell: Reload(shell, _lock(shell), packages=True).run("dsm7", (_SERVICE,)),
    ):
        with only(DistributorError):
            use(_Scripted(data))


def _lock(shell: Shell) -> RemoteLock:
    return RemoteLock(shell, _FOLDER, "controller", as_root=True)


_NOTHING: Final = State({})
_SERVICE: Final = BoundService(
    subscriber="smbftpd", service="ftpd", display_name="FTPS", is_package=False
)
_LOOKED: Final = b"0\n41ed 0 0 4096 root:root\n" + b"81a4 0 0 900 root:root\n" * 2


def _said() -> tuple[bytes, ...]:
    kept = f"20261121T020000.000000Z-{mark_of(_NOTHING)}\0".encode()
    return (
        b"0\n81a4 0 0 900 root:root\n-\n",
        b"0\n" + kept + _BETWEEN + b"0\n0\t/srv/certs/full.pem\n-\t/srv/certs/key.pem\n",
        b"0\n1000\ncerts\n1000 100\nusers\nyes\n",
        b"75\n1790000000\nother controller\n",
        b"1\nsudo: a password is required\n",
        b"0\n" + next(one for one in devices._answers() if b"valid_till" in one),
    )


def _of_files() -> tuple[bytes, ...]:
    issued = self_signed(["example.com"])
    parts = (b"0\n" + issued.certificate_pem, b"0\n" + issued.private_key_pem)
    who = b"0\n1000\ncerts\n1000 100\nusers\nyes\n"
    return (
        _BETWEEN.join((_LOOKED, *parts, who)),
        _BETWEEN.join((_LOOKED, b"1\nnot permitted", b"1\n", b"0\n", *parts)),
    )


def _of_a_router() -> tuple[bytes, ...]:
    issued = self_signed(["example.com"])
    folder = b"41ed 0 0 4096 root:root\n"
    looked = b"0\n" + folder * 3 + b"8100 0 0 900 root:root\n" * 3
    parts = (b"0\n" + issued.private_key_pem, b"0\n", b"0\n" + issued.certificate_pem)
    return (_BETWEEN.join((b"0\n" + folder + b"-\n", looked, *parts)),)


def _of_a_diskstation() -> tuple[bytes, ...]:
    issued = hierarchy(1).issue(["example.com"])
    files = {b"cert.pem": issued.certificate_pem, b"chain.pem": issued.chain_pem}
    public = issued.leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    info = base64.encodebytes(json.dumps({"abCDef": devices._INFO["abCDef"]}).encode())
    lines = [b"T %b\n" % mark.encode() for mark in MARKS if mark not in {NGINX_SH, ROUTER_FILES}]
    lines.append(b"I INFO\n" + info + b".\nI DEFAULT\nYWJDRGVm\n.\n")
    for number, folder in enumerate((f"{ARCHIVE}/abCDef", f"{CERTIFICATES}/system/default")):
        lines.append(b"D " + base64.b64encode(folder.encode()) + b"\n")
        for name in (*files, b"privkey.pem"):
            lines += [
                b"S %b 400 0 0 root:root\n" % name,
                b"H %b %b\n" % (name[:4].hex().encode(), name),
            ]
            if number:
                continue
            digest = name[:4].hex().encode()
            if name in files:
                lines.append(b"C %b\n%b.\n" % (digest, base64.encodebytes(files[name])))
            else:
                lines.append(b"K %b\n%b.\n" % (digest, public))
    return (b"0\n" + b"".join(lines) + b"E\n", b"0\n" + devices._SURVEY)


TARGETS: Final[Mapping[str, Target]] = {
    "shell-files": Target(harness=_files, samples=_said, takes=False),
    "shell-pem-host": Target(
        harness=_inspected(
            lambda connect: SshFiles(_host("files"), connect, lambda: NOW, controller="us")
        ),
        samples=_of_files,
    ),
    "shell-router": Target(
        harness=_inspected(
            lambda connect: RouterSsh(_host("router"), connect, lambda: NOW, controller="us")
        ),
        samples=_of_a_router,
    ),
    "shell-diskstation": Target(
        harness=_inspected(
            lambda connect: DiskstationSsh(
                _host("diskstation"), _ACCESS, connect, lambda _: None, lambda: NOW, controller="us"
            )
        ),
        samples=_of_a_diskstation,
    ),
}
