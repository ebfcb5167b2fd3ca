"""The command line against any CA: external accounts, profiles, chains, windows, outages.

Pebble and acme2certifier are real; the scripted server stands in for what neither can be brought to
do, and is no CA. BIND takes the updates.
"""

import base64
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from distributor.lab.acme2certifier import Acme2certifierOptions
from distributor.lab.authority import Authority
from distributor.lab.pebble import PebbleOptions
from tests.e2e.servers import Bind, MakePebble
from tests.integration.cli.house import House, Ran
from tests.unit.scripted_authority import ScriptedAuthority

CHALLENGE = "_acme-challenge.example.test"
KID = "kid-1"
MAC = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
MakeHouse = Callable[..., House]


@pytest.fixture
def make_house(bind: Bind, tmp_path: Path) -> Iterator[MakeHouse]:
    """Houses without boxes: `make_house(authority)`; the zone is empty at the end of each test."""

    def make(authority: Any, root: Path | None = None) -> House:
        url = getattr(authority, "directory_url", None) or authority.directory
        house = House(
            folder=tmp_path / "house",
            boxes={},
            directory_url=url,
            ca_bundle=authority.ca_bundle,
            root=root or authority.ca_bundle,
            nameserver=f"{bind.address}:{bind.port}",
            key_name=bind.key_name,
        )
        house.folder.mkdir(mode=0o700)
        house.write("tsig.key", bind.key_secret)
        house.write("mac", MAC)
        house.write_inventory()
        return house

    yield make
    assert bind.txt(CHALLENGE) == set()


@pytest.fixture(scope="module")
def bound(make_pebble: MakePebble, bind: Bind) -> Authority:
    """A Pebble that wants an external account, with alternate roots and long chains."""
    options = PebbleOptions(
        external_accounts={KID: MAC}, alternate_roots=2, chain_length=3, nonce_reject_percent=20
    )
    return make_pebble(dns=bind.endpoint, options=options)


@pytest.fixture(scope="module")
def windowed(bind: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """An acme2certifier with profiles, whose windows to renew are open from the start."""
    options = Acme2certifierOptions(
        profiles={"classic": "the usual", "short": "a week"},
        renewal_threshold_percent=0.0,
        ask_again_seconds=3600,
    )
    with Authority(
        engine="acme2certifier",
        dns=bind.endpoint,
        folder=tmp_path_factory.mktemp("a2c"),
        options=options,
    ) as authority:
        yield authority


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[ScriptedAuthority]:
    folder = tmp_path / "scripted"
    folder.mkdir()
    with ScriptedAuthority(folder) as script:
        yield script


def certificate(ran: Ran) -> dict[str, Any]:
    (found,) = ran.report["certificates"]
    return dict(found)


def refused(ran: Ran, house: House, kind: str, *words: str) -> None:
    """The typed error with its hint, and a store without a certificate."""
    assert ran.code == 3, ran.said
    error = certificate(ran)["error"]
    assert error["kind"] == kind
    assert error["hint"]
    for word in words:
        assert word in f"{error['message']} {error['hint']}"
    assert MAC not in ran.said
    assert not (house.state / "certificates").exists()


# --- external accounts


def test_an_external_account_opens_the_door_once(bound: Authority, make_house: MakeHouse) -> None:
    house = make_house(bound, bound.root)
    refused(house.run("issue", "--json"), house, "OrderFailed", "external account", "eab")
    [wanted] = [
        one["message"]
        for one in house.run("check", "--online", "--json").report["findings"]
        if one["name"] == "ca"
    ]
    assert "wants an external account" in wanted
    house.rewrite("[acme]\n", '[acme]\neab = { kid = "nobody", hmac = { file = "mac" } }\n')
    refused(house.run("issue", "home", "--json"), house, "OrderFailed", "kid")
    house.rewrite('kid = "nobody"', f'kid = "{KID}"')
    house.write("mac", "not base64url !")
    ran = house.run("issue", "home", "--json")
    assert ran.code == 3
    assert "not base64url !" not in ran.said
    house.write("mac", MAC)

    ran = house.run("issue", "home", "--json", "-vv")

    assert ran.code == 0, ran.said
    assert MAC not in ran.said
    (account,) = house.run("account", "--json").report["accounts"]
    assert account["url"]
    (house.folder / "mac").unlink()
    again = house.run("issue", "home", "--renew-now", "--json")
    assert again.code == 0, "the account is known: its binding is not needed again"
    assert MAC not in "".join(path.read_text() for path in house.state.rglob("*.json"))


# --- chains


def test_long_chains_stay_in_order_and_another_root_can_be_preferred(
    bound: Authority, make_house: MakeHouse
) -> None:
    house = make_house(bound, bound.root)
    house.rewrite("[acme]\n", f'[acme]\neab = {{ kid = "{KID}", hmac = {{ file = "mac" }} }}\n')
    assert house.run("issue").code == 0
    usual = house.store.bundles.current("home")
    assert usual is not None
    assert len(usual.bundle.chain) == 3
    roots = x509.load_pem_x509_certificates(bound.root.read_bytes())
    names = [root.subject.rfc4514_string().removeprefix("CN=") for root in roots]
    top = usual.bundle.chain[-1].issuer.rfc4514_string().removeprefix("CN=")
    other = next(name for name in names if name != top)

    house.rewrite("[acme]\n", f'[acme]\npreferred_chain = "{other}"\n')
    assert house.run("issue", "--renew-now").code == 0

    taken = house.store.bundles.current("home")
    assert taken is not None
    assert taken.bundle.chain[-1].issuer.rfc4514_string() == f"CN={other}"
    shown = house.run("show", "home")
    assert shown.code == 0
    assert other in shown.out
    house.rewrite(other, "Nobody Root")
    ran = house.run("issue", "--renew-now", "-v")
    assert ran.code == 0
    assert "Nobody Root" in ran.err, "what is not offered is said, and the usual chain taken"


# --- profiles


def test_a_profile_is_ordered_and_another_one_makes_a_new_certificate_due(
    windowed: Authority, make_house: MakeHouse
) -> None:
    house = make_house(windowed, windowed.root)
    house.rewrite("[acme]\n", '[acme]\nprofile = "tlsserver"\n')
    refused(house.run("issue", "--json"), house, "OrderFailed", "tlsserver", "classic", "short")
    house.rewrite('"tlsserver"', '"classic"')
    assert house.run("issue", "home").code == 0
    house.rewrite('"classic"', '"short"')

    ran = house.run("issue", "--json")

    assert ran.code == 0, ran.said
    assert certificate(ran)["reason"] == "profile changed (classic to short)"
    stored = house.store.bundles.current("home")
    assert stored is not None
    assert stored.profile == "short"


def test_a_ca_without_profiles_is_not_asked_for_one(
    pebble: Authority, make_house: MakeHouse
) -> None:
    house = make_house(pebble, pebble.root)
    house.rewrite("[acme]\n", '[acme]\nprofile = "classic"\n')
    refused(house.run("issue", "--json"), house, "OrderFailed", "classic")


# --- when the CA says


def test_the_cas_window_is_shown_kept_and_obeyed(
    windowed: Authority, make_house: MakeHouse
) -> None:
    house = make_house(windowed, windowed.root)
    assert house.run("issue").code == 0
    first = house.store.bundles.current("home")
    assert first is not None

    shown = house.run("show", "home")
    assert re.search(r"renewal +due .*(window|drawn)", shown.out), shown.out
    window = house.store.windows.find("home", first.bundle.certificate("home").leaf)
    assert window is not None
    assert timedelta(minutes=50) < window.ask_again - datetime.now(UTC) <= timedelta(hours=1)
    before = windowed.log.read_text().count("renewal-info")
    assert before
    assert house.run("show", "home").code == 0
    assert windowed.log.read_text().count("renewal-info") == before, "it is not asked again so soon"


# --- accounts and revocation


def test_an_account_gets_a_new_key_and_a_lost_one_is_registered_again(
    make_pebble: MakePebble, bind: Bind, make_house: MakeHouse
) -> None:
    pebble = make_pebble(dns=bind.endpoint)
    house = make_house(pebble, pebble.root)
    assert house.run("issue").code == 0
    (before,) = house.run("account", "--json").report["accounts"]
    assert house.run("account", "rollover").code == 0
    assert house.run("issue", "--renew-now").code == 0
    (after,) = house.run("account", "--json").report["accounts"]
    assert after["url"] == before["url"]

    pebble.stop()
    pebble.start()
    house.rewrite(house.directory_url, pebble.directory_url)
    ran = house.run("issue", "home", "--renew-now", "--json")
    assert ran.code == 0, ran.said


def test_what_was_revoked_is_obtained_anew(pebble: Authority, make_house: MakeHouse) -> None:
    house = make_house(pebble, pebble.root)
    assert house.run("issue").code == 0
    done = house.run("revoke", "home", "--reason", "superseded", "--yes")
    assert done.code == 0, done.said

    ran = house.run("issue", "--json")

    assert ran.code == 0, ran.said
    assert (certificate(ran)["status"], certificate(ran)["reason"]) == ("renewed", "revoked")
    assert house.run("issue", "--json").report["certificates"][0]["status"] == "current"


# --- outages, limits, fallback


def down(script: ScriptedAuthority) -> None:
    script.replies["/newOrder"] = [script.problem(500, "serverInternal")]


def limited(script: ScriptedAuthority) -> None:
    wait = script.problem(429, "rateLimited", "too many certificates already", Retry_After="7200")
    script.replies["/newOrder"] = [wait]


def busy(script: ScriptedAuthority) -> None:
    script.replies["/newOrder"] = [(503, {"Retry-After": "600"}, "slow down")]


def forbidden(script: ScriptedAuthority) -> None:
    script.replies["/newOrder"] = [script.problem(403, "caa", "CAA record forbids issuance")]


def with_fallback(house: House, other: Authority) -> None:
    table = f'{{ ca = "{other.directory_url}", ca_bundle = "{other.ca_bundle}" }}'
    house.rewrite("[acme]\n", f"[acme]\nfallback = [{table}]\n")


@pytest.mark.parametrize("spoil", [down, limited, busy], ids=lambda spoil: spoil.__name__)
def test_an_outage_or_a_rate_limit_leads_to_the_next_ca(
    scripted: ScriptedAuthority,
    pebble: Authority,
    make_house: MakeHouse,
    spoil: Callable[[ScriptedAuthority], None],
) -> None:
    spoil(scripted)
    house = make_house(scripted, pebble.root)
    with_fallback(house, pebble)

    ran = house.run("issue", "--json")

    assert ran.code == 0, ran.said
    stored = house.store.bundles.current("home")
    assert stored is not None
    assert stored.ca == pebble.directory_url
    assert house.run("issue", "--json").report["certificates"][0]["status"] == "current"


def test_what_a_caa_record_forbids_leads_to_no_other_ca(
    scripted: ScriptedAuthority, pebble: Authority, make_house: MakeHouse
) -> None:
    forbidden(scripted)
    house = make_house(scripted, pebble.root)
    with_fallback(house, pebble)
    refused(house.run("issue", "--json"), house, "AuthorizationFailed", "CAA")


def test_a_rate_limit_is_remembered_and_the_ca_is_left_alone(
    scripted: ScriptedAuthority, make_house: MakeHouse
) -> None:
    limited(scripted)
    house = make_house(scripted)
    refused(house.run("issue", "--json"), house, "RateLimited", "too many certificates already")
    asked = scripted.asked.count("/newOrder")

    ran = house.run("issue", "--json")

    refused(ran, house, "BudgetSpent", "asked us to wait")
    assert scripted.asked.count("/newOrder") == asked
    shown = house.run("show", "home")
    assert "no order before" in shown.out
    by_hand = house.run("issue", "home", "--json")
    refused(by_hand, house, "BudgetSpent")
    assert scripted.asked.count("/newOrder") == asked, "not even a person is let through"


def test_a_predecessor_that_the_ca_calls_replaced_is_left_out_once(
    scripted: ScriptedAuthority, pebble: Authority, make_house: MakeHouse
) -> None:
    house = make_house(scripted, pebble.root)
    house.rewrite(house.directory_url, pebble.directory_url)
    house.rewrite(f"ca_bundle = '{scripted.ca_bundle}'", f"ca_bundle = '{pebble.ca_bundle}'")
    assert house.run("issue").code == 0
    stored = house.store.bundles.current("home")
    assert stored is not None
    house.store.bundles.save("home", stored.bundle, ca=scripted.directory, now=datetime.now(UTC))
    house.rewrite(pebble.directory_url, scripted.directory)
    house.rewrite(f"ca_bundle = '{pebble.ca_bundle}'", f"ca_bundle = '{scripted.ca_bundle}'")
    scripted.resources["renewalInfo"] = f"{scripted.url}/renewal"
    refusal = scripted.problem(409, "alreadyReplaced")
    scripted.replies["/newOrder"] = [refusal, scripted.problem(500, "serverInternal")]

    ran = house.run("issue", "home", "--renew-now", "--json")

    assert ran.code == 3
    orders = scripted.sent_to("/newOrder")
    assert ["replaces" in order for order in orders] == [True, False]
