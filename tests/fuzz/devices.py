"""What a device, or somebody in its place, answers: Web API, exports, files seen over SSH."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from distributor.clients.dsm import DsmSession
from distributor.clients.http import Answer, PinnedHttp
from distributor.clients.srm import SrmSession
from distributor.clients.web_api import Account
from distributor.model.errors import (
    AuthRefused,
    HostError,
    ProtocolError,
    Untrusted,
)
from distributor.model.host_keys import HostKey, host_key_trust_of, jump_trust_of, pinning
from distributor.model.hosts import SocketAddress
from distributor.model.secret import DeviceToken, Secret
from distributor.protocol import dsm, dsm_commands, dsm_info, dsm_survey, srm
from distributor.protocol.archive import MEMBER_LIMIT, make_export, members_of, parse_export
from distributor.protocol.folders import pairs_in
from distributor.protocol.known_hosts import known_keys
from distributor.protocol.remote_command import Dialogue, why_sudo_ended
from tests.certs import hierarchy
from tests.fuzz.judging import Target, only, require_harmless

CORPUS: Final = Path(__file__).parents[1] / "corpora" / "dsm"
WANTED: Final = ("cert.pem", "chain.pem", "privkey.pem")


def _answers() -> tuple[bytes, ...]:
    cases = [json.loads(file.read_text("utf-8")) for file in sorted(CORPUS.glob("*.json"))]
    return tuple(json.dumps(case["answer"]).encode() for case in cases if "answer" in case)


def _answer(data: bytes) -> None:
    with only(ProtocolError):
        answer = dsm.parse_answer(200, data)
        if isinstance(answer, dsm.Refusal):
            require_harmless(f"{answer.meaning} {answer.hint}")
            assert len(answer.meaning) < 300
            return
        for look in (_info, _login, _list, _router):
            with only(ProtocolError):
                look(answer)


def _info(data: Mapping[str, Any]) -> None:
    for api in dsm.parse_info(data).values():
        assert api.path
        assert ".." not in api.path
        dsm.login_form(api, "user", "password")


def _login(data: Mapping[str, Any]) -> None:
    device_id = dsm.parse_device_id(data)
    if device_id is not None:
        device_id.reveal().encode("utf-8")  # goes into a form, and into a file
    login = dsm.parse_login(data)
    assert "".join(dsm.session_headers(login).values()).isascii()


def _list(data: Mapping[str, Any]) -> None:
    for entry in dsm.parse_list(data):
        moves = [dsm.Move(service, entry.id, "other") for service in entry.services]
        dsm.call_form(dsm.SERVICE, "set", settings=dsm.moves_value(moves))
        dsm.call_form(dsm.CRT, "set", id=entry.id, desc=entry.description)["id"].encode("utf-8")
        assert entry.valid_from.tzinfo is not None


def _router(data: Mapping[str, Any]) -> None:
    shown = srm.parse_certificate(data)
    assert isinstance(shown.common_name, str)
    assert isinstance(shown.renewable, bool)


class _ScriptedHttp:
    """Answers one after the other; the last one stays."""

    def __init__(self, data: bytes) -> None:
        self._answers = data.split(b"\n--\n")

    def request(self, *_words: object, **more: Any) -> Answer:
        """Answer; what is sent has to be text that can be sent."""
        for text in (more.get("form") or {}).values():
            text.encode("utf-8")
        for text in (more.get("headers") or {}).values():
            text.encode("latin-1")
        answers = self._answers
        body = answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer(502 if body.startswith(b"<") else 200, {}, body)

    def fresh(self) -> None:
        """Do nothing."""

    close = fresh


class _Keeper:
    """Keeps what a file could keep."""

    def refusal(self, _user: str, _password: Secret) -> AuthRefused | None:
        """Return nothing: no login was refused."""

    def note_refusal(self, _user: str, _password: Secret, error: AuthRefused) -> None:
        """See that it can be shown."""
        require_harmless(error.message)

    def token(self, _user: str) -> DeviceToken | None:
        """Return nothing: there is none yet."""

    def keep_token(self, _user: str, token: DeviceToken) -> None:
        """See that a file can hold it."""
        token.id.reveal().encode("utf-8")


def _session(data: bytes) -> None:
    for kind, work in ((DsmSession, _use_diskstation), (SrmSession, _use_router)):
        account = Account(
            user="certs",
            password=lambda: Secret("secret"),
            keeper=_Keeper(),
            one_time_code=lambda: Secret("123456"),
        )
        http = cast("PinnedHttp", _ScriptedHttp(data))
        session = kind(http, account, sleep=lambda _seconds: None, patience=0.0)
        try:
            with only(HostError):
                session.sign_in()
                cast("Callable[[Any], None]", work)(session)
        finally:
            session.close()


def _use_diskstation(session: DsmSession) -> None:
    for entry in session.certificates():
        session.make_default(entry.id, entry.description)
    session.export("id")


def _use_router(session: SrmSession) -> None:
    session.certificate()
    session.export()


def _conversations() -> tuple[bytes, ...]:
    apis = (*DsmSession.needs, *SrmSession.needs)
    told = {name: {"path": "entry.cgi", "minVersion": 1, "maxVersion": 7} for name in apis}
    discovery = _told(told)
    refused = json.dumps({"success": False, "error": {"code": 403}}).encode()
    login = _told({"sid": "sid", "synotoken": "token", "device_id": "device"})
    lists = sorted(filter(_count, _answers()), key=len, reverse=True)
    forgot = json.dumps({"success": False, "error": {"code": 119}}).encode()
    return (
        *(
            b"\n--\n".join((discovery, login, one, *[_told({})] * _count(one), b"PK"))
            for one in lists[:8]
        ),
        b"\n--\n".join((discovery, refused, login, forgot, login, lists[0], _told({}))),
    )


def _count(answer: bytes) -> int:
    """Return how many certificates are in an answer, if it lists any as it should."""
    try:
        return len(dsm.parse_list(json.loads(answer)["data"]))
    except (ProtocolError, KeyError, TypeError, AttributeError):
        return 0


def _told(data: Mapping[str, Any]) -> bytes:
    return json.dumps({"success": True, "data": data}).encode()


def _time(data: bytes) -> None:
    with only(ValueError):
        dsm.parse_time(data.decode("utf-8", "surrogateescape"))


def _archive(data: bytes) -> None:
    for family in ("RSA", "ECC"):
        with only(ProtocolError):
            pair = parse_export(data, family)
            parts = (pair.certificate, pair.chain, pair.private_key)
            assert all(len(part) <= MEMBER_LIMIT for part in parts)
    with only(ProtocolError):
        assert set(members_of(data, WANTED)) <= set(WANTED)


def _archives() -> tuple[bytes, ...]:
    issued = hierarchy(1).issue(["example.com"])
    return (
        make_export(issued.certificate_pem, issued.chain_pem, issued.private_key_pem),
        make_export(b"cert", b"", b"key"),
    )


def _folders(data: bytes) -> None:
    names = set(data.decode("utf-8", "surrogateescape").split("\n"))
    for pair in pairs_in(names):
        assert {pair.certificate, pair.private_key} <= names
        assert pair.chain is None or pair.chain in names


def _archive_info(data: bytes) -> None:
    with only(ProtocolError):
        for entry in dsm_info.parse_info(data):
            for folder in (entry.folder, *(one.folder for one in entry.services)):
                assert not {"", ".", ".."} & set(folder[1:].split("/"))
                assert folder.isprintable() or "\n" not in folder
                folder.encode("utf-8")
    named = dsm_info.parse_default(data)
    assert named is None or named.isascii()


def _survey(data: bytes) -> None:
    with only(ProtocolError):
        survey = dsm_survey.parse_survey(data)
        for path in survey.folders:
            path.encode("utf-8", "surrogateescape")


_INFO: Final = {
    "abCDef": {
        "desc": "wildcard",
        "services": [
            {
                "display_name": "DSM Desktop Service",
                "isPkg": False,
                "owner": "root",
                "service": "default",
                "subscriber": "system",
            }
        ],
        "user_deletable": True,
    },
    "ghIJkl": {"desc": "", "services": []},
}
_SURVEY: Final = (
    b"T /usr/syno/bin/synow3tool\nI INFO\ne30=\n.\nI DEFAULT\nYWJDRGVm\n.\n"
    b"D L3Vzci9zeW5vL2V0Yy9jZXJ0aWZpY2F0ZS9fYXJjaGl2ZS9hYkNEZWY=\n"
    b"S cert.pem 400 0 0 root:root\nS privkey.pem 400 0 0 root:UNKNOWN\n"
    b"H 0a1b cert.pem\nC 0a1b\nYWJj\n.\nH 0a1c privkey.pem\nK 0a1c\nabc\n!\n.\n"
    b"O abCDef\nL L3Vzci9sb2NhbC9ldGMvY2VydGlmaWNhdGUvYS9i\nP 0a1b\nP -\nE\n"
)


def _synowebapi(data: bytes) -> None:
    with only(ProtocolError):
        dsm_commands.webapi_answer(0, data, data.decode("utf-8", "replace"))
    said = data.decode("utf-8", "replace")
    for status in (0, 1, 2):
        for step in (*dsm_commands.reload_steps("dsm6", (), hooks=(), packages=True),):
            require_harmless(dsm_commands.why_failed(step, status, said) or "")


def _known_hosts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for address in (SocketAddress("a" * 60, 22), SocketAddress("nas.example.com", 2222)):
        known = known_keys(text, address)
        shown = HostKey("ssh-ed25519", "SHA256:" + "A" * 43)
        for key in known.keys | known.revoked | {shown}:
            require_harmless(str(key))
        with only(Untrusted):
            host_key_trust_of("nas", host_key=None, pinned=None, known=known).check(shown)
        with only(Untrusted):
            jump_trust_of("admin@gate:22", known).check(shown)
        with only(Untrusted):
            pinning("nas", shown, fingerprint=None, host_key=None, pinned=None, known=known)


_KNOWN_HOSTS: Final = b"""\
nas.example.com,192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA comment
[nas.example.com]:2222 ssh-rsa AAAAB3NzaC1yc2E=
|1|c2FsdA==|ZGlnZXN0 ecdsa-sha2-nistp256 AAAA
@revoked *.example.com,!nas.example.com ssh-ed25519 AAAA
@cert-authority * ssh-rsa AAAA
# comment
*a*a*a*a*a*a*a*a*a*b ssh-rsa AAAA
"""
_TOKEN: Final = "0123456789abcdef"


def _dialogue(data: bytes) -> None:
    dialogue = Dialogue(_TOKEN, 1 << 20)
    for at in range(0, len(data), 1 << 12):
        piece = data[at : at + (1 << 12)]
        out, _, err = piece.partition(b"\0")
        dialogue.heard(out, err)
        ended = dialogue.has_ended and dialogue.has_begun and dialogue.has_shell
        if dialogue.is_too_much or dialogue.prompts > 1 or ended:
            break
    status = dialogue.status
    assert status is None or 0 <= status <= 999
    assert len(dialogue.stdout) + len(dialogue.stderr) <= len(data)
    why_sudo_ended(dialogue.before, password_sent=bool(dialogue.prompts))


_WELL: Final = (
    b"Welcome\n0123456789abcdefboutput0123456789abcdefe0;\0"
    b"0123456789abcdefs0123456789abcdefp0123456789abcdefbwords0123456789abcdefe0;"
)
_SAID: Final = (_WELL, b"\0sudo: 3 incorrect password attempts\nSorry, try again.")

TARGETS: Final[Mapping[str, Target]] = {
    "dsm-answer": Target(harness=_answer, samples=_answers, form="json"),
    "dsm-session": Target(harness=_session, samples=_conversations, takes=False),
    "dsm-time": Target(harness=_time, samples=lambda: (b"Mar  5 10:00:00 2026 GMT",)),
    "dsm-archive-info": Target(
        harness=_archive_info, samples=lambda: (json.dumps(_INFO).encode(),), form="json"
    ),
    "dsm-survey": Target(harness=_survey, samples=lambda: (_SURVEY,)),
    "synowebapi": Target(harness=_synowebapi, samples=_answers, form="json"),
    "export-archive": Target(harness=_archive, samples=_archives, form="zip"),
    "folder-names": Target(
        harness=_folders,
        samples=lambda: (b"cert.pem\nprivkey.pem\nx.crt\nx.issuer.crt\nx.key\nca.cer\nx.cer",),
    ),
    "known-hosts": Target(harness=_known_hosts, samples=lambda: (_KNOWN_HOSTS,), takes=False),
    "remote-command": Target(harness=_dialogue, samples=lambda: _SAID),
}
