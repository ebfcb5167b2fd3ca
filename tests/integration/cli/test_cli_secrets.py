"""No secret is where somebody else could read it: the whole story, searched."""

import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import pytest

from distributor.lab.accounts import Accounts, Login
from distributor.lab.knobs import Knobs
from tests.integration.cli.conftest import World, issuing_house
from tests.integration.cli.house import CHILD_SECONDS, House

GIVE = """#!/bin/sh
sleep 0.3
cat "{file}"
"""


@dataclass
class Watched:
    """What other users of the computer could have seen of the children of a process."""

    seen: set[str] = field(default_factory=set)
    children: set[int] = field(default_factory=set)
    own: str = ""
    """argv of the process itself."""


@dataclass
class Given:
    """What boxes handed out."""

    sessions: set[str] = field(default_factory=set)


@contextmanager
def remembering() -> Iterator[Given]:
    """Note session ids and tokens of every login, as the boxes make them."""
    found = Given()
    real = Accounts.login

    def login(self: Accounts, parameters: Mapping[str, str], peer: str, knobs: Knobs) -> Login:
        done = real(self, parameters, peer, knobs)
        found.sessions |= {done.session.sid, done.session.token}
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Accounts, "login", login)
        yield found


@contextmanager
def watching(folder: Path) -> Iterator[tuple[list[str], Watched]]:
    """Give what to put before a command, and what others could see of all that it starts.

    The kernel tells of each program that is run, however short it lives; what the command itself
    was given stands apart. All of it is known once the context has ended.
    """
    watched, log = Watched(), folder / f"run-{token_hex(4)}.strace"
    before = ["strace", "--seccomp-bpf", "-f", "-v", "-s", "65536", "-e", "trace=execve,execveat"]
    yield [*before, "-o", str(log), "--"], watched
    own, *others = [line for line in log.read_text().splitlines() if line.endswith(" = 0")]
    watched.own = own.partition("], [")[0]
    watched.seen |= set(others)
    watched.children |= {int(line.split()[0]) for line in others}


class Runs(Protocol):
    """Whatever has an inventory to run commands with."""

    def command(self, *arguments: str) -> list[str]: ...

    def child_environment(self) -> dict[str, str]: ...


def run_with(
    house: Runs, before: Sequence[str], *arguments: str, seconds: float = CHILD_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command of the product as a child, with something put before it."""
    return subprocess.run(
        [*before, *house.command(*arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=house.child_environment(),
        timeout=seconds,
        check=False,
    )


def key_lines(state: Path) -> set[str]:
    """Lines of base64 of every private key in the state folder."""
    lines: set[str] = set()
    for path in state.rglob("*.pem"):
        text = path.read_text()
        for block in re.findall(r"PRIVATE KEY-----\n(.+?)-----END", text, re.DOTALL):
            # The first bytes of every key of a kind are the same: they are no secret.
            lines |= {line for line in block.split() if len(line) > 20} - {block.split()[0]}
            lines.add("".join(block.split())[60:100])
    return lines


@dataclass(frozen=True)
class Story:
    house: House
    texts: Mapping[str, str]
    """All that the product printed or wrote for others, by what it is."""
    watched: Watched
    started: str
    """argv and environment of the product's own process."""
    given: Given
    key: str


@pytest.fixture(scope="module")
def story(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    with issuing_house(folder, world, "attic", "cellar", pinned=False) as house:
        with remembering() as given:
            told = tell(house, world, given)
        yield told


def tell(house: House, world: World, given: Given) -> Story:
    """Trust, review, issue, deliver, renew, deliver; then a wrong password and a wrong key."""
    give = house.write("give", GIVE.format(file=house.folder / "attic.password"), mode=0o700)
    house.rewrite('{ file = "attic.password" }', f"{{ command = ['{give}'] }}")
    house.rewrite('key = { file = "tsig.key" }', 'key = { env = "TSIG_KEY" }')
    house.environment["TSIG_KEY"] = world.secret
    house.environment["PASSWORD_FOR_SOMEBODY_ELSE"] = "not ours at all"
    plan, log = house.folder / "plan.json", house.folder / "run.log"
    texts: dict[str, str] = {}
    watched, started = Watched(), ""

    def do(*arguments: str, ends: int = 0) -> None:
        nonlocal started
        with watching(house.folder) as (before, seen):
            child = run_with(house, before, "-vv", "--log-file", str(log), *arguments)
        out, err = child.stdout, child.stderr
        started += seen.own
        assert child.returncode == ends, out + err
        number = len(texts) // 2
        texts[f"stdout {number}"], texts[f"stderr {number}"] = out, err
        watched.seen.update(seen.seen)
        watched.children.update(seen.children)

    do("trust", "attic", "cellar", "--yes")
    do("--all", "--dry-run", "--json", "--save-plan", str(plan))
    do("--all", "--json", "--plan", str(plan))
    do("issue", "--renew-now")
    do("--all", "--json")
    do("show")
    do("status")
    house.write("cellar.password", "a wrong password that is secret too")
    house.environment["TSIG_KEY"] = "a wrong TSIG key that is secret too"
    do("--all", "--json", ends=1)
    house.rewrite('"*.example.test"]', '"*.example.test", "a.b.example.test"]')
    do("issue", "--json", ends=3)
    texts |= {"plan": plan.read_text(), "log": log.read_text()}
    return Story(house, texts, watched, started, given, world.secret)


def test_no_secret_shows_anywhere_in_the_whole_story(story: Story) -> None:
    house = story.house
    passwords = {*house.passwords.values(), "a wrong password that is secret too"}
    tsig = {story.key, "a wrong TSIG key that is secret too"}
    keys = key_lines(house.state)
    sessions = story.given.sessions
    assert len(sessions) >= 8
    assert len(keys) >= 9
    urls = {seen.target for box in house.boxes.values() for seen in box.requests}
    assert urls

    secrets = passwords | tsig | keys | sessions
    places = {
        **story.texts,
        "argv": story.started,
        "children": "\n".join(story.watched.seen),
        "urls": "\n".join(urls),
    }
    found = {
        (secret, place) for secret in secrets for place, text in places.items() if secret in text
    }
    assert found == set()


def test_the_search_would_find_what_is_there(story: Story) -> None:
    # What the search is made of is not empty, and finds what has to be there.
    assert story.watched.children, "the command that gives the password was never seen"
    assert any("give" in seen for seen in story.watched.seen)
    assert any("PATH=" in seen for seen in story.watched.seen)
    assert "distributor" in story.started
    assert "debug" in "".join(story.texts.values())
    leaf = story.house.store.bundles.current("home")
    assert leaf is not None
    assert leaf.bundle.certificate("home").leaf in story.texts["stdout 4"]
    logged = [json.loads(line) for line in story.texts["log"].splitlines()]
    assert {"time", "level", "logger", "message"} == set(logged[0])
    assert any("web api step=login" in line["message"] for line in logged)


def test_children_get_nothing_of_the_environment_that_is_meant_for_others(story: Story) -> None:
    environments = "\n".join(story.watched.seen)

    assert "PASSWORD_FOR_SOMEBODY_ELSE" not in environments
    assert "TSIG_KEY" not in environments


def test_no_credential_was_ever_in_a_url(story: Story) -> None:
    assert not any(box.credentials_in_urls for box in story.house.boxes.values())


def test_the_state_folder_is_closed_to_others_and_holds_secrets_in_pem_files_only(
    story: Story,
) -> None:
    state, house = story.house.state, story.house
    secrets = {*house.passwords.values(), story.key, *story.given.sessions}
    keys = key_lines(state)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert len(files) > 12
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        text = path.read_text()
        assert not any(secret in text for secret in secrets), path
        if path.suffix != ".pem":
            assert not any(line in text for line in keys), path
    for folder in state.rglob("*/"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_a_run_leaves_no_child_behind(house: House) -> None:
    started = time.monotonic()
    give = house.write("give", GIVE.format(file=house.folder / "attic.password"), mode=0o700)
    house.rewrite('{ file = "attic.password" }', f"{{ command = ['{give}'] }}")

    ran = house.child("--all")

    assert ran.code == 0, ran.said
    assert time.monotonic() - started < 20
    assert not any(str(give) in _argv(path) for path in Path("/proc").iterdir())


def _argv(folder: Path) -> str:
    if not folder.name.isdecimal() or int(folder.name) == os.getpid():
        return ""
    try:
        return (folder / "cmdline").read_text()
    except OSError:
        return ""
