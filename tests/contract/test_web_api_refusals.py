"""A login that a box refuses, in every dialect: said once, remembered, never sent again."""

from dataclasses import replace

import pytest

from distributor.clients.dsm import DsmSession
from distributor.clients.srm import SrmSession
from distributor.lab.diskstation import ADMIN
from distributor.lab.knobs import Profile
from distributor.model.errors import DeviceRefused
from distributor.protocol.dsm_codes import LOGIN_REASONS
from tests.contract.doors import (
    ROUTERS,
    WRONG,
    MakeDoor,
    every_dialect,
    every_dsm,
    listed,
    make_door,
    watch,
)
from tests.contract.watch import Watch

__all__ = ["make_door", "watch"]

REFUSALS = {
    400: {"password": "another"},
    401: {"disabled": True},
    402: {"dsm_right": False},
    406: {"enforce_2fa": True},
    408: {"password_code": 408},
    409: {"password_code": 409},
    410: {"password_code": 410},
    411: {"locked": True},
}


@every_dialect
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refused_login_says_why_and_what_to_do_and_is_not_repeated(
    make_door: MakeDoor, profile: Profile, code: int, watch: Watch
) -> None:
    door = make_door(profile, replace(ADMIN, **REFUSALS[code]))  # type: ignore[arg-type]  # as Account checks
    error = door.refused()
    watch.hear(error)
    assert error.code == code
    kind = SrmSession if profile in ROUTERS else DsmSession
    meaning, hint = kind.login_reasons[code]
    assert meaning in error.message
    assert error.hint == hint
    again = door.refused()
    watch.hear(again)
    assert "not tried" in again.message
    assert again.code == code
    assert len(door.logins_sent) == 1


def test_every_code_of_a_login_is_translated() -> None:
    assert set(LOGIN_REASONS) == set(range(400, 412))
    assert set(SrmSession.login_reasons) == set(range(400, 412))
    assert all(meaning and hint for meaning, hint in LOGIN_REASONS.values())


@every_dialect
def test_a_second_administrator_of_a_router_is_told_so(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, replace(ADMIN, dsm_right=False))
    hint = door.refused().hint or ""
    assert ("first administrator" in hint) == (profile in ROUTERS)


@every_dialect
def test_ten_runs_with_a_wrong_password_never_block_this_computer(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, auto_block_after=2)
    for _ in range(10):
        door.begin()
        assert door.refused(WRONG).code == 400
        door.clock.sleep(3600)
    assert len(door.logins_sent) == 1
    door.begin()
    door.look()
    assert door.box.logins == 1


@every_dialect
def test_a_blocked_address_is_told_so_once(make_door: MakeDoor, profile: Profile) -> None:
    door = make_door(profile, auto_block_after=0)
    assert door.refused().code == 407
    door.begin()
    assert door.refused().code == 407
    assert len(door.logins_sent) == 1


@every_dialect
def test_the_same_words_are_tried_again_on_another_day(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile)
    door.refused(WRONG)
    door.clock.sleep(23 * 3600)
    door.begin()
    door.refused(WRONG)
    assert len(door.logins_sent) == 1
    door.clock.sleep(2 * 3600)
    door.begin()
    door.refused(WRONG)
    assert len(door.logins_sent) == 2


@every_dsm
@pytest.mark.parametrize("code", [105, 119])
def test_an_account_without_the_right_is_told_so_and_signed_out(
    make_door: MakeDoor, profile: Profile, code: int, watch: Watch
) -> None:
    door = make_door(profile, replace(ADMIN, admin=False), session_lost_code=code)
    with pytest.raises(DeviceRefused) as caught:
        door.look()
    watch.hear(caught.value)
    assert caught.value.code == 105
    assert (door.box.logins, door.box.sessions_open) == (1, 0)


@every_dsm
def test_a_right_that_was_lost_in_the_run_leaves_no_session(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, session_lost_code=105)
    with door.open() as session:
        listed(session)
        door.box._accounts._accounts[ADMIN.name] = replace(ADMIN, admin=False)
        door.box.end_sessions()
        with pytest.raises(DeviceRefused):
            listed(session)
    assert (door.box.logins, door.box.sessions_open) == (2, 0)
