"""What follows system calls finds every way in which a key could have been read by others."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.system_calls import CALLS, Watch, read_calls
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_client import connect, say
from tests.e2e.ssh_box_tree import Release

KEY = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgq8BC"
FOLDER = "/root/work"
LEAKS = {
    "mode 0644: /root/work/usual": "cat >usual",
    "mode 0644: /root/work/late": "(umask 077; cat >late); chmod 644 late; chmod 600 late",
    "mode 0640: /root/work/open": "(umask 077; exec 3>open; cat >&3; chmod 640 /proc/self/fd/3)",
    "mode 0644: /root/work/copy": "(umask 077; cat >one); cat one >copy; chmod 600 copy",
    "mode 0604: /root/work/kept": "(umask 077; cat >two; chmod 604 two; cp -p two kept)",
    "mode 0644: /root/work/moved": "(umask 077; cat >three); : >moved; chmod 600 moved; "
    "mv three moved; chmod 644 moved",
    "written into what was there before: /root/there": "umask 077; cat >/root/there",
    "argument or environment of /bin/cat": 'key=$(cat); /bin/cat "$key" 2>/dev/null',
    "argument or environment of /usr/bin/true": "KEY=$(cat) /usr/bin/true",
}
"""What is found, and what does it; the key comes by stdin."""
CLOSED = (
    "umask 077; cat >a; chmod 400 a; cp -p a b; mv b c; ln c d; mkdir e; mv e f; cat a >f/g;"
    " mv f h; exec 3>i; cat a >&3; chmod 600 /proc/self/fd/3; printf %s public >j; chmod 644 j"
)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Release, SshBox]]:
    with (
        SshBox(tmp_path_factory.mktemp("dsm"), "dsm62") as one,
        SshBox(tmp_path_factory.mktemp("srm"), "srm13") as other,
    ):
        yield {"dsm62": one, "srm13": other}


def watch(box: SshBox, *scripts: str) -> Watch:
    """Run scripts as root, the key on stdin of each, and follow what they do."""
    box.run("/bin/sh", "-c", "rm -rf /root/work; mkdir /root/work; : >/root/there")
    there = box.files("/root")
    by = "password" if box.release == "srm13" else "key"
    with box.traced(*CALLS, quickly=True) as log, closing(connect(box, box.root, by=by)) as client:
        for script in scripts:
            say(client, f"cd {FOLDER}; {script}", f"{KEY}\n")
    return Watch(read_calls(log), {KEY}, root=str(box.folder / "root"), there=there)


@pytest.mark.parametrize("release", ["dsm62", "srm13"])
def test_every_leak_is_found(boxes: dict[Release, SshBox], release: Release) -> None:
    found = watch(boxes[release], *LEAKS.values())
    assert set(found.exposed) >= set(LEAKS)


@pytest.mark.parametrize("release", ["dsm62", "srm13"])
def test_what_is_closed_is_not_called_open(boxes: dict[Release, SshBox], release: Release) -> None:
    found = watch(boxes[release], CLOSED)
    assert found.exposed == []
    assert {f"{FOLDER}/a", f"{FOLDER}/f/g", f"{FOLDER}/i"} <= found.secret_files
    assert f"{FOLDER}/a" in found.holders_of(KEY)


def test_calls_that_are_not_known_are_no_silence(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        '7  memfd_create("x", 0) = 3</memfd:x>\n7  openat(AT_FDCWD</>, "a", O_CREAT) = 4'
    )
    with pytest.raises(ValueError, match="no mode"):
        Watch(read_calls(log), {KEY})
    log.write_text('7  memfd_create("x", 0) = 3</memfd:x>\n')
    assert Watch(read_calls(log), {KEY}).exposed == ['not understood: memfd_create("x", 0)']


def test_a_child_has_its_parent_s_mask_also_when_it_is_seen_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "7  umask(077) = 022\n"
        "7  clone(child_stack=NULL <unfinished ...>\n"
        '8  openat(AT_FDCWD</>, "a", O_WRONLY|O_CREAT, 0666) = 1</a>\n'
        f'8  write(1</a>, "{KEY}", 52) = 52\n'
        "7  <... clone resumed>) = 8\n"
    )
    found = Watch(read_calls(log), {KEY})
    assert found.exposed == []
    assert found.secret_files == {"/a"}
