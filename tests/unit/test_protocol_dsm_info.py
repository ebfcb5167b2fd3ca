"""INFO of a box's archive: what DSM writes is read, what is damaged is refused."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.shell import checked_path
from distributor.model.errors import ProtocolError
from distributor.protocol.dsm_commands import Release, hook_paths, reload_steps
from distributor.protocol.dsm_info import BoundService, parse_default, parse_info

DSM6 = b"""{
   "3xTgtK" : {
      "desc" : "home",
      "services" : [
         {
            "display_name" : "DSM Desktop Service",
            "display_name_i18n" : "common:web_desktop",
            "isPkg" : false,
            "owner" : "root",
            "service" : "default",
            "subscriber" : "system"
         }
      ]
   }
}
"""


def with_services(*services: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"8ec29f37": {"desc": "x", "services": services, **more}}).encode()


def service(**more: Any) -> dict[str, Any]:
    return {"subscriber": "system", "service": "default", "isPkg": False, **more}


def test_what_dsm_6_writes_is_read() -> None:
    (entry,) = parse_info(DSM6)
    assert (entry.id, entry.description, entry.user_deletable) == ("3xTgtK", "home", True)
    (bound,) = entry.services
    assert (bound.id, bound.display_name) == ("system/default", "DSM Desktop Service")
    assert bound.folder == "/usr/syno/etc/certificate/system/default"
    assert entry.folder == "/usr/syno/etc/certificate/_archive/3xTgtK"


def test_what_only_dsm_7_tells_is_read() -> None:
    (entry,) = parse_info(with_services(service(user_setable=True), user_deletable=False))
    assert not entry.user_deletable


def test_a_package_has_its_folder_elsewhere_and_may_have_no_name() -> None:
    drive = {"subscriber": "SynologyDrive", "service": "SynologyDrive", "isPkg": True}
    (entry,) = parse_info(with_services(drive))
    (bound,) = entry.services
    assert bound == BoundService(
        subscriber="SynologyDrive", service="SynologyDrive", display_name="", is_package=True
    )
    assert bound.folder == "/usr/local/etc/certificate/SynologyDrive/SynologyDrive"


def test_an_archive_may_be_empty() -> None:
    assert parse_info(b"{}") == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b'{"a": {"services": []', "cannot be read"),
        (b"[]", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"a": {"desc": "x"}}', "services"),
        (b'{"a": {"desc": "x", "services": {}}}', "a has no list of services"),
        (b'{"a": {"desc": 1, "services": []}}', "no text"),
        (b'{"a": []}', "cannot be read"),
        (b'{"a": {"services": []}, "a": {"services": []}}', "a key stands there twice"),
        (b'{"../x": {"services": []}}', "'../x' is no id"),
        (b'{"": {"services": []}}', "is no id"),
        (with_services(service(subscriber="..")), "is no part of a path"),
        (with_services(service(service="a/b")), "is no part of a path"),
        (with_services(service(service="a\nb")), "is no part of a path"),
        (with_services(service(service="")), "is no part of a path"),
        (with_services(service(subscriber="--nginx=reload")), "is no part of a path"),
        (b'{"-rf": {"services": []}}', "is no id"),
        (with_services(service(isPkg="false")), "no truth value"),
        (with_services({"subscriber": "system"}), "service"),
        (with_services(service(display_name="\ud800")), "cannot be read"),
        (with_services(service(), user_deletable="no"), "no truth value"),
    ],
)
def test_what_is_damaged_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match="is damaged") as caught:
        parse_info(content)
    assert words in caught.value.message
    assert "Control Panel > Security > Certificate" in str(caught.value)


def test_a_service_that_two_entries_have_is_refused() -> None:
    told = {"a": {"services": [service()]}, "b": {"services": [service(display_name="x")]}}
    with pytest.raises(ProtocolError, match="system/default is bound to a and to b"):
        parse_info(json.dumps(told).encode())


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"3xTgtK\n", "3xTgtK"), (b"8ec29f37", "8ec29f37"), (b"", None), (b"../a\n", None)],
)
def test_the_default_is_an_id_or_nothing(content: bytes, wanted: str | None) -> None:
    assert parse_default(content) == wanted


@given(st.dictionaries(st.text(), st.lists(st.tuples(st.text(), st.text()))))
def test_whatever_is_read_makes_paths_that_stay_below_their_folder(
    told: dict[str, list[tuple[str, str]]],
) -> None:
    info = {
        key: {"services": [{"subscriber": one, "service": two} for one, two in pairs]}
        for key, pairs in told.items()
    }
    try:
        entries = parse_info(json.dumps(info).encode())
    except ProtocolError:
        return
    for entry in entries:
        assert checked_path(entry.folder).count("/") == 6
        for bound in entry.services:
            assert bound.folder.startswith("/usr/syno/etc/certificate/")
            assert bound.folder.count("/") == 6


# What a path or a command line could be led astray by, far more often than by chance.
_ODD = st.text(alphabet="aZ9-./$`;|&<>*?'\"\\ \n\t\0\x7f\u2028\u00e9", max_size=6)


@given(st.text() | _ODD, st.text() | _ODD, st.text() | _ODD, st.booleans())
def test_whatever_is_read_is_a_word_of_a_command_and_none_of_its_options(
    key: str, subscriber: str, name: str, is_package: bool
) -> None:
    told = {"subscriber": subscriber, "service": name, "isPkg": is_package}
    try:
        (entry,) = parse_info(json.dumps({key: {"services": [told]}}).encode())
    except ProtocolError:
        return
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", entry.id)
    for path in (entry.folder, entry.services[0].folder, *hook_paths(entry.services)):
        if checks(path):
            assert path.startswith("/")
            assert ".." not in path.split("/")
    for release in RELEASES:
        for hooks in (set(hook_paths(entry.services)), set[str]()):
            for step in reload_steps(release, entry.services, hooks=hooks, packages=True):
                for command in (step.command, step.only_if or ()):
                    own = [word for word in command if word.startswith("-")]
                    assert set(own) <= OPTIONS
                    assert all(ord(char) >= 32 for word in command for char in word)


OPTIONS = {"--gen-all", "--nginx=reload", "--get-nginx-mod", "--reload", "--status"}
RELEASES: tuple[Release, ...] = ("dsm6", "dsm7")


def checks(path: str) -> bool:
    """Whether a path is let into a command; what is not ends the delivery before it begins."""
    try:
        return checked_path(path) == path
    except ProtocolError:
        return False
