"""What shows while a run goes on: a live table on a terminal, plain lines elsewhere; on stderr."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from distributor.model.report import Outcome
from distributor.model.text import printable
from distributor.render.words import STYLES


class LineProgress:
    """Plain lines: what is done with certificates, and each host that is not merely unchanged."""

    def __init__(self, console: Console, *, steps: bool) -> None:
        self._console = console
        self._steps = steps

    def certificate(self, name: str, text: str) -> None:
        """Show a line on a certificate."""
        self._show(Text(f"certificate {printable(name)}: {printable(text)}"))

    def step(self, host: str, text: str) -> None:
        """Show a host's step, where every step is asked for."""
        if self._steps:
            self._show(Text(f"{printable(host)}: {printable(text)}"))

    def ended(self, outcome: Outcome) -> None:
        """Show a host's end."""
        if outcome.status != "unchanged" or self._steps:
            self._show(Text(f"{printable(outcome.host)}: {outcome.status}"))

    def _show(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


class LiveProgress:
    """A table with one row per host and the step it is at."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._rows = dict.fromkeys(hosts, Text("waiting", style="dim"))
        self._certificates: dict[str, str] = {}

    def certificate(self, name: str, text: str) -> None:
        """Show where a certificate stands."""
        with self._lock:
            self._certificates[name] = printable(text, 120)

    def step(self, host: str, text: str) -> None:
        """Show the step a host is at."""
        with self._lock:
            self._rows[host] = Text(printable(text))

    def ended(self, outcome: Outcome) -> None:
        """Show how a host ended."""
        with self._lock:
            self._rows[outcome.host] = Text(outcome.status, style=STYLES[outcome.status])

    def __rich__(self) -> Table:
        """Return the table as it stands, for the live display."""
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for name, text in self._certificates.items():
                table.add_row(Text(f"certificate {printable(name)}", style="bold"), Text(text))
            for host, row in self._rows.items():
                table.add_row(Text(printable(host), style="bold"), row)
        return table


@contextmanager
def shown_progress(
    console: Console, hosts: Sequence[str], *, quiet: bool, steps: bool
) -> Iterator[LineProgress | LiveProgress]:
    """Give what the run reports to, and show it as fits the console."""
    if quiet or steps or not console.is_terminal:
        yield LineProgress(Console(quiet=True) if quiet else console, steps=steps)
        return
    progress = LiveProgress(hosts)
    with Live(progress, console=console, refresh_per_second=8, transient=True):
        yield progress
