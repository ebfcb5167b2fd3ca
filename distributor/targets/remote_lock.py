"""A lock on a host, for as long as a driver works there: a link that one run alone can make.

It is a link, which names its holder from the first moment on and wants no room on a full disk. It
is not `flock`, which not every host has, and which would end with the process that holds it, while
a delivery is many commands. A run that was cut leaves it behind: the same host of the same
controller takes it over at once, another controller after `COUNTS_SECONDS` without a sign of work.
Whoever does so first waits for the command that the cut left running, since a script goes on when
its connection is gone; one that may be ended is ended when its time is over.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from distributor.clients.shell import COMMAND_SECONDS, Result, Shell, checked_path
from distributor.model.errors import ApplyFailed, Busy, DeviceRefused, DistributorError
from distributor.model.text import printable
from distributor.model.times import rfc3339
from distributor.targets.remote_scripts import (
    BUSY,
    LEFT_RUNNING,
    LOST,
    LOST_WORDS,
    OVER,
    OVER_WORDS,
    RELEASE,
    TAKE,
    UNSAFE,
    UNSAFE_WORDS,
    WORK,
)

log = logging.getLogger(__name__)

COUNTS_SECONDS: Final = 3600
"""How long a lock of another controller, or host, counts after the last command of its work."""
WAIT_SECONDS: Final = 300
"""How long a command may still run that an earlier, cut connection left behind."""
TURN_SECONDS: Final = 600
"""How long another host of the same controller, on the same machine, is waited for."""
_RELEASE_SECONDS: Final = 15
_ENDING_SECONDS: Final = 30
"""How long ending a command may take."""
_OURS: Final = "ours"


@dataclass(frozen=True, slots=True)
class Controller:
    """An installation of this program."""

    id: str
    """Letters and digits that are nobody else's, and stay the same."""
    node: str
    """What people know its machine by."""


class RemoteLock:
    """The lock below `folder` (made with mode 700, the account's own), for work on one host.

    `host` is its name in the inventory: two of them may be the same machine, and share a folder.
    `controller` is asked when the lock is taken.
    """

    def __init__(
        self,
        shell: Shell,
        folder: str,
        controller: Callable[[], Controller],
        host: str,
        *,
        as_root: bool,
    ) -> None:
        self._shell = shell
        self._folder = checked_path(folder)
        self._controller = controller
        self._host = host
        self._as_root = as_root
        self._who: str | None = None

    @property
    def tag(self) -> str:
        """What tells the host from others whose work is in the same folder; hex digits."""
        return sha256(self._host.encode("utf-8")).hexdigest()[:12]

    def take(self) -> None:
        """Take the lock, unless it is held already; raises Busy while another run has it.

        Raises DeviceRefused where the folder is not the account's own.
        """
        if self._who is not None:
            return
        by = self._controller()
        who = f"{by.id} {self.tag} {printable(self._host)} by {printable(by.node)}"
        seconds = (COUNTS_SECONDS, WAIT_SECONDS, TURN_SECONDS)
        result = self._sh(
            TAKE,
            *(who, *map(str, seconds)),
            seconds=WAIT_SECONDS + TURN_SECONDS + COMMAND_SECONDS,
        )
        if result.status == BUSY:
            raise self._busy(result.stdout)
        if result.status == LEFT_RUNNING:
            raise Busy(
                f"a command of an earlier run still works on the host: {result.words}",
                hint="look at it there; the next run tries again",
                step="lock",
            )
        self._require_safe(result)
        result.required("cannot lock the host against other runs", "lock")
        self._who = who

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
        inside: bool = False,
        may_end: bool = False,
    ) -> Result:
        """Run a command as the one that holds the lock, which `take` has to have taken.

        It runs in the root folder, or `inside` the lock's. What `may_end` reads nothing, and is
        ended on the host when it still runs after `seconds`, with all that it started and waits
        for; anything else is left to run. Raises ApplyFailed when it was ended; DeviceRefused, with
        nothing begun, when another controller broke the lock.
        """
        if self._who is None:
            raise ValueError("the lock was not taken")
        how = (str(int(seconds)) if may_end else "-", "." if inside else "/")
        longest = seconds + _ENDING_SECONDS if may_end else seconds
        result = self._sh(WORK, self._who, *how, *command, stdin=stdin, seconds=longest)
        if may_end and result.status == OVER and OVER_WORDS in result.words:
            raise ApplyFailed(
                f"a command on the host did not end within {seconds:.0f} seconds: it was ended",
                hint="try there by hand what takes it so long",
                step="command",
            )
        if result.status == LOST and LOST_WORDS in result.words:
            raise DeviceRefused(
                "another run took the lock of this host over",
                hint="let only one controller bring certificates to it",
                step="lock",
            )
        self._require_safe(result)
        return result

    def release(self) -> None:
        """Let go of the lock; quiet when it is not held, or the host is out of reach."""
        who, self._who = self._who, None
        if who is None:
            return
        try:
            self._sh(RELEASE, who, seconds=_RELEASE_SECONDS).required(
                "cannot release the lock", "lock"
            )
        except DistributorError as error:
            # Whoever comes next takes it over; what was done is done.
            log.warning("step=lock released=no error=%s", error.kind)

    def _require_safe(self, result: Result) -> None:
        if result.status == UNSAFE and UNSAFE_WORDS in result.words:
            raise DeviceRefused(
                f"{result.words}: what lies in it cannot be trusted",
                hint=f"see there who made {self._folder}; if no copy in it is needed, remove it",
                step="lock",
            )

    def _busy(self, told: bytes) -> Busy:
        since, whose, who = (*told.decode("utf-8", "replace").strip().split("\n", 2), "", "")[:3]
        name = printable(who.split(" ", 2)[-1]) or "it left no name"
        other = "another host of this inventory has" if whose == _OURS else "another controller has"
        return Busy(
            f"{other} this host's folder in use, last seen {_moment(since)} by the host's clock: "
            f"{name}",
            hint="wait until it is done; if it is not at work any more, remove "
            f"{self._folder}/lock there",
            step="lock",
        )

    def _sh(
        self, script: str, *words: str, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> Result:
        return self._shell.run(
            ["/bin/sh", "-c", script, "sh", self._folder, *words],
            as_root=self._as_root,
            stdin=stdin,
            seconds=seconds,
        )


def _moment(seconds: str) -> str:
    """Return what a host calls the time of a file (Unix time), in words where it is no time."""
    try:
        return f"at {rfc3339(datetime.fromtimestamp(int(seconds), UTC))}"
    except (ValueError, OverflowError, OSError):
        return "lately"
