"""Who may log in to a virtual box, and the keys on both sides."""

import base64
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.certs import PrivateKey, private_key
from tests.e2e.ssh_box_tree import ADMINISTRATORS, UIDS, Item, lines_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who may log in, and with what."""

    user: str
    password: str = field(repr=False)
    key_file: Path | None = None
    """Private key in OpenSSH's format, mode 600."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person's account on the box."""

    name: str
    uid: int
    password_hash: str
    administrator: bool = True
    home_mode: int | None = 0o755
    """None: there is no home folder (User Home service off)."""
    authorized_key: str | None = None
    shell: str = "/bin/sh"

    @property
    def home(self) -> str:
        return f"/var/services/homes/{self.name}"


def account_items(accounts: Sequence[Account]) -> list[Item]:
    """Return passwd, shadow and group, and the homes with their keys."""
    root, *people = accounts
    passwd = [f"root:x:0:0::/root:{root.shell}"]
    shadow = [f"root:{root.password_hash}:19000:0:99999:7:::"]
    groups = ["root:x:0:", "wheel:x:10:", "users:x:100:"]
    for name, number in UIDS.items():
        if number:
            passwd.append(f"{name}:x:{number}:{number}::/nonexistent:/sbin/nologin")
            groups.append(f"{name}:x:{number}:")
    members = []
    items = [
        Item(path="/root", mode=0o700),
        Item(path="/volume1/homes"),
        Item(path="/var/services/homes", link="/volume1/homes"),
    ]
    for account in people:
        passwd.append(f"{account.name}:x:{account.uid}:100::{account.home}:{account.shell}")
        shadow.append(f"{account.name}:{account.password_hash}:19000:0:99999:7:::")
        if account.administrator:
            members.append(account.name)
        if account.home_mode is not None:
            home = f"/volume1/homes/{account.name}"
            items.append(Item(path=home, mode=account.home_mode, uid=account.uid, gid=100))
            items += _key_items(home, account)
    groups.append(f"administrators:x:{ADMINISTRATORS}:{','.join(members)}")
    items += _key_items("/root", root)
    texts = {"passwd": passwd, "group": groups}
    items += [
        Item(path=f"/etc/{name}", content=lines_of(lines), mode=0o644)
        for name, lines in texts.items()
    ]
    items.append(Item(path="/etc/shadow", content=lines_of(shadow), mode=0o600))
    return items


def _key_items(home: str, account: Account) -> list[Item]:
    if account.authorized_key is None:
        return []
    gid = 100 if account.uid else 0
    return [
        Item(path=f"{home}/.ssh", mode=0o700, uid=account.uid, gid=gid),
        Item(
            path=f"{home}/.ssh/authorized_keys",
            content=f"{account.authorized_key}\n".encode(),
            mode=0o600,
            uid=account.uid,
            gid=gid,
        ),
    ]


def fingerprint(public: str) -> str:
    """Return the `SHA256:…` of a public key's line."""
    digest = sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def hashed(password: str) -> str:
    return subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],  # noqa: S607 - found on the path, as tests/run has it
        input=password,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def _openssh_pair(key: PrivateKey) -> tuple[bytes, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return private, public.decode()


def host_keys() -> dict[str, tuple[bytes, str]]:
    keys: dict[str, PrivateKey] = {
        "rsa": private_key("rsa2048", number=secrets.randbelow(2) + 70),
        "ecdsa": ec.generate_private_key(ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    return {kind: _openssh_pair(key) for kind, key in keys.items()}


def new_key(file: Path) -> str:
    private, public = _openssh_pair(ed25519.Ed25519PrivateKey.generate())
    file.touch(mode=0o600)
    file.write_bytes(private)
    return public
