"""One range of virtual boxes for all tests here that change nothing on them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from distributor.lab.diskstation import DiskStation
from distributor.lab.nameserver import Nameserver
from distributor.lab.range import Range
from tests.integration.checking.commands import Ran, run


class Lab:
    """A range, with the command line and its inventory."""

    def __init__(self, lab: Range) -> None:
        self.range = lab

    @property
    def options(self) -> tuple[str, ...]:
        return ("-i", str(self.range.inventory), "--state", str(self.range.state))

    def run(self, *arguments: str) -> Ran:
        return run(*self.options, *arguments)

    def rewrite(self, old: str, new: str) -> None:
        """Replace a text that the inventory has exactly once."""
        text = self.range.inventory.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        self.range.inventory.write_text(text.replace(old, new), encoding="utf-8")

    def add_to_host(self, name: str, line: str) -> None:
        self.rewrite(f"[hosts.{name}]\n", f"[hosts.{name}]\n{line}\n")

    @property
    def nameserver(self) -> Nameserver:
        assert self.range.nameserver is not None
        return self.range.nameserver

    @property
    def txt(self) -> set[str]:
        """Return the TXT values where a CA would look."""
        return self.nameserver.records("_acme-challenge.example.test", "TXT")

    @property
    def journal(self) -> Path:
        return self.range.state / "orders" / "home" / "challenges.json"

    def add_box(self, name: str, box: DiskStation, password: str) -> None:
        """Describe another box in the inventory."""
        path = self.range.folder / f"{name}.password"
        path.touch(mode=0o600)
        path.write_text(password, encoding="utf-8")
        with self.range.inventory.open("a", encoding="utf-8") as file:
            file.write(
                f'[hosts.{name}]\nkind = "diskstation"\nvia = "api"\naddress = "{box.address}"\n'
                f'port = {box.port}\npassword = {{ file = "{name}.password" }}\n'
                f'endpoints = ["{box.address}:{box.port}"]\n\n'
            )

    def pin(self, *names: str) -> None:
        done = self.run("-q", "trust", *(names or self.range.boxes), "--yes")
        assert done.code == 0, done.said


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[[int], Lab]]:
    """Start a range of so many boxes, pinned."""
    with ExitStack() as running:

        def make(boxes: int) -> Lab:
            made = Lab(running.enter_context(Range(tmp_path / "lab", boxes=boxes, engine="pebble")))
            made.pin()
            return made

        yield make
