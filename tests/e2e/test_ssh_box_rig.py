"""A virtual box tells what was done to it, fails when asked to, and leaves nothing behind."""

import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.ssh_box_client import (
    BoxOf,
    MakeBox,
    as_root,
    connect,
    happens,
    say,
)
from tests.e2e.ssh_box_ports import answers
from tests.e2e.ssh_box_tree import (
    ARCHIVE,
    DECOY_ID,
    Item,
    Release,
)

_SSL = "/usr/syno/etc/ssl"


@pytest.mark.parametrize("release", ["dsm62", "dsm72", "dsm73", "srm13"])
def test_files_tells_every_change_and_looking_is_none(
    make_ssh_box: MakeBox, release: Release
) -> None:
    box = make_ssh_box(release)
    before = box.files()
    assert box.files() == before
    place = next(path for path in before if path.endswith(("privkey.pem", "server.key")))
    box.run("/usr/bin/chmod", "444", place)
    changed = {path for path, facts in box.files().items() if before[path] != facts}
    assert changed == {place}
    box.place(Item(path=f"{place}.new", content=b"x", mode=0o600))
    assert set(box.files()) - set(before) == {f"{place}.new"}


def test_a_full_disk_a_read_only_file_and_their_cure(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    place = f"{ARCHIVE}/{DECOY_ID}/cert.pem"
    box.fill(leave=8192)
    full = as_root(box, f"head -c 20000 /dev/zero >{ARCHIVE}/large")
    assert "No space left on device" in full.err
    box.empty()
    assert as_root(box, f"head -c 20000 /dev/zero >{ARCHIVE}/large").status == 0
    box.read_only(place)
    assert "Read-only file system" in as_root(box, f"echo x >{place}").err
    box.writable(place)
    assert as_root(box, f"echo x >{place}").status == 0


def test_a_tool_goes_wrong_at_the_call_that_was_chosen(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    script = "cd /root; for n in 1 2 3; do echo $n >a$n; mv a$n b$n || exit 7; done; echo done"
    box.trap("mv", 2, "fail")
    failed = as_root(box, script)
    assert (failed.status, failed.out) == (7, "")
    assert box.trapped("mv") == 2
    as_root(box, "rm /root/a* /root/b*")

    box.trap("mv", 2, "die")
    assert as_root(box, script).status == -1  # the connection ended without a status
    assert {path for path in box.files("/root") if "/root/a" in path} == {"/root/a2"}

    box.trap("mv", 2, "cut")
    assert as_root(box, script).status == -1
    box.rest()
    assert box.trapped("mv") == 3  # a script that has begun goes on without its connection

    box.trap("mv", 0, "fail")
    assert as_root(box, script).out == "done\n"
    assert box.trapped("mv") == 3


def test_a_cut_connection_ends_the_session_and_not_the_server(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with closing(connect(box, box.admin)) as client:
        transport = client.get_transport()
        assert transport is not None
        assert box.cut() > 0
        assert happens(lambda: not transport.is_active())
    connect(box, box.admin).close()


def test_a_trace_shows_every_argument_list(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with box.traced("execve") as log, closing(connect(box, box.silent)) as client:
        say(client, "sudo -n /usr/bin/printf %s shown-in-the-trace")
    assert "shown-in-the-trace" in log.read_text(encoding="utf-8", errors="replace")


def test_calls_tell_who_ran_what(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    as_root(box, "/usr/syno/bin/synow3tool --gen-all")
    assert [(call.uid, call.argv) for call in box.calls()] == [
        (0, ("/usr/syno/bin/synow3tool", "--gen-all"))
    ]
    box.forget_calls()
    assert box.calls() == []


def test_nothing_of_a_box_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from tests.e2e.ssh_box import SshBox
        with SshBox(Path(sys.argv[1]), "dsm72") as box:
            print(*box.ports.values(), flush=True)
            time.sleep(600)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "box")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ports = [int(port) for port in process.stdout.readline().split()]
        assert all(answers(port) for port in ports)
        process.kill()
    assert happens(lambda: not any(answers(port) for port in ports))
    assert list((tmp_path / "box" / "root").iterdir()) == []
