"""The certificate calls of SRM 1.2 and 1.3: a router has one certificate (dsm-web-api facts §4)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from cryptography import x509

from distributor.lab.accounts import Login, Session
from distributor.lab.calls import Answer, ApiError, Call, json_value
from distributor.lab.exporting import archive_of
from distributor.lab.material import UploadRules, name_parts, signature_algorithm
from distributor.lab.webapi import AUTH, CERTIFICATE, CRT, INFO, Inside, WebApi


class SrmApi(WebApi):
    """Answers as a router does: session by cookie, no token, no ids, one certificate."""

    no_manager_code = 117

    def __init__(self, inside: Inside) -> None:
        super().__init__(inside)
        # Clients write Login; that SRM takes both spellings, and for logout too, is inferred.
        for method in ("login", "logout"):
            spelt = self.open_methods[AUTH, method]
            self.open_methods[AUTH, method.capitalize()] = spelt
        self.admin_methods |= {
            (CERTIFICATE, "list"): self._list,
            (CERTIFICATE, "import"): self._import,
            (CERTIFICATE, "export"): self._export,
            (CRT, "list"): self._list_crt,
        }
        # The router's own CA stays on it whatever is imported: the captured list shows both.
        self._authority = inside.state.presented_by_default().ca_cert_pem

    def advertised(self) -> dict[str, dict[str, Any]]:
        """Return where clients find each API; `CRT` only if the knob says so."""
        least, _ = self.profile.auth_versions
        entry = {"maxVersion": 1, "minVersion": 1, "path": "entry.cgi"}
        told: dict[str, dict[str, Any]] = {
            AUTH: {
                "maxVersion": self.knobs().router_auth_max,
                "minVersion": least,
                "path": self.profile.auth_path,
            },
            INFO: {**entry, "path": "query.cgi"},
            CERTIFICATE: {**entry, "requestFormat": "JSON"},
        }
        if self.knobs().router_crt != "absent":
            told[CRT] = {**entry, "requestFormat": "JSON"}
        return told

    def programs(self) -> Mapping[str, Collection[str]]:
        """As on DSM 6, which is inferred: logins at `auth.cgi` only."""
        at_entry = self.advertised().keys() - {AUTH, INFO}
        return {"query.cgi": {INFO}, "auth.cgi": {AUTH}, "entry.cgi": at_entry}

    def upload_rules(self) -> UploadRules:
        """PEM only, which is inferred; a chain must not begin with an empty line, which is seen."""
        code = self.knobs().router_ec_code
        return UploadRules(pem_only=True, ec_code=code, refuses_blank_first_line=True)

    def session_of(self, call: Call) -> Session:
        """Refuse a session id in the query that begins with a digit: the cookie is the way."""
        if call.query.get("_sid", "")[:1].isdigit():
            raise ApiError(119)
        return replace(super().session_of(call), token="")  # tokens are unknown here

    def login_data(self, _call: Call, login: Login) -> dict[str, object]:
        """Nothing but the session id; the key of a device id is inferred from DSM 6."""
        data: dict[str, object] = {"sid": login.session.sid}
        return data | {"did": login.device_id} if login.device_id else data

    def _list(self, call: Call) -> Answer:
        """Tell names and algorithm of the certificate, of the own CA and of the first link.

        That a longer chain shows its first link only is inferred.
        """
        material = self.state.presented_by_default()
        certificates = [_told(material.leaf, "server_cert")]
        if self._authority:
            authority = x509.load_pem_x509_certificate(self._authority)
            certificates.append(_told(authority, "root_cert"))
        certificates += [_told(link, "inter_cert") for link in material.chain[:1]]
        return self.done(call, {"certificates": certificates, "renewable": False})

    def _list_crt(self, call: Call) -> Answer:
        if self.knobs().router_crt == "as_router":
            return self._list(call)
        listed = self.state.listed(self.knobs().rsa_key_types)
        return self.done(call, {"certificates": listed})

    def _import(self, call: Call) -> Answer:
        """Replace the certificate. Parts called id, desc or as_default do no harm and nothing."""
        material = self.uploaded(call)
        self.pause(self.knobs().import_seconds)
        change = self.state.put(self.state.default, material, "", default=False)
        return self.changed(call, change, {"restart_httpd": True})

    def _export(self, call: Call) -> Answer:
        """Give the certificate, whichever id is asked for; names in the zip as on DSM, inferred."""
        asked = json_value(call, "file")
        if asked is None:
            raise ApiError(5503)
        if asked != "archive":
            raise ApiError(117)
        return archive_of(self.state.presented_by_default(), self.knobs().dual_export)


def _told(certificate: x509.Certificate, kind: str) -> dict[str, object]:
    return {
        "issuer": name_parts(certificate.issuer),
        "signature_algorithm": signature_algorithm(certificate),
        "subject": name_parts(certificate.subject),
        "type": kind,
    }
