"""Host keys of a real server: never accepted unseen, looked at before any login."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distributor.clients.ssh import shown_host_key
from distributor.model.errors import ProtocolError, Untrusted
from distributor.model.host_keys import HostKey
from distributor.model.hosts import JumpHost, SocketAddress
from distributor.store import Store
from tests.e2e.ssh_sessions import (
    PASSWORD,
    TYPES,
    host,
    is_let_in,
    known_hosts,
    known_line,
    pin,
    pin_key,
    session,
    stranger,
)
from tests.e2e.sshd import KeyType, Sshd, User, make_key

KINDS: tuple[KeyType, ...] = ("ed25519", "ecdsa", "rsa")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("trust") / "rig", [User("certs", PASSWORD)]) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "state")


def not_believed(store: Store, sshd: Sshd, **access: Any) -> Untrusted:
    """Sign in in vain; nothing was sent that has to do with a login."""
    before = len(logins(sshd))
    with pytest.raises(Untrusted) as caught:
        is_let_in(store, sshd, **access)
    assert logins(sshd)[before:] == []
    assert caught.value.step == "trust"
    return caught.value


def logins(sshd: Sshd) -> list[str]:
    return re.findall(r"(?:Accepted|Failed|Invalid user) .*", sshd.log)


def test_a_host_that_nobody_has_seen_is_not_even_connected_to(store: Store, sshd: Sshd) -> None:
    before = sshd.log.count("Connection from")
    assert "was never pinned" in not_believed(store, sshd).message
    assert sshd.log.count("Connection from") == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_pinned_kind_of_key_is_asked_for_whatever_the_server_prefers(
    store: Store, sshd: Sshd, kind: KeyType
) -> None:
    pin(store, sshd, kind)
    before = sshd.log.count("Connection from")
    assert is_let_in(store, sshd)
    assert sshd.log.count("Connection from") == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_fingerprint_alone_finds_its_key_among_those_of_the_server(
    store: Store, sshd: Sshd, kind: KeyType
) -> None:
    assert is_let_in(store, sshd, host_key=sshd.fingerprint(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
def test_a_key_in_known_hosts_is_believed(
    home: Path, store: Store, sshd: Sshd, kind: KeyType, *, hashed: bool
) -> None:
    known_hosts(home, "# met before", known_line(sshd, kind))
    file = home / ".ssh" / "known_hosts"
    if hashed:
        subprocess.run(
            ["/usr/bin/ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True
        )
        assert "127.0.0.1" not in file.read_text()
    assert is_let_in(store, sshd)


def test_a_key_known_for_another_port_or_name_is_not_believed(
    home: Path, store: Store, sshd: Sshd
) -> None:
    known_hosts(
        home,
        f"127.0.0.1 {sshd.host_keys['ed25519']}",
        f"[localhost]:{sshd.port} {sshd.host_keys['ed25519']}",
    )
    assert "was never pinned" in not_believed(store, sshd).message


def test_a_revoked_key_is_not_believed(home: Path, store: Store, sshd: Sshd) -> None:
    pin(store, sshd)
    known_hosts(home, f"@revoked * {sshd.host_keys['ed25519']}")
    assert "revoked" in not_believed(store, sshd).message
    assert "revoked" in not_believed(store, sshd, host_key=sshd.fingerprint("ed25519")).message


def test_a_changed_key_is_refused_before_the_login_with_both_fingerprints(
    home: Path, store: Store, sshd: Sshd
) -> None:
    line, other = stranger(home)
    shown = sshd.fingerprint("ed25519")
    known_hosts(home, f"[127.0.0.1]:{sshd.port} {line}")
    error = not_believed(store, sshd)
    assert shown in error.message
    assert other in error.message
    assert "known_hosts" in error.message
    assert f"distribute trust attic --fingerprint {shown}" in (error.hint or "")
    error = not_believed(store, sshd, host_key=other)
    assert {shown, other} <= set(re.findall(r"SHA256:\S{43}", error.message))
    assert "correct host_key" in (error.hint or "")


def test_a_server_with_new_keys_is_refused_until_it_is_pinned_anew(
    tmp_path: Path, store: Store
) -> None:
    with Sshd(tmp_path / "old", [User("certs", PASSWORD)]) as old:
        pin(store, old)
        assert is_let_in(store, old)
    with Sshd(tmp_path / "new", [User("certs", PASSWORD)], port=old.port) as new:
        error = not_believed(store, new)
        assert old.fingerprint("ed25519") in error.message
        assert new.fingerprint("ed25519") in error.message
        pin(store, new)
        assert is_let_in(store, new)


def test_a_server_that_has_lost_the_pinned_kind_of_key_is_a_changed_one(
    tmp_path: Path, store: Store, sshd: Sshd
) -> None:
    pin(store, sshd, "ed25519")
    users = [User("certs", PASSWORD)]
    with Sshd(tmp_path / "rsa", users, host_key_types=["rsa"]) as other:
        error = not_believed(store, other)
        assert f"it shows ssh-rsa {other.fingerprint('rsa')}" in error.message


def test_a_server_with_sha_1_alone_is_refused_with_what_to_do(tmp_path: Path, store: Store) -> None:
    config = ["HostKeyAlgorithms ssh-rsa"]
    users = [User("certs", PASSWORD)]
    with Sshd(tmp_path / "rig", users, host_key_types=["rsa"], sshd_config=config) as old:
        pin(store, old, "rsa")
        with pytest.raises(ProtocolError) as caught:
            is_let_in(store, old)
    assert "no SSH algorithm in common" in caught.value.message
    assert "SHA-1" in (caught.value.hint or "")


def test_old_key_exchange_alone_is_refused_with_what_to_do(tmp_path: Path, store: Store) -> None:
    config = ["KexAlgorithms diffie-hellman-group1-sha1"]
    with Sshd(tmp_path / "rig", [User("certs", PASSWORD)], sshd_config=config) as old:
        pin(store, old)
        with pytest.raises(ProtocolError, match="kex"):
            is_let_in(store, old)


def test_the_key_that_a_person_means_is_shown_if_the_server_has_it(sshd: Sshd) -> None:
    address = SocketAddress("127.0.0.1", sshd.port)
    for kind in KINDS:
        wanted = HostKey(TYPES[kind], sshd.fingerprint(kind))
        shown = shown_host_key(
            address, wanted={wanted.fingerprint}, types=(), sleep=lambda _seconds: None
        )
        assert shown == wanted
    shown = shown_host_key(address, wanted=(), types=(), sleep=lambda _seconds: None)
    assert shown == HostKey("ssh-ed25519", sshd.fingerprint("ed25519"))


# -- a server to go through ------------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path: Path, home: Path) -> Iterator[tuple[Sshd, str]]:
    """A server that may be gone through, and the key that opens it and the host behind."""
    line = make_key(tmp_path / "key")
    users = [User("gatekeeper", authorized_keys=[line], sudo="none")]
    with Sshd(tmp_path / "gate", users, sshd_config=["AllowTcpForwarding yes"]) as running:
        yield running, (tmp_path / "key").read_text()


def through(gate: Sshd, user: str = "gatekeeper") -> JumpHost:
    return JumpHost(user, SocketAddress("127.0.0.1", gate.port))


def test_a_host_behind_another_is_reached_through_it(
    tmp_path: Path, home: Path, store: Store, gate: tuple[Sshd, str]
) -> None:
    outer, key = gate
    known_hosts(home, known_line(outer, "ecdsa"))
    line = (tmp_path / "key.pub").read_text().strip()
    with Sshd(tmp_path / "inner", [User("certs", PASSWORD, [line])]) as inner:
        pin(store, inner)
        behind = host(
            inner, "certs", identity=key, sudo_password=PASSWORD, proxy_jump=through(outer)
        )
        with session(store, behind) as opened:
            content = bytes(range(256)) * 2000
            assert opened.run(["cat"], as_root=True, stdin=content).stdout == content
            assert opened.run(["id", "-un"], as_root=True).stdout == b"root\n"
        assert "Accepted publickey for gatekeeper" in outer.log
        assert "Accepted publickey for certs" in inner.log
        # The host's own key is looked at through the other one as well.
        pin_key(store, stranger(home)[1])
        with pytest.raises(Untrusted, match="host key of attic"), session(store, behind):
            pass
        assert inner.log.count("Accepted publickey") == 1


def test_an_unknown_or_changed_host_in_between_gets_no_login(
    home: Path, store: Store, sshd: Sshd, gate: tuple[Sshd, str]
) -> None:
    outer, key = gate
    pin(store, sshd)
    with pytest.raises(Untrusted, match="not in known_hosts"):
        is_let_in(store, sshd, identity=key, proxy_jump=through(outer))
    known_hosts(home, f"[127.0.0.1]:{outer.port} {stranger(home)[0]}")
    with pytest.raises(Untrusted, match="ssh-keygen -R"):
        is_let_in(store, sshd, identity=key, proxy_jump=through(outer))
    assert logins(outer) == []


def test_the_password_of_a_host_is_not_for_the_one_in_between(
    tmp_path: Path, home: Path, store: Store, sshd: Sshd
) -> None:
    config = ["AllowTcpForwarding yes"]
    with Sshd(tmp_path / "gate", [User("certs", PASSWORD)], sshd_config=config) as outer:
        known_hosts(home, known_line(outer))
        pin(store, sshd)
        with pytest.raises(Exception, match="nothing to log in with"):
            is_let_in(store, sshd, proxy_jump=through(outer, "certs"))
        assert "password" not in " ".join(logins(outer))


@pytest.mark.parametrize(
    ("config", "port", "words"),
    [
        ("AllowTcpForwarding no", None, "AllowTcpForwarding"),
        ("AllowTcpForwarding yes", 1, "is the host on"),
    ],
)
def test_a_way_that_ends_half_way_is_told(
    tmp_path: Path,
    home: Path,
    store: Store,
    sshd: Sshd,
    config: str,
    port: int | None,
    words: str,
) -> None:
    line = make_key(tmp_path / "key")
    users = [User("gatekeeper", authorized_keys=[line])]
    with Sshd(tmp_path / "gate", users, sshd_config=[config]) as outer:
        known_hosts(home, known_line(outer))
        behind = host(
            sshd,
            "certs",
            port=port,
            identity=(tmp_path / "key").read_text(),
            proxy_jump=through(outer),
            host_key=sshd.host_key_fingerprint,
        )
        with pytest.raises(Exception, match=words) as caught, session(store, behind):
            pass
        assert type(caught.value).__name__ == "Unreachable"
