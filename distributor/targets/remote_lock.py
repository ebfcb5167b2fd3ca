"""A lock on a host, for as long as a driver works there: a link that one run alone can make.

It is a link, which names its holder from the first moment on and wants no room on a full disk. It
is not `flock`, which not every host has, and which would end with the process that holds it, while
a delivery is many commands. A run that was cut leaves it behind: the same
controller takes it over at once, another one after `COUNTS_SECONDS` without a sign of work. Either
first waits for the command that the cut left running: a script goes on when its connection is gone.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from distributor.clients.shell import COMMAND_SECONDS, Result, Shell, checked_path
from distributor.model.errors import Busy, DeviceRefused, DistributorError
from distributor.model.text import printable
from distributor.model.times import rfc3339

log = logging.getLogger(__name__)

COUNTS_SECONDS: Final = 3600
"""How long a lock of another controller counts after the last command of its work."""
WAIT_SECONDS: Final = 300
"""How long a command may still run that an earlier, cut connection left behind."""
_RELEASE_SECONDS: Final = 15
_BUSY: Final = 75
_LEFT_RUNNING: Final = 76
_LOST: Final = 77
_LOST_WORDS: Final = "the lock is not held any more"

# What tells a process from a later one with its number: field 22 of its stat (proc(5)). One that
# has ended and was not asked about yet is none.
_BORN: Final = """\
born() {
  read -r stat <"/proc/$1/stat" || return 1
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}
"""
# $1 folder, $2 who, $3 for how long it counts, $4 for how long a command is waited for.
_TAKE: Final = (
    _BORN
    + f"""\
set -u; umask 077
folder=$1 lock=$1/lock who=$2 counts=$3 waits=$4
if [ -L "$folder" ]; then echo "$folder: is a symbolic link" >&2; exit 1; fi
[ -d "$folder" ] || mkdir -p -- "$folder" || exit 1
chmod 700 "$folder" || exit 1
while ! ln -sn -- "$who" "$lock" 2>/dev/null; do
  if [ ! -L "$lock" ]; then ln -sn -- "$who" "$lock" && break; exit 1; fi
  holder=$(readlink -- "$lock") && since=$(stat -c %Y -- "$lock") || continue
  last=$(stat -c %Y -- "$folder/work" 2>/dev/null) || last=0
  [ "$last" -le "$since" ] || since=$last
  if [ "$holder" != "$who" ] && [ $(($(date +%s) - since)) -lt "$counts" ]; then
    printf '%s\\n%s\\n' "$since" "$holder"
    exit {_BUSY}
  fi
  while work=$(readlink -- "$folder/work") && [ "$(born "${{work% *}}")" = "${{work#* }}" ]; do
    if [ "$waits" -le 0 ]; then echo "process ${{work% *}}"; exit {_LEFT_RUNNING}; fi
    waits=$((waits - 1)); sleep 1
  done 2>/dev/null
  mv -- "$lock" "$lock.$$" && rm -f -- "$lock.$$"
done
"""
)
# $1 folder, $2 who; the rest is the command, which takes the place of this process.
_WORK: Final = (
    _BORN
    + f"""\
folder=$1 who=$2; shift 2
if [ "$(readlink -- "$folder/lock")" != "$who" ]; then echo '{_LOST_WORDS}' >&2; exit {_LOST}; fi
ln -sfn -- "$$ $(born "$$")" "$folder/work" || exit 1
exec "$@"
"""
)
_RELEASE: Final = '[ "$(readlink -- "$1/lock")" != "$2" ] || rm -f -- "$1/work" "$1/lock"'


class RemoteLock:
    """The lock below `folder` (made with mode 700, the account's own); `who` holds it.

    `who` names the controller for people of other controllers, and is the same for all of its runs:
    of these only one works at a time.
    """

    def __init__(self, shell: Shell, folder: str, who: str, *, as_root: bool) -> None:
        self._shell = shell
        self._folder = checked_path(folder)
        self._who = printable(who)
        self._as_root = as_root
        self._is_held = False

    def take(self) -> None:
        """Take the lock, unless it is held already; raises Busy while another run has it."""
        if self._is_held:
            return
        words = (self._folder, self._who, str(COUNTS_SECONDS), str(WAIT_SECONDS))
        result = self._sh(_TAKE, *words, seconds=WAIT_SECONDS + COMMAND_SECONDS)
        if result.status == _BUSY:
            raise self._busy(result.stdout)
        if result.status == _LEFT_RUNNING:
            raise Busy(
                f"a command of an earlier run still works on the host: {result.words}",
                hint="look at it there; the next run tries again",
                step="lock",
            )
        result.required("cannot lock the host against other runs", "lock")
        self._is_held = True

    def run(
        self, command: Sequence[str], *, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> Result:
        """Run a command as the one that holds the lock, which `take` has to have taken.

        Raises DeviceRefused, with nothing begun, when another controller broke it.
        """
        words = ["/bin/sh", "-c", _WORK, "sh", self._folder, self._who, *command]
        result = self._shell.run(words, as_root=self._as_root, stdin=stdin, seconds=seconds)
        if result.status == _LOST and _LOST_WORDS in result.words:
            raise DeviceRefused(
                "another run took the lock of this host over",
                hint="let only one controller bring certificates to it",
                step="lock",
            )
        return result

    def release(self) -> None:
        """Let go of the lock; quiet when it is not held, or the host is out of reach."""
        if not self._is_held:
            return
        self._is_held = False
        try:
            self._sh(_RELEASE, self._folder, self._who, seconds=_RELEASE_SECONDS).required(
                "cannot release the lock", "lock"
            )
        except DistributorError as error:
            # Whoever comes next takes it over; what was done is done.
            log.warning("step=lock released=no error=%s", error.kind)

    def _busy(self, told: bytes) -> Busy:
        since, _, who = told.decode("utf-8", "replace").strip().partition("\n")
        return Busy(
            f"another controller works on this host, last seen {_moment(since)} by the host's "
            "clock: "
            f"{printable(who) or 'it left no name'}",
            hint="wait until it is done; if it is not at work any more, remove "
            f"{self._folder}/lock there",
            step="lock",
        )

    def _sh(self, script: str, *words: str, seconds: float = COMMAND_SECONDS) -> Result:
        return self._shell.run(
            ["/bin/sh", "-c", script, "sh", *words], as_root=self._as_root, seconds=seconds
        )


def _moment(seconds: str) -> str:
    """Return what a host calls the time of a file (Unix time), in words where it is no time."""
    try:
        return f"at {rfc3339(datetime.fromtimestamp(int(seconds), UTC))}"
    except (ValueError, OverflowError, OSError):
        return "lately"
