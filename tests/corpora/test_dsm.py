"""What a DiskStation said and what was understood; what is called and what is sent.

Each file in `dsm/` is a case, and a new file is a new test. A case that `reads` names the parser
("info", "login", "list", "router list", "refused", "refused login"), the body as JSON (`answer`),
`text` (times `repeat`) or `base64`, and either what is `understood` or the `error`. A case with a
`call` names the function, its arguments and the exact form, parts or headers that go on the wire.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from distributor.model import errors
from distributor.model.times import rfc3339
from distributor.protocol import dsm, srm
from distributor.protocol.dsm_codes import LOGIN_REASONS

FILES = sorted((Path(__file__).parent / "dsm").glob("*.json"))
Case = dict[str, Any]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_case_of_the_corpus(file: Path) -> None:
    case: Case = json.loads(file.read_text(encoding="utf-8"))
    if "call" in case:
        CALLS[case["call"]](case)
    elif "error" in case:
        wanted = case["error"]
        with pytest.raises(getattr(errors, wanted["kind"])) as caught:
            _read(case)
        assert wanted["says"] in caught.value.message
        assert caught.value.hint
        assert "code" not in wanted or caught.value.code == wanted["code"]
    else:
        assert _read(case) == case["understood"]


def _body(case: Case) -> bytes:
    if "base64" in case:
        return base64.b64decode(case["base64"])
    if "text" in case:
        return str(case["text"]).encode() * int(case.get("repeat", 1))
    return json.dumps(case["answer"], separators=(",", ":")).encode()


def _read(case: Case) -> object:
    answer = dsm.parse_answer(case.get("status", 200), _body(case))
    if isinstance(answer, dsm.Refusal):
        assert case["reads"].startswith("refused")
        meanings = LOGIN_REASONS if case["reads"] == "refused login" else {}
        meaning, hint = meanings.get(answer.code, (answer.meaning, answer.hint))
        assert hint
        assert case["understood"]["says"] in meaning
        return {"code": answer.code, "says": case["understood"]["says"]}
    return PARSERS[case["reads"]](answer)


def _info(data: Any) -> object:
    apis = dsm.parse_info(data)
    auth = apis.get(dsm.AUTH)
    return {
        "apis": {name: [api.path, api.oldest, api.newest] for name, api in apis.items()},
        "login_version": None if auth is None else dsm.login_version(auth),
    }


def _login(data: Any) -> object:
    login = dsm.parse_login(data)
    return {"sid": login.sid, "token": login.token}


def _router_list(data: Any) -> object:
    one = srm.parse_certificate(data)
    return {
        "common_name": one.common_name,
        "issued_by": one.issued_by,
        "renewable": one.renewable,
        "own_ca": one.own_ca,
    }


def _list(data: Any) -> object:
    return [
        {
            "id": entry.id,
            "description": entry.description,
            "names": list(entry.names),
            "issued_by": entry.issued_by,
            "valid_from": rfc3339(entry.valid_from),
            "valid_till": rfc3339(entry.valid_till),
            "is_default": entry.is_default,
            "renewable": entry.renewable,
            "self_signed": entry.self_signed,
            "user_deletable": entry.user_deletable,
            "services": {service.id: service.display_name for service in entry.services},
        }
        for entry in dsm.parse_list(data)
    ]


PARSERS: dict[str, Callable[[Any], object]] = {
    "info": _info,
    "login": _login,
    "list": _list,
    "router list": _router_list,
}


def _form(case: Case) -> None:
    arguments = dict(case["arguments"])
    if "auth" in arguments:
        arguments["auth"] = dsm.Api(*arguments["auth"])
    form = getattr(dsm, case["call"])(**arguments)
    assert _sent(data=form).body == case["form"]


def _parts(case: Case) -> None:
    arguments = {
        name: value.encode() if name in {"private_key", "leaf", "chain"} else value
        for name, value in case["arguments"].items()
    }
    sent = _sent(files=dsm.import_parts(**arguments))
    boundary = sent.headers["Content-Type"].removeprefix("multipart/form-data; boundary=")
    assert isinstance(sent.body, bytes)
    assert sent.body.decode().replace(boundary, "BOUNDARY") == case["multipart"]
    assert '"' not in boundary  # DSM reads an unquoted one only


def _moves(case: Case) -> None:
    data = dsm.parse_answer(200, json.dumps(case["arguments"]["listed"]).encode())
    assert isinstance(data, dict)
    (entry,) = dsm.parse_list(data)
    moves = [dsm.Move(each, entry.id, case["arguments"]["to"]) for each in entry.services]
    form = dsm.call_form(dsm.SERVICE, "set", settings=dsm.moves_value(moves))
    assert json.loads(form["settings"]) == case["settings"]


def _headers(case: Case) -> None:
    assert dsm.session_headers(dsm.Login(**case["arguments"])) == case["headers"]


def _sent(**content: Any) -> requests.PreparedRequest:
    """Return what the HTTP library makes of a form or of parts."""
    return requests.Request("POST", "https://nas.example/", **content).prepare()


CALLS: dict[str, Callable[[Case], None]] = {
    "info_query": _form,
    "login_form": _form,
    "logout_form": _form,
    "call_form": _form,
    "import_parts": _parts,
    "moves": _moves,
    "session_headers": _headers,
}
