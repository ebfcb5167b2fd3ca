"""Logins to a virtual box with one-time codes, trusted devices, locks and clocks."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from distributor.lab.accounts import Account
from distributor.lab.diskstation import ADMIN
from distributor.lab.knobs import DSM62, DSM72
from distributor.lab.totp import code_for, step_at
from tests.integration.lab.conftest import MakeBox
from tests.integration.lab.plain_client import CRT, QUICK, Client, code

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
USER = Account("u", "p", totp_secret=SECRET)
DEVICE = {"enable_device_token": "yes", "device_name": "lab"}


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def shown(self, steps: int = 0) -> str:
        """What the authenticator shows, so many steps from now."""
        return code_for(SECRET, step_at(self.now) + steps)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_code_of_the_moment_logs_in_once(make_box: MakeBox, clock: Clock) -> None:
    client = Client(make_box(accounts=[USER], clock=clock))
    assert code(client.login("u", "p")) == 403
    assert client.login("u", "p", otp_code=clock.shown())["success"]
    assert code(client.login("u", "p", otp_code=clock.shown())) == 404
    clock.now += 30
    assert client.login("u", "p", otp_code=clock.shown())["success"]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_how_far_a_code_may_be_off_is_a_knob(make_box: MakeBox, clock: Clock, steps: int) -> None:
    box = make_box(accounts=[USER], clock=clock, knobs=replace(QUICK, totp_steps=steps))
    for off in (-3, -2, -1, 0, 1, 2, 3):
        answer = Client(box).login("u", "p", otp_code=clock.shown(off))
        assert answer["success"] is (abs(off) <= steps), off


def test_a_code_needs_the_password_too(make_box: MakeBox, clock: Clock) -> None:
    client = Client(make_box(accounts=[USER], clock=clock))
    assert code(client.login("u", "wrong", otp_code=clock.shown())) == 400
    assert client.login("u", "p", otp_code=clock.shown())["success"]


def test_a_device_id_replaces_the_code_under_its_name_until_it_is_forgotten(
    make_box: MakeBox, clock: Clock
) -> None:
    box = make_box(accounts=[USER], clock=clock)
    client = Client(box)
    trusted = client.login("u", "p", otp_code=clock.shown(), **DEVICE)["data"]["device_id"]
    assert trusted
    assert client.login("u", "p", device_name="lab", device_id=trusted)["success"]
    assert code(client.login("u", "p", device_name="other", device_id=trusted)) == 403
    assert code(client.login("u", "p", device_id=trusted)) == 403
    box.knobs = replace(QUICK, device_ids_forgotten=True)
    assert code(client.login("u", "p", device_name="lab", device_id=trusted)) == 403


def test_no_device_id_without_a_name_or_without_asking(make_box: MakeBox, clock: Clock) -> None:
    client = Client(make_box(accounts=[USER], clock=clock))
    for asked in ({"device_name": "lab"}, {"enable_device_token": "yes"}):
        answer = client.login("u", "p", otp_code=clock.shown(), **asked)
        assert answer["data"]["device_id"] == ""
        clock.now += 30


def test_wrong_codes_block_the_address_too(make_box: MakeBox, clock: Clock) -> None:
    box = make_box(accounts=[USER], clock=clock, knobs=replace(QUICK, auto_block_after=2))
    codes = [code(Client(box).login("u", "p", otp_code="1")) for _ in range(3)]
    assert codes == [404, 404, 407]
    assert code(Client(box).login("u", "p", otp_code=clock.shown())) == 407
    elsewhere = Client(box, source="127.0.0.2")
    assert elsewhere.login("u", "p", otp_code=clock.shown())["success"]


def test_a_login_that_lacks_its_code_blocks_nobody(make_box: MakeBox, clock: Clock) -> None:
    box = make_box(accounts=[USER], clock=clock, knobs=replace(QUICK, auto_block_after=1))
    assert [code(Client(box).login("u", "p")) for _ in range(2)] == [403, 403]
    assert Client(box).login("u", "p", otp_code=clock.shown())["success"]


def test_wrong_passwords_lock_the_account_except_for_a_trusted_device(
    make_box: MakeBox, clock: Clock
) -> None:
    box = make_box(accounts=[USER, ADMIN], clock=clock, knobs=replace(QUICK, account_locks_after=2))
    client = Client(box)
    trusted = client.login("u", "p", otp_code=clock.shown(), **DEVICE)["data"]["device_id"]
    assert [code(client.login("u", "wrong")) for _ in range(3)] == [400, 400, 411]
    assert code(client.login("u", "p", otp_code=clock.shown(1))) == 411
    assert client.login("u", "p", device_name="lab", device_id=trusted)["success"]
    assert client.login(ADMIN.name, ADMIN.password)["success"]


@pytest.mark.parametrize("expected", [408, 409, 410])
def test_a_password_that_must_change_has_its_code(make_box: MakeBox, expected: Any) -> None:
    box = make_box(accounts=[Account("u", "p", password_code=expected)])
    assert code(Client(box).login("u", "p")) == expected
    assert code(Client(box).login("u", "wrong")) == 400


@pytest.mark.parametrize(("profile", "expected"), [(DSM62, 106), (DSM72, 119)])
def test_a_session_ends_when_it_is_not_used(
    make_box: MakeBox, clock: Clock, profile: Any, expected: int
) -> None:
    box = make_box(profile=profile, clock=clock, knobs=replace(QUICK, session_idle_seconds=60))
    client = Client(box, version=6)
    assert client.login(ADMIN.name, ADMIN.password, path="auth.cgi")["success"]
    for _ in range(3):
        clock.now += 59
        assert client.call(CRT, "list")["success"]
    clock.now += 61
    assert code(client.call(CRT, "list")) == expected
    assert box.sessions_open == 0


def test_a_secret_that_is_none_is_a_mistake_at_once(make_box: MakeBox) -> None:
    with pytest.raises(ValueError, match=r"[Nn]on-base32"):
        make_box(accounts=[Account("u", "p", totp_secret="not base32!")])


def test_no_secret_shows_in_the_repr_of_an_account() -> None:
    account = Account("u", "pass-word", otp_codes=frozenset({"123456"}), totp_secret=SECRET)
    assert not any(one in repr(account) for one in ("pass-word", "123456", SECRET))
