"""One look around on a host by its shell: version, root, programs and clock. It changes nothing."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from distributor.clients.shell import Shell
from distributor.model.errors import DistributorError, ProtocolError
from distributor.model.inside import Inside, WayToRoot

log = logging.getLogger(__name__)

_VERSION: Final = "/etc.defaults/VERSION"
# $1 is how many of the arguments are paths; the others are commands. Lines of the answer:
#   N seconds    its clock
#   U number     who runs this
#   T path       it is there
#   L command    it is not found
#   V key=value  of the file with the version
_LOOK: Final = f"""\
echo "N $(date +%s)"
echo "U $(id -u)"
n=$1; shift
while [ "$n" -gt 0 ]; do [ ! -e "$1" ] || echo "T $1"; shift; n=$((n - 1)); done
for c do command -v "$c" >/dev/null 2>&1 || echo "L $c"; done
if [ -r {_VERSION} ]; then
  while read -r line || [ -n "$line" ]; do printf 'V %s\\n' "$line"; done <{_VERSION}
fi
echo E
"""
_SECONDS: Final = re.compile("[0-9]{1,11}")


@dataclass(frozen=True, slots=True)
class _Told:
    skew: timedelta
    uid: str
    there: frozenset[str]
    lacking: tuple[str, ...]
    release: str


def look_inside(
    shell: Shell,
    *,
    needs_root: Callable[[], bool],
    paths: Sequence[str],
    commands: Sequence[str],
    believed_by: str,
    now: Callable[[], datetime],
) -> Inside:
    """Return what a host shows of itself; raises HostError when it tells nothing.

    `needs_root` may itself raise why root is needed and refused. A password for sudo is sent once,
    if sudo wants one, and not at all if it was refused before.
    """
    told = _look(shell, paths, commands, now, as_root=False)
    root = _root(shell, told.uid, needs_root)
    if root in {"sudo", "sudo with a password"}:
        # Root sees folders that are closed to the account.
        told = _look(shell, paths, commands, now, as_root=True)
    return Inside(
        believed_by=believed_by,
        release=told.release,
        root=root,
        there=told.there,
        lacking=told.lacking,
        skew=told.skew,
    )


def _root(
    shell: Shell, uid: str, needs_root: Callable[[], bool]
) -> WayToRoot | DistributorError | None:
    try:
        if uid == "0":
            return "itself"
        if not needs_root():
            return None
        shell.run(["true"], as_root=True).required("cannot become root", "sudo")
    except DistributorError as error:
        log.info("step=root error=%s", error.kind)
        return error
    # A rule may allow /bin/sh alone, which is all that a delivery asks sudo for.
    free = shell.run(["sudo", "-k", "-n", "--", "/bin/sh", "-c", ":"], as_root=False)
    return "sudo" if free.status == 0 else "sudo with a password"


def _look(
    shell: Shell,
    paths: Sequence[str],
    commands: Sequence[str],
    now: Callable[[], datetime],
    *,
    as_root: bool,
) -> _Told:
    words = ["/bin/sh", "-c", _LOOK, "sh", str(len(paths)), *paths, *commands]
    said = shell.run(words, as_root=as_root).required("cannot look around on the host", "check")
    at = now()
    lines = [line.partition(" ") for line in said.decode("utf-8", "replace").splitlines()]
    found: dict[str, list[str]] = {kind: [] for kind in "NUTLV"}
    for kind, _, rest in lines:
        found.get(kind, []).append(rest)
    seconds, uid = "".join(found["N"]), "".join(found["U"])
    if not (_SECONDS.fullmatch(seconds) and uid.isdigit() and lines[-1][0] == "E"):
        raise ProtocolError(
            "the host's tools answer something else than expected",
            hint="is this a Linux host with the usual tools?",
            step="check",
        )
    return _Told(
        skew=timedelta(seconds=int(seconds) - int(at.timestamp())),
        uid=uid,
        there=frozenset(found["T"]),
        lacking=tuple(found["L"]),
        release=_release(found["V"]),
    )


def _release(lines: Sequence[str]) -> str:
    """Return what the file says of the version; its shape is not documented (dsm-ssh facts 8.2)."""
    told = {
        key: value.strip().strip('"')
        for key, equals, value in (line.partition("=") for line in lines)
        if equals
    }
    number = "-".join(filter(None, (told.get("productversion"), told.get("buildnumber"))))
    return " ".join(filter(None, (told.get("os_name"), number)))
