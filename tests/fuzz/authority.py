"""What an ACME CA, or somebody in its place, answers: JSON, headers, chains."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, cast

import requests

from distributor.clients import acme_directory, acme_errors, acme_orders, acme_renewal_info
from distributor.clients.acme_network import Network, links
from distributor.clients.certificate_authority import CertificateAuthority, make_csr
from distributor.model.errors import IssuanceError
from distributor.model.secret import Secret
from tests.certs import NOW, hierarchy, key_pem, private_key
from tests.fuzz.judging import Target, only, require_harmless

_CA: Final = "https://ca.example"
_NAMES: Final = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
_DIRECTORY: Final[dict[str, Any]] = {
    **{name: f"{_CA}/{name}" for name in _NAMES},
    "renewalInfo": f"{_CA}/renewalInfo",
    "meta": {
        "profiles": {"classic": "the usual one", "shortlived": "six days"},
        "termsOfService": f"{_CA}/terms",
        "caaIdentities": ["ca.example"],
        "externalAccountRequired": False,
    },
}
_ORDER: Final[dict[str, Any]] = {
    "status": "pending",
    "identifiers": [{"type": "dns", "value": "example.com"}],
    "authorizations": [f"{_CA}/authorization/1"],
    "finalize": f"{_CA}/finalize/1",
    "expires": "2036-01-01T00:00:00Z",
    "profile": "classic",
}
_CHALLENGE: Final[dict[str, Any]] = {
    "type": "dns-01",
    "url": f"{_CA}/challenge/1",
    "status": "pending",
    "token": base64.urlsafe_b64encode(b"t" * 32).decode().rstrip("="),
}
_AUTHORIZATION: Final[dict[str, Any]] = {
    "status": "pending",
    "identifier": {"type": "dns", "value": "example.com"},
    "challenges": [_CHALLENGE],
    "wildcard": True,
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "urn:ietf:params:acme:error:rateLimited",
    "detail": "too many certificates",
    "title": "limited",
    "instance": f"{_CA}/why",
    "subproblems": [
        {
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "no",
            "identifier": {"type": "dns", "value": "example.com"},
        }
    ],
}
_INVALID: Final = {**_AUTHORIZATION, "status": "invalid"}
_REFUSED: Final = {**_INVALID, "challenges": [{**_CHALLENGE, "error": _PROBLEM}]}
_READY: Final = {**_ORDER, "status": "ready"}
_VALID: Final = {**_ORDER, "status": "valid", "certificate": f"{_CA}/certificate/1"}
_GOOD: Final[Mapping[str, Any]] = {
    "directory": _DIRECTORY,
    "newNonce": "",
    "newAccount": {"status": "valid", "orders": f"{_CA}/orders"},
    "orders": {"orders": [f"{_CA}/order/1"]},
    "newOrder": _ORDER,
    "order": _VALID,
    "authorization": {**_AUTHORIZATION, "status": "valid"},
    "challenge": _CHALLENGE,
    "finalize": _VALID,
    "certificate": "",
    "revokeCert": "",
    "keyChange": "",
}
"""What an honest CA answers, by the first part of the path."""
_HEADERS: Final = {
    "Location": f"{_CA}/order/1",
    "Replay-Nonce": base64.urlsafe_b64encode(b"nonce").decode().rstrip("="),
    "Content-Type": "application/json",
}


class _Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass; nobody waits for ever or backwards."""
        assert 0 <= seconds <= 24 * 3600
        self.time += timedelta(seconds=seconds)


class _Answers:
    """An honest CA but for one of its resources."""

    def __init__(self, where: str, reply: requests.Response) -> None:
        self._where = where
        self._reply = reply
        self.asked = 0

    def send(self, _method: str, url: str, *_words: object, **_more: object) -> requests.Response:
        """Answer a request."""
        self.asked += 1
        assert self.asked < 500, "asks without end"
        resource = url.removeprefix(f"{_CA}/").partition("/")[0]
        if resource == self._where:
            self._reply.url = url
            return self._reply
        good = _GOOD.get(resource, {})
        body = _chain() if resource == "certificate" else json.dumps(good).encode()
        return _response(200, {**_HEADERS, "Location": f"{_CA}/order/1"}, body, url)


def _response(status: int, headers: Mapping[str, str], body: bytes, url: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    response._content = body
    response.url = url
    return response


@cache
def _chain() -> bytes:
    return hierarchy(1).issue(["example.com"]).fullchain_pem


@cache
def _keys() -> tuple[Secret, Secret, bytes]:
    account, own = (Secret(key_pem(private_key()).decode()) for _ in range(2))
    return account, own, make_csr(own, ["example.com"])


def _headed(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an input: a first line and the rest."""
    head, _, body = data.partition(b"\n")
    words = head.decode("latin-1").split("|")
    status = int(words[0]) if words[0].isascii() and words[0].isdecimal() else 200
    given = (word.partition(":") for word in words[1:])
    headers = {name.strip(): value.strip() for name, _, value in given if name.strip()}
    return status % 600 or 200, {**_HEADERS, **headers}, body


def _conversation(resource: str) -> Callable[[bytes], None]:
    """Return what asks a CA that answers the input at one of its resources."""

    def harness(data: bytes) -> None:
        status, headers, body = _headed(data)
        for job in (_issue, _take_up, _manage):
            clock = _Clock()
            account, _, _ = _keys()
            authority = CertificateAuthority(
                f"{_CA}/directory", account, ca_bundle=None, sleep=clock.sleep, now=clock.now
            )
            answers = _Answers(resource, _response(status, headers, body, _CA))
            authority._network._send_request = answers.send  # type: ignore[method-assign,assignment]  # the wire's end
            try:
                with only(IssuanceError):
                    job(authority, clock)
            finally:
                authority.close()

    return harness


def _issue(authority: CertificateAuthority, clock: _Clock) -> None:
    authority.use_account(authority.register("admin@example.com"))
    order = authority.new_order(_keys()[2], profile="classic")
    for challenge in authority.challenges(order):
        challenge.name.encode("utf-8")
        assert challenge.value.isascii()
        authority.answer(challenge)
    deadline = clock.now() + timedelta(seconds=5)
    authority.wait_until_valid(order, deadline)
    chain = authority.finish(order, deadline, preferred_chain="R1")
    assert isinstance(chain, str)


def _take_up(authority: CertificateAuthority, clock: _Clock) -> None:
    authority.use_account(f"{_CA}/account/1")
    authority.open_order(["example.com"], profile="classic")
    order = authority.order(f"{_CA}/order/1", _keys()[2])
    if order is not None:
        deadline = clock.now() + timedelta(seconds=5)
        authority.wait_until_valid(order, deadline)
        authority.finish(order, deadline)


def _manage(authority: CertificateAuthority, _clock: _Clock) -> None:
    authority.find_account()
    authority.revoke(hierarchy(0).issue(["example.com"]).leaf, 1)
    authority.roll_over(_keys()[1])


def _body(data: bytes) -> Any:
    return _response(200, {}, data, _CA).json()


def _problem(data: bytes) -> None:
    status, headers, body = _headed(data)
    now = NOW
    when = acme_errors.retry_after(headers.get("Retry-After"), now)
    assert when is None or when.tzinfo is not None
    response = _response(status, headers, body, _CA)
    assert all(isinstance(one, str) for one in links(response, "alternate"))
    try:
        Network._check_response(response)
    except acme_errors.FOREIGN as error:
        translated = acme_errors.translate(error, _CA, now)
        require_harmless(str(translated))
    with only(*acme_errors.FOREIGN):
        acme_orders.is_usable(_body(body), names=["example.com"], profile="classic", now=now)


def _renewal_info(data: bytes) -> None:
    status, headers, body = _headed(data)

    def understood() -> object:
        reply = _response(status, headers, body, _CA)
        return acme_renewal_info._understood(reply.json(), headers.get("Retry-After"), NOW)

    try:
        with only(IssuanceError):
            info = cast("Any", understood())
            assert info.start < info.end
            assert info.ask_again > NOW
            require_harmless(info.explanation_url or "")
    except acme_errors.FOREIGN as error:
        require_harmless(str(acme_errors.translate(error, _CA, NOW)))


def _directory(data: bytes) -> None:
    network = _Reading(_response(200, {}, data, _CA))
    try:
        known = acme_directory.read_directory(cast("Network", network), f"{_CA}/directory")
    except acme_errors.FOREIGN as error:
        require_harmless(str(acme_errors.translate(error, _CA, NOW)))
        return
    facts = known.facts
    for text in (*facts.profiles, *facts.profiles.values()):
        require_harmless(text)


class _Reading:
    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def read(self, _url: str) -> requests.Response:
        """Return the answer."""
        return self._response


def _with_head(*bodies: object) -> Callable[[], tuple[bytes, ...]]:
    heads = (
        "200",
        '200|Retry-After: 5|Link: <https://ca.example/next>;rel="next"',
        "429|Retry-After: Wed, 21 Oct 2026 07:28:00 GMT",
        "500",
        "409|Location: https://ca.example/account/1",
        "200|Location: ",
        "200|Replay-Nonce: not base64!",
    )

    def samples() -> tuple[bytes, ...]:
        written = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in bodies]
        return tuple(head.encode() + b"\n" + body for head in heads for body in written)

    return samples


def _conversing(resource: str, *bodies: object) -> Target:
    harness = _conversation(resource)
    return Target(harness=harness, samples=_with_head(*bodies), form="headed json", examples=12)


TARGETS: Final[Mapping[str, Target]] = {
    "acme-directory": Target(
        harness=_directory, samples=lambda: (json.dumps(_DIRECTORY).encode(),), form="json"
    ),
    "acme-problem": Target(
        harness=_problem, samples=_with_head(_PROBLEM, _ORDER), form="headed json"
    ),
    "acme-renewal-info": Target(
        harness=_renewal_info,
        samples=_with_head(
            {
                "suggestedWindow": {
                    "start": "2026-11-20T00:00:00Z",
                    "end": "2026-11-22T00:00:00Z",
                },
                "explanationURL": f"{_CA}/why",
            }
        ),
        form="headed json",
    ),
    "acme-ask-directory": _conversing("directory", _DIRECTORY),
    "acme-ask-account": _conversing("newAccount", _GOOD["newAccount"], _PROBLEM),
    "acme-ask-nonce": _conversing("newNonce", b""),
    "acme-ask-new-order": _conversing("newOrder", _ORDER, _PROBLEM),
    "acme-ask-order": _conversing("order", _READY, _VALID, {**_ORDER, "status": "processing"}),
    "acme-ask-orders": _conversing("orders", _GOOD["orders"]),
    "acme-ask-authorization": _conversing(
        "authorization", _GOOD["authorization"], _AUTHORIZATION, _INVALID, _REFUSED
    ),
    "acme-ask-finalize": _conversing("finalize", _VALID, _PROBLEM),
    "acme-ask-certificate": _conversing("certificate", b"", _chain()),
    "acme-ask-revoke": _conversing("revokeCert", b"", _PROBLEM),
}
