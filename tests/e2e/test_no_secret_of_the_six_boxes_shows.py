"""The story of six boxes, two with a second factor, searched for everything that is secret."""

import json
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from distributor.lab.accounts import Accounts, Login
from distributor.lab.knobs import SRM13, Knobs
from distributor.model.bundle import fingerprint
from tests.certs import DAY, hierarchy, pem
from tests.e2e.six_boxes import DISKSTATIONS, NAMES, ROUTER, six_boxes
from tests.e2e.test_the_forums_six_boxes import DDNS, ON_SOURCE, OTHERS, SOURCE, Sourced, everywhere
from tests.integration.cli.house import USER, shown_leaf
from tests.integration.cli.terminal import converse
from tests.integration.cli.test_cli_secrets import Watched, key_lines, run_with, watching

CODE = "juniper berries 71"
"""The code that a person types; six digits could stand in any fingerprint by chance."""
TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
BY_CODE, BY_TOTP = "cellar", "office"
WRONG = "a wrong password that is secret too"


@dataclass
class Told:
    """What went between the boxes and those who signed in."""

    sessions: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    passwords: set[str] = field(default_factory=set)


@contextmanager
def listening() -> Iterator[Told]:
    """Note all that is secret about every login, as the boxes see and make it."""
    told = Told()
    real = Accounts.login

    def login(self: Accounts, parameters: Mapping[str, str], peer: str, knobs: Knobs) -> Login:
        told.codes |= {parameters.get("otp_code", "")} - {""}
        told.passwords.add(parameters["passwd"])
        done = real(self, parameters, peer, knobs)
        told.sessions.add(done.session.sid)
        told.tokens |= {done.session.token} - {""}
        told.devices |= {done.device_id} - {""}
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Accounts, "login", login)
        yield told


@dataclass
class Story:
    house: Sourced
    told: Told
    texts: dict[str, str] = field(default_factory=dict)
    """All that the product printed or wrote for others, by what it is."""
    watched: Watched = field(default_factory=Watched)
    started: str = ""
    """argv of the product's own processes."""

    def do(self, *arguments: str, ends: int = 0) -> None:
        """Run a command as a child, as detailed as it gets, and keep all that it shows."""
        log = ("-vv", "--log-file", str(self.house.folder / "run.log"))
        with watching(self.house.folder) as (before, seen):
            child = run_with(self.house, before, *log, *arguments)
        out, err = child.stdout, child.stderr
        self.started += seen.own
        assert child.returncode == ends, out + err
        self.texts[f"stdout of {arguments}"], self.texts[f"stderr of {arguments}"] = out, err
        self.watched.seen |= seen.seen
        self.watched.children |= seen.children

    def tell(self) -> None:
        """Trust, enrol, review, deliver, renew, deliver; then a wrong password."""
        house = self.house
        plan = house.folder / "plan.json"
        give = house.write("give", f"#!/bin/sh\nsleep 0.3\ncat {house.folder}/garage.password\n")
        give.chmod(0o700)
        house.rewrite('{ file = "garage.password" }', f"{{ command = ['{give}'] }}")
        self.do("trust", *(one for one in NAMES if one != BY_CODE), "--yes")
        asked = ((r"leaf of cellar\? \[y/N\]: ", "y"), (rf"code of '{USER}' on cellar: ", CODE))
        log = ("-vv", "--log-file", str(house.folder / "run.log"))
        enrolled = converse(house, asked, *log, "trust", BY_CODE)
        assert enrolled.code == 0, enrolled.out
        self.texts["terminal"] = enrolled.out
        self.do("--all", "--dry-run", "--json", "--save-plan", str(plan))
        self.do("--all", "--json", "--plan", str(plan))
        self.do("--all")
        house.obtain(since=1 * DAY)
        self.do("trust", SOURCE, "--fingerprint", shown_leaf(house.boxes[SOURCE]))
        self.do("--all", "--json")
        self.do("status", "--services")
        self.do("show")
        house.write(f"{ROUTER}.password", WRONG)
        house.write("studio.password", WRONG)
        house.obtain(since=timedelta(hours=2))
        self.do("trust", SOURCE, "--fingerprint", shown_leaf(house.boxes[SOURCE]))
        self.do("--all", "-q", ends=1)
        self.texts |= {"plan": plan.read_text(), "log": (house.folder / "run.log").read_text()}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder, issuer = tmp_path_factory.mktemp("six"), hierarchy(1)
    (folder / "root.pem").write_bytes(pem(issuer.root))
    accounts: dict[str, dict[str, Any]] = {
        BY_CODE: {"otp_codes": frozenset({CODE})},
        BY_TOTP: {"totp_secret": TOTP},
    }
    with six_boxes(SRM13, accounts) as (boxes, passwords), listening() as told:
        house = Sourced(
            folder=folder,
            boxes=boxes,
            passwords=passwords,
            issuer=issuer,
            zone=DDNS,
            directory_url="",
            ca_bundle=folder / "root.pem",
            root=folder / "root.pem",
            nameserver="",
            source=('source = "diskstation"', f'from = "{SOURCE}"', f'id = "{ON_SOURCE}"'),
            of_host={SOURCE: ("deliver = []",), BY_TOTP: ('otp = { file = "totp" }',)},
        )
        house.write("totp", TOTP + "\n")
        house.prepare()
        house.obtain(since=20 * DAY)
        ours = Story(house, told)
        ours.tell()
        yield ours


def places(story: Story) -> dict[str, str]:
    urls = {seen.target for box in story.house.boxes.values() for seen in box.requests}
    return {
        **story.texts,
        "argv": story.started,
        "children": "\n".join(story.watched.seen),
        "urls": "\n".join(urls),
    }


def in_the_open(secret: str) -> re.Pattern[str]:
    """Return what finds a secret; digits only where they are no part of a longer number or hash."""
    plain = re.escape(secret)
    return re.compile(rf"(?<![0-9a-f.]){plain}(?![0-9a-f])" if secret.isdecimal() else plain)


def test_nothing_secret_of_any_dialect_is_in_the_open(story: Story) -> None:
    told, house = story.told, story.house
    secrets = {
        "password": {*house.passwords.values(), WRONG} | told.passwords,
        "totp": {TOTP},
        "session": told.sessions,
        "token": told.tokens,
        "device": told.devices,
        "code": told.codes,
        "key": key_lines(house.state),
    }
    found = {
        (what, place)
        for what, ones in secrets.items()
        for secret in ones
        for place, text in places(story).items()
        if in_the_open(secret).search(text)
    }
    assert found == set()
    assert not any(box.credentials_in_urls for box in house.boxes.values())
    assert not any(seen.in_clear for box in house.boxes.values() for seen in box.requests)


def test_the_story_had_everything_that_is_searched_for(story: Story) -> None:
    told, house = story.told, story.house
    assert told.passwords == {*house.passwords.values(), WRONG}
    assert len(told.sessions) >= 3 * len(NAMES)
    assert len(told.tokens) >= 3 * len(DISKSTATIONS)
    assert len(told.devices) == 2
    assert CODE in told.codes
    assert len(told.codes) == 2
    assert any(re.fullmatch(r"\d{6}", code) for code in told.codes)
    assert len(key_lines(house.state)) > 20
    assert story.watched.children, "the command that gives a password was never seen"
    assert "distributor" in story.started
    assert {"login", "logout", "import", "export"} <= steps(story)


def steps(story: Story) -> set[str]:
    """The steps that the log tells of."""
    messages = [json.loads(line)["message"] for line in story.texts["log"].splitlines()]
    logged = {found for message in messages for found in re.findall(r"step=(\w+)", message)}
    asked = {seen.api_method.lower() for box in story.house.boxes.values() for seen in box.requests}
    return logged | asked


def test_the_story_ended_as_it_should(story: Story) -> None:
    house = story.house
    last = fingerprint(house.obtained.leaf)
    served, late = house.served(), {ROUTER, "studio"}
    assert {name: served[name] for name in NAMES if name not in late} == {
        name: leaves for name, leaves in everywhere(last).items() if name not in late
    }
    assert all(last not in served[name] for name in late)
    assert {name: house.boxes[name].failed_logins for name in late} == dict.fromkeys(late, 1)
    assert house.boxes[SOURCE].writes == 0
    assert all(box.sessions_open == 0 for box in house.boxes.values())
    assert set(OTHERS) > late


def test_the_state_folder_is_closed_and_holds_each_secret_where_it_belongs(story: Story) -> None:
    state, told = story.house.state, story.told
    never = {*story.house.passwords.values(), WRONG, TOTP} | told.sessions | told.tokens
    keys = key_lines(state)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        text = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert not any(secret in text for secret in never), path
        assert path.suffix == ".pem" or not any(line in text for line in keys), path
        assert (path.name == "devices.toml") == any(one in text for one in told.devices), path
