"""Whatever a box answers, the parsers give a value or an error of our tree, and nothing else."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import DistributorError
from distributor.protocol import dsm

text = st.text(st.characters(codec=None), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def near(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Give objects with each key missing, good, or anything at all."""
    return st.fixed_dictionaries({}, optional={key: v | json_values for key, v in fields.items()})


END_OF_9999 = 253_402_300_799
dates = st.integers(-600_000_000, END_OF_9999).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%b %e %H:%M:%S %Y GMT")
)
people = near(common_name=text, sub_alt_name=st.lists(text | scalars, max_size=3))
services = near(subscriber=text, service=text, display_name=text, isPkg=st.booleans())
entries = near(
    id=text,
    desc=text,
    subject=people,
    issuer=people,
    valid_from=dates,
    valid_till=dates,
    is_default=st.booleans(),
    renewable=st.booleans(),
    user_deletable=st.booleans(),
    services=st.lists(services | json_values, max_size=3),
)
lists = near(certificates=st.lists(entries | json_values, max_size=3))
apis = near(path=st.sampled_from(["entry.cgi", "../x", "a?b", ""]), minVersion=st.integers())
envelopes = near(success=st.booleans(), data=json_values, error=near(code=st.integers()))


@given(st.binary() | json_values.map(lambda v: json.dumps(v).encode()), st.integers(100, 599))
def test_any_body_is_an_answer_a_refusal_or_a_protocol_error(body: bytes, status: int) -> None:
    try:
        answer = dsm.parse_answer(status, body)
    except DistributorError:
        return
    assert isinstance(answer, dict | dsm.Refusal)


@given(envelopes)
def test_any_envelope_is_an_answer_a_refusal_or_a_protocol_error(envelope: object) -> None:
    try:
        answer = dsm.parse_answer(200, json.dumps(envelope).encode())
    except DistributorError:
        return
    assert isinstance(answer, dsm.Refusal) or all(isinstance(key, str) for key in answer)


@given(lists | st.dictionaries(text, json_values))
def test_what_a_list_is_understood_as_can_be_sent_back(data: dict[str, Any]) -> None:
    try:
        listed = dsm.parse_list(data)
    except DistributorError:
        return
    for entry in listed:
        assert entry.id
        assert entry.valid_from.tzinfo is UTC
        assert all(name == name.lower() for name in entry.names)
        parts = dsm.import_parts(
            private_key=b"",
            leaf=b"",
            chain=b"",
            entry_id=entry.id,
            description=entry.description,
            as_default=entry.is_default,
        )
        assert requests.Request("POST", "https://nas.example/", files=parts).prepare().body
        moves = [dsm.Move(service, entry.id, "other") for service in entry.services]
        form = dsm.call_form(dsm.SERVICE, "set", settings=dsm.moves_value(moves))
        assert requests.Request("POST", "https://nas.example/", data=form).prepare().body


@given(st.dictionaries(text, apis | json_values))
def test_an_understood_api_stays_below_webapi(data: dict[str, Any]) -> None:
    try:
        found = dsm.parse_info(data)
    except DistributorError:
        return
    for api in found.values():
        url = requests.Request("POST", f"https://nas.example/webapi/{api.path}").prepare().url
        assert url == f"https://nas.example/webapi/{api.path}"


@given(near(sid=text, synotoken=text) | st.dictionaries(text, json_values))
def test_an_understood_login_fits_into_headers(data: dict[str, Any]) -> None:
    try:
        login = dsm.parse_login(data)
    except DistributorError:
        return
    headers = dsm.session_headers(login)
    request = requests.Request("POST", "https://nas.example/", headers=headers).prepare()
    for name, value in headers.items():
        assert request.headers[name].encode("latin-1") == value.encode("ascii")


@given(text | dates)
def test_a_time_is_read_or_refused_with_a_value_error(written: str) -> None:
    try:
        moment = dsm.parse_time(written)
    except ValueError:
        return
    assert moment.strftime("%H:%M:%S") in written


@given(dates)
def test_a_time_as_openssl_writes_it_comes_back(written: str) -> None:
    assert dsm.parse_time(written).strftime("%b %e %H:%M:%S %Y GMT") == written


@pytest.mark.parametrize(
    "written", ["Mar", "Mar 5 2026", "Mar  5 10:00:00 99999999999999999999 GMT"]
)
def test_what_is_no_time_is_a_value_error(written: str) -> None:
    with pytest.raises(ValueError, match=written):
        dsm.parse_time(written)


def test_neither_session_nor_token_show_in_a_repr() -> None:
    login = dsm.Login("the-session-id", "the-token")
    assert "the-" not in repr(login)
