"""Runs what makes a DiskStation serve new files, and believes neither status nor words alone."""

import logging
from collections.abc import Iterable
from typing import Final

from distributor.clients.shell import Shell
from distributor.model.errors import ApplyFailed, DeliveryError, Unreachable
from distributor.protocol.dsm_commands import Release, Step, hook_paths, reload_steps, why_failed
from distributor.protocol.dsm_info import BoundService
from distributor.targets.remote_lock import RemoteLock

log = logging.getLogger(__name__)

_EXECUTABLE: Final = 0o111


class Reload:
    """The services of one box; `packages` says whether packages may be restarted."""

    def __init__(self, shell: Shell, lock: RemoteLock, *, packages: bool) -> None:
        self._shell = shell
        self._lock = lock
        self._packages = packages

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
            status, _ = self._said(step.only_if, step.seconds)
            if status != 0:
                log.info("step=reload command=%s left_out=off", step)
                return None
        status, words = self._said(step.command, step.seconds)
        why = why_failed(step, status, words)
        log.info("step=reload command=%s status=%d well=%s", step, status, why is None)
        if why is None:
            return None
        return ApplyFailed(
            why, hint="run it there by hand and look at what it says", step="reload", code=status
        )

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
