"""Commands and files by a real OpenSSH server and sudo, and what goes wrong on the way."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from distributor.clients.shell import OUTPUT_LIMIT, STAGED
from distributor.clients.ssh import SshSession
from distributor.model.errors import (
    AuthRefused,
    DeviceRefused,
    HostError,
    ProtocolError,
    Unreachable,
)
from distributor.store import Store
from tests.e2e.ssh_sessions import PASSWORD, Relay, host, in_time, pin, session
from tests.e2e.sshd import Sshd, User, make_key

CONTENT = b"-----BEGIN PRIVATE KEY-----\n" + bytes(range(256)) * 40 + b"\n"
NOISE = """\
echo "Message of the day: sudo makes me a sandwich"
echo "Could not chdir to home directory" >&2
export PATH=/nowhere
set -x
"""


class Rig:
    def __init__(self, folder: Path, trace: Sequence[str] = ()) -> None:
        line = make_key(folder / "key")
        self.key = (folder / "key").read_text(encoding="utf-8")
        self.sshd = Sshd(
            folder / "rig",
            [
                User("certs", PASSWORD, [line]),
                User("noisy", PASSWORD, [line], bashrc=NOISE),
                User("small", PASSWORD, [line], shell="/run/ash"),  # noqa: S604 - of passwd(5)
                User("relayed", PASSWORD, [line]),
                User("free", PASSWORD, [line], sudo="nopasswd"),
                User("nobody-much", PASSWORD, [line], sudo="none"),
                User("typist", PASSWORD, [line]),
                User("patient", PASSWORD, [line]),
                User("bound", PASSWORD, [f'command="echo this and nothing else" {line}']),
                User("closed", PASSWORD, [line], shell="/usr/sbin/nologin"),  # noqa: S604 - a name of passwd(5)
                User("root", authorized_keys=[line]),
            ],
            # As on DSM from 7.1 (dsm-ssh facts 3.4), and no SFTP: there is no Subsystem.
            noexec_tmp=True,
            sudoers=[
                "Defaults:typist requiretty",
                "Defaults:patient timestamp_type=global",
                "Defaults:certs lecture=always",
                "Defaults:relayed use_pty",  # the default of newer versions
            ],
            prepare="ln -s /usr/bin/busybox /run/ash",
            trace=trace,
        )


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("transport"))
    with made.sshd:
        yield made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The same, of which every process is watched; all of it takes longer there."""
    calls = ["execve", "openat", "umask", "fchmodat", "fchownat", "rename", "renameat2"]
    made = Rig(tmp_path_factory.mktemp("traced"), calls)
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
def folder(rig: Rig) -> str:
    """A new folder of root's alone, inside."""
    return rig.sshd.as_root("mktemp -d /run/test-XXXXXX").strip()


WAYS: Sequence[tuple[str, dict[str, str]]] = [
    ("certs", {"password": PASSWORD}),
    ("noisy", {"sudo_password": PASSWORD}),
    ("small", {"password": PASSWORD}),
    ("relayed", {"password": PASSWORD}),
    ("free", {}),
    ("free", {"password": PASSWORD, "sudo_password": PASSWORD}),
    ("root", {}),
]


def opened(store: Store, rig: Rig, user: str, **access: Any) -> AbstractContextManager[SshSession]:
    given = access if "password" in access else {"identity": rig.key} | access
    return session(store, host(rig.sshd, user, **given))


@pytest.mark.parametrize(("user", "access"), WAYS)
def test_root_gets_its_content_and_nothing_else(
    store: Store, rig: Rig, folder: str, user: str, access: dict[str, str]
) -> None:
    with opened(store, rig, user, **access) as shell:
        assert shell.run(["id", "-u"], as_root=True).stdout == b"0\n"
        shown = shell.run(["id", "-un"], as_root=False)
        assert (shown.status, shown.stdout, shown.stderr) == (0, f"{user}\n".encode(), b"")
        echoed = shell.run(["sh", "-c", "cat; echo err >&2; exit 9"], as_root=True, stdin=CONTENT)
        assert (echoed.status, echoed.stdout, echoed.stderr) == (9, CONTENT, b"err\n")
        path = f"{folder}/it's {user}.pem"
        staged = shell.stage(path, CONTENT, as_root=True)
        assert shell.read(path, as_root=True) is None
        assert shell.run(["mv", staged, path], as_root=True).status == 0
        assert shell.read(path, as_root=True) == CONTENT
        facts = shell.look([path], as_root=True)[path]
        assert facts is not None
        assert (facts.mode, facts.owner, facts.size) == ("0600", "root:root", len(CONTENT))
        assert shell.names(folder, as_root=True) == (f"it's {user}.pem",)


@pytest.mark.parametrize("program", ["/usr/bin/busybox", "/bin/bash"])
def test_it_is_all_the_same_to_a_host_with_another_sh(
    tmp_path: Path, rig: Rig, store: Store, program: str
) -> None:
    # A router's is BusyBox, a DiskStation's is bash; here it is dash otherwise.
    sh = Path("/bin/sh").resolve()
    users = [User("certs", PASSWORD)]
    with Sshd(tmp_path / "rig", users, prepare=f"mount --bind {program} {sh}") as sshd:
        pin(store, sshd)
        with session(store, host(sshd, "certs", password=PASSWORD)) as shell:
            assert shell.run(["sh", "-c", "cat; exit 9"], as_root=True, stdin=CONTENT).status == 9
            staged = shell.stage("/run/a.pem", CONTENT, as_root=True)
            assert shell.run(["mv", staged, "/run/a.pem"], as_root=True).status == 0
            assert shell.read("/run/a.pem", as_root=True) == CONTENT
            facts = shell.look(["/run/a.pem", "/run/none"], as_root=True)
            assert facts["/run/none"] is None
            kept = facts["/run/a.pem"]
            assert kept is not None
            assert (kept.mode, kept.owner) == ("0600", "root:root")
            assert "a.pem" in (shell.names("/run", as_root=True) or ())
        names = {"/usr/bin/busybox": "BusyBox", "/bin/bash": "GNU bash"}
        assert names[program] in sshd.as_root("/bin/sh --help 2>&1 || true")


def test_what_may_not_be_read_is_not_absent(store: Store, rig: Rig, folder: str) -> None:
    rig.sshd.as_root(f"echo x >{folder}/secret; chmod 600 {folder}/secret")
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        reads: Sequence[Callable[[str], object]] = [
            lambda path: shell.read(path, as_root=False),
            lambda path: shell.look([path], as_root=False),
            lambda path: shell.names(path, as_root=False),
        ]
        for path in (f"{folder}/secret", f"{folder}/none", f"{folder}/none/deeper"):
            for read in reads:
                with pytest.raises(DeviceRefused, match=r"not permitted|no folder"):
                    read(path)
        assert shell.read(f"{folder}/none", as_root=True) is None
        assert shell.read(f"{folder}/secret", as_root=True) == b"x\n"
        with pytest.raises(DeviceRefused, match="denied"):
            shell.stage(f"{folder}/secret", b"", as_root=False)


def test_a_folder_that_is_full_leaves_the_old_file_and_nothing_else(
    store: Store, rig: Rig, folder: str
) -> None:
    rig.sshd.as_root(f"mount -t tmpfs -o size=16k tmpfs {folder}; echo old >{folder}/a.pem")
    with opened(store, rig, "root") as shell:
        with pytest.raises(DeviceRefused, match="No space left"):
            shell.stage(f"{folder}/a.pem", b"x" * 20_000, as_root=True)
        assert shell.names(folder, as_root=True) == ("a.pem",)
        assert shell.read(f"{folder}/a.pem", as_root=True) == b"old\n"


# -- sudo ------------------------------------------------------------------------------------------


def by_sudo(store: Store, rig: Rig, user: str, **access: Any) -> HostError:
    with pytest.raises(HostError) as caught, opened(store, rig, user, **access) as shell:
        shell.run(["cat"], as_root=True, stdin=CONTENT)
    assert PASSWORD not in f"{caught.value!s}{caught.value!r}"
    return caught.value


def test_a_wrong_password_for_sudo_is_given_once_and_not_again_that_day(
    store: Store, rig: Rig
) -> None:
    error = by_sudo(store, rig, "certs", sudo_password="wrong")
    assert isinstance(error, AuthRefused)
    assert "sudo refuses the password of 'certs'" in error.message
    assert "sudo_password" in (error.hint or "")
    assert error.step == "sudo"
    again = by_sudo(Store(store.folder), rig, "certs", sudo_password="wrong")
    assert "not tried: it was refused at" in again.message
    # The login's own password is another matter, also when the words are the same.
    with opened(store, rig, "certs", password=PASSWORD) as shell:
        assert shell.run(["id", "-u"], as_root=True).stdout == b"0\n"


@pytest.mark.parametrize(
    ("user", "access", "words"),
    [
        ("certs", {}, "sudo wants a password, and there is none to give"),
        ("nobody-much", {"sudo_password": PASSWORD}, "may not become root by sudo"),
        ("typist", {"sudo_password": PASSWORD}, "sudo wants a terminal"),
    ],
)
def test_why_sudo_runs_nothing_is_told_and_no_password_is_blamed(
    store: Store, rig: Rig, user: str, access: dict[str, str], words: str
) -> None:
    for _ in range(2):
        error = by_sudo(store, rig, user, **access)
        assert isinstance(error, AuthRefused)
        assert words in error.message
        assert error.hint
    assert not (store.folder / "refusals.toml").exists()


def test_what_sudo_remembers_makes_no_difference(store: Store, rig: Rig) -> None:
    # With a ticket sudo would read no password, until the ticket is too old.
    with opened(store, rig, "patient", sudo_password=PASSWORD) as shell:
        for _ in range(3):
            assert shell.run(["cat"], as_root=True, stdin=CONTENT).stdout == CONTENT
    error = by_sudo(store, rig, "patient", sudo_password="not the one that is remembered")
    assert "sudo refuses the password of 'patient'" in error.message


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A host whose PAM asks for passwords in words of its own, and whose sudo leaves it to."""
    stack = [
        "auth optional pam_ftp.so",  # asks otherwise than sudo is told, and lets nobody in
        "auth required pam_unix.so use_first_pass nodelay",
        "account required pam_unix.so",
        "session required pam_permit.so",
    ]
    lines = " ".join(f"'{line}'" for line in stack)
    made = Sshd(
        tmp_path_factory.mktemp("foreign"),
        [User("certs", PASSWORD)],
        sudoers=["Defaults !passprompt_override", 'Defaults badpass_message="Falsches Kennwort"'],
        prepare=f"printf '%s\\n' {lines} >/run/box/etc/pam.d/sudo",
    )
    with made:
        yield made


def test_a_prompt_in_other_words_is_all_the_same(store: Store, foreign: Sshd) -> None:
    pin(store, foreign)
    with session(store, host(foreign, "certs", password=PASSWORD)) as shell:
        by_hand = ["sudo", "-k", "-S", "-p", "OURS", "true"]
        said = shell.run(by_hand, as_root=False, stdin=f"{PASSWORD}\n".encode())
        assert (said.status, b"OURS" in said.stderr) == (0, False)
        assert b"Password required for certs" in said.stderr
        for content in (b"", CONTENT):
            began = time.monotonic()
            result = shell.run(["cat"], as_root=True, stdin=content)
            assert (result.status, result.stdout, result.stderr) == (0, content, b"")
            assert time.monotonic() - began < 20


def test_a_wrong_password_is_found_out_in_whatever_words_and_given_once(
    store: Store, foreign: Sshd
) -> None:
    pin(store, foreign)
    wrong = host(foreign, "certs", password=PASSWORD, sudo_password="wrong")
    for words in ("sudo refuses the password of 'certs'", "not tried: it was refused at"):
        with (
            session(store, wrong) as shell,
            pytest.raises(AuthRefused, match=words),
        ):
            shell.run(["cat"], as_root=True, stdin=CONTENT)


def test_an_account_without_a_shell_of_its_own_gets_no_content(store: Store, rig: Rig) -> None:
    for user, words in (("bound", "this and nothing else"), ("closed", "not available")):
        with pytest.raises(ProtocolError, match=words) as caught, opened(store, rig, user):
            pass
        assert "runs no commands" in caught.value.message


# -- what goes wrong on the way --------------------------------------------------------------------


@pytest.mark.parametrize(("user", "access"), [("root", {}), ("certs", {"sudo_password": PASSWORD})])
def test_a_connection_that_is_cut_in_the_middle_of_a_file_leaves_the_old_one(
    store: Store, rig: Rig, folder: str, user: str, access: dict[str, str]
) -> None:
    rig.sshd.as_root(f"echo old >{folder}/a.pem; chmod 640 {folder}/a.pem")
    content = b"x" * 300_000
    with Relay(rig.sshd.port, cut_after=100_000) as relay:
        to = host(rig.sshd, user, port=relay.port, identity=rig.key, **access)
        with (
            pytest.raises(Unreachable, match="the connection was lost") as caught,
            session(store, to) as shell,
        ):
            shell.stage(f"{folder}/a.pem", content, as_root=True)
        assert relay.has_cut
    assert caught.value.step == "write"
    # The host notices it in its own time, and clears up.
    in_time(lambda: rig.sshd.as_root(f"ls -A {folder}") == "a.pem\n")
    assert rig.sshd.as_root(f"cat {folder}/a.pem; stat -c %a {folder}/a.pem") == "old\n640\n"


def test_a_cut_connection_is_no_exit_status(store: Store, rig: Rig, folder: str) -> None:
    with Relay(rig.sshd.port, cut_after=100_000) as relay:
        to = host(rig.sshd, "root", port=relay.port, identity=rig.key)
        with session(store, to) as shell:
            result = shell.run(["cat"], as_root=True, stdin=b"x" * 300_000)
            assert result.status is None
            with pytest.raises(Unreachable):
                shell.run(["true"], as_root=True)


def test_a_command_that_takes_too_long_ends_with_the_connection(store: Store, rig: Rig) -> None:
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        started = time.monotonic()
        result = shell.run(["sh", "-c", "echo begun; sleep 60"], as_root=True, seconds=2)
        assert time.monotonic() - started < 20
        assert (result.status, result.stdout) == (None, b"begun\n")
        with pytest.raises(Unreachable):
            shell.run(["true"], as_root=False)
    # Another session begins anew.
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        assert shell.run(["true"], as_root=True).status == 0


def test_what_a_command_leaves_running_is_not_waited_for(store: Store, rig: Rig) -> None:
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        started = time.monotonic()
        result = shell.run(["sh", "-c", "sleep 40 & echo done"], as_root=True)
        assert time.monotonic() - started < 30
        assert (result.status, result.stdout) == (0, b"done\n")


def test_a_command_that_is_killed_or_missing_has_a_status(store: Store, rig: Rig) -> None:
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        assert shell.run(["sh", "-c", "kill -9 $$"], as_root=True).status == 128 + 9
        missing = shell.run(["/usr/syno/bin/none"], as_root=True)
        assert missing.status == 127
        assert "not found" in missing.words


def test_a_command_that_writes_without_end_is_given_up(store: Store, rig: Rig) -> None:
    with opened(store, rig, "root") as shell:
        with pytest.raises(ProtocolError, match="wrote more than"):
            shell.run(["yes"], as_root=True)
        whole = shell.run(["head", "-c", str(OUTPUT_LIMIT - 200), "/dev/zero"], as_root=True)
        assert len(whole.stdout) == OUTPUT_LIMIT - 200


def test_a_command_need_not_read_what_it_is_given(store: Store, rig: Rig) -> None:
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        for _ in range(5):
            assert shell.run(["true"], as_root=True, stdin=b"x" * 200_000).status == 0


def test_a_server_is_reached_by_ipv6(store: Store, rig: Rig) -> None:
    with session(store, host(rig.sshd, "certs", address="::1", password=PASSWORD)) as shell:
        assert shell.run(["id", "-u"], as_root=True).stdout == b"0\n"
    assert "from ::1 port" in rig.sshd.log


# -- what others may see ---------------------------------------------------------------------------


def test_no_secret_and_no_content_is_in_an_argument_or_environment(
    store: Store, traced: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig = traced
    pin(store, rig.sshd)
    caplog.set_level(logging.DEBUG)
    content = b"-----BEGIN PRIVATE KEY-----\nTheContentOfTheKey\n"
    sudo = "another-word-for-sudo"
    with opened(store, rig, "certs", password=PASSWORD) as shell:
        staged = shell.stage("/run/k.pem", content, as_root=True)
        shell.run(["mv", staged, "/run/k.pem"], as_root=True)
    by_sudo(store, rig, "certs", sudo_password=sudo)
    trace = rig.sshd.traced
    started = re.findall(r'execve\("[^"]*/([^"]+)"', trace)
    assert {"sudo", "sh", "cat", "mv"} <= set(started)
    assert "/run/k.pem" in trace  # that arguments are seen at all
    assert "SSH_CONNECTION=" in trace  # and environments
    logged = caplog.text + rig.sshd.log
    assert "paramiko" in caplog.text
    for secret in (PASSWORD, sudo, "TheContentOfTheKey", "BEGIN PRIVATE KEY"):
        assert secret not in trace
        assert secret not in logged


def test_a_staged_file_is_closed_to_others_from_its_first_moment(store: Store, traced: Rig) -> None:
    rig = traced
    pin(store, rig.sshd)
    with opened(store, rig, "certs", sudo_password=PASSWORD) as shell:
        staged = shell.stage("/run/closed.pem", CONTENT, as_root=True)
        assert shell.read(staged, as_root=True) == CONTENT
    assert STAGED in staged
    calls = [line.split(maxsplit=1) for line in rig.sshd.traced.splitlines()]
    (shell_s, created), *more = [
        (pid, call) for pid, call in calls if "O_CREAT" in call and f'"{staged}"' in call
    ]
    assert more == []
    assert "O_EXCL, 0666)" in created
    own = [call for pid, call in calls if pid == shell_s]
    masks = [call for call in own[: own.index(created)] if call.startswith("umask(")]
    assert masks[-1].startswith("umask(077)")
    after = [call for _, call in calls[[call for _, call in calls].index(created) :]]
    closed = next(n for n, call in enumerate(after) if "fchmodat" in call and "0600" in call)
    written = next(n for n, call in enumerate(after) if re.match(r'execve\("[^"]*/cat"', call))
    assert closed < written


def test_a_session_that_is_not_open_runs_nothing(store: Store, rig: Rig) -> None:
    with opened(store, rig, "root") as shell:
        assert isinstance(shell, SshSession)
    with pytest.raises(ValueError, match="not signed in"):
        shell.run(["true"], as_root=False)
    shell.close()
