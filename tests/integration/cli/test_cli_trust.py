"""`distribute trust`: nobody is believed before a person compared a fingerprint."""

from datetime import UTC, datetime

import pytest

from distributor.model.secret import Secret
from distributor.store import Store
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import House, shown_leaf


def test_trust_without_a_person_or_a_fingerprint_pins_nothing(make_house: MakeHouse) -> None:
    house = make_house("attic", pinned=False)

    ran = house.run("trust", "attic")

    assert shown_leaf(house.boxes["attic"]) in ran.out
    assert "nobody is there to compare the fingerprint" in ran.err
    assert ran.code == 2
    assert Store(house.state).trust.pinned("attic") is None


def test_trust_by_the_right_fingerprint_pins(make_house: MakeHouse) -> None:
    house = make_house("attic", pinned=False)
    leaf = shown_leaf(house.boxes["attic"])

    ran = house.run("trust", "attic", "--fingerprint", leaf)

    assert ran.code == 0
    assert "attic  pinned" in ran.err
    pinned = house.store.trust.pinned("attic")
    assert pinned is not None
    assert (pinned.leaf, pinned.by) == (leaf, "trust")
    assert house.boxes["attic"].requests == ()
    assert "is pinned to this already" in house.run("trust", "attic").err


def _colons(fingerprint: str) -> str:
    """As `openssl x509 -fingerprint -sha256` and browsers show it."""
    digits = fingerprint.removeprefix("sha256:").upper()
    return ":".join(digits[n : n + 2] for n in range(0, 64, 2))


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda text: text.removeprefix("sha256:"), _colons]
)
def test_trust_takes_a_fingerprint_as_other_programs_write_it(
    make_house: MakeHouse, spelling: object
) -> None:
    house = make_house("attic", pinned=False)
    leaf = shown_leaf(house.boxes["attic"])
    assert callable(spelling)

    ran = house.run("trust", "attic", "--fingerprint", spelling(leaf))

    assert ran.code == 0, ran.said
    pinned = house.store.trust.pinned("attic")
    assert pinned is not None
    assert pinned.leaf == leaf


@pytest.mark.parametrize("given", ["sha256:12", "1f", "md5:" + "0" * 64, "x" * 64])
def test_trust_by_something_that_is_no_fingerprint_is_a_usage_error(
    make_house: MakeHouse, given: str
) -> None:
    house = make_house("attic", pinned=False)

    ran = house.run("trust", "attic", "--fingerprint", given)

    assert ran.code == 2
    assert "is no SHA-256 fingerprint" in ran.err
    assert house.store.trust.pinned("attic") is None


def test_trust_by_another_fingerprint_pins_nothing(make_house: MakeHouse) -> None:
    house = make_house("attic", pinned=False)

    ran = house.run("trust", "attic", "--fingerprint", "sha256:" + "0" * 64, "--yes")

    assert ran.code == 1
    assert "Untrusted [trust]: it serves another leaf than sha256:00" in ran.err
    assert house.store.trust.pinned("attic") is None


def test_trust_of_a_changed_peer_needs_its_fingerprint(house: House) -> None:
    box = house.boxes["attic"]
    stored = house.store.bundles.current("home")
    assert stored is not None
    before = house.store.trust.pinned("attic")
    bundle = stored.bundle
    key = bundle.private_key_pem.reveal().encode()
    box.bind("system/default", box.import_entry(bundle.leaf_pem, key, bundle.chain_pem))

    ran = house.run("trust", "attic", "--yes")

    assert ran.code == 1
    assert "it is pinned to another leaf" in ran.err
    assert f"--fingerprint {shown_leaf(box)}" in ran.err
    assert house.store.trust.pinned("attic") == before
    assert house.run("trust", "attic", "--fingerprint", shown_leaf(box)).code == 0


def test_trust_of_several_hosts_goes_on_after_one_that_is_down(make_house: MakeHouse) -> None:
    house = make_house("attic", "cellar", pinned=False)
    house.boxes.pop("attic").stop()

    ran = house.run("trust", "attic", "cellar", "--yes")

    assert ran.code == 1
    assert "attic  Unreachable [connect]" in ran.err
    assert "cellar  pinned" in ran.err


def test_trust_prints_json_and_nothing_else(make_house: MakeHouse) -> None:
    house = make_house("attic", "cellar", pinned=False)
    leaf = shown_leaf(house.boxes["attic"])
    house.boxes.pop("cellar").stop()

    ran = house.run("trust", "attic", "cellar", "--yes", "--json")

    assert ran.code == 1
    assert (ran.report["version"], ran.report["exit"]) == (1, 1)
    attic, cellar = ran.report["hosts"]
    assert (attic["name"], attic["leaf"], attic["pinned"]) == ("attic", leaf, True)
    assert attic["error"] is None
    assert attic["key"].startswith("sha256:")
    assert attic["names"] == [], "the leaf from the shop has no SAN"
    assert attic["issuer"]
    assert attic["not_before"] < attic["not_after"]
    assert (cellar["name"], cellar["leaf"], cellar["pinned"]) == ("cellar", None, False)
    assert cellar["error"]["kind"] == "Unreachable"


def test_trust_by_another_fingerprint_shows_the_leaf_in_json(make_house: MakeHouse) -> None:
    house = make_house("attic", pinned=False)

    ran = house.run("trust", "attic", "--fingerprint", "sha256:" + "0" * 64, "--json")

    (attic,) = ran.report["hosts"]
    assert (attic["leaf"], attic["pinned"]) == (shown_leaf(house.boxes["attic"]), False)
    assert attic["error"]["kind"] == "Untrusted"


def test_trust_forgets_a_refused_login_also_where_no_terminal_is(make_house: MakeHouse) -> None:
    house = make_house("attic", pinned=False)
    words, now = Secret("wrong"), datetime.now(UTC)
    house.store.refusals.note("attic", "certs", words, 400, now)

    assert house.run("trust", "attic").code == 2
    assert house.store.refusals.find("attic", "certs", words, now) is not None, "it is not pinned"
    assert house.run("trust", "attic", "--yes").code == 0
    assert house.store.refusals.find("attic", "certs", words, now) is None


def test_a_delivery_moves_the_pin_to_what_it_verified(house: House) -> None:
    assert house.run("--all").code == 0

    pinned = house.store.trust.pinned("attic")

    assert pinned is not None
    assert (pinned.leaf, pinned.by) == (shown_leaf(house.boxes["attic"]), "delivery")
