"""`distribute trust` for a host that is reached by SSH."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distributor.inventory import built
from distributor.model.host_keys import HostKey
from distributor.store import Store
from tests.e2e.ssh_sessions import (
    PASSWORD,
    is_let_in,
    known_hosts,
    known_line,
    pin_key,
    stranger,
)
from tests.e2e.sshd import Sshd, User
from tests.integration.checking.commands import Ran, run


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("trust") / "rig", [User("certs", PASSWORD)]) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "state")


@pytest.fixture
def trust(home: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`distribute trust`, as if the drivers were built that such an inventory is for."""
    lines = {key: value for key, value in built.NOT_BUILT.items() if not key.endswith(".via")}
    monkeypatch.setattr("distributor.inventory.read.__kwdefaults__", {"not_built": lines})
    inventory = home / "inventory.toml"
    inventory.touch(mode=0o600)
    inventory.write_text(
        f"""
[acme]
ca = "letsencrypt-staging"
agree_tos = true

[dns.home]
provider = "rfc2136"
server = "192.0.2.53"
key_name = "acme-key"
key = {{ file = "tsig" }}

[certificates.home]
source = "acme"
names = ["example.com"]
dns = "home"

[hosts.attic]
kind = "diskstation"
via = "ssh"
address = "127.0.0.1"
port = {sshd.port}
user = "certs"
password = {{ plain = "{PASSWORD}" }}
certificate = "home"
endpoints = []
""",
        encoding="utf-8",
    )

    def command(*arguments: str) -> Ran:
        options = ("-i", str(inventory), "--state", str(home / "state"))
        return run(*options, "trust", "attic", *arguments)

    return command


def test_the_command_shows_and_pins_the_host_key_of_a_host(
    trust: Any, store: Store, sshd: Sshd
) -> None:
    shown = sshd.fingerprint("ed25519")
    alone = trust()
    assert f"attic  host key ssh-ed25519 {shown}" in alone.out
    assert "nobody is there to compare the fingerprint" in alone.err
    assert (alone.code, store.trust.host_key("attic")) == (2, None)
    wrong = trust("--fingerprint", "SHA256:" + "a" * 43)
    assert "shows another host key than" in wrong.err
    assert (wrong.code, store.trust.host_key("attic")) == (1, None)
    assert trust("--yes").code == 0
    pinned = store.trust.host_key("attic")
    assert pinned is not None
    assert pinned.key == HostKey("ssh-ed25519", shown)
    assert "is pinned to this already" in trust().err
    assert store.trust.pinned("attic") is None  # no leaf was looked at
    assert is_let_in(store, sshd)


def test_a_changed_key_is_pinned_by_its_fingerprint_and_never_by_yes(
    trust: Any, home: Path, store: Store, sshd: Sshd
) -> None:
    old = stranger(home)[1]
    pin_key(store, old)
    for arguments in ((), ("--yes",)):
        done = trust(*arguments)
        assert done.code == 1
        assert old in done.err
        assert sshd.fingerprint("ed25519") in done.err
        pinned = store.trust.host_key("attic")
        assert pinned is not None
        assert pinned.key.fingerprint == old
    done = trust("--fingerprint", sshd.fingerprint("rsa"))
    assert done.code == 0, done.said
    pinned = store.trust.host_key("attic")
    assert pinned is not None
    assert pinned.key == HostKey("ssh-rsa", sshd.fingerprint("rsa"))


def test_the_command_s_json_has_the_key(trust: Any, home: Path, sshd: Sshd) -> None:
    known_hosts(home, known_line(sshd, "rsa"))  # which ssh has asked a person about
    done = trust("--json")
    assert done.code == 0, done.said
    (one,) = done.report["hosts"]
    assert one["host_key"] == {"type": "ssh-rsa", "fingerprint": sshd.fingerprint("rsa")}
    assert one["pinned"] is True
    assert (one["leaf"], one["error"]) == (None, None)


def test_a_fingerprint_of_the_other_kind_is_a_usage_error(trust: Any) -> None:
    done = trust("--fingerprint", "sha256:" + "0" * 64)
    assert done.code == 2
    assert "no SHA-256 fingerprint of an SSH host key" in done.err
