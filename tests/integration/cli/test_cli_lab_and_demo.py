"""`distribute demo` and `distribute lab up` as an ordinary user runs them, Ctrl-C included."""

import os
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.house import verified_leaf

SECONDS = 60
NOBODY = 65534
"""The user and group without rights on every Debian."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """An empty folder for temporary files, which also marks every process that knows of it."""
    with tempfile.TemporaryDirectory(prefix="demo-test-") as folder:
        yield Path(folder)


@contextmanager
def started(
    temporary: Path, *arguments: str, path: str | None = None, **more: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in a process group of its own, as a shell does."""
    child = subprocess.Popen(
        [sys.executable, "-m", "distributor", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={
            "PATH": path or os.environ["PATH"],
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
        process_group=0,
        **more,
    )
    try:
        with child:
            yield child
    finally:
        child.kill()


def read_until(child: "subprocess.Popen[str]", words: str) -> str:
    assert child.stdout is not None
    said = ""
    while words not in said:
        line = child.stdout.readline()
        assert line, f"it ended before {words!r}:\n{said}"
        said += line
    return said


def seconds_of_children() -> float:
    """Seconds of work that ended children have used: unlike a clock's, no matter who else works."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def require_nothing_left(temporary: Path) -> None:
    """Require that no process knows of the folder any more, and that the folder is empty."""
    deadline = time.monotonic() + 5
    while (left := processes_that_know(str(temporary))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert list(temporary.iterdir()) == []


def processes_that_know(text: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                argv = (folder / "cmdline").read_text(errors="replace")
                if text in argv + (folder / "environ").read_text(errors="replace"):
                    found.append(f"{folder.name}: {argv}")
            except OSError:
                continue  # it ended, or is none of our business
    return found


def ordinary_user(temporary: Path) -> dict[str, Any]:
    """Return options that drop the rights of root, where the interpreter is readable without."""
    package = Path(__file__).parents[3] / "distributor"
    python = Path(sys.executable)
    needed = [python, python.resolve(), Path(sys.prefix), Path(sys.base_prefix), package]
    folders: Sequence[Path] = [one for path in needed for one in (path, *path.parents)]
    open_to_all = all(path.stat().st_mode & stat.S_IXOTH for path in folders)
    if os.geteuid() != 0 or not open_to_all:
        return {}
    os.chown(temporary, NOBODY, NOBODY)
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def require_whole_story(said: str) -> None:
    for step in range(1, 7):
        assert re.search(rf"^{step}\. ", said, re.MULTILINE), f"step {step} is missing:\n{said}"
    for line in (
        "hosts: 7 planned;",
        "hosts: 7 changed;",
        "hosts: 7 unchanged;",
        "write calls that the boxes counted in this run: 0,",
        "hosts: 1 planned, 6 unchanged;",
        "hosts: 1 changed, 6 unchanged;",
        "That was all of it, in ",
    ):
        assert line in said, f"{line!r} is missing:\n{said}"
    assert said.count("  another leaf  ") == 1
    assert said.count("  as wanted  ") == 12 + 11 + 12
    assert "Traceback" not in said


def test_the_demo_tells_the_whole_story_in_time_and_leaves_nothing(temporary: Path) -> None:
    began = seconds_of_children()
    with started(temporary, "demo", **ordinary_user(temporary)) as child:
        said, _ = child.communicate(timeout=SECONDS)

    assert child.returncode == 0, said
    assert "CA (pebble) at " in said
    require_whole_story(said)
    assert seconds_of_children() - began < 20
    require_nothing_left(temporary)


def test_the_demo_needs_nothing_but_what_pip_installs(temporary: Path) -> None:
    path = str(Path(sys.executable).parent)
    assert shutil.which("pebble", path=path) is None
    began = seconds_of_children()
    with started(temporary, "demo", path=path) as child:
        said, _ = child.communicate(timeout=SECONDS)

    assert child.returncode == 0, said
    assert "CA (acme2certifier) at " in said
    require_whole_story(said)
    assert seconds_of_children() - began < 20
    require_nothing_left(temporary)


@pytest.mark.parametrize("moment", ["DiskStation cellar", "$ distribute --all\n"])
def test_ctrl_c_in_the_demo_ends_it_and_leaves_nothing(temporary: Path, moment: str) -> None:
    with started(temporary, "demo") as child:
        read_until(child, moment)
        if moment.startswith("$"):
            read_until(child, "ordering")
        os.killpg(child.pid, signal.SIGINT)
        said, _ = child.communicate(timeout=SECONDS)

    assert child.returncode == 130, said
    assert "stopped; everything that was started is gone" in said
    assert "Traceback" not in said
    require_nothing_left(temporary)


def test_a_demo_that_is_killed_leaves_no_server_behind(temporary: Path) -> None:
    with started(temporary, "demo") as child:
        read_until(child, "$ distribute trust")
        child.kill()

    deadline = time.monotonic() + 10
    while (left := processes_that_know(str(temporary))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_lab_up_keeps_a_range_to_rehearse_against_until_ctrl_c(temporary: Path) -> None:
    with started(temporary, "lab", "up", "--boxes", "2") as child:
        said = read_until(child, "Ctrl-C here")
        commands = [
            shlex.split(line)[1:] for line in said.splitlines() if line.startswith("  distribute ")
        ]
        assert [words[4:] for words in commands] == [
            ["trust", "attic", "cellar", "--yes"],
            ["--all", "--dry-run"],
            ["--all"],
            ["status"],
        ]
        for words in commands:
            done = subprocess.run(
                [sys.executable, "-m", "distributor", *words],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        found = re.findall(r"DiskStation (\w+) \(\w+\) at https://([\d.]+):(\d+)", said)
        root = Path(commands[0][1]).parent / "ca" / "root.pem"
        for name, address, port in found:
            assert verified_leaf(address, int(port), f"{name}.example.test", root) is not None
        os.killpg(child.pid, signal.SIGINT)
        rest, _ = child.communicate(timeout=SECONDS)

    assert child.returncode == 0, rest
    assert len(found) == 2
    assert rest.endswith("stopping the range\n")
    require_nothing_left(temporary)


def test_lab_up_writes_its_files_closed_to_others(temporary: Path) -> None:
    folder = temporary / "range"
    with started(temporary, "lab", "up", "--boxes", "1", "--folder", str(folder)) as child:
        read_until(child, "Ctrl-C here")
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (folder, *folder.iterdir())
            if path.name != "ca"
        }
        os.killpg(child.pid, signal.SIGINT)
        child.communicate(timeout=SECONDS)

    assert child.returncode == 0
    assert modes["range"] == 0o700
    assert {modes[name] for name in ("attic.password", "tsig.key", "inventory.toml")} == {0o600}


def test_lab_up_refuses_a_folder_that_is_not_empty(temporary: Path) -> None:
    (temporary / "mine").write_text("precious")

    with started(temporary, "lab", "up", "--folder", str(temporary)) as child:
        said, _ = child.communicate(timeout=SECONDS)

    assert child.returncode == 2
    assert f"the folder {temporary} is not empty" in said
    assert [path.name for path in temporary.iterdir()] == ["mine"]
