"""Servers that ask for more than a password, or say nothing at the wrong moment."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Self

import paramiko
import pytest
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)
from paramiko.server import InteractiveQuery

from distributor.access import HostKeeper
from distributor.clients import ssh_login
from distributor.clients.shell import Result
from distributor.clients.ssh import SshSession
from distributor.clients.ssh_login import SshAccount
from distributor.model.errors import AuthRefused, HostError, ProtocolError, Unreachable
from distributor.model.host_keys import HostKeyTrust
from distributor.model.hosts import SocketAddress
from distributor.model.secret import Secret
from distributor.store import Store

PASSWORD = "the-password-of-certs"
KEY = paramiko.ECDSAKey.generate()
SLACK = 3.0


@dataclass
class Odd(paramiko.ServerInterface):
    """A server as odd as a test wants."""

    methods: str = "password"
    questions: list[list[tuple[str, bool]]] = field(default_factory=list)
    """What it asks for, one round after the other, whatever was answered."""
    silent_at: str = ""
    output: bytes = b""
    """What a command prints, if it answers to one."""
    answers: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    hang_up: Callable[[], None] = lambda: None

    def get_allowed_auths(self, _username: str) -> str:
        return self.methods

    def check_auth_password(self, _username: str, password: str) -> int:
        self.passwords.append(password)
        if self.silent_at == "login":
            self.over.wait(20)
        if self.silent_at == "password":
            self.hang_up()
        return AUTH_SUCCESSFUL if password == PASSWORD else AUTH_FAILED

    def check_auth_interactive(self, _username: str, _submethods: str) -> int | InteractiveQuery:
        return self._next()

    def check_auth_interactive_response(self, responses: list[str]) -> int | InteractiveQuery:
        self.answers += responses
        return self._next()

    def _next(self) -> int | InteractiveQuery:
        if self.questions:
            return InteractiveQuery("", "", *self.questions.pop(0))
        good = PASSWORD in self.answers
        return AUTH_SUCCESSFUL if good else AUTH_FAILED

    def check_channel_request(self, _kind: str, _chanid: int) -> int:
        if self.silent_at == "channel":
            self.over.wait(20)
        if self.silent_at == "no channel":
            return OPEN_FAILED_RESOURCE_SHORTAGE
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, _command: bytes) -> bool:
        if self.silent_at == "exec":
            self.over.wait(20)
        if self.output:
            threading.Thread(target=self._print, args=(channel,)).start()
        return self.silent_at != "no exec"

    def _print(self, channel: paramiko.Channel) -> None:
        self.over.wait(0.5)  # until the request is answered
        channel.sendall(self.output)
        channel.send_exit_status(0)
        channel.close()


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ssh_login, "LOGIN_SECONDS", 2.0)
    monkeypatch.setenv("HOME", str(tmp_path))


class Serving:
    def __init__(self, odd: Odd) -> None:
        self.odd = odd
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = SocketAddress("127.0.0.1", int(self._listening.getsockname()[1]))
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.odd.over.set()
        self._listening.close()
        self._thread.join(10)
        for transport in self._transports:
            transport.close()
            transport.join(10)

    def _accept(self) -> None:
        self._listening.settimeout(0.1)
        while not self.odd.over.is_set():
            try:
                plain, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            transport = paramiko.Transport(plain)
            transport.add_server_key(KEY)
            self._transports.append(transport)
            self.odd.hang_up = plain.close
            transport.start_server(event=threading.Event(), server=self.odd)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def sign_in(server: Serving, store: Store) -> None:
    trust = HostKeyTrust(host="attic", fingerprints=frozenset({KEY.fingerprint}))
    account = SshAccount(
        user="certs",
        refusals=HostKeeper("attic", store),
        password=lambda: Secret(PASSWORD),
    )
    with SshSession(server.address, account, trust, sleep=time.sleep) as session:
        session.run(["true"], as_root=False)


def met(odd: Odd, store: Store) -> HostError:
    with Serving(odd) as server, pytest.raises(HostError) as caught:
        sign_in(server, store)
    assert PASSWORD not in f"{caught.value!s} {caught.value!r}"
    return caught.value


@pytest.mark.parametrize(
    ("questions", "answered"),
    [
        ([[("Verification code: ", True)]], []),
        ([[("Password: ", False), ("Verification code: ", False)]], []),
        ([[("Password: ", False)], [("Verification code: ", False)]], [PASSWORD]),
        ([[("Password: ", False)], [("Password: ", False)]], [PASSWORD]),
        ([[], [("Password: ", False)], [("Password: ", False)]], [PASSWORD]),
    ],
    ids=["echoed", "two at once", "a code after it", "the same again", "nothing, then twice"],
)
def test_a_server_that_asks_for_more_gets_the_password_once_at_most(
    questions: list[list[tuple[str, bool]]], answered: list[str], store: Store
) -> None:
    odd = Odd(methods="keyboard-interactive", questions=questions)
    error = met(odd, store)
    assert isinstance(error, AuthRefused)
    assert "asks for more than a password" in error.message
    assert odd.answers == answered
    # It did not say that the password is wrong.
    assert not (store.folder / "refusals.toml").exists()


def test_a_round_without_a_question_is_no_question(store: Store) -> None:
    rounds: list[list[tuple[str, bool]]] = [[], [("Password: ", False)], []]
    odd = Odd(methods="keyboard-interactive", questions=rounds, output=b"no shell")
    assert isinstance(met(odd, store), ProtocolError)  # it is let in, and runs no command
    assert odd.answers == [PASSWORD]


@pytest.mark.parametrize("methods", ["publickey", "hostbased,gssapi-with-mic", ""])
def test_a_server_that_takes_no_password_is_not_sent_one(methods: str, store: Store) -> None:
    odd = Odd(methods=methods)
    error = met(odd, store)
    assert isinstance(error, AuthRefused)
    assert "takes no password from this account" in (error.hint or "")
    assert odd.passwords == []


def test_a_password_that_makes_the_server_hang_up_is_not_sent_again(store: Store) -> None:
    odd = Odd(silent_at="password")
    for words in ("refused, or broken off", "not tried"):
        error = met(odd, store)
        assert isinstance(error, AuthRefused)
        assert words in error.message
        odd.over.clear()
    assert odd.passwords == [PASSWORD]


def test_a_login_that_is_not_answered_ends_at_the_deadline(store: Store) -> None:
    started = monotonic()
    error = met(Odd(silent_at="login"), store)
    assert monotonic() - started < 2 + SLACK + 10  # the server's own thread has to end, too
    assert isinstance(error, Unreachable)
    assert "no answer within 2 s" in error.message
    assert not (store.folder / "refusals.toml").exists()


@pytest.mark.parametrize("silent_at", ["channel", "exec"])
def test_a_command_that_is_not_taken_ends_at_the_deadline(
    silent_at: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SshSession.run, "__kwdefaults__", {"stdin": b"", "seconds": 2.0})
    error = met(Odd(silent_at=silent_at), store)
    assert isinstance(error, Unreachable)
    assert "no answer within 2 s" in error.message


@pytest.mark.parametrize("refuses", ["no channel", "no exec"])
def test_a_server_that_runs_no_command_is_told(refuses: str, store: Store) -> None:
    assert isinstance(met(Odd(silent_at=refuses), store), HostError)


@pytest.mark.parametrize("uid", [b"9" * 5000, b"-1", b"root", b""], ids=["long", "-", "x", "none"])
def test_a_server_whose_id_is_no_number_is_told(
    uid: bytes, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SshSession, "run", lambda *_, **__: Result(0, uid, b""))
    error = met(Odd(), store)
    assert isinstance(error, ProtocolError)
    assert "tells no number" in error.message


def test_a_server_that_answers_with_something_else_gets_no_further(store: Store) -> None:
    error = met(Odd(output=b"This is an appliance.\r\nChoose 1-9:"), store)
    assert isinstance(error, ProtocolError)
    assert "runs no commands: This is an appliance." in error.message
