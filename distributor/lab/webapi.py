"""What the Web APIs of DSM and SRM share: calls and envelopes, discovery, logins, uploads.

What each of them does with certificates is a class of its own (dsm-web-api facts §1, §2, §7).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from distributor.lab.accounts import NO_TOKEN, Accounts, Login, LoginRefusedError, Session
from distributor.lab.box_state import BoxState, Change, RefusedError
from distributor.lab.calls import Answer, ApiError, Call, html_page
from distributor.lab.knobs import Knobs, Profile
from distributor.lab.material import Material, UploadError, UploadRules, read_upload

AUTH: Final = "SYNO.API.Auth"
INFO: Final = "SYNO.API.Info"
CERTIFICATE: Final = "SYNO.Core.Certificate"
CRT: Final = "SYNO.Core.Certificate.CRT"
SERVICE: Final = "SYNO.Core.Certificate.Service"

WRITES: Final = frozenset(
    {(CERTIFICATE, "import"), (CRT, "set"), (CRT, "delete"), (SERVICE, "set")}
)
_VERSION_OF_UI_LOGIN = 7
_VERSION_OF_TOKENS = 6

Method = Callable[[Call], Answer]
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Inside:
    """What a Web API works on: the box behind it."""

    state: BoxState
    accounts: Accounts
    profile: Profile
    knobs: Callable[[], Knobs]
    pause: Callable[[float], object]
    """Waits so many seconds, or until the box stops."""


class WebApi(ABC):
    """Answers calls for one box; what a call did to the box is told in the answer's `change`."""

    no_manager_code = 105

    def __init__(self, inside: Inside) -> None:
        self.state = inside.state
        self.accounts = inside.accounts
        self.profile = inside.profile
        self.knobs = inside.knobs
        self.pause = inside.pause
        self.open_methods: dict[tuple[str, str], Method] = {
            (INFO, "query"): self._info,
            (AUTH, "login"): self._login,
            (AUTH, "logout"): self._logout,
        }
        self.admin_methods: dict[tuple[str, str], Method] = {}

    @abstractmethod
    def advertised(self) -> dict[str, dict[str, Any]]:
        """Return what SYNO.API.Info tells: path and versions of each API."""

    @abstractmethod
    def programs(self) -> Mapping[str, Collection[str]]:
        """Return which APIs each program under /webapi/ serves."""

    @abstractmethod
    def upload_rules(self) -> UploadRules:
        """Return what this box refuses of uploads."""

    def answer(self, call: Call) -> Answer:
        """Do what is asked and answer it; errors are answers too."""
        programs = self.programs()
        if call.program not in programs:
            return html_page(404)
        try:
            return self._perform(call, programs[call.program])
        except ApiError as error:
            told: dict[str, object] = {"code": error.code}
            if error.errors is not None:
                told["errors"] = error.errors
            return self._json({"error": told, "success": False})
        except (RefusedError, UploadError) as error:
            return self._json({"error": {"code": error.code}, "success": False})

    def restarts_web_server(self, change: Change) -> bool:
        """Whether the web server restarts for a change; for a new default that is inferred."""
        web = {service.key for service in self.state.services if service.is_web}
        return change.touches_default or bool(change.services & web)

    def _perform(self, call: Call, served: Collection[str]) -> Answer:
        wanted = call.parameters.get("version", "")
        if not call.api or not call.method or not wanted:
            raise ApiError(101)
        if call.api not in served:
            raise ApiError(102)
        advertised = self.advertised()[call.api]
        if not wanted.isascii() or not wanted.isdigit():
            raise ApiError(104)
        if not advertised["minVersion"] <= int(wanted) <= advertised["maxVersion"]:
            raise ApiError(104)
        if call.api == AUTH and int(wanted) < self.profile.auth_floor:
            raise ApiError(103)
        name = (call.api, call.method)
        if name in self.open_methods:
            return self.open_methods[name](call)
        if name not in self.admin_methods:
            raise ApiError(103)
        self._admitted(call)
        return self.admin_methods[name](call)

    # -- sessions ------------------------------------------------------------------------------

    def session_of(self, call: Call) -> Session:
        """Return the session of a call; raises ApiError where there is none."""
        knobs = self.knobs()
        session = self.accounts.session(call.sid, knobs.session_idle_seconds)
        is_dsm6 = self.profile.system == "dsm6"
        lost = knobs.session_lost_code or (106 if is_dsm6 else 119)
        if session is None:
            raise ApiError(lost)
        if session.peer != call.peer:
            raise ApiError(lost if is_dsm6 else 150)
        return session

    def _admitted(self, call: Call) -> None:
        session = self.session_of(call)
        if session.token and call.token != session.token:
            raise ApiError(self.knobs().token_missing_code)
        if not session.account.admin or not self.accounts.may_manage(session.account):
            raise ApiError(self.no_manager_code)

    # -- answers -------------------------------------------------------------------------------

    def _json(self, document: Mapping[str, object], headers: Headers = ()) -> Answer:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        plain = 'text/plain; charset="UTF-8"'
        content_type = plain if self.knobs().plain_text else self.profile.content_type
        return Answer(200, content_type, text.encode("utf-8"), headers)

    def done(
        self,
        call: Call,
        data: Mapping[str, object] | None = None,
        headers: Headers = (),
        change: Change | None = None,
    ) -> Answer:
        """Answer a success, without its data where the knobs say so."""
        document: dict[str, object] = {"success": True}
        if data is not None and call.method not in self.knobs().data_absent:
            document["data"] = data
        return replace(self._json(document, headers), change=change)

    def changed(self, call: Call, change: Change, data: Mapping[str, object]) -> Answer:
        """Answer a change with the keys the knobs leave over."""
        knobs = self.knobs()
        absent = {"restart_httpd"} if knobs.restart_httpd_absent else set()
        absent |= {"id"} if knobs.id_absent else set()
        told = {key: value for key, value in data.items() if key not in absent}
        return self.done(call, told, change=change)

    # -- without a session ---------------------------------------------------------------------

    def _info(self, call: Call) -> Answer:
        """Tell of a name, a comma list, `all`, or a prefix ending in a dot; skip unknown ones."""
        wanted = call.parameters.get("query", "all").split(",")
        found = {
            name: told
            for name, told in self.advertised().items()
            if any(
                want in {"all", name} or (want.endswith(".") and name.startswith(want))
                for want in wanted
            )
        }
        return self.done(call, found)

    def _login(self, call: Call) -> Answer:
        busy = self.knobs().login_busy_code
        if busy is not None:
            raise ApiError(busy)
        try:
            login = self.accounts.login(call.parameters, call.peer, self.knobs())
        except LoginRefusedError as refusal:
            errors = None
            if refusal.second_step and self.profile.system == "dsm7":
                errors = {"token": refusal.second_step, "types": [{"type": "otp"}]}
            raise ApiError(refusal.code, errors) from refusal
        headers = []
        if call.parameters.get("format", "cookie") != "sid":
            week = "max-age=604800;path=/;HttpOnly"
            headers.append(("Set-Cookie", f"id={login.session.sid};{week}"))
            if login.device_id:
                headers.append(("Set-Cookie", f"did={login.device_id};path=/;HttpOnly"))
        return self.done(call, self.login_data(call, login), tuple(headers))

    def login_data(self, call: Call, login: Login) -> dict[str, object]:
        """Shape the data by the version of the call (facts §2.2)."""
        version = int(call.parameters["version"])
        token = login.session.token
        data: dict[str, object] = {"sid": login.session.sid}
        if token or version >= _VERSION_OF_TOKENS:
            data["synotoken"] = token or NO_TOKEN
        if version >= _VERSION_OF_TOKENS:
            data["is_portal_port"] = False
        if version >= _VERSION_OF_UI_LOGIN:
            data["account"] = login.session.account.name
            data["device_id"] = login.device_id
            if not self.knobs().login_without_ik_message:
                data["ik_message"] = ""
        elif login.device_id:
            data["did"] = login.device_id
        return data

    def _logout(self, call: Call) -> Answer:
        """Success in any case; without a session id nobody is logged out (facts §2.6)."""
        self.accounts.logout(call.sid)
        return self.done(call)

    # -- uploads -------------------------------------------------------------------------------

    def uploaded(self, call: Call) -> Material:
        """Return the files of an import; raises ApiError or UploadError."""
        refused = self.knobs().import_refused_code
        if refused is not None:
            raise ApiError(refused)
        if call.broken_form:
            raise ApiError(108)
        unsafe = self.profile.refuses_unsafe_file_names
        if unsafe and any(set("/\\") & set(part.filename or "") for part in call.files.values()):
            raise ApiError(108, {"upload_err": -8})
        if "key" not in call.files or "cert" not in call.files:
            raise ApiError(114)
        chain = call.files.get("inter_cert")
        if chain is not None and not chain.filename and not chain.content:
            chain = None  # what a browser sends for a file that was not chosen
        return read_upload(
            call.files["cert"].content,
            call.files["key"].content,
            None if chain is None else chain.content,
            self.upload_rules(),
        )
