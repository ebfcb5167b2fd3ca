"""Logging in to a real OpenSSH server: by key, agent or password, and never twice in vain."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distributor.model.errors import AuthRefused, SecretError
from distributor.store import Store
from tests.e2e.ssh_sessions import PASSWORD, host, pin, session
from tests.e2e.sshd import Sshd, User, make_key

PASSPHRASE = "the-passphrase-of-the-key"


class Rig:
    def __init__(self, folder: Path) -> None:
        self.key = folder / "key"
        self.locked = folder / "locked"
        self.stranger = folder / "stranger"
        lines = [make_key(self.key), make_key(self.locked, passphrase=PASSPHRASE)]
        make_key(self.stranger)
        users = [
            User("certs", PASSWORD, lines),
            User("open-home", PASSWORD, lines, home_mode=0o777),
            User("root", PASSWORD, lines),
        ]
        self.sshd = Sshd(folder / "rig", users)

    def refusals(self) -> int:
        return self.sshd.log.count("Failed password")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("login"))
    with made.sshd:
        yield made


@pytest.fixture
def store(tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made = Store(tmp_path / "state")
    pin(made, rig.sshd)
    return made


@pytest.fixture
def agent(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent without keys; its folder has a short name, as sockets want."""
    socket = tmp_path / "agent"
    program = shutil.which("ssh-agent")
    assert program, "ssh-agent is missing: apt install openssh-client"
    running = subprocess.Popen([program, "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert running.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        yield socket
    finally:
        running.terminate()
        running.wait()


def add(agent: Path, key: Path) -> None:
    subprocess.run(
        ["/usr/bin/ssh-add", "-q", str(key)],
        check=True,
        env={"SSH_AUTH_SOCK": str(agent)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def name_of(store: Store, rig: Rig, user: str = "certs", **access: Any) -> str:
    with session(store, host(rig.sshd, user, **access)) as opened:
        return opened.run(["id", "-un"], as_root=False).stdout.decode().strip()


def refused(store: Store, rig: Rig, user: str = "certs", **access: Any) -> AuthRefused:
    with pytest.raises(AuthRefused) as caught, session(store, host(rig.sshd, user, **access)):
        pass
    assert caught.value.step == "login"
    assert PASSWORD not in f"{caught.value!s}{caught.value!r}"
    return caught.value


def test_the_password_lets_in(store: Store, rig: Rig) -> None:
    assert name_of(store, rig, password=PASSWORD) == "certs"


def test_a_wrong_password_is_sent_once_and_not_again_that_day(store: Store, rig: Rig) -> None:
    before = rig.refusals()
    error = refused(store, rig, password="wrong")
    assert "login as 'certs' refused: it does not take the password" in error.message
    assert "administrators only" in (error.hint or "")
    assert rig.refusals() == before + 1
    again = refused(store, rig, password="wrong")
    assert "not tried: it was refused at" in again.message
    assert "the password is wrong" in again.message
    # Another run remembers it, too, and other words are tried.
    assert "not tried" in refused(Store(store.folder), rig, password="wrong").message
    assert rig.refusals() == before + 1
    assert name_of(store, rig, password=PASSWORD) == "certs"


def test_the_key_lets_in_encrypted_or_not(store: Store, rig: Rig) -> None:
    assert name_of(store, rig, identity=rig.key.read_text()) == "certs"
    locked = rig.locked.read_text()
    assert name_of(store, rig, identity=locked, identity_passphrase=PASSPHRASE) == "certs"
    for passphrase in ({}, {"identity_passphrase": "wrong"}):
        with pytest.raises(SecretError, match="identity_passphrase"):
            name_of(store, rig, identity=locked, **passphrase)


def test_a_key_that_is_not_known_there_is_refused_and_says_where_to_look(
    store: Store, rig: Rig
) -> None:
    error = refused(store, rig, identity=rig.stranger.read_text())
    assert "it does not take the key ssh-ed25519 SHA256:" in error.message
    assert "~/.ssh/authorized_keys" in (error.hint or "")


def test_a_home_that_others_may_write_refuses_the_key_and_the_error_explains_it(
    store: Store, rig: Rig
) -> None:
    error = refused(store, rig, "open-home", identity=rig.key.read_text())
    assert "bad ownership or modes for directory /run/homes/open-home" in rig.sshd.log
    assert "others may write the home folder" in (error.hint or "")
    assert "chmod 755 ~" in (error.hint or "")
    assert name_of(store, rig, "open-home", password=PASSWORD) == "open-home"


def test_the_password_helps_where_the_key_is_refused(store: Store, rig: Rig) -> None:
    given = {"identity": rig.stranger.read_text(), "password": PASSWORD}
    assert name_of(store, rig, **given) == "certs"
    error = refused(store, rig, **(given | {"password": "wrong as well"}))
    assert "SHA256:" in error.message
    assert "and the password" in error.message


def test_root_gets_in_by_key_and_not_by_password(store: Store, rig: Rig) -> None:
    with session(store, host(rig.sshd, "root", identity=rig.key.read_text())) as opened:
        assert opened.is_root
        assert opened.run(["id", "-un"], as_root=True).stdout == b"root\n"
    assert "root by key only" in (refused(store, rig, "root", password=PASSWORD).hint or "")


def test_root_of_a_router_gets_in_by_password(tmp_path: Path, store: Store) -> None:
    rig = Sshd(tmp_path / "rig", [User("root", PASSWORD)], sshd_config=["PermitRootLogin yes"])
    with rig:
        pin(store, rig)
        with session(store, host(rig, "root", password=PASSWORD)) as opened:
            assert opened.is_root
            assert opened.run(["id", "-un"], as_root=True).stdout == b"root\n"


def test_with_nothing_to_log_in_by_it_says_what_the_server_takes(store: Store, rig: Rig) -> None:
    error = refused(store, rig)
    assert "it takes publickey, password" in error.message
    assert "`identity` or `password`" in (error.hint or "")


def test_the_agent_s_keys_let_in(store: Store, rig: Rig, agent: Path) -> None:
    add(agent, rig.stranger)
    error = refused(store, rig)
    assert "it does not take the key" in error.message
    add(agent, rig.key)
    assert name_of(store, rig) == "certs"


def test_the_agent_is_left_alone_where_the_inventory_says_by_what(
    store: Store, rig: Rig, agent: Path
) -> None:
    add(agent, rig.key)
    # The agent has a key that would let it in.
    assert "SHA256:" in refused(store, rig, identity=rig.stranger.read_text()).message
    assert "SHA256:" not in refused(store, rig, password="quite wrong").message


def test_an_agent_with_many_keys_ends_in_a_refusal_and_not_in_a_lockout(
    tmp_path: Path, store: Store, rig: Rig, agent: Path
) -> None:
    for number in range(8):
        key = tmp_path / f"key{number}"
        make_key(key)
        add(agent, key)
    error = refused(store, rig)
    assert error.message.count("SHA256:") == 5


def test_an_agent_that_is_gone_is_as_none(
    tmp_path: Path, store: Store, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert "nothing to log in with" in refused(store, rig).message


@pytest.fixture(scope="module")
def interactive(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server that takes a password as the answer to a question only."""
    config = ["PasswordAuthentication no", "KbdInteractiveAuthentication yes"]
    folder = tmp_path_factory.mktemp("interactive")
    with Sshd(folder / "rig", [User("certs", PASSWORD)], sshd_config=config) as sshd:
        yield sshd


def test_the_one_question_for_a_password_is_answered_once(store: Store, interactive: Sshd) -> None:
    pin(store, interactive)
    with session(store, host(interactive, "certs", password=PASSWORD)) as opened:
        assert opened.run(["id", "-un"], as_root=False).stdout == b"certs\n"
    with (
        pytest.raises(AuthRefused, match="does not take the password"),
        session(store, host(interactive, "certs", password="no")),
    ):
        pass
    with (
        pytest.raises(AuthRefused, match="not tried"),
        session(store, host(interactive, "certs", password="no")),
    ):
        pass
    assert interactive.log.count("Failed keyboard-interactive/pam for certs") == 1


def test_a_server_that_hangs_up_on_a_wrong_password_has_refused_it(
    tmp_path: Path, store: Store
) -> None:
    rig = Sshd(tmp_path / "rig", [User("certs", PASSWORD)], sshd_config=["MaxAuthTries 1"])
    with rig:
        pin(store, rig)
        for words in ("the server hung up: Too many authentication failures", "not tried"):
            with (
                pytest.raises(AuthRefused, match=words),
                session(store, host(rig, "certs", password="no")),
            ):
                pass
        assert rig.log.count("Failed password for certs") == 1


def test_a_server_that_wants_key_and_password_gets_both(
    tmp_path: Path, rig: Rig, store: Store
) -> None:
    line = rig.key.with_suffix(".pub").read_text().strip()
    config = ["AuthenticationMethods publickey,password"]
    with Sshd(tmp_path / "rig", [User("certs", PASSWORD, [line])], sshd_config=config) as sshd:
        pin(store, sshd)
        key = rig.key.read_text()
        with session(store, host(sshd, "certs", identity=key, password=PASSWORD)) as opened:
            assert not opened.is_root
        with (
            pytest.raises(AuthRefused, match=r"fits, but it wants more than that: password"),
            session(store, host(sshd, "certs", identity=key)),
        ):
            pass


def test_a_password_that_was_refused_does_not_stand_in_the_way_of_a_key(
    store: Store, rig: Rig
) -> None:
    refused(store, rig, password="once wrong")
    given = {"identity": rig.key.read_text(), "password": "once wrong"}
    assert name_of(store, rig, **given) == "certs"
