"""Signing in to every dialect, with a second factor and without, and signing out."""

import stat
from dataclasses import replace

import pytest

from distributor.access import HostKeeper
from distributor.lab.diskstation import ADMIN
from distributor.lab.knobs import Fault, Profile
from distributor.model.errors import DistributorError, ProtocolError
from tests.contract.doors import (
    TOTP,
    WITH_2FA,
    MakeDoor,
    every_dialect,
    listed,
    make_door,
    watch,
)
from tests.contract.watch import Watch

__all__ = ["make_door", "watch"]


@every_dialect
def test_a_run_signs_in_once_looks_and_signs_out(make_door: MakeDoor, profile: Profile) -> None:
    door = make_door(profile)
    door.look()
    assert (door.box.logins, door.box.failed_logins, door.box.sessions_open) == (1, 0, 0)


@every_dialect
def test_passwords_sessions_and_tokens_travel_in_bodies_and_headers_of_posts(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)
    door.look()
    door.begin()
    door.look()
    for seen in door.box.requests:
        assert seen.method == "POST"
        assert "?" not in seen.target
        assert not seen.in_clear


class Stopped(BaseException):
    """What ends a run from within, as Ctrl-C does."""


@every_dialect
def test_a_session_is_signed_out_after_an_error(make_door: MakeDoor, profile: Profile) -> None:
    door = make_door(profile)
    for reason in (RuntimeError(), Stopped()):
        with pytest.raises(type(reason)), door.open():
            raise reason
    door.box.knobs = replace(door.box.knobs, data_absent=frozenset({"list"}))
    with pytest.raises(ProtocolError):
        door.look()
    assert (door.box.logins, door.box.sessions_open) == (3, 0)


@every_dialect
def test_a_logout_that_is_cut_is_sent_again(make_door: MakeDoor, profile: Profile) -> None:
    door = make_door(profile)
    with door.open():
        door.box.knobs = replace(
            door.box.knobs,
            faults=(Fault(door.box.counted["requests"] + 1, "before", "requests"),),
        )
    assert door.box.sessions_open == 0


@every_dialect
def test_a_session_whose_token_cannot_be_kept_is_signed_out(
    make_door: MakeDoor, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)

    def full(*_: object) -> None:
        raise DistributorError("the disk is full")

    monkeypatch.setattr(HostKeeper, "keep_token", full)
    with pytest.raises(DistributorError, match="full"), door.open():
        pass
    assert (door.box.logins, door.box.sessions_open) == (1, 0)


# -- second factors --------------------------------------------------------------------------------


@every_dialect
def test_the_first_code_obtains_a_device_token_that_later_runs_use(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)
    door.look()
    kept = door.store.devices.find("attic", ADMIN.name)
    assert kept is not None
    assert stat.S_IMODE((door.store.folder / "devices.toml").stat().st_mode) == 0o600
    door.begin(totp=TOTP)
    door.look()
    assert "otp_code" in door.logins_sent[1]
    assert "device_id" in door.logins_sent[2]
    assert len(door.logins_sent) == 3
    assert (door.box.failed_logins, door.box.sessions_open) == (1, 0)
    assert door.clock.slept == []


@every_dialect
def test_a_device_token_needs_no_code(make_door: MakeDoor, profile: Profile) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)
    door.look()
    door.begin()
    door.codes = None
    door.look()
    assert "otp_code" not in door.logins_sent[-1]
    assert (door.box.failed_logins, door.box.logins) == (1, 2)


@every_dialect
def test_a_session_lost_in_the_run_is_opened_again_with_the_device_token(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)
    with door.open() as session:
        listed(session)
        door.box.end_sessions()
        listed(session)
    assert sum("otp_code" in names for names in door.logins_sent) == 1
    assert "device_id" in door.logins_sent[-1]
    assert (door.box.logins, door.box.sessions_open, door.clock.slept) == (2, 0, [])


@every_dialect
@pytest.mark.parametrize("code", [105, 106, 119])
def test_a_lost_session_is_opened_again_whatever_its_code(
    make_door: MakeDoor, profile: Profile, code: int
) -> None:
    door = make_door(profile, session_lost_code=code)
    with door.open() as session:
        listed(session)
        door.box.end_sessions()
        listed(session)
    assert (door.box.logins, door.box.sessions_open) == (2, 0)


@every_dialect
def test_without_a_device_id_the_second_login_waits_for_the_next_code(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, WITH_2FA, device_id_empty=True)
    door.begin(totp=TOTP)
    with door.open() as session:
        door.box.end_sessions()
        listed(session)
    assert door.store.devices.find("attic", ADMIN.name) is None
    assert door.box.logins == 2
    # It began seven seconds into a step of thirty.
    assert door.clock.slept == [23.0]


@every_dialect
def test_a_lost_device_token_is_replaced_by_way_of_a_code(
    make_door: MakeDoor, profile: Profile
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)
    door.look()
    first = door.store.devices.find("attic", ADMIN.name)
    door.box.forget_devices()
    door.clock.sleep(30)
    door.begin(totp=TOTP)
    door.look()
    second = door.store.devices.find("attic", ADMIN.name)
    assert first is not None
    assert second is not None
    assert first.id.reveal() != second.id.reveal()
    door.begin()
    door.look()
    assert "otp_code" not in door.logins_sent[-1]


@every_dialect
def test_a_lost_device_token_without_a_way_to_a_code_asks_to_enrol(
    make_door: MakeDoor, profile: Profile, watch: Watch
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp=TOTP)
    door.look()
    door.box.forget_devices()
    door.begin()
    door.codes = None
    error = door.refused()
    watch.hear(error)
    assert error.code == 403
    assert "device token is no longer valid" in error.message
    assert "distribute trust HOST" in (error.hint or "")
    # Nothing was wrong with the password: enrolled again, the next run goes on.
    door.begin(totp=TOTP)
    door.clock.sleep(30)
    door.look()


@every_dialect
def test_a_second_factor_without_a_way_to_it_asks_to_enrol(
    make_door: MakeDoor, profile: Profile, watch: Watch
) -> None:
    door = make_door(profile, WITH_2FA)
    error = door.refused()
    watch.hear(error)
    assert "wants a second factor" in error.message
    assert "distribute trust HOST" in (error.hint or "")
    assert len(door.logins_sent) == 1


@every_dialect
def test_a_wrong_one_time_code_is_sent_once(
    make_door: MakeDoor, profile: Profile, watch: Watch
) -> None:
    door = make_door(profile, WITH_2FA)
    door.begin(totp="GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    error = door.refused()
    watch.hear(error)
    assert error.code == 404
    assert error.hint
    assert len(door.logins_sent) == 2
    door.begin(totp="GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    door.refused()
    assert len(door.logins_sent) == 2
