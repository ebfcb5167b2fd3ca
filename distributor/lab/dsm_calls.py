"""The certificate calls of DSM 6.2 and DSM 7 (dsm-web-api facts §3, §7.5-7.8)."""

import base64
from collections.abc import Collection, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from distributor.lab.box_state import Change
from distributor.lab.calls import Answer, ApiError, Call, json_value, text_value
from distributor.lab.exporting import archive_of
from distributor.lab.material import UploadRules
from distributor.lab.webapi import AUTH, CERTIFICATE, CRT, INFO, SERVICE, Inside, WebApi

_UI_CONFIG = "SYNO.API.Auth.UIConfig"
_UNKNOWN_TO_DSM6: Final = frozenset({"is_broken", "key_types", "user_deletable"})


class DsmApi(WebApi):
    """Answers as DSM of the profile's release does."""

    def __init__(self, inside: Inside) -> None:
        super().__init__(inside)
        self._is_dsm6 = inside.profile.system == "dsm6"
        if not self._is_dsm6:
            noise_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
            self._ssid = base64.urlsafe_b64encode(noise_key).rstrip(b"=").decode("ascii")
            self.open_methods |= {(_UI_CONFIG, "get"): self._ui_config}
        self.admin_methods |= {
            (CERTIFICATE, "import"): self._import,
            (CERTIFICATE, "export"): self._export,
            (CRT, "list"): self._list,
            (CRT, "set"): self._set,
            (CRT, "delete"): self._delete,
            (SERVICE, "set"): self._bind,
        }

    def advertised(self) -> dict[str, dict[str, Any]]:
        """Return the paths and versions of facts §1.2, of the APIs that are there."""
        entry = {"maxVersion": 1, "minVersion": 1, "path": "entry.cgi"}
        least, most = self.profile.auth_versions
        told: dict[str, dict[str, Any]] = {
            AUTH: {"maxVersion": most, "minVersion": least, "path": self.profile.auth_path},
            INFO: {**entry, "path": "query.cgi"} if self._is_dsm6 else entry,
            CERTIFICATE: {**entry, "requestFormat": "JSON"},
            CRT: {**entry, "requestFormat": "JSON"},
            SERVICE: {**entry, "requestFormat": "JSON"},
        }
        return told if self._is_dsm6 else {**told, _UI_CONFIG: entry}

    def programs(self) -> Mapping[str, Collection[str]]:
        """On DSM 7 `entry.cgi` serves all; on DSM 6 what belongs elsewhere is 102 there.

        For SYNO.API.Auth that was seen, for SYNO.API.Info it is inferred.
        """
        every = set(self.advertised())
        at_entry = every - {AUTH, INFO} if self._is_dsm6 else every
        return {"query.cgi": {INFO}, "auth.cgi": {AUTH}, "entry.cgi": at_entry}

    def upload_rules(self) -> UploadRules:
        """DSM 6 takes RSA in PEM only."""
        code = self.knobs().ec_refused_code
        return UploadRules(pem_only=True, ec_code=code) if self._is_dsm6 else UploadRules()

    def _ui_config(self, call: Call) -> Answer:
        """Set the cookie with the public key for the Noise handshake of the DSM 7 page."""
        return self.done(call, {}, (("Set-Cookie", f"_SSID={self._ssid};path=/;HttpOnly"),))

    def _list(self, call: Call) -> Answer:
        listed = self.state.listed(self.knobs().rsa_key_types)
        if self._is_dsm6:
            listed = [
                {key: value for key, value in entry.items() if key not in _UNKNOWN_TO_DSM6}
                for entry in listed
            ]
        return self.done(call, {"certificates": listed})

    def _import(self, call: Call) -> Answer:
        material = self.uploaded(call)
        knobs = self.knobs()
        self.pause(knobs.import_seconds)
        change = self.state.put(
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
        return self.changed(call, change, data)

    def _export(self, call: Call) -> Answer:
        asked = json_value(call, "file")
        if asked is None:
            raise ApiError(5503)
        if asked != "archive":
            raise ApiError(117)  # seen on the router; inferred for DSM
        entry = self.state.entry(text_value(call, "id"))
        return archive_of(entry.material, self.knobs().dual_export)

    def _set(self, call: Call) -> Answer:
        desc = text_value(call, "desc") if "desc" in call.parameters else None
        default = json_value(call, "as_default") in {True, "true"}
        change = self.state.describe_as(text_value(call, "id"), desc=desc, default=default)
        if not self.knobs().set_tells_restart:
            return self.done(call, change=change)
        return self.changed(call, change, {"restart_httpd": self.restarts_web_server(change)})

    def _delete(self, call: Call) -> Answer:
        ids = json_value(call, "ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise ApiError(5503)
        change = self.state.delete(ids)
        return self.changed(call, change, {"restart_httpd": self.restarts_web_server(change)})

    def _bind(self, call: Call) -> Answer:
        settings = json_value(call, "settings")
        if not isinstance(settings, list) or not settings:
            raise ApiError(5503)
        moves = [_move(setting) for setting in settings]
        if self.knobs().binding_not_moved:
            change = Change("")
        else:
            change = self.state.bind(moves, drops_unmoved=self._is_dsm6)
        return self.changed(call, change, {"restart_httpd": self.restarts_web_server(change)})


def _move(setting: object) -> tuple[Mapping[str, object], str, str]:
    match setting:
        case {"service": dict() as service, "old_id": str() as old_id, "id": str() as new_id}:
            return service, old_id, new_id
    raise ApiError(5503)
