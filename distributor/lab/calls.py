"""Requests taken apart and answers in one piece: HTTP's side of the Web API."""

import http.cookies
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from distributor.lab.box_state import Change
from distributor.lab.multipart import MultipartError, Part, is_multipart, parse_multipart


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as it came in; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    peer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `change` is what it did to the box, if anything."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of the Web API; parameters are text as sent."""

    program: str
    """The last part of the path: `entry.cgi`, `auth.cgi`, `query.cgi`, or "" for another page."""
    query: Mapping[str, str] = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)
    body_names: tuple[str, ...]
    files: Mapping[str, Part] = field(repr=False)
    sid: str = field(repr=False)
    token: str = field(repr=False)
    peer: str
    broken_form: bool = False

    @property
    def api(self) -> str:
        """The API asked for, "" if none is named."""
        return self.parameters.get("api", "")

    @property
    def method(self) -> str:
        """The API's method asked for, "" if none is named."""
        return self.parameters.get("method", "")


class ApiError(Exception):
    """An error in the Web API's envelope; the HTTP status stays 200 (facts §2.2)."""

    def __init__(self, code: int, errors: Mapping[str, object] | None = None) -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.errors = errors


def html_page(status: int) -> Answer:
    """Return a page as nginx makes it, for errors and for the desktop itself."""
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return Answer(status, "text/html", page.encode("ascii"))


def host_of(request: HttpRequest) -> str:
    """Return the name a request is for, without port, in lower case; "" if it names none."""
    host = request.headers.get("host", "").lower()
    return host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host


def read_call(request: HttpRequest) -> Call:
    """Take a request apart. A form that cannot be read is marked, and answered with 108 later.

    The session counts in the query, an urlencoded body or a cookie, not as a part of a form
    (facts §2.5); api, method and version of a form are taken from the query, where all clients
    put them.
    """
    split = urllib.parse.urlsplit(request.target)
    query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
    fields: dict[str, str] = {}
    files: dict[str, Part] = {}
    broken = False
    content_type = request.headers.get("content-type", "")
    if is_multipart(content_type):
        try:
            for part in parse_multipart(content_type, request.body):
                if part.filename is None:
                    fields[part.name] = part.content.decode("utf-8")
                else:
                    files[part.name] = part
        except (MultipartError, UnicodeDecodeError):
            broken = True
        parameters = {**fields, **query}
        session = query
    else:
        text = request.body.decode("utf-8", "replace")
        fields = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        session = parameters = {**query, **fields}
    program = ""
    match split.path.split("/"):
        case ["", "webapi", program]:
            pass
        case ["", "webapi", program, api]:
            parameters = {"api": api, **parameters}
    return Call(
        program=program,
        query=query,
        parameters=parameters,
        body_names=(*fields, *files),
        files=files,
        sid=session.get("_sid") or _cookie(request.headers, "id"),
        token=request.headers.get("x-syno-token") or session.get("SynoToken", ""),
        peer=request.peer,
        broken_form=broken,
    )


def _cookie(headers: Mapping[str, str], name: str) -> str:
    try:
        jar = http.cookies.SimpleCookie(headers.get("cookie", ""))
    except http.cookies.CookieError:
        return ""
    return jar[name].value if name in jar else ""


def json_value(call: Call, name: str) -> object:
    """Return a parameter of a JSON API: its JSON value, else its raw text (§1.4)."""
    text = call.parameters.get(name)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def text_value(call: Call, name: str) -> str:
    """Return a parameter that must be text; unquoted `8e29` is a number, refused (inferred)."""
    value = json_value(call, name)
    if not isinstance(value, str):
        raise ApiError(5503)
    return value
