"""What is to be said of a host that is reached by SSH, judged from what was seen of it. Pure.

Of home folder and `/tmp` nothing is asked: a delivery puts nothing there and runs nothing from
there, and where a home folder keeps a key from letting in, the refused login says so.
"""

import re
from collections.abc import Iterator
from typing import Final

from distributor.checking.remarks import Remark, clock_remark, error_remark
from distributor.model.errors import DistributorError
from distributor.model.hosts import Host, SshAccess
from distributor.model.inside import Inside
from distributor.model.text import printable
from distributor.protocol.dsm_commands import (
    LAYER,
    MARKS,
    NGINX_SH,
    OPENSSL,
    ROUTER_FILES,
    SYNOSYSTEMCTL,
    SYNOW3TOOL,
    SYNOWEBAPI,
    release_of,
)

_SERVICECFG: Final = "/usr/syno/sbin/synoservicecfg"
_INFO: Final = MARKS[0]
PATHS: Final = (*MARKS, _SERVICECFG)
"""Paths that tell what a device is, and what a delivery to it can work with."""
_TOOLS: Final = (
    *("cat", "chmod", "chown", "cp", "date", "id", "ln", "mkdir", "mv", "readlink", "rm"),
    *("sleep", "stat", "wc"),
)
_SURVEY_TOOLS: Final = ("base64", "sha256sum", "tr")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_DSM: Final = {"dsm6": "DSM 6", "dsm7": "DSM 7"}
_CLOCK: Final = {
    "diskstation": "Control Panel > Regional Options > Time",
    "router": "in SRM's Control Panel",
    "files": "such as timedatectl set-ntp true",
}


def commands(host: Host) -> tuple[str, ...]:
    """Return the commands that a delivery to a host runs and that have to be found there."""
    if host.kind == "diskstation":
        return (*_TOOLS, *_SURVEY_TOOLS)
    reload = host.files.reload if host.files is not None else None
    # The first word of a shell command; one with a path may be where only root can look.
    words = (reload or "").split(maxsplit=1)
    return (*_TOOLS, *(one for one in words[:1] if _NAME.fullmatch(one)))


def judge_inside(
    host: Host, inside: Inside | DistributorError, *, is_read: bool
) -> Iterator[Remark]:
    """Give what is to be said of a host's inside; `is_read` when its certificates could be read.

    Where they could not, the error that says why is told already, and not once more.
    """
    about = f"host {host.name}"
    if isinstance(inside, DistributorError):
        if is_read:
            yield error_remark(about, inside, "host")
        return
    yield from clock_remark(about, inside.skew, _CLOCK[host.kind])
    if isinstance(inside.root, DistributorError) and is_read:
        yield error_remark(about, inside.root, "rights")
    yield from _tools(host, inside)
    if is_read:
        yield _seen(host, inside)


def _tools(host: Host, inside: Inside) -> Iterator[Remark]:
    """Name what a delivery would run and is not there."""
    if inside.lacking:
        yield Remark(
            name="tools",
            about=f"host {host.name}",
            message=f"it has no {', '.join(map(printable, inside.lacking))}, which a delivery runs",
            hint="install what is missing there, or correct `reload`; commands are looked for in "
            "the system's folders for programs alone",
        )
    missing = _missing(host, inside.there)
    if missing:
        by_dsm = _method(host) == "synowebapi"
        yield Remark(
            name="tools",
            about=f"host {host.name}",
            message=f"it has no {', '.join(missing)}, which a delivery needs",
            hint='use via = "api"'
            + (', or method = "files"' if by_dsm and SYNOWEBAPI in missing else ""),
        )


def _missing(host: Host, there: frozenset[str]) -> tuple[str, ...]:
    needed: tuple[str, ...] = ()
    # That it is another device, reading its certificates has told.
    if host.kind == "router" and _INFO not in there and ROUTER_FILES in there:
        needed = (_SERVICECFG,)
    elif host.kind == "diskstation" and _INFO in there:
        # How the web server is told of new files, on DSM 7 and on DSM 6.
        served_by = (LAYER,) if SYNOSYSTEMCTL in there else (NGINX_SH,)
        imported_by = (SYNOWEBAPI,) if _method(host) == "synowebapi" else ()
        needed = (SYNOW3TOOL, OPENSSL, *served_by, *imported_by)
    return tuple(path for path in needed if path not in there)


def _seen(host: Host, inside: Inside) -> Remark:
    """Tell what was found, so that a person can see that it is the box that is meant."""
    release = release_of(inside.there)
    told = [f"its host key is that of {inside.believed_by}"]
    if host.kind == "diskstation" and release is not None:
        told.append(f"its files and tools are those of {_DSM[release]}")
    if host.kind == "router":
        told.append("its files are those of SRM")
    if inside.release:
        told.append(f"it calls itself {printable(inside.release)}")
    rights = {
        None: "writes the files without being root",
        "itself": "is root",
        "sudo": "becomes root by sudo, without a password",
        "sudo with a password": "becomes root by sudo with a password",
    }
    if not isinstance(inside.root, DistributorError):
        told.append(f"'{printable(host.access.user)}' {rights[inside.root]}")
    return Remark(
        name="ssh",
        about=f"host {host.name}",
        message="; ".join(told),
        hint=f"see what a delivery would do: distribute --host {host.name} --dry-run",
        is_finding=False,
    )


def _method(host: Host) -> str | None:
    return host.access.method if isinstance(host.access, SshAccess) else None
