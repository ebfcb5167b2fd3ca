"""`distribute secret`: on a pipe, on a terminal, with a keyring, without, without the library."""

import os
import pty
import re
import select
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.checking.commands import (
    CHILD_SECONDS,
    Ran,
    child,
    child_environment,
    command,
    run,
)
from tests.memory_keyring import MemoryKeyring, installed

WITHOUT_LIBRARY = """
import sys
class _Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"keyring", "secretstorage"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, _Blocker())
"""
NO_RING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
VALUE = "correct & horse 'battery' ünd staple"
INVENTORY = """
[acme]
ca = "letsencrypt"
agree_tos = true
[dns.home]
provider = "rfc2136"
server = "127.0.0.1:9"
key_name = "acme-key"
key = { keyring = "tsig" }
[certificates.home]
source = "acme"
names = ["example.test"]
dns = "home"
[hosts.attic]
kind = "diskstation"
via = "api"
address = "127.0.0.1"
user = "certs"
certificate = "home"
password = { keyring = "attic" }
endpoints = []
"""


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "inventory.toml").write_text(INVENTORY, encoding="utf-8")
    return ("-i", str(tmp_path / "inventory.toml"), "--state", str(tmp_path / "state"))


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    backend = MemoryKeyring()
    with installed(backend):
        yield backend


def place_of(ran: Ran, name: str) -> str:
    assert ran.code == 0, ran.said
    return str(next(one["place"] for one in ran.report["secrets"] if one["name"] == name))


def test_a_secret_from_a_pipe_goes_into_the_keyring_less_one_newline(
    options: tuple[str, ...], ring: MemoryKeyring
) -> None:
    ran = run(*options, "secret", "set", "attic", stdin=VALUE + "\n")
    assert ran.code == 0
    assert ring.held == {("distribute", "attic"): VALUE}
    assert VALUE not in ran.said
    assert "the keyring" in ran.err
    listed = run(*options, "secret", "list")
    assert "attic  keyring  hosts.attic.password" in listed.out
    assert "tsig  missing  dns.home.key" in listed.out
    assert "distribute secret set tsig" in listed.out
    assert VALUE not in listed.said
    assert run(*options, "secret", "delete", "attic").code == 0
    assert ring.held == {}
    again = run(*options, "secret", "delete", "attic")
    assert again.code == 1
    assert "no such secret" in again.err


def test_a_stored_secret_that_nothing_uses_is_listed(
    options: tuple[str, ...], ring: MemoryKeyring
) -> None:
    run(*options, "secret", "set", "old", stdin="x")
    listed = run(*options, "secret", "list", "--json").report["secrets"]
    assert [one["name"] for one in listed] == ["attic", "old", "tsig"]
    assert listed[1] == {"name": "old", "place": "keyring", "used_by": [], "error": None}


@pytest.mark.parametrize("way", ["without keyring", "without library"])
def test_without_a_keyring_or_its_library_a_file_holds_it(
    options: tuple[str, ...], tmp_path: Path, way: str
) -> None:
    before = WITHOUT_LIBRARY if way == "without library" else ""
    environment = {} if before else NO_RING

    def ask(*arguments: str, stdin: bytes = b"") -> Ran:
        return child(
            *options, *arguments, folder=tmp_path, stdin=stdin, before=before, **environment
        )

    kept = ask("secret", "set", "attic", stdin=VALUE.encode() + b"\n")
    assert kept.code == 0, kept.said
    path = tmp_path / "state" / "secrets.toml"
    assert str(path) in kept.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tomllib.loads(path.read_text(encoding="utf-8"))["secrets"] == {"attic": VALUE}
    assert place_of(ask("secret", "list", "--json"), "attic") == "secrets.toml"
    assert ask("secret", "delete", "attic").code == 0
    assert not path.exists()


def test_the_library_is_really_blocked(tmp_path: Path) -> None:
    done = child("--version", folder=tmp_path, before=WITHOUT_LIBRARY + "\nimport keyring")
    assert "ModuleNotFoundError" in done.err


@pytest.mark.parametrize("typed", [(VALUE, VALUE), ("typo", "other", VALUE, VALUE)])
def test_on_a_terminal_it_is_asked_twice_and_never_shown(
    options: tuple[str, ...], tmp_path: Path, typed: tuple[str, ...]
) -> None:
    said, code = on_a_terminal(tmp_path, typed, *options, "secret", "set", "attic")
    assert code == 0, said
    assert VALUE not in said
    assert said.count("not shown") == len(typed) // 2
    path = tmp_path / "state" / "secrets.toml"
    assert tomllib.loads(path.read_text(encoding="utf-8"))["secrets"] == {"attic": VALUE}


def test_a_secret_is_never_an_argument(options: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*options, "secret", "set", "attic", "hunter2")
    assert ran.code == 2
    assert not (tmp_path / "state" / "secrets.toml").exists()
    text = run("secret", "set", "--help").out
    assert "--" not in text.replace("--help", "").replace("--inventory", "").split("Options")[0]


@pytest.mark.parametrize("stdin", ["", "\n"])
def test_an_empty_secret_is_refused(
    options: tuple[str, ...], ring: MemoryKeyring, stdin: str
) -> None:
    ran = run(*options, "secret", "set", "attic", stdin=stdin)
    assert ran.code == 1
    assert "standard input is empty" in ran.err
    assert ring.held == {}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[2J"])
def test_a_name_that_is_no_line_is_refused(options: tuple[str, ...], name: str) -> None:
    ran = run(*options, "secret", "set", name, stdin="x")
    assert ran.code == 2
    assert "no name for a secret" in ran.err


@pytest.mark.parametrize("words", [("set",), ("list",), ("delete",), ()])
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    ran = run("secret", *words, "--help")
    assert ran.code == 0
    assert "Example: distribute secret" in ran.out


def on_a_terminal(folder: Path, typed: tuple[str, ...], *arguments: str) -> tuple[str, int]:
    """Run a command on a terminal of its own; return what that showed, and the exit code."""
    ours, its = pty.openpty()
    try:
        process = subprocess.Popen(
            command(*arguments),
            stdin=its,
            stdout=its,
            stderr=its,
            env=child_environment(folder, **NO_RING),
            cwd=folder,
            start_new_session=True,
        )
        try:
            shown = b""
            for line in typed:
                shown += _until(ours, rb"(not shown\)|confirmation): $")
                os.write(ours, line.encode() + b"\n")
            shown += _until(ours, rb"kept in")
            code = process.wait(timeout=CHILD_SECONDS)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(ours)
        os.close(its)
    return shown.decode(), code


def _until(terminal: int, mark: bytes) -> bytes:
    shown = b""
    while not re.search(mark, shown):
        ready, _, _ = select.select([terminal], [], [], CHILD_SECONDS)
        if not ready:
            raise AssertionError(f"nothing more is shown after {shown!r}")
        shown += os.read(terminal, 4096)
    return shown
