"""What makes a DiskStation serve the files that it was given: commands, in order, and their words.

Neither DSM 6 nor DSM 7 does that by itself, and a command that ends with 0 may have done nothing
(dsm-ssh facts 2.1 to 2.4, and 4, 9 of the ten). The web server is told to read its files again; it
is never restarted, which takes Docker and packages along.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from distributor.model.errors import ProtocolError
from distributor.model.text import printable
from distributor.protocol.dsm import Refusal, parse_answer
from distributor.protocol.dsm_info import ARCHIVE, BoundService

Release = Literal["dsm6", "dsm7"]

NGINX_SH: Final = "/usr/syno/etc/rc.sysv/nginx.sh"
SYNOW3TOOL: Final = "/usr/syno/bin/synow3tool"
SYNOSYSTEMCTL: Final = "/usr/syno/bin/synosystemctl"
SYNOWEBAPI: Final = "/usr/syno/bin/synowebapi"
LAYER: Final = "/usr/syno/etc/www/certificate"
"""What the web server of DSM 7 reads; `synow3tool --gen-all` alone fills it."""
ROUTER_FILES: Final = "/usr/syno/etc/ssl/ssl.crt"
OPENSSL: Final = "/usr/bin/openssl"
MARKS: Final = (
    *(f"{ARCHIVE}/INFO", NGINX_SH, SYNOW3TOOL, SYNOSYSTEMCTL, SYNOWEBAPI, LAYER),
    *(ROUTER_FILES, OPENSSL),
)
"""Paths that tell what a box is."""

_SYNOPKG: Final = "/usr/syno/bin/synopkg"
_SERVICECTL: Final = "/usr/syno/sbin/synoservicectl"
_SYSTEMCTL: Final = "/usr/bin/systemctl"
_VPN_RELOAD: Final = "/var/packages/VPNCenter/target/hook/CertReload.sh"
_HOOKS: Final = (
    "/usr/libexec/certificate.d",
    "/usr/local/libexec/certificate.d",
    "/usr/syno/share/certificate.d",
    "/usr/local/share/certificate.d",
)
"""Where reload hooks may be: DSM 7 moved them (dsm-ssh facts 1.1)."""
_WEB: Final = frozenset({"system", "AppPortal", "ReverseProxy", "WebStation"})
"""Subscribers whose certificate the web server itself serves."""
_VPN: Final = "VPNCenter"
_RESTART_ALL_THE_SAME: Final = frozenset({"DirectoryServer", _VPN})
"""Packages that a hook does not bring to serve the new files (dsm-ssh facts 2.2, 2.3)."""
_FTP: Final = "smbftpd"
_SECONDS: Final = 60.0
_SLOW: Final = 300.0
_DEFAULT_MODE: Final = 2
_BAD_WORDS: Final = (
    "cannot sync certificate",
    "certificate is not ok",
    "default mode",
    "fail to ",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command, and how to tell whether it did what it is for."""

    command: tuple[str, ...]
    seconds: float = _SECONDS
    only_if: tuple[str, ...] | None = None
    """A command that ends with 0 where this step is wanted at all: a package is switched on."""
    usual_words: str | None = None
    """What it was seen to say when it came to its end; they may be missing all the same."""
    excused_by: tuple[str, ...] = ()
    """Words with which a failure only says that there was nothing to do."""

    def __str__(self) -> str:
        return " ".join(self.command)


def release_of(there: Collection[str]) -> Release | None:
    """Return which files and tools a box works with, by what exists; None for anything unknown."""
    if not {f"{ARCHIVE}/INFO", SYNOW3TOOL, OPENSSL} <= set(there):
        return None
    if {SYNOSYSTEMCTL, LAYER} <= set(there):
        return "dsm7"
    if NGINX_SH in there and SYNOSYSTEMCTL not in there and LAYER not in there:
        return "dsm6"
    return None


def layer_folder(folder: str) -> str | None:
    """Return from where the web server of DSM 7 reads a copy; None for one that it does not serve.

    What of others may lie in its layer is not known to be kept up to date.
    """
    subscriber, service = folder.split("/")[-2:]
    return f"{LAYER}/{subscriber}_{service}" if subscriber in _WEB else None


def hook_paths(services: Iterable[BoundService]) -> tuple[str, ...]:
    """Return where hooks of these services may be."""
    subscribers = sorted({one.subscriber for one in services if one.subscriber not in _WEB})
    found = [f"{folder}/{name}" for name in subscribers for folder in _HOOKS]
    return (*found, _VPN_RELOAD) if _VPN in subscribers else tuple(found)


def reload_steps(
    release: Release,
    services: Iterable[BoundService],
    *,
    hooks: Collection[str],
    packages: bool,
) -> tuple[Step, ...]:
    """Return what makes the box serve what the folders of `services` hold by now.

    `hooks` are those of `hook_paths` that are there and may be run. Without `packages` no package
    is reloaded or restarted: those go on with what they have read.
    """
    told = [one for one in services if one.subscriber not in _WEB]
    told = [one for one in told if packages or not one.is_package]
    if release == "dsm6":
        return (*_dsm6_services(told, hooks), *_DSM6_WEB, _MODE)
    names = sorted({one.subscriber for one in told if one.is_package})
    restarted = [
        name for name in names if name in _RESTART_ALL_THE_SAME or _hook_of(name, hooks) is None
    ]
    return (
        *_dsm7_services(told, hooks),
        Step(command=(SYNOW3TOOL, "--gen-all"), seconds=_SLOW),
        *(_vpn("copy_cert_only", _is_on(_VPN)) if _VPN in names and _VPN_RELOAD in hooks else ()),
        *(
            Step(command=(_SYNOPKG, "restart", name), seconds=_SLOW, only_if=_is_on(name))
            for name in restarted
        ),
        # No `--restart-dsm-service` after it, with which some scripts end (dsm-ssh facts 2.3): the
        # reload alone serves the new files as well, and that would close port 5001 (facts 6, 8.4).
        Step(command=(SYNOW3TOOL, "--nginx=reload")),
        _MODE,
    )


def why_failed(step: Step, status: int, words: str) -> str | None:
    """Return why a command did not do what it is for; None when it did. `words` is all it said."""
    said = words.casefold()
    if status != 0 and any(excuse in said for excuse in step.excused_by):
        return None
    if step == _MODE:
        return _why_mode(status, said)
    if step == _STATUS and status != 0:
        return (
            f"the web server is switched off ({step} ended with {status}): then its reload does "
            "nothing and ends with 0"
        )
    shown = printable(" ".join(words.split())) or "no words"
    if status != 0:
        return f"{step} ended with {status}: {shown}"
    if any(bad in said for bad in _BAD_WORDS):
        return f"{step} ended with 0, but said: {shown}"
    return None


def webapi_command(api: str, method: str, **values: object) -> tuple[str, ...]:
    """Return a call that root makes of the Web API on the box itself; each value goes as JSON.

    Nothing in it is secret: keys go as paths (dsm-web-api facts 3.2).
    """
    arguments = (
        f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in values.items()
    )
    words = (f"api={api}", f"method={method}", "version=1", *arguments)
    return (SYNOWEBAPI, "--exec-fastwebapi", *words)


def webapi_answer(status: int, stdout: bytes, stderr: str) -> dict[str, Any] | Refusal:
    """Return the data of an answer on stdout, or the box's refusal; stderr has only progress.

    Raises ProtocolError when it is no answer.
    """
    try:
        return parse_answer(status, stdout)
    except ProtocolError as error:
        said = printable(stdout.decode("utf-8", "replace").strip() or stderr.strip()) or "no words"
        raise ProtocolError(
            f"{SYNOWEBAPI} ended with {status} and no answer: {said}",
            hint='is its DSM up to date? method = "files" does without it',
            step="synowebapi",
            code=status,
        ) from error


_MODE: Final = Step(command=(SYNOW3TOOL, "--get-nginx-mod"))
"""Tells whether the web server fell to a configuration without TLS (dsm-ssh facts 2.1)."""
_STATUS: Final = Step(command=(_SERVICECTL, "--status", "nginx"))
"""Without it running the reload of DSM 6 ends with 0 and does nothing (dsm-ssh facts 2.1)."""
_DSM6_WEB: Final = (
    _STATUS,
    # That these words show the reload itself to be reached is inferred (dsm-ssh facts 2.1): without
    # them a handshake decides.
    Step(command=(NGINX_SH, "reload"), seconds=_SLOW, usual_words="alias-register stop/waiting"),
)


def _why_mode(status: int, said: str) -> str | None:
    if status == _DEFAULT_MODE or "default mode" in said:
        return (
            "the web server fell to its default mode, in which it serves no HTTPS at all: DSM "
            "found the certificate's files wanting"
        )
    # Which other answers there are on which version is open; handshakes decide.
    return None


def _dsm6_services(services: Sequence[BoundService], hooks: Collection[str]) -> Iterator[Step]:
    for one in services:
        hook = _hook_of(one.subscriber, hooks)
        only_if = _is_on(one.subscriber) if one.is_package else None
        if hook is not None:
            yield Step(command=(hook, one.service), seconds=_SLOW, only_if=only_if)
        if one.subscriber == _VPN and _VPN_RELOAD in hooks:
            yield from _vpn(one.service, only_if)
        elif one.is_package and hook is None:
            yield Step(
                command=(_SERVICECTL, "--reload", f"pkgctl-{one.subscriber}"),
                seconds=_SLOW,
                excused_by=("service is not enabled or start", "no such service"),
            )


def _dsm7_services(services: Sequence[BoundService], hooks: Collection[str]) -> Iterator[Step]:
    for one in services:
        hook = _hook_of(one.subscriber, hooks)
        if hook is not None:
            only_if = _is_on(one.subscriber) if one.is_package else None
            yield Step(command=(hook, one.service), seconds=_SLOW, only_if=only_if)
        elif one.subscriber == _FTP:
            yield Step(command=(_SYSTEMCTL, "try-restart", "ftpd.service"), seconds=_SLOW)


def _vpn(argument: str, only_if: tuple[str, ...] | None) -> tuple[Step, ...]:
    return (Step(command=(_VPN_RELOAD, argument), seconds=_SLOW, only_if=only_if),)


def _hook_of(subscriber: str, hooks: Collection[str]) -> str | None:
    candidates = (f"{folder}/{subscriber}" for folder in _HOOKS)
    return next((path for path in candidates if path in hooks), None)


def _is_on(package: str) -> tuple[str, ...]:
    return (_SYNOPKG, "is_onoff", package)
