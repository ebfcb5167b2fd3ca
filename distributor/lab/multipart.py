"""A strict reader of multipart/form-data, as picky as the one in DSM (dsm-web-api facts §3.2).

It wants an unquoted boundary, quoted names, no `filename*=`, CRLF line ends and the closing
boundary; what it refuses, DSM answers with 108.
"""

import re
from dataclasses import dataclass, field

_CONTENT_TYPE = re.compile(r"multipart/form-data; ?boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})")
_DISPOSITION = re.compile(r'form-data; name="([^"\r\n]*)"(?:; filename="([^"\r\n]*)")?')


class MultipartError(ValueError):
    """The body is not the multipart/form-data that DSM reads."""


@dataclass(frozen=True, slots=True)
class Part:
    """One form field; `filename` is None for a text field."""

    name: str
    filename: str | None
    content: bytes = field(repr=False)


def is_multipart(content_type: str) -> bool:
    """Say whether a Content-Type header announces a form with parts, in whatever spelling."""
    return content_type.strip().lower().startswith("multipart/")


def parse_multipart(content_type: str, body: bytes) -> tuple[Part, ...]:
    """Split a body into its parts, in their order; raise MultipartError where DSM answers 108."""
    matched = _CONTENT_TYPE.fullmatch(content_type)
    if matched is None:
        raise MultipartError(f"not a plain multipart header: {content_type!r}")
    delimiter = b"--" + matched.group(1).encode("ascii")
    first, *sections = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if first or not sections or sections[-1] not in {b"--", b"--\r\n"}:
        raise MultipartError("the body does not begin and end with its boundary")
    return tuple(_part(section) for section in sections[:-1])


def _part(section: bytes) -> Part:
    head, separator, content = section.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"\r\n"):
        raise MultipartError("a part has no header of its own")
    headers = {}
    for line in head[2:].split(b"\r\n"):
        key, colon, value = line.partition(b":")
        if not colon:
            raise MultipartError("a header line of a part has no colon")
        headers[key.strip().lower()] = value.strip()
    try:
        disposition = headers.get(b"content-disposition", b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise MultipartError("the name of a part is not UTF-8") from error
    matched = _DISPOSITION.fullmatch(disposition)
    if matched is None:
        raise MultipartError(f"not a plain form field: {disposition!r}")
    return Part(matched.group(1), matched.group(2), content)
