"""What the look at a box's files prints, as it is understood."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import ProtocolError
from distributor.protocol.dsm_info import ARCHIVE
from distributor.protocol.dsm_survey import SeenFile, parse_survey

INFO, DEFAULT_FILE = f"{ARCHIVE}/INFO", f"{ARCHIVE}/DEFAULT"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def test_a_survey_is_read() -> None:
    digest, key = "a" * 64, "b" * 64
    lines = [
        *("T /usr/bin/openssl", "I INFO", _encoded("{}"), "."),
        *("I DEFAULT", "!", "."),
        *(f"D {_encoded('/a b')}", "S cert.pem 400 0 0 root:root"),
        *("S privkey.pem 4755 9 8 UNKNOWN:UNKNOWN", "S chain.pem 400 0 0 root:root"),
        *(f"H {digest} cert.pem", f"C {digest}", _encoded("x"), "."),
        *(f"H {key} privkey.pem", f"K {key}", "-----", "y", ".", "O 3xTgtK"),
        *(f"L {_encoded('/layer/x')}", f"P {digest}", "P -", f"L {_encoded('/layer/y')}", "E"),
    ]
    survey = parse_survey("\n".join(lines).encode())
    assert survey.there == {"/usr/bin/openssl", INFO, DEFAULT_FILE}
    assert (survey.info, survey.default) == (b"{}", None)
    assert survey.folders == {
        "/a b": {
            "cert.pem": SeenFile(digest=digest, mode="0400", owner="root:root"),
            "privkey.pem": SeenFile(digest=key, mode="4755", owner="9:8"),
            "chain.pem": SeenFile(digest="", mode="0400", owner="root:root"),  # it was unreadable
        }
    }
    assert survey.contents == {digest: b"x"}
    assert survey.public_keys == {key: b"-----\ny\n"}
    assert survey.layer == {"/layer/x": (digest, None), "/layer/y": ()}
    assert survey.owed == {"3xTgtK"}


@pytest.mark.parametrize(
    ("names", "owner"),
    [
        (r"EXAMPLE\ann:EXAMPLE\domain users", r"EXAMPLE\ann:EXAMPLE\domain users"),
        (r"EXAMPLE\ann lee:UNKNOWN", r"EXAMPLE\ann lee:8"),
        ("a\x85b\u2028c:d", "a\x85b\u2028c:d"),
    ],
)
def test_names_of_a_directory_service_may_hold_spaces_and_more(names: str, owner: str) -> None:
    told = f"D {_encoded('/a')}\nS cert.pem 400 9 8 {names}\nE\n"
    assert parse_survey(told.encode()).folders["/a"]["cert.pem"].owner == owner


@given(st.text(alphabet="TIDSHCKELOP. !a\n4/=:-", max_size=80))
def test_whatever_the_box_prints_is_read_or_refused(text: str) -> None:
    try:
        survey = parse_survey(text.encode())
    except ProtocolError:
        return
    assert "E" in text
    assert survey.info is None or INFO in survey.there
