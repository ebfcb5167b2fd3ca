"""`distribute trust` and accounts with a second factor: one code once, and none from then on."""

import stat
from dataclasses import replace

import pytest

from distributor.lab.accounts import Accounts
from distributor.lab.diskstation import DiskStation
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import QUICK, USER, House, Ran
from tests.integration.cli.terminal import converse

CODES = ("pine cone 24", "larch cone 68", "spruce cone 10")
"""What the authenticator shows. Six digits could stand in any fingerprint by chance."""
TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
IS_IT = r"Is this the leaf of attic\? \[y/N\]: "
CODE = rf"One-time code of '{USER}' on attic: "


@pytest.fixture
def guarded(make_house: MakeHouse) -> House:
    """A box that nobody trusts yet, whose account has a second factor."""
    accounts = {"attic": {"otp_codes": frozenset(CODES)}}
    return make_house("attic", accounts=accounts, pinned=False)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Device ids as the boxes hand them out."""
    ids: list[str] = []
    real = Accounts.login

    def login(self: Accounts, *given: object) -> object:
        done = real(self, *given)  # type: ignore[arg-type]  # passed on as they came
        ids.append(done.device_id)
        return done

    monkeypatch.setattr(Accounts, "login", login)
    return ids


def logins(box: DiskStation) -> list[tuple[str, ...]]:
    """The names of the parameters of every login that the box was sent."""
    return [one.names for one in box.requests if one.api_method == "login"]


def codes_sent(box: DiskStation) -> int:
    return sum("otp_code" in names for names in logins(box))


def enrol(house: House, code: str = CODES[0], *, at_first: bool = True) -> Ran:
    known = ((IS_IT, "y"),) if at_first else ()
    return converse(house, (*known, (CODE, code)), "trust", "attic")


def test_trust_asks_the_code_once_and_no_run_wants_another(
    guarded: House, given: list[str]
) -> None:
    box = guarded.boxes["attic"]

    ran = enrol(guarded)

    assert ran.code == 0, ran.out
    assert ran.out.count("One-time code") == 1
    assert "its device token is kept, no code is needed from now on" in ran.out
    assert CODES[0] not in ran.out
    kept = guarded.state / "devices.toml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert given[-1]
    assert given[-1] in kept.read_text()
    assert given[-1] not in ran.out
    assert (len(logins(box)), codes_sent(box), box.sessions_open) == (2, 1, 0)

    for status in ("changed", "unchanged"):
        again = guarded.run("--all", "--json")
        assert again.code == 0, again.said
        assert again.statuses() == {"attic": status}
    assert codes_sent(box) == 1
    assert all("device_id" in names for names in logins(box)[2:])
    assert (box.failed_logins, box.sessions_open) == (1, 0)


def test_trust_again_asks_no_code_while_the_token_is_good(guarded: House) -> None:
    assert enrol(guarded).code == 0

    again = converse(guarded, (), "trust", "attic")

    assert again.code == 0, again.out
    assert "attic  is pinned to this already" in again.out
    assert f"attic  signed in as {USER}" in again.out
    assert "code" not in again.out
    assert codes_sent(guarded.boxes["attic"]) == 1


def test_a_wrong_code_is_one_error_and_keeps_no_token(guarded: House) -> None:
    box = guarded.boxes["attic"]

    ran = enrol(guarded, "not what it shows")

    assert ran.code == 1
    assert ran.out.count("AuthRefused [login]") == 1
    assert "the one-time code is wrong" in ran.out
    assert "Traceback" not in ran.out
    assert "not what it shows" not in ran.out
    assert not (guarded.state / "devices.toml").exists()
    assert (len(logins(box)), codes_sent(box)) == (2, 1)

    later = guarded.run("--all", "--json")
    assert later.code == 1
    assert "not tried: it was refused at " in later.host("attic")["error"]["message"]
    assert len(logins(box)) == 2

    assert enrol(guarded, at_first=False).code == 0
    assert guarded.run("--all").code == 0


def test_trust_forgets_a_login_that_was_refused(make_house: MakeHouse) -> None:
    house = make_house("attic", knobs={"attic": replace(QUICK, auto_block_after=0)})
    box = house.boxes["attic"]
    for _ in range(2):
        ran = house.run("--all", "--json")
        assert (ran.code, ran.host("attic")["error"]["code"]) == (1, 407)
    assert len(logins(box)) == 1, "the same words were tried again"
    box.knobs = QUICK  # an administrator takes this computer off the block list

    assert house.run("--all").code == 1
    assert len(logins(box)) == 1
    trusted = converse(house, (), "trust", "attic")

    assert trusted.code == 0, trusted.out
    assert f"attic  signed in as {USER}" in trusted.out
    assert house.run("--all").code == 0


def test_trust_without_a_terminal_tries_no_login(guarded: House) -> None:
    box = guarded.boxes["attic"]

    ran = guarded.child("trust", "attic", "--yes")

    assert ran.code == 0, ran.said
    assert "attic  pinned" in ran.err
    assert "signed in" not in ran.said
    assert box.requests == ()

    refused = guarded.run("--all", "--json").host("attic")["error"]
    assert "it wants a second factor" in refused["message"]
    assert "distribute trust" in refused["hint"]
    assert codes_sent(box) == 0
    # What was missing is not held against the words: once enrolled, the next run signs in.
    assert enrol(guarded, at_first=False).code == 0
    assert guarded.run("--all").code == 0


def with_totp(make_house: MakeHouse, secret: str = TOTP) -> House:
    house = make_house("attic", accounts={"attic": {"totp_secret": TOTP}})
    house.write("attic.totp", secret + "\n")
    house.add_to_host("attic", 'otp = { file = "attic.totp" }')
    return house


def test_a_totp_secret_needs_no_enrolment_and_one_code(make_house: MakeHouse) -> None:
    house = with_totp(make_house)
    box = house.boxes["attic"]

    for status in ("changed", "unchanged"):
        ran = house.run("--all", "--json")
        assert ran.code == 0, ran.said
        assert ran.statuses() == {"attic": status}
        assert codes_sent(box) == 1
        assert TOTP not in ran.said
    assert stat.S_IMODE((house.state / "devices.toml").stat().st_mode) == 0o600


def test_a_dry_run_that_spent_a_code_keeps_the_token_for_the_run_right_after_it(
    make_house: MakeHouse,
) -> None:
    house = with_totp(make_house)
    box = house.boxes["attic"]
    files = house.files()

    dry = house.child("--all", "--dry-run", "--json")
    ran = house.child("--all", "--json")  # within the half minute that the code lasts

    assert (dry.code, ran.code) == (0, 0), dry.said + ran.said
    assert (dry.statuses(), ran.statuses()) == ({"attic": "planned"}, {"attic": "changed"})
    assert codes_sent(box) == 1
    assert box.failed_logins == 1, "more was refused than the login that asked for the code"
    again = house.files().keys()
    assert house.child("--all", "--dry-run").code == 0
    assert house.files().keys() == again >= files.keys()


def test_trust_asks_nobody_where_the_inventory_has_the_totp_secret(make_house: MakeHouse) -> None:
    house = with_totp(make_house)

    ran = converse(house, (), "trust", "attic")

    assert ran.code == 0, ran.out
    assert "One-time code" not in ran.out
    assert "its device token is kept" in ran.out
    assert codes_sent(house.boxes["attic"]) == 1


def test_a_wrong_totp_secret_is_tried_once(make_house: MakeHouse) -> None:
    house = with_totp(make_house, TOTP[::-1])
    box = house.boxes["attic"]

    for _ in range(2):
        ran = house.run("--all", "--json")
        assert ran.code == 1
        assert "the one-time code is wrong" in ran.host("attic")["error"]["message"]
        assert TOTP[::-1] not in ran.said
    assert codes_sent(box) == 1


def test_a_lost_device_token_is_explained_and_replaced(guarded: House) -> None:
    box = guarded.boxes["attic"]
    assert enrol(guarded).code == 0
    before = (guarded.state / "devices.toml").read_text()
    box.forget_devices()

    ran = guarded.run("--all", "--json")

    assert ran.code == 1
    error = ran.host("attic")["error"]
    assert (error["kind"], error["code"]) == ("AuthRefused", 403)
    assert "its device token is no longer valid" in error["message"]
    assert "distribute trust" in error["hint"]
    assert box.writes == 0
    renewed = enrol(guarded, CODES[1], at_first=False)
    assert renewed.code == 0, renewed.out
    assert "its device token is kept" in renewed.out
    assert (guarded.state / "devices.toml").read_text() != before
    assert guarded.run("--all").code == 0


def test_a_box_that_gives_no_device_token_is_said_to_want_a_code_each_time(
    guarded: House,
) -> None:
    box = guarded.boxes["attic"]
    box.knobs = replace(QUICK, device_id_empty=True)

    ran = enrol(guarded)

    assert ran.code == 1
    assert "attic  signed in as certs, but it gave no device token" in ran.out
    assert "otp" in ran.out
    assert not (guarded.state / "devices.toml").exists()
    assert box.sessions_open == 0


def test_ctrl_c_at_the_question_sends_no_code(guarded: House) -> None:
    ran = converse(guarded, ((IS_IT, "y"), (CODE, "\x03")), "trust", "attic")

    assert ran.code == 130, ran.out
    assert "Traceback" not in ran.out
    assert codes_sent(guarded.boxes["attic"]) == 0
    assert guarded.store.trust.pinned("attic") is not None
