"""What is said over a channel: nothing is taken for something else, however it is cut."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributor.protocol.remote_command import (
    PATH,
    Dialogue,
    Sudo,
    SudoSays,
    command_line,
    why_sudo_ended,
)

TOKEN = "0123456789abcdef0123456789abcdef"
LIMIT = 1 << 16
WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
SHELLS = [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]


def heard(dialogue: Dialogue, out: bytes, err: bytes, sizes: list[int]) -> None:
    """Tell it both streams in pieces."""
    while out or err:
        size = sizes.pop() if sizes else LIMIT
        dialogue.heard(out[:size], err[:size])
        out, err = out[size:], err[size:]


@given(
    noise=st.binary(max_size=50),
    stdout=st.binary(max_size=200),
    stderr=st.binary(max_size=50),
    late=st.binary(max_size=20),
    status=st.integers(0, 255),
    sizes=st.lists(st.integers(1, 40)),
)
def test_what_a_command_wrote_comes_out_however_it_is_cut(
    noise: bytes, stdout: bytes, stderr: bytes, late: bytes, status: int, sizes: list[int]
) -> None:
    begin, end = f"{TOKEN}b".encode(), f"{TOKEN}e{status};".encode()
    dialogue = Dialogue(TOKEN, LIMIT)
    out, err = noise + begin + stdout + end + late, noise + begin + stderr + end + late
    heard(dialogue, out, err, sizes)
    assert dialogue.has_begun
    assert dialogue.has_ended
    assert (dialogue.status, dialogue.stdout, dialogue.stderr) == (status, stdout, stderr)
    assert dialogue.prompts == 0


@given(noise=st.binary(max_size=200), cut=st.integers(0, 60))
def test_a_command_that_was_cut_has_not_ended(noise: bytes, cut: int) -> None:
    whole = f"{TOKEN}bhalf{TOKEN}e0;".encode()
    dialogue = Dialogue(TOKEN, LIMIT)
    dialogue.heard(noise + whole[: min(cut, len(whole) - 1)], whole)
    assert not dialogue.has_ended
    assert dialogue.status is None


def test_the_end_has_to_show_on_both_streams() -> None:
    dialogue = Dialogue(TOKEN, LIMIT)
    dialogue.heard(f"{TOKEN}bout{TOKEN}e0;".encode(), f"{TOKEN}b".encode())
    assert dialogue.has_ended is False
    dialogue.heard(b"", f"late{TOKEN}e0;".encode())
    assert (dialogue.has_ended, dialogue.stderr) == (True, b"late")


@given(st.binary(max_size=300))
def test_noise_alone_is_nothing(noise: bytes) -> None:
    dialogue = Dialogue(TOKEN, LIMIT)
    dialogue.heard(noise, noise)
    assert [dialogue.has_begun, dialogue.has_ended, dialogue.has_shell] == [False] * 3
    assert dialogue.prompts == 0
    assert (dialogue.stdout, dialogue.stderr, dialogue.status) == (b"", b"", None)


def test_the_command_line_itself_in_the_noise_is_no_marker() -> None:
    # As a shell with `set -x` prints it.
    for sudo in Sudo:
        dialogue = Dialogue(TOKEN, LIMIT)
        dialogue.heard(b"", b"+ " + command_line(["id"], TOKEN, sudo).encode())
        assert [dialogue.has_begun, dialogue.has_shell] == [False, False]
        assert dialogue.prompts == 0


def test_more_than_the_limit_is_too_much() -> None:
    dialogue = Dialogue(TOKEN, 10)
    dialogue.heard(b"12345", b"12345")
    assert not dialogue.is_too_much
    dialogue.heard(b"", b"6")
    assert dialogue.is_too_much


@pytest.mark.parametrize("command", [[], [""], ["a", "b\0"]])
@pytest.mark.parametrize("sudo", Sudo)
def test_what_no_process_can_get_is_no_command(command: list[str], sudo: Sudo) -> None:
    with pytest.raises(ValueError, match="program and no NUL"):
        command_line(command, TOKEN, sudo)


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=25)
@given(words=st.lists(WORDS, max_size=4), content=st.binary(max_size=100))
def test_every_word_and_byte_arrives_through_a_login_shell(
    shell: str, words: list[str], content: bytes
) -> None:
    command = ["/bin/sh", "-c", 'cat; printf "<%s>" "$@"; exit 7', "sh", *words]
    done = subprocess.run(
        [shell, "-c", f"echo noise; {command_line(command, TOKEN, Sudo.NOT)}"],
        input=content,
        capture_output=True,
        timeout=30,
        check=False,
    )
    dialogue = Dialogue(TOKEN, LIMIT)
    dialogue.heard(done.stdout, done.stderr)
    shown = "".join(f"<{word}>" for word in words) or "<>"
    assert dialogue.stdout == content + shown.encode()
    assert dialogue.status == done.returncode == 7


@pytest.mark.parametrize("shell", [*SHELLS, "busybox"])
def test_a_host_without_sudo_is_understood(shell: str) -> None:
    program = shutil.which(shell)
    assert program, f"{shell} is missing: apt install {shell}"
    line = command_line(["id"], TOKEN, Sudo.WITHOUT).replace(PATH, "/nowhere")
    arguments = [program, "sh"] if shell == "busybox" else [program]
    words = shlex.split(line.removeprefix("exec /bin/sh"))
    done = subprocess.run(
        [*arguments, *words], capture_output=True, timeout=30, check=False, env={"PATH": "/nowhere"}
    )
    dialogue = Dialogue(TOKEN, LIMIT)
    dialogue.heard(done.stdout, done.stderr)
    assert dialogue.has_shell
    assert not dialogue.has_begun
    assert why_sudo_ended(dialogue.before, password_sent=False) is SudoSays.MISSING


def test_sudo_is_called_so_that_what_it_remembers_makes_no_difference() -> None:
    assert command_line(["id"], TOKEN, Sudo.BY_PASSWORD).count("sudo -k -S -p") == 1
    assert command_line(["id"], TOKEN, Sudo.TO_CHECK).count("sudo -k -S -p") == 1
    assert command_line(["id"], TOKEN, Sudo.UNASKED).count("sudo -k -n --") == 1
    assert command_line(["id"], TOKEN, Sudo.WITHOUT).count("sudo -n --") == 1
    assert "sudo" not in command_line(["id"], TOKEN, Sudo.NOT)


# How a sudo may go about the password line: it reads it, asking for it in whatever words, or not.
SUDOS = {
    "reads": 'printf %s "$4" >&2; IFS= read -r word; shift 5; exec "$@"',
    "asks otherwise": 'printf "Passwort: " >&2; IFS= read -r word; shift 5; exec "$@"',
    "asks twice": 'printf "$4$4" >&2; IFS= read -r word; shift 5; exec "$@"',
    "reads nothing": 'shift 5; exec "$@"',
    "prints": 'echo "a lecture"; IFS= read -r word; shift 5; exec "$@"',
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("sudo", SUDOS)
@pytest.mark.parametrize("content", [b"", b"\n", b"secret\n", b"a\0b\\n", bytes(range(256))])
def test_whatever_sudo_does_with_the_password_it_is_no_content(
    tmp_path: Path, shell: str, sudo: str, content: bytes
) -> None:
    line = command_line(["cat"], TOKEN, Sudo.BY_PASSWORD)
    dialogue = asked(tmp_path, shell, sudo, line, b"the word\n" + f"{TOKEN}g\n".encode() + content)
    assert (dialogue.status, dialogue.stdout, dialogue.stderr) == (0, content, b"")
    assert Dialogue(TOKEN, LIMIT).cleared == f"{TOKEN}g\n".encode()


@pytest.mark.parametrize("sudo", SUDOS)
@pytest.mark.parametrize("lost", [1, 2, 30, 40])
def test_a_command_does_not_run_whose_content_was_never_announced(
    tmp_path: Path, sudo: str, lost: int
) -> None:
    line = command_line(["echo", "it ran"], TOKEN, Sudo.BY_PASSWORD)
    said = b"the word\n" + f"{TOKEN}g\n".encode()
    dialogue = asked(tmp_path, "sh", sudo, line, said[:-lost])
    assert dialogue.stdout == b""
    assert not dialogue.has_ended


@pytest.mark.parametrize("sudo", SUDOS)
def test_a_password_that_is_right_lets_a_command_begin_by_itself(tmp_path: Path, sudo: str) -> None:
    line = command_line(["true"], TOKEN, Sudo.TO_CHECK)
    assert asked(tmp_path, "sh", sudo, line, b"the word\n").has_begun


def asked(folder: Path, shell: str, sudo: str, line: str, said: bytes) -> Dialogue:
    """What comes back from a host with such a sudo."""
    tool = folder / "sudo"
    tool.write_text(f"#!/bin/sh\n{SUDOS[sudo]}\n")
    tool.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", line.replace(PATH, f"{folder}:{PATH}", 1)],
        input=said,
        capture_output=True,
        timeout=30,
        check=False,
    )
    dialogue = Dialogue(TOKEN, LIMIT)
    dialogue.heard(done.stdout, done.stderr)
    return dialogue


@pytest.mark.parametrize(
    ("said", "sent", "why"),
    [
        ("sudo: a password is required", False, SudoSays.PASSWORD_WANTED),
        (
            "Sorry, try again.\nsudo: no password was provided\nsudo: a password is required",
            True,
            SudoSays.WRONG_PASSWORD,
        ),
        ("sudo: 1 incorrect password attempt", True, SudoSays.WRONG_PASSWORD),
        ("certs is not in the sudoers file.", True, SudoSays.NOT_PERMITTED),
        (
            "Sorry, user certs is not allowed to execute '/bin/sh -c x' as root on nas.",
            True,
            SudoSays.NOT_PERMITTED,
        ),
        ("Sorry, user certs may not run sudo on nas.", False, SudoSays.NOT_PERMITTED),
        ("sudo: sorry, you must have a tty to run sudo", False, SudoSays.TERMINAL_WANTED),
        ("sh: 1: exec: sudo: not found", False, SudoSays.MISSING),
        ("sudo: PAM account management error: Permission denied", True, SudoSays.OTHER),
        ("", False, SudoSays.OTHER),
    ],
)
def test_the_words_of_sudo_are_understood(said: str, sent: bool, why: SudoSays) -> None:
    assert why_sudo_ended(said, password_sent=sent) is why
