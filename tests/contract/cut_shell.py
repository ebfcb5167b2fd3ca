"""What rigs around virtual boxes that are reached by SSH have in common: cuts, counts, sessions."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from distributor.clients.remote_files import RemoteFiles
from distributor.clients.shell import COMMAND_SECONDS, Result
from distributor.clients.ssh import SshSession
from tests.contract.target_laws import When
from tests.e2e.ssh_box import SshBox


@dataclass
class Cutter:
    """Cuts the connection at a command that is counted, before it runs or after it did."""

    box: SshBox
    counts: Callable[[Sequence[str]], bool] = lambda _: True
    at: int = 0
    when: When = "before"
    seen: int = 0
    commands: list[str] = field(default_factory=list)
    """All that ran, as the box's process list would show it."""

    def arm(self, at: int, when: When, counts: Callable[[Sequence[str]], bool]) -> None:
        self.at, self.when, self.counts, self.seen = at, when, counts, 0

    def disarm(self) -> bool:
        """Cut no more; tell whether it was."""
        was_cut = 0 < self.at <= self.seen
        self.at = 0
        return was_cut


class CutShell(RemoteFiles):
    """A session whose connection a cutter may end."""

    def __init__(self, session: SshSession, cutter: Cutter) -> None:
        self._session = session
        self._cutter = cutter

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.__exit__(kind, error, trace)

    def run(
        self,
        command: Sequence[str],
        *,
        as_root: bool,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        cutter = self._cutter
        cutter.commands.append(" ".join(command))
        is_it = False
        if cutter.at and cutter.counts(command):
            cutter.seen += 1
            is_it = cutter.seen == cutter.at
        if is_it and cutter.when == "before":
            cutter.box.cut()
        result = self._session.run(command, as_root=as_root, stdin=stdin, seconds=seconds)
        if is_it and cutter.when == "after":
            cutter.box.cut()
            return Result(None, b"", b"")  # it was done, and the answer never came
        return result

    def close(self) -> None:
        self._session.close()


Connect = Callable[[], AbstractContextManager[CutShell]]
