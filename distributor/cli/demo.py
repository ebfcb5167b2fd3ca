"""`distribute demo`: the whole story on loopback, by the same commands that a user types."""

import subprocess
import sys
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

import click

from distributor.cli.settings import INTERRUPTED, NOT_WELL, OK, Settings, global_options

if TYPE_CHECKING:
    from rich.console import Console

    from distributor.lab.diskstation import DiskStation
    from distributor.lab.range import Range

_CHILD_SECONDS: Final = 120
_END_SECONDS: Final = 15


class _NotAsExpected(Exception):  # noqa: N818 - the name is the message
    """A step of the demo did not end as it should."""


@click.command(epilog="Example: distribute demo")
@global_options
@click.pass_context
def demo(context: click.Context, settings: Settings, /) -> None:
    """Show the whole story on loopback: no NAS, no domain and no privileges are needed.

    Starts a CA, a nameserver, five virtual DiskStations (DSM 6.2 to 7.4), a router and, on Linux, a
    web server that is reached by SSH; obtains a wildcard certificate, brings it to all of them,
    proves it, runs again, tampers with one box, and repairs it. Every line with a $ is a command as
    you would type it.
    """
    from distributor.cli.ranges import opened_range

    console, began = settings.stdout(), monotonic()
    _say(console, "A CA, a nameserver, and hosts as they come from the shop:")
    try:
        with opened_range(None, lambda line: console.print(f"  {line}", soft_wrap=True)) as lab:
            _tell(_Teller(console, lab, settings.no_color))
    except _NotAsExpected as error:
        console.print(f"The demo did not go as it should: {error}", style="bold red")
        context.exit(NOT_WELL)
    except KeyboardInterrupt:
        console.print("\nstopped; everything that was started is gone")
        context.exit(INTERRUPTED)
    _say(console, f"That was all of it, in {monotonic() - began:.1f} s. Nothing is left behind.")
    context.exit(OK)


def _tell(teller: "_Teller") -> None:
    boxes = teller.lab.boxes
    teller.say(
        "1. Pin what each host shows now: a leaf that nobody could verify, or its SSH host key."
    )
    teller.run("trust", *teller.lab.hosts, "--yes")
    teller.say("2. Look first. The certificate is still to be issued; nothing is written.")
    teller.run("--all", "--dry-run")
    teller.require(teller.writes() == 0, "a dry run wrote to a box")
    teller.say("3. Issue by ACME, publish the challenge by DNS, bring it to every box, prove it.")
    teller.run("--all")
    teller.run("status")
    teller.say("4. The same command again, as every night: nothing to do, nothing is written.")
    before = teller.writes()
    teller.run("--all")
    teller.require(teller.writes() == before, "the second run wrote to a box")
    teller.console.print(
        f"  (write calls that the boxes counted in this run: 0, of {before} before)"
    )
    name, box = next(iter(boxes.items()))
    teller.say(f"5. Somebody sets the self-signed certificate of '{name}' back.")
    box.bind("system/default", _factory_entry(box))
    teller.run("status", ends=NOT_WELL)
    teller.run("--all", "--dry-run")
    teller.say("6. The next run finds and repairs exactly that.")
    teller.run("--all")
    teller.run("status")


def _factory_entry(box: "DiskStation") -> str:
    from distributor.model.bundle import fingerprint

    leaf = fingerprint(box.factory_certificate.leaf)
    entries: dict[str, dict[str, object]] = box.snapshot()["entries"]
    return next(entry_id for entry_id, entry in entries.items() if entry["leaf"] == leaf)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Says what comes, and runs commands in view."""

    console: "Console"
    lab: "Range"
    no_color: bool

    def say(self, text: str) -> None:
        """Announce a step."""
        _say(self.console, text)

    def require(self, holds: bool, otherwise: str) -> None:
        """End the demo unless something holds."""
        if not holds:
            raise _NotAsExpected(otherwise)

    def writes(self) -> int:
        """Return how many changing calls the hosts have counted, a reload being one."""
        proxy = self.lab.proxy
        reloads = proxy.reloads if proxy is not None else 0
        return reloads + sum(box.writes for box in self.lab.boxes.values())

    def run(self, *arguments: str, ends: int = OK) -> None:
        """Run a command of ours as a user would, and require its exit code."""
        self.console.print(f"$ distribute {' '.join(arguments)}", style="bold cyan")
        options = ["-i", str(self.lab.inventory), "--state", str(self.lab.state)]
        options += ["--no-color"] if self.no_color else []
        child = subprocess.Popen(
            [sys.executable, "-m", "distributor", *options, *arguments], stdin=subprocess.DEVNULL
        )
        try:
            code = child.wait(_CHILD_SECONDS)
        except BaseException:
            # Ctrl-C reaches the child as well; it brings its step to an end, or is ended.
            _end(child)
            raise
        self.require(code == ends, f"'distribute {' '.join(arguments)}' ended with {code}")


def _end(child: "subprocess.Popen[bytes]") -> None:
    for last_resort in (False, True):
        if last_resort:
            child.kill()
        try:
            child.wait(_END_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue
        return


def _say(console: "Console", text: str) -> None:
    console.print(f"\n{text}", style="bold", soft_wrap=True)
