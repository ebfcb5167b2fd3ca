"""The Web API of a virtual DiskStation: a call in, an answer out (dsm-web-api facts §1-3, §7)."""

import base64
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from distributor.lab.accounts import NO_TOKEN, Accounts, Login, LoginRefusedError, Session
from distributor.lab.box_state import BoxState, Change, RefusedError
from distributor.lab.calls import Answer, ApiError, Call, html_page, json_value, text_value
from distributor.lab.knobs import Knobs, Profile
from distributor.lab.material import UploadError, read_upload

_AUTH = "SYNO.API.Auth"
_INFO = "SYNO.API.Info"
_UI_CONFIG = "SYNO.API.Auth.UIConfig"
_CERTIFICATE = "SYNO.Core.Certificate"
_CRT = "SYNO.Core.Certificate.CRT"
_SERVICE = "SYNO.Core.Certificate.Service"

WRITES: Final = frozenset(
    {(_CERTIFICATE, "import"), (_CRT, "set"), (_CRT, "delete"), (_SERVICE, "set")}
)
_VERSION_OF_UI_LOGIN = 7
_VERSION_OF_TOKENS = 6


class WebApi:
    """Answers calls for one box; what a call did to the box is told in the answer's `change`."""

    def __init__(
        self,
        state: BoxState,
        accounts: Accounts,
        profile: Profile,
        knobs: Callable[[], Knobs],
        pause: Callable[[float], object],
    ) -> None:
        self._state = state
        self._accounts = accounts
        self._profile = profile
        self._knobs = knobs
        self._pause = pause
        noise_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
        self._ssid = base64.urlsafe_b64encode(noise_key).rstrip(b"=").decode("ascii")
        entry = {"maxVersion": 1, "minVersion": 1, "path": "entry.cgi"}
        least, most = profile.auth_versions
        self._apis: dict[str, dict[str, Any]] = {
            _AUTH: {"maxVersion": most, "minVersion": least, "path": profile.auth_path},
            _UI_CONFIG: entry,
            _INFO: entry,
            _CERTIFICATE: {**entry, "requestFormat": "JSON"},
            _CRT: {**entry, "requestFormat": "JSON"},
            _SERVICE: {**entry, "requestFormat": "JSON"},
        }
        self._open_methods: dict[tuple[str, str], Callable[[Call], Answer]] = {
            (_INFO, "query"): self._info,
            (_AUTH, "login"): self._login,
            (_AUTH, "logout"): self._logout,
            (_UI_CONFIG, "get"): self._ui_config,
        }
        self._admin_methods: dict[tuple[str, str], Callable[[Call], Answer]] = {
            (_CERTIFICATE, "import"): self._import,
            (_CERTIFICATE, "export"): self._export,
            (_CRT, "list"): self._list,
            (_CRT, "set"): self._set,
            (_CRT, "delete"): self._delete,
            (_SERVICE, "set"): self._bind,
        }

    def answer(self, call: Call) -> Answer:
        """Do what is asked and answer it; errors are answers too."""
        served = {"query.cgi": {_INFO}, "auth.cgi": {_AUTH}, "entry.cgi": self._apis.keys()}
        if call.program not in served:
            return html_page(404)
        try:
            return self._perform(call, served[call.program])
        except ApiError as error:
            told: dict[str, object] = {"code": error.code}
            if error.errors is not None:
                told["errors"] = error.errors
            return self._json({"error": told, "success": False})
        except (RefusedError, UploadError) as error:
            return self._json({"error": {"code": error.code}, "success": False})

    def _perform(self, call: Call, served: "set[str] | Any") -> Answer:
        wanted = call.parameters.get("version", "")
        if not call.api or not call.method or not wanted:
            raise ApiError(101)
        if call.api not in served:
            raise ApiError(102)
        advertised = self._apis[call.api]
        if not wanted.isascii() or not wanted.isdigit():
            raise ApiError(104)
        if not advertised["minVersion"] <= int(wanted) <= advertised["maxVersion"]:
            raise ApiError(104)
        if call.api == _AUTH and int(wanted) < self._profile.auth_floor:
            raise ApiError(103)
        name = (call.api, call.method)
        if name in self._open_methods:
            return self._open_methods[name](call)
        if name not in self._admin_methods:
            raise ApiError(103)
        self._admitted(call)
        return self._admin_methods[name](call)

    def _admitted(self, call: Call) -> Session:
        session = self._accounts.session(call.sid)
        if session is None:
            raise ApiError(119)
        if session.peer != call.peer:
            raise ApiError(150)
        if session.token and call.token != session.token:
            raise ApiError(self._knobs().token_missing_code)
        if not session.account.admin:
            raise ApiError(105)
        return session

    # -- answers -------------------------------------------------------------------------------

    def _json(
        self, document: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        plain = 'text/plain; charset="UTF-8"'
        content_type = plain if self._knobs().plain_text else self._profile.content_type
        return Answer(200, content_type, text.encode("utf-8"), headers)

    def _done(
        self,
        call: Call,
        data: Mapping[str, object] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        change: Change | None = None,
    ) -> Answer:
        document: dict[str, object] = {"success": True}
        if data is not None and call.method not in self._knobs().data_absent:
            document["data"] = data
        return replace(self._json(document, headers), change=change)

    def _changed(self, call: Call, change: Change, data: Mapping[str, object]) -> Answer:
        """Answer a change with the keys the knobs leave over."""
        knobs = self._knobs()
        absent = {"restart_httpd"} if knobs.restart_httpd_absent else set()
        absent |= {"id"} if knobs.id_absent else set()
        told = {key: value for key, value in data.items() if key not in absent}
        return self._done(call, told, change=change)

    def restarts_web_server(self, change: Change) -> bool:
        """Whether the web server restarts for a change; for a new default that is inferred."""
        web = {service.key for service in self._state.services if service.is_web}
        return change.touches_default or bool(change.services & web)

    # -- without a session ---------------------------------------------------------------------

    def _info(self, call: Call) -> Answer:
        """Tell of a name, a comma list, `all`, or a prefix ending in a dot; skip unknown ones."""
        wanted = call.parameters.get("query", "all").split(",")
        found = {
            name: told
            for name, told in self._apis.items()
            if any(
                want in {"all", name} or (want.endswith(".") and name.startswith(want))
                for want in wanted
            )
        }
        return self._done(call, found)

    def _ui_config(self, call: Call) -> Answer:
        """Set the cookie with the public key for the Noise handshake of the DSM 7 page."""
        return self._done(call, {}, (("Set-Cookie", f"_SSID={self._ssid};path=/;HttpOnly"),))

    def _login(self, call: Call) -> Answer:
        try:
            login = self._accounts.login(call.parameters, call.peer, self._knobs())
        except LoginRefusedError as refusal:
            errors = None
            if refusal.second_step:
                errors = {"token": refusal.second_step, "types": [{"type": "otp"}]}
            raise ApiError(refusal.code, errors) from refusal
        headers = []
        if call.parameters.get("format", "cookie") != "sid":
            week = "max-age=604800;path=/;HttpOnly"
            headers.append(("Set-Cookie", f"id={login.session.sid};{week}"))
            if login.device_id:
                headers.append(("Set-Cookie", f"did={login.device_id};path=/;HttpOnly"))
        return self._done(call, self._login_data(call, login), tuple(headers))

    def _login_data(self, call: Call, login: Login) -> dict[str, object]:
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
            if not self._knobs().login_without_ik_message:
                data["ik_message"] = ""
        elif login.device_id:
            data["did"] = login.device_id
        return data

    def _logout(self, call: Call) -> Answer:
        """Success in any case; without a session id nobody is logged out (facts §2.6)."""
        self._accounts.logout(call.sid)
        return self._done(call)

    # -- for administrators --------------------------------------------------------------------

    def _list(self, call: Call) -> Answer:
        return self._done(call, {"certificates": self._state.listed(self._knobs().rsa_key_types)})

    def _import(self, call: Call) -> Answer:
        if call.broken_form:
            raise ApiError(108)
        unsafe = self._profile.refuses_unsafe_file_names
        if unsafe and any(set("/\\") & set(part.filename or "") for part in call.files.values()):
            raise ApiError(108, {"upload_err": -8})
        if "key" not in call.files or "cert" not in call.files:
            raise ApiError(114)
        chain = call.files.get("inter_cert")
        if chain is not None and not chain.filename and not chain.content:
            chain = None  # what a browser sends for a file that was not chosen
        material = read_upload(
            call.files["cert"].content,
            call.files["key"].content,
            None if chain is None else chain.content,
        )
        knobs = self._knobs()
        self._pause(knobs.import_seconds)
        change = self._state.put(
            call.parameters.get("id", ""),
            material,
            call.parameters.get("desc", ""),
            default=bool(call.parameters.get("as_default")),
            create=knobs.unknown_id_is_new,
        )
        data: dict[str, object] = {"id": change.entry_id}
        restarts = self.restarts_web_server(change)
        if restarts or not change.created:
            data["restart_httpd"] = restarts
        return self._changed(call, change, data)

    def _export(self, call: Call) -> Answer:
        asked = json_value(call, "file")
        if asked is None:
            raise ApiError(5503)
        if asked != "archive":
            raise ApiError(117)  # seen on the router; inferred for DSM
        files = self._state.entry(text_value(call, "id")).material
        members = {
            "cert.pem": files.cert_pem,
            "privkey.pem": files.key_pem,
            "chain.pem": files.chain_pem,
            "syno-ca-cert.pem": files.ca_cert_pem,
            "syno-ca-privkey.pem": files.ca_key_pem,
        }
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in members.items():
                if content:
                    packed.writestr(name, content)
        attachment = ("Content-Disposition", "attachment; filename=archive.zip")
        return Answer(200, "application/zip", archive.getvalue(), (attachment,))

    def _set(self, call: Call) -> Answer:
        desc = text_value(call, "desc") if "desc" in call.parameters else None
        default = json_value(call, "as_default") in {True, "true"}
        change = self._state.describe_as(text_value(call, "id"), desc=desc, default=default)
        return self._done(call, change=change)

    def _delete(self, call: Call) -> Answer:
        ids = json_value(call, "ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise ApiError(5503)
        change = self._state.delete(ids)
        return self._changed(call, change, {"restart_httpd": self.restarts_web_server(change)})

    def _bind(self, call: Call) -> Answer:
        settings = json_value(call, "settings")
        if not isinstance(settings, list) or not settings:
            raise ApiError(5503)
        moves = [_move(setting) for setting in settings]
        change = Change("") if self._knobs().binding_not_moved else self._state.bind(moves)
        return self._changed(call, change, {"restart_httpd": self.restarts_web_server(change)})


def _move(setting: object) -> tuple[Mapping[str, object], str, str]:
    match setting:
        case {"service": dict() as service, "old_id": str() as old_id, "id": str() as new_id}:
            return service, old_id, new_id
    raise ApiError(5503)
