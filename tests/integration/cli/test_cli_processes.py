"""The command as a process: signals, the lock, a terminal, and what it imports."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from distributor.lab.knobs import Knobs
from distributor.lab.nameserver import Nameserver
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import CHILD_SECONDS, QUICK, House, Ran

SLOW_IMPORT = replace(QUICK, import_seconds=1.5)
MODULES = """
import sys
sys.argv = ["distribute", *sys.argv[1:]]
from distributor.cli.main import main
try:
    main()
except SystemExit as ended:
    code = ended.code
third = {name.partition(".")[0] for name, module in sys.modules.items()
         if "site-packages" in str(getattr(module, "__file__", ""))}
print("MODULES", *sorted(third), "CODE", code, file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def hangs_up() -> Iterator[None]:
    """Let a child hang up when it is told to, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def started(house: House, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        house.command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=house.child_environment(),
    )
    try:
        with child:
            yield child
    finally:
        child.kill()


def wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


def is_importing(house: House, name: str = "attic") -> Callable[[], bool]:
    box = house.boxes[name]
    return lambda: any(seen.api_method == "import" for seen in box.requests)


def three_with_a_slow_first(make_house: MakeHouse) -> House:
    return make_house("attic", "cellar", "garage", knobs={"attic": SLOW_IMPORT})


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_stop_ends_the_step_at_hand_and_skips_the_rest(
    make_house: MakeHouse, how: signal.Signals
) -> None:
    house = three_with_a_slow_first(make_house)
    with started(house, "--all", "--json") as child:
        wait_for(is_importing(house))
        child.send_signal(how)
        out, err = child.communicate(timeout=CHILD_SECONDS)

    assert child.returncode == 130
    assert "stopping: the step at hand comes to its end" in err
    assert Ran(130, out, err).statuses() == {
        "attic": "changed",
        "cellar": "skipped",
        "garage": "skipped",
    }
    assert "the run was interrupted" in out
    assert house.writes["cellar"] == house.writes["garage"] == 0
    assert all(box.sessions_open == 0 for box in house.boxes.values())
    house.boxes["attic"].knobs = QUICK
    again = house.run("--all", "--json")
    assert again.statuses() == {"attic": "unchanged", "cellar": "changed", "garage": "changed"}


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(make_house: MakeHouse, second: signal.Signals) -> None:
    house = make_house("attic", knobs={"attic": replace(QUICK, import_seconds=20.0)})
    with started(house, "--all") as child:
        wait_for(is_importing(house))
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        line = ""
        while "stopping" not in line:
            line = child.stderr.readline()
        since = time.monotonic()
        child.send_signal(second)
        _, err = child.communicate(timeout=CHILD_SECONDS)

    assert time.monotonic() - since < 5
    assert child.returncode == 130
    assert "stopped at once" in err


def test_a_terminal_that_closes_several_times_lets_the_step_at_hand_end(
    make_house: MakeHouse,
) -> None:
    house = make_house("attic", knobs={"attic": SLOW_IMPORT})
    with started(house, "--all", "--json") as child:
        wait_for(is_importing(house))
        for _ in range(3):
            child.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        out, err = child.communicate(timeout=CHILD_SECONDS)

    assert child.returncode == 130
    assert err.count("stopping") == 1
    assert Ran(130, out, err).statuses() == {"attic": "changed"}


def test_what_nohup_keeps_from_hanging_up_is_not_stopped(make_house: MakeHouse) -> None:
    house = make_house("attic", knobs={"attic": SLOW_IMPORT})
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started(house, "--all", "--json") as child:
            wait_for(is_importing(house))
            child.send_signal(signal.SIGHUP)
            out, err = child.communicate(timeout=CHILD_SECONDS)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert child.returncode == 0, err
    assert Ran(0, out, err).statuses() == {"attic": "changed"}


@pytest.mark.parametrize("options", [("-vv",), ()])
def test_a_terminal_that_is_closed_meanwhile_decides_nothing(
    make_house: MakeHouse, options: tuple[str, ...]
) -> None:
    names = ("attic", "cellar", "garage")
    house = make_house(*names, knobs={"attic": SLOW_IMPORT})
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        house.command("--all", "--json", *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**house.child_environment(), "TERM": "xterm"},
    ) as child:
        os.close(theirs)
        try:
            wait_for(is_importing(house))
        finally:
            os.close(ours)
        out, _ = child.communicate(timeout=CHILD_SECONDS)

    assert child.returncode == 0
    assert Ran(0, out, "").statuses() == dict.fromkeys(names, "changed")


def test_a_log_whose_reader_leaves_early_decides_nothing(make_house: MakeHouse) -> None:
    names = ("attic", "cellar", "garage")
    house = make_house(*names)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        house.command("--all", "--json", "-vv"),
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
        timeout=CHILD_SECONDS,
        env=house.child_environment(),
        check=False,
    )
    os.close(write)

    assert done.returncode == 0
    assert Ran(0, done.stdout, "").statuses() == dict.fromkeys(names, "changed")


def test_a_run_into_head_serves_every_host_all_the_same(make_house: MakeHouse) -> None:
    house = make_house("attic", "cellar", "garage")
    read, write = os.pipe()
    os.close(read)
    subprocess.run(
        house.command("--all", "-v"),
        stdout=write,
        stderr=write,
        timeout=CHILD_SECONDS,
        env=house.child_environment(),
        check=False,
    )
    os.close(write)

    stored = house.store.bundles.current("home")
    assert stored is not None
    assert house.all_serve(stored.bundle.certificate("home").leaf)
    assert house.run("--all", "--json").statuses() == dict.fromkeys(house.boxes, "unchanged")


def test_ctrl_c_while_a_challenge_is_waited_for_removes_it_and_ends_the_run(
    issuing: House, late: Nameserver
) -> None:
    with started(issuing, "--all") as child:
        assert child.stderr is not None
        line = ""
        while "waiting for" not in line:
            line = child.stderr.readline()
            assert line, "it ended before it waited"
        assert len(late.records("_acme-challenge.example.test", "TXT")) == 2
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=CHILD_SECONDS)

    assert child.returncode == 130
    assert "Interrupted" in out
    assert late.records("_acme-challenge.example.test", "TXT") == set()
    assert issuing.writes == {"attic": 0}


def test_a_second_run_is_told_that_one_is_at_work_and_tries_nothing(make_house: MakeHouse) -> None:
    house = make_house("attic", knobs={"attic": replace(QUICK, import_seconds=20.0)})
    with started(house, "--all") as child:
        wait_for(is_importing(house))
        requests = len(house.boxes["attic"].requests)

        ran = house.child("--all", "--json")
        issue = house.run("issue")
        trust = house.run("trust", "attic", "--yes")

        assert (ran.code, issue.code, trust.code) == (6, 6, 6)
        assert ran.report["error"]["kind"] == "LockedError"
        assert f"another run is at work in {house.state}" in ran.err
        assert len(house.boxes["attic"].requests) == requests
        dry = house.run("--all", "--dry-run")
        assert dry.code == 0, "a dry run takes no lock"
        assert child.poll() is None


def test_a_run_that_was_killed_leaves_no_lock_and_the_next_one_makes_it_whole(
    make_house: MakeHouse,
) -> None:
    house = make_house("attic", knobs={"attic": SLOW_IMPORT})
    with started(house, "--all") as child:
        wait_for(is_importing(house))
        child.kill()
    house.boxes["attic"].knobs = QUICK
    wait_for(lambda: house.boxes["attic"].writes > 0)
    house.boxes["attic"].wait_until_serving()

    ran = house.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert ran.statuses() == {"attic": "changed"}
    descriptions = [one["desc"] for one in house.boxes["attic"].snapshot()["entries"].values()]
    assert sorted(descriptions) == ["", "home"]


def on_a_terminal(house: House, *arguments: str, columns: int = 100) -> tuple[int, str]:
    """Run a command whose three standard streams are a terminal; return code and what it shows."""
    ours, theirs = pty.openpty()
    environment = {**house.child_environment(), "TERM": "xterm", "COLUMNS": str(columns)}
    child = subprocess.Popen(
        house.command(*arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        close_fds=True,
    )
    os.close(theirs)
    shown = b""
    with child:
        deadline = time.monotonic() + CHILD_SECONDS
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not piece:
                break
            shown += piece
        child.kill()
    os.close(ours)
    return child.returncode, shown.decode()


def test_a_terminal_gets_a_live_row_per_host_and_is_left_clean(make_house: MakeHouse) -> None:
    names = ("attic", "cellar", "garage")
    slow: dict[str, Knobs] = dict.fromkeys(names, replace(QUICK, import_seconds=0.3))
    house = make_house(*names, knobs=slow)

    code, shown = on_a_terminal(house, "--all")

    assert code == 0, shown
    assert "\x1b[?25l" in shown, "the cursor is hidden while the table lives"
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l"), "the cursor is there again"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for name in names:
        assert re.search(rf"[\r\n]{name} +changing", plain)
        assert re.search(rf"[\r\n]changed +{name} ", plain)
    # What is below the last erased line is all that stays on the screen: the report.
    stays = shown[shown.rfind("\x1b[2K") + 4 :]
    assert "changing" not in stays
    assert "hosts: 3 changed" in stays


def test_no_color_leaves_colour_out_of_the_report_on_a_terminal(house: House) -> None:
    colour = r"\x1b\[[0-9;]*[1-9][0-9;]*m"
    _, coloured = on_a_terminal(house, "--all", "--dry-run")
    assert re.search(r"\x1b\[(\d+;)*3[0-7]m", coloured)

    _, plain = on_a_terminal(house, "--all", "--dry-run", "--no-color")
    house.environment["NO_COLOR"] = "1"
    _, also_plain = on_a_terminal(house, "--all", "--dry-run")

    for shown in (plain, also_plain):
        assert not re.search(r"\x1b\[(\d+;)*[34][0-7]m", shown), re.findall(colour, shown)
        assert "planned" in shown


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_and_version_import_nothing_third_party_but_click(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *arguments],
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )

    found = re.search(r"MODULES (.*) CODE (.*)", done.stderr)
    assert found, done.stderr
    assert found[2] in {"0", "None"}
    assert {name for name in found[1].split() if not name.startswith("_")} == {"click"}


def test_a_reader_that_leaves_early_ends_the_command_quietly(house: House) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        house.command("--all", "--dry-run", "--json"),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=CHILD_SECONDS,
        env=house.child_environment(),
        check=False,
    )
    os.close(write)

    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode in {0, 1}
