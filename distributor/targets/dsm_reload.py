"""Runs what makes a DiskStation serve new files, and believes neither status nor words alone."""

import logging
from collections.abc import Iterable
from typing import Final

from distributor.clients.shell import Shell
from distributor.model.errors import ApplyFailed, DeliveryError, Unreachable
from distributor.model.text import printable
from distributor.protocol.dsm_commands import Release, Step, hook_paths, reload_steps, why_failed
from distributor.protocol.dsm_info import BoundService
from distributor.protocol.dsm_survey import OWED
from distributor.targets.remote_lock import RemoteLock

log = logging.getLogger(__name__)

_EXECUTABLE: Final = 0o111
_NOT_RUN: Final = frozenset({126, 127})
"""Exit statuses of the shell for a command that cannot be run, or is not there."""
# The arguments are the folder and what each file in it is called.
_OWE: Final = (
    'umask 077; mkdir -p -- "$1" && cd -- "$1" && shift && for n do : >"./$n" || exit; done'
)


class Reload:
    """The services of one box; `packages` says whether packages may be restarted."""

    def __init__(self, shell: Shell, lock: RemoteLock, *, packages: bool) -> None:
        self._shell = shell
        self._lock = lock
        self._packages = packages

    def owe(self, entry_ids: Iterable[str]) -> None:
        """Note on the box that what serves these entries has to be told, until `settle`.

        Whoever looks at the box finds it, also when this run is cut off.
        """
        words = ["/bin/sh", "-c", _OWE, "sh", OWED, *sorted(entry_ids)]
        self._lock.run(words).required("cannot note what is under way", "write")

    def settle(self, entry_ids: Iterable[str]) -> None:
        """Take that back: it was told."""
        paths = [f"{OWED}/{one}" for one in sorted(entry_ids)]
        if paths:
            self._lock.run(["rm", "-f", "--", *paths]).required(
                "cannot remove the note of what was under way", "write"
            )

    def run(
        self, release: Release, services: Iterable[BoundService], *, to_the_end: bool = False
    ) -> None:
        """Have these services, and the web server, read their files again.

        Raises ApplyFailed at the first command that did not do so, with its words; with
        `to_the_end` only after all of the others ran too. Unreachable when the connection is lost.
        """
        served = tuple(services)
        steps = reload_steps(release, served, hooks=self._hooks(served), packages=self._packages)
        failure: DeliveryError | None = None
        for step in steps:
            found = self._run(step)
            if found is not None and not to_the_end:
                raise found
            failure = failure or found
        if failure is not None:
            raise failure

    def _hooks(self, services: tuple[BoundService, ...]) -> set[str]:
        found = self._shell.look(hook_paths(services), as_root=True)
        return {
            path
            for path, facts in found.items()
            if facts is not None
            and facts.kind in {"file", "link"}
            and int(facts.mode, 8) & _EXECUTABLE
        }

    def _run(self, step: Step) -> DeliveryError | None:
        """Run one command; return why it did not do what it is for."""
        if step.only_if is not None:
            status, words = self._said(step.only_if, step.seconds)
            if status in _NOT_RUN:
                return _failed(f"{' '.join(step.only_if)} cannot be run: {_shown(words)}", status)
            if status != 0:
                log.info("step=reload command=%s left_out=off", step)
                return None
        status, words = self._said(step.command, step.seconds)
        why = why_failed(step, status, words)
        log.info("step=reload command=%s status=%d well=%s", step, status, why is None)
        if why is not None:
            return _failed(why, status)
        if step.usual_words is not None and step.usual_words not in words.casefold():
            log.warning("step=reload command=%s unsure=yes said=%s", step, _shown(words))
        return None

    def _said(self, command: tuple[str, ...], seconds: float) -> tuple[int, str]:
        result = self._lock.run(command, seconds=seconds)
        if result.status is None:
            raise Unreachable(
                f"the connection was lost while the box ran {' '.join(command)}",
                hint="look at the host: it may have done all or nothing of it",
                step="reload",
            )
        said = b"\n".join((result.stdout, result.stderr))
        return result.status, said.decode("utf-8", "replace")


def _failed(why: str, status: int) -> ApplyFailed:
    hint = "run it there by hand and look at what it says"
    return ApplyFailed(why, hint=hint, step="reload", code=status)


def _shown(words: str) -> str:
    return printable(" ".join(words.split())) or "no words"
