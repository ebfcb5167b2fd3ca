"""The story of hosts by SSH, told by the command line at its most verbose, searched for secrets."""

import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.certs import DAY, NOW, Issued, hierarchy, pem
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_people import Person
from tests.e2e.ssh_box_tree import Item, Release
from tests.integration.cli.test_cli_secrets import Watched, run_with, watching

NAMES = ("example.test", "*.example.test")
WRONG = "a wrong password that is secret too"
PEM_FILES = "/root/certs"
BOXES: dict[str, Release] = {"old": "dsm62", "new": "dsm73", "router": "srm13"}
SECONDS = 200.0
pytestmark = pytest.mark.timeout(600)


@dataclass
class Story:
    folder: Path
    boxes: dict[str, SshBox]
    texts: dict[str, str] = field(default_factory=dict)
    """All that the product printed or wrote for others, by what it is."""
    watched: Watched = field(default_factory=Watched)
    keys: list[Issued] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        inventory, state = self.folder / "inventory.toml", self.folder / "state"
        options = ("-i", str(inventory), "--state", str(state))
        log = ("-vv", "--log-file", str(self.folder / "run.log"))
        return [sys.executable, "-m", "distributor", *options, *log, *arguments]

    def child_environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder)}

    def do(self, *arguments: str, ends: int = 0) -> None:
        with watching(self.folder) as (before, seen):
            ran = run_with(self, before, *arguments, seconds=SECONDS)
        assert ran.returncode == ends, ran.stdout + ran.stderr
        self.texts[f"{len(self.texts)} {arguments}"] = ran.stdout + ran.stderr
        self.watched.seen |= seen.seen | {seen.own}

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o700 if text.startswith("#!") else 0o600)
        path.write_text(text, encoding="utf-8")

    def obtain(self, days_left: int) -> None:
        """Let another program on the controller have a certificate."""
        issuer = hierarchy(1)
        made = issuer.issue(NAMES, key="rsa2048", not_after=NOW + days_left * DAY)
        self.keys.append(made)
        self.write("root.pem", pem(issuer.root).decode())
        self.write("full.pem", made.fullchain_pem.decode())
        self.write("key.pem", made.private_key_pem.decode())

    def host(self, name: str, who: Person, *lines: str) -> str:
        box = self.boxes[name.partition("-")[0]]
        return "\n".join(
            (
                f"[hosts.{name}]",
                'via = "ssh"',
                'address = "127.0.0.1"',
                f"port = {box.ports['ssh']}",
                f'user = "{who.user}"',
                'certificate = "home"',
                *lines,
            )
        )

    def write_inventory(self) -> None:
        old, new, router = (self.boxes[name] for name in ("old", "new", "router"))
        self.write("give", f"#!/bin/sh\nprintf %s '{old.admin.password}'\n")
        self.write("router.password", router.root.password)
        own = {
            name: f'endpoints = ["127.0.0.1:{box.ports["dsm"]}"]'
            for name, box in self.boxes.items()
        }
        by_key = f'identity = {{ file = "{new.root.key_file}" }}'
        give = f'password = {{ command = ["{self.folder}/give"] }}'
        by_dsm, is_box = 'method = "synowebapi"', 'kind = "diskstation"'
        files = (f'fullchain = "{PEM_FILES}/full.pem"', f'private_key = "{PEM_FILES}/key.pem"')
        by_password = 'password = { file = "router.password" }'
        hosts = (
            self.host("old", old.admin, give, is_box, own["old"]),
            self.host("new", new.root, by_key, is_box, by_dsm, own["new"]),
            self.host("router", router.root, by_password, 'kind = "router"', own["router"]),
            self.host("new-files", new.root, by_key, 'kind = "files"', *files, "endpoints = []"),
        )
        head = '[certificates.home]\nsource = "files"\ncertificate = "full.pem"\n'
        head += 'private_key = "key.pem"\nca_bundle = "root.pem"'
        self.write("inventory.toml", "\n\n".join((head, *hosts)) + "\n")

    def tell(self) -> None:
        """Trust, look, review, deliver twice, go back; then two wrong passwords."""
        self.boxes["new"].place(Item(path=PEM_FILES, mode=0o700))
        self.obtain(30)
        self.write_inventory()
        plan = self.folder / "plan.json"
        self.do("trust", "old", "new", "router", "new-files", "--yes")
        self.do("check", "--online", "--json")
        self.do("--all", "--dry-run", "--json", "--save-plan", str(plan))
        self.do("--all", "--json", "--plan", str(plan))
        self.obtain(60)
        self.do("--all")
        self.do("status", "--services")
        self.write("give", f"#!/bin/sh\nprintf %s '{WRONG}'\n")
        self.write("router.password", WRONG)
        self.do("--all", "--json", ends=1)
        self.texts |= {"plan": plan.read_text(), "log": (self.folder / "run.log").read_text()}
        for name, box in self.boxes.items():
            self.texts |= {f"sshd of {name}": box.log(), f"calls on {name}": f"{box.calls()}"}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with ExitStack() as running:
        boxes = {
            name: running.enter_context(SshBox(tmp_path_factory.mktemp(name), release))
            for name, release in BOXES.items()
        }
        told = Story(tmp_path_factory.mktemp("story"), boxes)
        told.tell()
        yield told


def key_lines(text: str) -> set[str]:
    """The lines of a private key, but for the first, which all keys of a kind share."""
    lines = [line for line in text.splitlines() if "-----" not in line and len(line) > 20]
    return set(lines[1:])


def secrets_of(story: Story) -> set[str]:
    boxes = story.boxes
    passwords = {one.password for box in boxes.values() for one in (box.admin, box.root)}
    identity = boxes["new"].root.key_file
    assert identity is not None
    keys = {line for one in story.keys for line in key_lines(one.private_key_pem.decode())}
    return passwords | {WRONG} | keys | key_lines(identity.read_text())


def test_nothing_secret_is_in_the_open(story: Story) -> None:
    secrets = secrets_of(story)
    assert len(secrets) > 30
    places = {**story.texts, "arguments and environments": "\n".join(story.watched.seen)}
    found = {(place, one) for place, text in places.items() for one in secrets if one in text}
    assert found == set()


def test_the_state_folder_is_closed_and_holds_keys_in_pem_files_only(story: Story) -> None:
    state, secrets = story.folder / "state", secrets_of(story)
    keys = {line for one in story.keys for line in key_lines(one.private_key_pem.decode())}
    files = [path for path in state.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in (state, *state.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700), path
    for path in files:
        shown = secrets - (keys if path.suffix == ".pem" else set())
        text = path.read_bytes().decode("utf-8", "replace")
        assert not any(one in text for one in shown), path
    expected = {"state", "run.log", "plan.json", "give", "inventory.toml", "router.password"}
    expected |= {"root.pem", "full.pem", "key.pem"}
    left = {path.name for path in story.folder.iterdir() if path.suffix != ".strace"}
    assert left == expected


def test_the_story_had_what_is_searched_for(story: Story) -> None:
    assert any(f"{story.folder}/give" in one for one in story.watched.seen)
    told = "\n".join(story.texts.values())
    assert "ssh step=command" in story.texts["log"]
    assert "import" in story.texts["calls on new"]
    assert "login as 'keeper' refused" in told
    assert "login as 'root' refused" in told
    assert "synowebapi" in told
