"""The DSM Web API: what is sent and what an answer means (dsm-web-api facts, sections 1 to 3)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from distributor.model.errors import ProtocolError
from distributor.model.secret import Secret
from distributor.model.text import printable
from distributor.protocol.dsm_codes import REASONS
from distributor.protocol.forms import Part

INFO: Final = "SYNO.API.Info"
AUTH: Final = "SYNO.API.Auth"
CERTIFICATE: Final = "SYNO.Core.Certificate"
CRT: Final = "SYNO.Core.Certificate.CRT"
SERVICE: Final = "SYNO.Core.Certificate.Service"
INFO_PATH: Final = "query.cgi"
NEWEST_LOGIN: Final = 7
"""Highest version of SYNO.API.Auth that was seen in captures."""

_NO_TOKEN: Final = "--------"  # noqa: S105 - DSM's literal for "no token"
_UNKNOWN: Final = 100
_LARGEST_CODE: Final = 2**31 - 1
"""Those that were seen have four digits."""
_MONTHS: Final = tuple("JanFebMarAprMayJunJulAugSepOctNovDec"[n : n + 3] for n in range(0, 36, 3))
_TIME: Final = re.compile(
    r"([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4}) GMT"
)
_PATH: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]*")
_HEADER_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]+")
"""Characters that a cookie's value may have (RFC 6265 section 4.1.1)."""


@dataclass(frozen=True, slots=True)
class Api:
    """Where an API of the box lives, and which versions of it there are."""

    path: str
    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class Login:
    """What a successful login gave."""

    sid: str = field(repr=False)
    token: str | None = field(repr=False)
    """For the header X-SYNO-TOKEN; None when the box uses none."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The box's own no: a code, and what it means where that is known."""

    code: int
    meaning: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service in the list, and the object to hand back unchanged when it is moved."""

    subscriber: str
    service: str
    display_name: str
    listed: Mapping[str, Any] = field(repr=False, hash=False)

    @property
    def id(self) -> str:
        """`subscriber/service`, which together are unique on a box."""
        return f"{self.subscriber}/{self.service}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A certificate in the list. It tells neither serial nor fingerprint."""

    id: str
    description: str
    names: tuple[str, ...]
    """Lower case, sorted; the common name where there are no alternative names."""
    issued_by: str
    valid_from: datetime
    valid_till: datetime
    is_default: bool
    renewable: bool
    """DSM renews it by itself."""
    self_signed: bool
    user_deletable: bool
    services: tuple[Service, ...]
    key_types: str = ""
    """`ECC`, `RSA/ECC` for two pairs, or nothing, which says nothing (facts 3.1)."""


@dataclass(frozen=True, slots=True)
class Move:
    """One service, from the entry it uses to another."""

    service: Service
    old_id: str
    new_id: str


def info_query(apis: Sequence[str]) -> dict[str, str]:
    """Return the parameters that ask where `apis` are."""
    return {"api": INFO, "version": "1", "method": "query", "query": ",".join(apis)}


def parse_info(data: Mapping[str, Any]) -> dict[str, Api]:
    """Return the APIs that a box advertises; one that it does not have is absent."""
    try:
        return {name: _api(api) for name, api in data.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected("its list of APIs") from error


def login_version(auth: Api) -> int:
    """Return the version of SYNO.API.Auth to log in with."""
    return min(auth.newest, NEWEST_LOGIN)


def login_form(auth: Api, user: str, password: str) -> dict[str, str]:
    """Return the body of a login; it goes into a POST and nowhere else."""
    return {
        "api": AUTH,
        "version": str(login_version(auth)),
        "method": "login",
        "account": user,
        "passwd": password,
        "format": "sid",
        "enable_syno_token": "yes",
    }


def device_fields(device_name: str, device_id: str) -> dict[str, str]:
    """Return what a login adds when the account has a device token: it takes a code's place."""
    return {"device_name": device_name, "device_id": device_id}


def code_fields(code: str, device_name: str) -> dict[str, str]:
    """Return what a login adds to send a one-time code and to ask for a device token."""
    return {
        "otp_code": code,
        "enable_device_token": "yes",
        "device_name": device_name,
    }


def logout_form(auth: Api) -> dict[str, str]:
    """Return the body of a logout."""
    return {"api": AUTH, "version": str(login_version(auth)), "method": "logout"}


def parse_login(data: Mapping[str, Any]) -> Login:
    """Return session id and token.

    Raises ProtocolError when there is no session id, or one that a header cannot carry.
    """
    sid, token = data.get("sid"), data.get("synotoken")
    if token is None or token in ("", _NO_TOKEN):
        return Login(_header_value(sid), None)
    return Login(_header_value(sid), _header_value(token))


def parse_device_id(data: Mapping[str, Any]) -> Secret | None:
    """Return the device id of a login with a code: `device_id` on DSM 7, `did` on DSM 6.

    None where there is none, or one that cannot be sent back as UTF-8.
    """
    for key in ("device_id", "did"):
        try:
            return Secret(_text(data.get(key), least=1))
        except (TypeError, ValueError):
            continue
    return None


def session_headers(login: Login) -> dict[str, str]:
    """Return the headers that carry a session: never the URL, where a log would keep it."""
    headers = {"Cookie": f"id={login.sid}"}
    return headers | {"X-SYNO-TOKEN": login.token} if login.token is not None else headers


def call_form(api: str, method: str, **values: object) -> dict[str, str]:
    """Return the body of a call; every value travels as JSON, so text keeps its quotes."""
    return {"api": api, "version": "1", "method": method} | {
        name: json.dumps(value, separators=(",", ":")) for name, value in values.items()
    }


def moves_value(moves: Sequence[Move]) -> list[dict[str, object]]:
    """Return the `settings` of Service.set: each object as the box listed it."""
    return [
        {"service": dict(move.service.listed), "old_id": move.old_id, "id": move.new_id}
        for move in moves
    ]


def import_parts(
    *,
    private_key: bytes,
    leaf: bytes,
    chain: bytes,
    entry_id: str,
    description: str,
    as_default: bool,
) -> list[Part]:
    """Return the parts of an import, files first, under bare file names.

    `as_default` stands there only when it is wanted: any text at all would mean yes.
    """
    kind = "application/octet-stream"
    parts: list[Part] = [
        ("key", ("privkey.pem", private_key, kind)),
        ("cert", ("cert.pem", leaf, kind)),
    ]
    if chain:
        parts.append(("inter_cert", ("chain.pem", chain, kind)))
    parts += [("id", (None, entry_id)), ("desc", (None, description))]
    if as_default:
        parts.append(("as_default", (None, "true")))
    return parts


def parse_answer(status: int, body: bytes) -> dict[str, Any] | Refusal:
    """Return the data of an answer, or the box's refusal.

    Raises ProtocolError when it is not the envelope of the Web API (an HTML page, for example).
    """
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            f"the answer (HTTP {status}) is not from the Web API",
            hint="is this the port of DSM's user interface? A restarting box also answers so",
            step="web api",
            code=status,
        ) from error
    if not isinstance(envelope, dict) or not isinstance(envelope.get("success"), bool):
        raise _unexpected("the envelope of its answer")
    if envelope["success"]:
        data = envelope.get("data", {})
        return data if isinstance(data, dict) else {}
    reason = envelope.get("error")
    code = reason.get("code") if isinstance(reason, dict) else None
    if type(code) is not int or abs(code) > _LARGEST_CODE:
        code = _UNKNOWN
    return refusal(code)


def refusal(code: int) -> Refusal:
    """Return the meaning of a code that any call may give."""
    meaning, hint = REASONS.get(code, (f"refused with code {code}", "look at the box's own log"))
    return Refusal(code, meaning, hint)


def parse_list(data: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Return the certificates of a box; what only newer versions tell may be missing."""
    listed = data.get("certificates")
    if not isinstance(listed, list):
        raise _unexpected("its list of certificates")
    try:
        return tuple(_entry(item) for item in listed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unexpected("its list of certificates") from error


def parse_time(text: str) -> datetime:
    """Return the time of OpenSSL's text form, such as `Mar  5 10:00:00 2026 GMT`.

    Raises ValueError for anything else. The names of months are English whatever the locale.
    """
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    month = _MONTHS.index(parts[1]) + 1
    day, hour, minute, second, year = (int(parts[group]) for group in range(2, 7))
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _api(listed: Mapping[str, Any]) -> Api:
    path, oldest, newest = listed["path"], listed["minVersion"], listed["maxVersion"]
    if type(oldest) is not int or type(newest) is not int or not _PATH.fullmatch(path):
        raise ValueError(path)
    return Api(path, oldest, newest)


def _entry(item: Mapping[str, Any]) -> Entry:
    subject, issuer = item["subject"], item["issuer"]
    alternative = subject.get("sub_alt_name", [])
    if not isinstance(alternative, list):
        raise TypeError("sub_alt_name")
    names = alternative or [subject.get("common_name", "")]
    return Entry(
        id=_text(item["id"], least=1),
        description=_text(item.get("desc", "")),
        names=tuple(sorted({_text(name).lower() for name in names if name != ""})),
        issued_by=_text(issuer.get("common_name", "")),
        valid_from=parse_time(item["valid_from"]),
        valid_till=parse_time(item["valid_till"]),
        is_default=_flag(item.get("is_default", False)),
        renewable=_flag(item.get("renewable", False)),
        self_signed="self_signed_cacrt_info" in item,
        user_deletable=_flag(item.get("user_deletable", True)),
        services=tuple(
            Service(
                subscriber=_text(service["subscriber"]),
                service=_text(service["service"]),
                display_name=_text(service.get("display_name", "")),
                listed=service,
            )
            for service in item.get("services", [])
        ),
        key_types=_text(item.get("key_types", "")),
    )


def _header_value(value: Any) -> str:
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise _unexpected("its answer to the login")
    return value


def _text(value: Any, least: int = 0) -> str:
    """Return a text of at least that many characters, which can also be sent back as UTF-8."""
    if not isinstance(value, str) or len(value) < least:
        raise TypeError("no text")
    value.encode("utf-8")  # raises ValueError for half of a surrogate pair
    return value


def _flag(value: Any) -> bool:
    # A word such as "false" would be true to Python; which entry is the default hangs on this.
    if not isinstance(value, bool):
        raise TypeError("no truth value")
    return value


def _unexpected(what: str) -> ProtocolError:
    return ProtocolError(
        f"{printable(what)} is not as DSM gives it",
        hint="is this a DiskStation with DSM 6.2 or 7?",
        step="web api",
    )
