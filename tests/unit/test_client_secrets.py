"""A secret is fetched from where its reference points, as it stands there, and shown nowhere."""

import logging
import os
import sys
import time
import traceback
import tracemalloc
from pathlib import Path

import pytest

from distributor.clients import secrets
from distributor.clients.secrets import SIZE_LIMIT, clean_environment, fetch
from distributor.model.errors import SecretError
from distributor.model.hosts import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    PlainSecret,
    SecretRef,
)
from distributor.model.secret import Secret

VALUE = "correct-horse-battery"


def python(code: str, *arguments: str) -> CommandSecret:
    return CommandSecret((sys.executable, "-c", code, *arguments))


def file_with(folder: Path, content: bytes, mode: int = 0o600) -> FileSecret:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return FileSecret(path)


def refused(reference: SecretRef) -> str:
    """Return all that the error tells, its causes and their frames included."""
    with pytest.raises(SecretError) as caught:
        fetch(reference)
    assert caught.value.hint
    assert caught.value.step == "secret"
    told = "".join(traceback.format_exception(caught.value))
    cause = caught.value.__cause__ or caught.value.__context__
    return told if cause is None else told + repr(vars(cause))


AS_THEY_STAND = [
    (b"0123", "0123"),
    (b"0123\n", "0123"),
    (b"0123\r\n", "0123"),
    (b"0123\n\n", "0123\n"),
    (b"0123\r", "0123\r"),
    (b" a b \t\n", " a b \t"),
    (b"\n\n", "\n"),
    ("pässwörd\n".encode(), "pässwörd"),
    (b"$HOME `id` %s {x}\n", "$HOME `id` %s {x}"),
]


@pytest.mark.parametrize(("content", "value"), AS_THEY_STAND)
def test_a_file_loses_one_final_newline_and_nothing_else(
    content: bytes, value: str, tmp_path: Path
) -> None:
    assert fetch(file_with(tmp_path, content)).reveal() == value


@pytest.mark.parametrize(("content", "value"), AS_THEY_STAND)
def test_a_command_loses_one_final_newline_and_nothing_else(content: bytes, value: str) -> None:
    code = f"import sys; sys.stdout.buffer.write({content!r})"
    assert fetch(python(code)).reveal() == value


@pytest.mark.parametrize("value", ["0123", " a ", "x\n", "pässwörd"])
def test_a_variable_is_taken_as_it_is(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_PASSWORD", value)
    assert fetch(EnvSecret("NAS_PASSWORD")).reveal() == value


def test_a_plain_secret_is_itself() -> None:
    assert fetch(PlainSecret(Secret(VALUE))).reveal() == VALUE


def test_a_keyring_is_said_to_be_missing() -> None:
    assert "keyring" in refused(KeyringSecret("nas"))


def test_a_variable_that_is_missing_empty_or_no_text_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NAS_PASSWORD", raising=False)
    assert "is not set" in refused(EnvSecret("NAS_PASSWORD"))
    monkeypatch.setenv("NAS_PASSWORD", "")
    assert "is empty" in refused(EnvSecret("NAS_PASSWORD"))
    monkeypatch.setitem(os.environ, "NAS_PASSWORD", f"{VALUE}\udcff")
    told = refused(EnvSecret("NAS_PASSWORD"))
    assert "is not UTF-8" in told
    assert VALUE not in told


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    told = refused(file_with(tmp_path, VALUE.encode(), mode))
    assert "chmod 600" in told
    assert VALUE not in told


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_alone_is_read(mode: int, tmp_path: Path) -> None:
    assert fetch(file_with(tmp_path, VALUE.encode(), mode)).reveal() == VALUE


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_secret_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "is empty" in refused(file_with(tmp_path, content))


def test_what_is_no_text_or_too_large_is_refused_without_showing_it(tmp_path: Path) -> None:
    for content, reason in (
        (VALUE.encode() + b"\xff", "not UTF-8"),
        (VALUE.encode() * 10_000, "larger than"),
    ):
        told = refused(file_with(tmp_path, content))
        assert reason in told
        assert VALUE not in told


def test_a_file_as_large_as_may_be_is_read(tmp_path: Path) -> None:
    assert len(fetch(file_with(tmp_path, b"x" * SIZE_LIMIT)).reveal()) == SIZE_LIMIT


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    sparse.touch(mode=0o600)
    os.truncate(sparse, 1 << 30)
    tracemalloc.start()
    try:
        assert "larger than" in refused(FileSecret(sparse))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_not_there_or_none_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(FileSecret(tmp_path / "missing"))
    assert "cannot be read" in refused(FileSecret(tmp_path))
    assert "cannot be read" in refused(FileSecret(Path("a\0b")))


def test_a_command_sees_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_PASSWORD", VALUE)
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    given = fetch(python("import os; print(sorted(os.environ.items()))")).reveal()
    assert VALUE not in given
    assert "NAS_PASSWORD" not in given
    assert "LD_PRELOAD" not in given
    assert "('HOME', '/home/somebody')" in given
    assert "NAS_PASSWORD" not in clean_environment()


def test_a_command_has_no_input_and_no_terminal() -> None:
    assert fetch(python("import sys; print(repr(sys.stdin.read()))")).reveal() == "''"
    script = "if (: < /dev/tty) 2> /dev/null; then echo tty; else echo none; fi"
    assert fetch(CommandSecret(("sh", "-c", script))).reveal() == "none"


def test_a_command_gets_its_arguments_without_a_shell() -> None:
    reference = python("import sys; print(sys.argv[1:])", "a b", "$(id)", "; x")
    assert fetch(reference).reveal() == "['a b', '$(id)', '; x']"


def test_what_a_failing_command_printed_is_not_told() -> None:
    code = f"import sys; print('{VALUE}'); sys.stderr.write('{VALUE}'); sys.exit(3)"
    with pytest.raises(SecretError, match="exit code 3") as caught:
        fetch(python(code))
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_command_that_cannot_be_started_is_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path / "missing"), str(tmp_path), "a\0b"):
        assert "cannot be started" in refused(CommandSecret((path,)))


def test_a_command_that_asks_for_ever_is_ended_with_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(secrets, "COMMAND_SECONDS", 0.5)
    mark = tmp_path / "mark"
    script = f"echo {VALUE}; (sleep 1.5; touch '{mark}') & wait"
    started = time.monotonic()
    told = refused(CommandSecret(("sh", "-c", script)))
    assert time.monotonic() - started < 1.4
    assert "did not give the secret within 0.5 s" in told
    assert VALUE not in told.replace(script, "")
    time.sleep(max(0.0, started + 2.2 - time.monotonic()))
    assert not mark.exists()


def test_a_command_that_floods_is_ended_at_once() -> None:
    started = time.monotonic()
    tracemalloc.start()
    try:
        told = refused(CommandSecret(("yes", VALUE)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 5
    assert "larger than" in told
    assert VALUE not in told


def test_a_command_whose_output_is_no_text_is_refused_without_showing_it() -> None:
    code = f"import sys; sys.stdout.buffer.write(b'{VALUE}\\xff')"
    with pytest.raises(SecretError, match="not UTF-8") as caught:
        fetch(python(code))
    assert caught.value.__cause__ is None
    assert VALUE not in str(caught.value)


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    fetch(file_with(tmp_path, VALUE.encode()))
    fetch(python(f"print('{VALUE}')"))
    assert VALUE not in caplog.text
