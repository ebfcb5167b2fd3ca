"""`distribute revoke` and `distribute account`, against Pebble and virtual boxes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from distributor.model.bundle import assemble, fingerprint
from distributor.model.revocation import Revocation
from distributor.store import Stored
from tests.integration.cli.conftest import NOBODY, MakeHouse, World, issuing_house
from tests.integration.cli.house import House, shown_leaf
from tests.integration.cli.terminal import converse


def current(house: House) -> Stored:
    stored = house.store.bundles.current("home")
    assert stored is not None
    return stored


def status_at(world: World, stored: Stored) -> str:
    """Return what Pebble says of a certificate on its management port."""
    launch = world.authority._launch
    assert launch is not None
    serial = f"{stored.bundle.leaf.serial_number:x}"
    url = launch.root_urls[0].replace("roots/0", f"cert-status-by-serial/{serial}")
    return str(json.loads(world.authority._get(url))["Status"])


@pytest.fixture
def issued(tmp_path: Path, world: World) -> Iterator[House]:
    """A box that serves its own certificate still; the store holds one of Pebble's."""
    with issuing_house(tmp_path, world) as house:
        assert house.run("issue").code == 0
        yield house


@pytest.mark.parametrize("reason", ["unspecified", "keyCompromise", "superseded"])
def test_what_nobody_serves_is_revoked_at_the_ca_and_known_as_such(
    issued: House, world: World, reason: str
) -> None:
    stored = current(issued)
    assert status_at(world, stored) == "Valid"

    ran = issued.run("revoke", "home", "--yes", "--reason", reason)

    assert ran.code == 0, ran.said
    assert status_at(world, stored) == "Revoked"
    assert f"home  {stored.version} is revoked at " in ran.out
    assert f"({reason})" in ran.out
    assert "the next run obtains a new one" in ran.out
    noted = current(issued).revoked
    assert noted is not None
    assert noted.reason == reason
    again = issued.run("revoke", "home", "--yes", "--json")
    assert (again.code, again.report["new"]) == (0, False)
    assert again.report["reason"] == reason


def test_the_next_run_obtains_another_and_brings_only_that_one(issued: House) -> None:
    old = fingerprint(current(issued).bundle.leaf)
    assert issued.run("revoke", "home", "--yes", "--json").report["leaf"] == old

    dry = issued.run("--all", "--dry-run", "--json")
    assert dry.report["certificates"][0]["status"] == "due"
    assert dry.report["certificates"][0]["reason"] == "revoked"
    ran = issued.run("--all", "--json")

    assert ran.code == 0, ran.said
    assert ran.report["certificates"][0]["reason"] == "revoked"
    new = fingerprint(current(issued).bundle.leaf)
    assert new != old
    assert issued.all_serve(new)
    assert issued.run("revoke", "home", "--yes").code == 1  # it is served


def test_a_revoked_one_is_brought_nowhere_even_if_none_can_be_obtained(issued: House) -> None:
    before = shown_leaf(issued.boxes["attic"])
    assert issued.run("revoke", "home", "--yes").code == 0
    issued.rewrite(f'ca = "{issued.directory_url}"', f'ca = "https://{NOBODY}/dir"')

    ran = issued.run("--all", "--json")
    kept = issued.run("--all", "--no-renew", "--json")

    assert ran.code == 3
    assert kept.report["certificates"][0]["error"]["kind"] == "Revoked"
    assert shown_leaf(issued.boxes["attic"]) == before
    assert issued.writes == {"attic": 0}


def test_while_a_host_serves_it_nothing_is_revoked(issued: House, world: World) -> None:
    assert issued.run("--all").code == 0
    stored, files = current(issued), issued.files()

    for more in ((), ("--force",)):
        ran = issued.run("revoke", "home", "--yes", *more, "--json")

        assert ran.code == 1
        assert ran.report["error"]["kind"] == "InUse"
        assert "still served by attic at " in ran.report["error"]["message"]
        assert ran.report["error"]["hint"]
    assert status_at(world, stored) == "Valid"
    assert issued.files() == files


def test_an_endpoint_that_cannot_be_asked_stands_against_it_unless_a_person_knows(
    issued: House, world: World
) -> None:
    issued.boxes["attic"].stop()
    stored = current(issued)

    ran = issued.run("revoke", "home", "--yes")
    assert ran.code == 1
    assert "whether it is still served cannot be told of attic at " in ran.err
    assert "--force" in ran.err
    assert status_at(world, stored) == "Valid"

    forced = issued.run("revoke", "home", "--yes", "--force")
    assert forced.code == 0, forced.said
    assert forced.err.count("home  not asked: attic at ") == 2
    assert status_at(world, stored) == "Revoked"


def test_a_host_without_an_endpoint_cannot_be_asked(issued: House) -> None:
    text = issued.inventory.read_text(encoding="utf-8")
    start, end = text.index("endpoints = ["), text.index("]\n", text.index("service = "))
    issued.inventory.write_text(text[:start] + "endpoints = [" + text[end:], encoding="utf-8")
    assert issued.run("check").code == 0

    ran = issued.run("revoke", "home", "--yes")

    assert ran.code == 1
    assert "attic (no endpoint shows what it serves)" in ran.err


def test_an_older_version_is_revoked_by_its_name_while_the_new_one_is_served(
    issued: House, world: World
) -> None:
    old = current(issued)
    assert issued.run("issue", "--renew-now").code == 0
    assert issued.run("--all").code == 0

    assert issued.run("revoke", "home", "--yes", "--version", "20200101T000000Z-x").code == 2
    ran = issued.run("revoke", "home", "--yes", "--version", old.version)

    assert ran.code == 0, ran.said
    assert "the next run obtains" not in ran.out
    assert status_at(world, old) == "Revoked"
    assert status_at(world, current(issued)) == "Valid"
    assert issued.run("--all", "--json").statuses() == {"attic": "unchanged"}


def test_a_refusal_of_the_ca_leaves_the_version_as_it_was(
    make_house: MakeHouse, world: World
) -> None:
    """What another CA issued, this one does not revoke."""
    house = make_house("attic")
    house.directory_url, house.ca_bundle = world.authority.directory_url, world.authority.ca_bundle
    house.nameserver = ":".join(map(str, world.nameserver.address))
    house.write("tsig.key", world.secret + "\n")
    house.write_inventory()
    stored = current(house)
    house.store.bundles.save("home", stored.bundle, ca=house.directory_url, now=datetime.now(UTC))

    ran = house.run("revoke", "home", "--yes", "--json")

    assert ran.code == 1, ran.said
    assert ran.report["error"]["step"] == "revoke"
    assert current(house).revoked is None


def test_a_certificate_of_a_ca_that_the_inventory_does_not_name_is_not_sent_elsewhere(
    issued: House,
) -> None:
    issued.rewrite(f'ca = "{issued.directory_url}"', f'ca = "https://{NOBODY}/dir"')
    ran = issued.run("revoke", "home", "--yes")
    assert ran.code == 1
    assert "which the inventory does not name" in ran.err
    assert current(issued).revoked is None


def test_without_a_terminal_it_wants_to_be_told(issued: House, world: World) -> None:
    files = issued.files()
    ran = issued.run("revoke", "home")
    assert ran.code == 2
    assert "nobody is there to confirm it" in ran.err
    assert status_at(world, current(issued)) == "Valid"
    assert issued.files() == files


@pytest.mark.parametrize(("answer", "code", "status"), [("n", 1, "Valid"), ("y", 0, "Revoked")])
def test_on_a_terminal_it_asks_and_shows_what_it_is_about(
    issued: House, world: World, answer: str, code: int, status: str
) -> None:
    stored = current(issued)
    ran = converse(issued, (("for good\\? \\[y/N\\]: ", answer),), "revoke", "home")
    assert ran.code == code, ran.out
    assert stored.version in ran.out
    assert "reason   unspecified" in ran.out
    assert status_at(world, stored) == status


def test_another_run_at_work_keeps_it_out(issued: House) -> None:
    with issued.store.lock():
        assert issued.run("revoke", "home", "--yes").code == 6
        assert issued.run("account", "rollover").code == 6


@pytest.mark.parametrize(
    "words", [("hoem", "--yes"), ("home", "--yes", "--reason", "nonsense"), ()]
)
def test_what_cannot_be_meant_is_a_usage_error(issued: House, words: tuple[str, ...]) -> None:
    assert issued.run("revoke", *words).code == 2


def test_what_comes_from_a_box_cannot_be_revoked_here(house: House) -> None:
    text = house.inventory.read_text(encoding="utf-8")
    house.inventory.write_text(
        text + '\n[certificates.ddns]\nsource = "diskstation"\nfrom = "attic"\nid = "abcdef"\n',
        encoding="utf-8",
    )
    ran = house.run("revoke", "ddns", "--yes")
    assert ran.code == 2
    assert "does not come from an ACME CA" in ran.err


# -- a compromised key -------------------------------------------------------------------------


def test_a_key_is_reused_only_while_it_is_nobody_else_s(issued: House) -> None:
    issued.rewrite('key_type = "ec256"\n', 'key_type = "ec256"\nreuse_key = true\n')
    first = current(issued).bundle.private_key_pem
    assert issued.run("issue", "--renew-now").code == 0
    second = current(issued)
    assert second.bundle.private_key_pem == first

    ran = issued.run("revoke", "home", "--yes", "--reason", "keyCompromise")
    assert "has the same key: revoke it, too" in ran.out
    assert issued.run("issue").code == 0

    assert current(issued).version != second.version
    assert current(issued).bundle.private_key_pem != first


def test_an_order_under_way_with_such_a_key_is_finished_with_another(
    issued: House, world: World
) -> None:
    issued.rewrite('key_type = "ec256"\n', 'key_type = "ec256"\nreuse_key = true\n')
    bad = current(issued)
    # The nameserver takes nothing: the order stays under way, with the key of the one before.
    key, nobody = issued.folder / "tsig.key", "bm9ib2R5LWhhcy10aGlzLWtleS1vZi10aGlydHktdHc="
    right = key.read_text(encoding="utf-8")
    key.write_text(nobody + "\n", encoding="utf-8")
    assert issued.run("issue", "--renew-now").code == 3
    [pending] = issued.store.orders.all("home")
    assert pending.private_key_pem == bad.bundle.private_key_pem
    key.write_text(right, encoding="utf-8")
    assert issued.run("revoke", "home", "--yes", "--reason", "keyCompromise").code == 0

    ran = issued.run("issue", "home")

    assert ran.code == 0, ran.said
    assert current(issued).bundle.private_key_pem != bad.bundle.private_key_pem


def test_a_reason_may_become_worse_but_not_better(issued: House) -> None:
    for reason, noted in (
        ("superseded", "superseded"),
        ("keyCompromise", "keyCompromise"),
        ("superseded", "keyCompromise"),
    ):
        ran = issued.run("revoke", "home", "--yes", "--reason", reason, "--json")
        assert (ran.code, ran.report["reason"]) == (0, noted)


def test_a_cut_between_the_ca_s_yes_and_its_note_is_made_good(
    issued: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(BaseException):
        """As a process that ends."""

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr("distributor.store.bundles.Bundles.mark_revoked", cut)
        with pytest.raises(Cut):
            issued.run("revoke", "home", "--yes")
    assert status_at(world, current(issued)) == "Revoked"
    assert current(issued).revoked is None

    ran = issued.run("revoke", "home", "--yes")

    assert ran.code == 0, ran.said
    assert current(issued).revoked is not None


def test_a_host_that_serves_a_revoked_leaf_is_not_believed(house: House) -> None:
    assert house.run("--all").code == 0
    stored = current(house)
    house.store.bundles.mark_revoked(
        "home", stored.version, Revocation(when=datetime.now(UTC), reason="keyCompromise")
    )
    logins = house.boxes["attic"].logins

    assert house.run("status").code == 1
    ran = house.run("status", "--services", "--json")
    pinned = house.run("trust", "attic", "--fingerprint", fingerprint(stored.bundle.leaf))

    assert ran.code == 1
    assert "which was revoked" in ran.out
    assert pinned.code == 1
    assert "was revoked: it proves nothing" in pinned.err
    assert house.boxes["attic"].logins == logins


# -- account -----------------------------------------------------------------------------------


def test_accounts_are_listed_before_and_after_they_are_registered(issuing: House) -> None:
    before = issuing.run("account", "--json")
    assert before.report["accounts"] == [
        {
            "ca": issuing.directory_url,
            "contact": "admin@example.test",
            "url": None,
            "key_type": None,
        }
    ]
    assert "not registered yet" in issuing.run("account").out
    assert issuing.run("issue").code == 0

    ran = issuing.run("account")
    [one] = issuing.run("account", "--json").report["accounts"]

    assert one["key_type"] == "ec256"
    assert one["url"] in ran.out
    assert "admin@example.test" in ran.out
    assert "ec256 key" in ran.out
    assert "PRIVATE KEY" not in ran.said


def test_a_new_account_key_is_taken_by_the_ca_and_used_from_then_on(issued: House) -> None:
    def key() -> str:
        [path] = (issued.state / "accounts").glob("*/key.pem")
        assert path.stat().st_mode & 0o777 == 0o600
        return path.read_text(encoding="ascii")

    [before], old = issued.run("account", "--json").report["accounts"], key()

    ran = issued.run("account", "rollover", "--ca", issued.directory_url)

    assert ran.code == 0, ran.said
    assert "has a new key" in ran.out
    assert key() != old
    assert issued.run("account", "--json").report["accounts"] == [before]
    assert issued.run("issue", "--renew-now").code == 0
    assert not any(line in ran.said for line in (old + key()).splitlines())


def test_a_rollover_that_cannot_be_is_said_and_changes_nothing(issuing: House) -> None:
    ran = issuing.run("account", "rollover", "--json")
    assert ran.code == 1
    assert ran.report["accounts"][0]["error"]["kind"] == "OrderFailed"
    assert "no account is registered" in ran.err
    unknown = issuing.run("account", "rollover", "--ca", "letsencrypt")
    assert unknown.code == 2
    assert "no CA 'letsencrypt'" in unknown.err


# -- versions ----------------------------------------------------------------------------------


def test_a_run_that_changed_something_or_not_prunes_what_nobody_needs(
    house: House, issuer: tuple[object, Path]
) -> None:
    from tests.certs import DAY, NOW, Authority

    ca = issuer[0]
    assert isinstance(ca, Authority)
    latest = current(house).bundle
    old = ca.issue(["example.test"], not_before=NOW - 90 * DAY, not_after=NOW - 30 * DAY)
    bundle = assemble(certificate=old.fullchain_pem, private_key=old.private_key_pem)
    first = house.store.bundles.save("home", bundle, ca=house.directory_url, now=NOW - 90 * DAY)
    for age in range(5):
        more = ca.issue(["example.test"], not_before=NOW - 90 * DAY, not_after=NOW - DAY)
        house.store.bundles.save(
            "home",
            assemble(certificate=more.fullchain_pem, private_key=more.private_key_pem),
            ca=house.directory_url,
            now=NOW - (20 + age) * DAY,
        )
    house.keep(latest)
    assert len(house.store.bundles.versions("home")) == 7
    pinned = first.bundle.certificate("home").leaf

    assert house.run("--all", "--dry-run").code == 0
    assert len(house.store.bundles.versions("home")) == 7
    assert house.run("--all").code == 0

    left = house.store.bundles.certificates("home")
    assert len(left) == 5
    assert pinned not in {one.leaf for one in left}
    assert current(house).bundle.leaf == latest.leaf
