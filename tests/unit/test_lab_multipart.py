"""The lab reads forms as strictly as DSM was seen to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from distributor.lab.multipart import MultipartError, Part, is_multipart, parse_multipart

HEADER = "multipart/form-data; boundary=xyz"


def form(disposition: str, content: str = "text") -> bytes:
    return f"--xyz\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n--xyz--\r\n".encode()


@given(st.lists(st.tuples(st.sampled_from(["key", "cert", "id"]), st.binary()), min_size=1))
def test_what_urllib3_encodes_is_read_back(fields: list[tuple[str, bytes]]) -> None:
    parts = []
    for name, content in fields:
        part = RequestField(name, content, filename=f"{name}.pem")
        part.make_multipart(content_type="text/plain")
        parts.append(part)
    body, header = encode_multipart_formdata(parts)
    assert parse_multipart(header, body) == tuple(
        Part(name, f"{name}.pem", content) for name, content in fields
    )


def test_a_field_without_a_file_name_is_text() -> None:
    assert parse_multipart(HEADER, form('form-data; name="id"')) == (Part("id", None, b"text"),)


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; name=id",
        'form-data; name="cert"; filename=cert.pem',
        "form-data; name=\"cert\"; filename*=utf-8''cert.pem",
        'form-data; name="cert"; filename="c.pem"; filename*=utf-8\'\'c.pem',
        'attachment; name="id"',
        "",
    ],
)
def test_other_spellings_of_a_field_are_refused(disposition: str) -> None:
    with pytest.raises(MultipartError):
        parse_multipart(HEADER, form(disposition))


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ('multipart/form-data; boundary="xyz"', form('form-data; name="id"')),
        ("multipart/form-data", form('form-data; name="id"')),
        ("multipart/mixed; boundary=xyz", form('form-data; name="id"')),
        (HEADER, b""),
        (HEADER, b"--xyz"),
        (HEADER, b"before" + form('form-data; name="id"')),
        (HEADER, form('form-data; name="id"').removesuffix(b"--\r\n")),
        (HEADER, form('form-data; name="id"').replace(b"\r\n", b"\n")),
        (HEADER, b"--xyz\r\nno header\r\n--xyz--\r\n"),
        (HEADER, b"--xyz\r\nno colon\r\n\r\ntext\r\n--xyz--\r\n"),
        (HEADER, b'--xyz\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--xyz--'),
    ],
)
def test_a_body_without_its_frame_is_refused(header: str, body: bytes) -> None:
    assert is_multipart(header)
    with pytest.raises(MultipartError):
        parse_multipart(header, body)


@given(st.binary())
def test_any_bytes_are_parts_or_refused(body: bytes) -> None:
    with pytest.raises(MultipartError):
        parse_multipart(HEADER, b"--xyz\r\n" + body.replace(b"--xyz--", b""))
