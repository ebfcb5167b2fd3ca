"""What is said of a host that is reached by SSH, judged from what was seen of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.checking.remarks import Remark
from distributor.checking.shells import PATHS, commands, judge_inside
from distributor.model.errors import AuthRefused, ProtocolError
from distributor.model.hosts import Host, PemPaths, SshAccess
from distributor.model.inside import Inside

DSM = (
    "/usr/syno/etc/certificate/_archive/INFO",
    "/usr/syno/bin/synow3tool",
    "/usr/bin/openssl",
)
DSM6 = frozenset({*DSM, "/usr/syno/etc/rc.sysv/nginx.sh"})
DSM7 = frozenset({*DSM, "/usr/syno/bin/synosystemctl", "/usr/syno/etc/www/certificate"})
SOUND = Inside(
    believed_by="trust.toml",
    release="DSM 7.2",
    root="itself",
    there=DSM7,
    lacking=(),
    skew=timedelta(0),
)


def host(kind: Any = "diskstation", *, reload: str | None = None, **access: Any) -> Host:
    files = PemPaths(combined="/etc/ssl/one.pem", reload=reload) if kind == "files" else None
    return Host(
        name="cellar",
        kind=kind,
        via="ssh",
        address="192.0.2.1",
        access=SshAccess(port=22, user="certs", **access),
        deliveries=(),
        endpoints=(),
        files=files,
    )


def said(box: Host | None = None, *, is_read: bool = True, **seen: Any) -> list[Remark]:
    return list(judge_inside(box or host(), replace(SOUND, **seen), is_read=is_read))


def test_of_a_sound_host_one_note_tells_what_it_is() -> None:
    (note,) = said()
    assert not note.is_finding
    assert note.message == (
        "its host key is that of trust.toml; its files and tools are those of DSM 7; it calls "
        "itself DSM 7.2; 'certs' is root"
    )
    assert "--host cellar --dry-run" in note.hint


@pytest.mark.parametrize(
    ("box", "there", "missing"),
    [
        (host(method="synowebapi"), DSM7, "/usr/syno/bin/synowebapi"),
        (host(), DSM7 - {"/usr/syno/etc/www/certificate"}, "/usr/syno/etc/www/certificate"),
        (host(), DSM6 - {"/usr/syno/etc/rc.sysv/nginx.sh"}, "/usr/syno/etc/rc.sysv/nginx.sh"),
        (host(), DSM6 - {"/usr/bin/openssl"}, "/usr/bin/openssl"),
        (host("router"), {"/usr/syno/etc/ssl/ssl.crt"}, "/usr/syno/sbin/synoservicecfg"),
    ],
)
def test_what_a_delivery_would_lack_is_a_finding(box: Host, there: Any, missing: str) -> None:
    (finding,) = (one for one in said(box, there=frozenset(there)) if one.is_finding)
    assert finding.name == "tools"
    assert finding.message == f"it has no {missing}, which a delivery needs"
    assert 'via = "api"' in finding.hint
    assert ('method = "files"' in finding.hint) == ("synowebapi" in missing)


@pytest.mark.parametrize("there", [DSM6, DSM7])
def test_what_other_ways_need_is_not_asked_for(there: frozenset[str]) -> None:
    assert not [one for one in said(there=there) if one.is_finding]


def test_an_error_is_told_once() -> None:
    refused = AuthRefused("sudo refuses", hint="correct it", step="sudo")
    (finding, _) = said(root=refused)
    assert (finding.name, finding.message, finding.hint) == ("rights", "sudo refuses", "correct it")
    assert said(root=refused, is_read=False) == []
    failure = ProtocolError("odd", hint="look")
    assert [one.name for one in judge_inside(host(), failure, is_read=True)] == ["host"]
    assert list(judge_inside(host(), failure, is_read=False)) == []


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_a_clock_counts_from_five_minutes_on(seconds: int) -> None:
    named = [one for one in said(skew=timedelta(seconds=seconds)) if one.name == "clock"]
    assert bool(named) == (abs(seconds) > 300)
    for one in named:
        assert ("ahead of" in one.message) == (seconds > 0)


@pytest.mark.parametrize(
    ("reload", "asked"),
    [
        ("docker kill -s HUP traefik", "docker"),
        ("cd /x && ./reload", "cd"),
        ("/usr/local/bin/reload", None),
        ("NAME=1 reload", None),
        ("(true)", None),
        ("", None),
        (None, None),
    ],
)
def test_of_a_reload_command_a_plain_first_word_is_asked_for(
    reload: str | None, asked: str | None
) -> None:
    tools = set(commands(host("files")))
    assert set(commands(host("files", reload=reload))) - tools == ({asked} if asked else set())
    assert {"cat", "stat", "mv"} <= tools
    assert {"base64", "sha256sum"} <= set(commands(host()))


def test_foreign_text_is_shown_safely() -> None:
    (note,) = said(release="DSM \x1b[31m7")
    assert "\x1b" not in note.message
    assert all(path.startswith("/") for path in PATHS)
