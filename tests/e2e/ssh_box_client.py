"""How tests come into a virtual box by SSH, and deliver as the scripts do that people run.

paramiko and the stream of an exec channel alone: nothing of the product is used.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256

import paramiko
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certs import Issued, authority, private_key
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_people import Person
from tests.e2e.ssh_box_ports import LOCAL
from tests.e2e.ssh_box_tree import ARCHIVE, TARGET_ID, Release

MakeBox = Callable[..., SshBox]
"""`make_ssh_box(release, knobs=None)`"""
BoxOf = Callable[[Release], SshBox]
SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a command on a box answered."""

    status: int
    out: str
    err: str


def connect(box: SshBox, who: Person, *, by: str = "password") -> paramiko.SSHClient:
    """Open a connection that accepts the host keys of the box only."""
    client = paramiko.SSHClient()
    known = box.folder / "known_hosts"
    known.write_text(box.known_hosts, encoding="ascii")
    client.load_host_keys(str(known))
    try:
        client.connect(
            LOCAL,
            port=box.ports["ssh"],
            username=who.user,
            password=who.password if by == "password" else None,
            key_filename=str(who.key_file) if by == "key" else None,
            allow_agent=False,
            look_for_keys=False,
            timeout=SECONDS,
        )
    except BaseException:
        client.close()
        raise
    return client


def say(client: paramiko.SSHClient, command: str, stdin: str = "") -> Said:
    """Run one command, with `stdin` and its end."""
    channel = client.get_transport().open_session(timeout=SECONDS)  # type: ignore[union-attr]
    with closing(channel):
        channel.settimeout(SECONDS)
        channel.exec_command(command)
        channel.sendall(stdin.encode())
        channel.shutdown_write()
        out = channel.makefile("rb").read()
        err = channel.makefile_stderr("rb").read()
        return Said(channel.recv_exit_status(), out.decode(), err.decode())


def as_root(box: SshBox, script: str) -> Said:
    """Run a script as root over SSH as the silent administrator does."""
    with closing(connect(box, box.silent)) as client:
        return say(client, "sudo -n /bin/sh -s", script)


def new_pair(box: SshBox, number: int = 90) -> Issued:
    """Return a pair that the box could be given, of another CA."""
    rsa = box.release in {"dsm62", "srm13"}
    key = private_key("rsa2048" if rsa else "ec256", number=number)
    issuer = authority("New Intermediate", parent=authority("New Root"))
    return issuer.issue(["example.test", "*.example.test"], key=key)


def leaf(pair: Issued) -> str:
    """Return the SHA-256 of the leaf as hex."""
    return sha256(pair.leaf.public_bytes(Encoding.DER)).hexdigest()


def put(folder: str, files: Mapping[str, bytes]) -> str:
    """Return a script that writes into the files as they are, so that owner and mode stay."""
    return "".join(
        f"cat >{folder}/{name} <<'.'\n{content.decode()}.\n" for name, content in files.items()
    )


def files_of(pair: Issued) -> dict[str, bytes]:
    """Return the four files as DSM names them."""
    return {
        "cert.pem": pair.certificate_pem,
        "chain.pem": pair.chain_pem,
        "fullchain.pem": pair.fullchain_pem,
        "privkey.pem": pair.private_key_pem,
    }


def to_archive(pair: Issued) -> str:
    """Return the script of the guides that write the archive entry only."""
    return put(f"{ARCHIVE}/{TARGET_ID}", files_of(pair))


def to_services(box: SshBox, pair: Issued) -> str:
    """Return the script that writes every directory which INFO binds to the entry."""
    return "".join(
        put(service.directory, files_of(pair))
        for service in box.entries[0].services
        if service.in_info and service.has_directory
    )


def serves(box: SshBox, wanted: str, port: str = "dsm", name: str | None = None) -> bool:
    """Say whether a port comes to serve a leaf; a reload takes its moment."""
    return happens(lambda: box.served(port, name) == wanted)


def still_serves(box: SshBox, wanted: str, port: str = "dsm", name: str | None = None) -> bool:
    """Say whether a port goes on serving a leaf after the moment that a reload would take."""
    until = time.monotonic() + 0.7
    while time.monotonic() < until:
        if box.served(port, name) != wanted:
            return False
        time.sleep(0.05)
    return True


def spoken(box: SshBox) -> list[str]:
    """Return the command log as lines."""
    return [str(call) for call in box.calls()]


def happens(is_so: Callable[[], bool]) -> bool:
    """Say whether something comes to be so."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
