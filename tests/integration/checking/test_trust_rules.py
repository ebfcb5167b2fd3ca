"""Trust of a host's TLS: one basis, alone; per host; moved only by what was verified."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from distributor.access import Logins, pin_of, trust_for
from distributor.cli.main import cli
from distributor.clients.tls import served_chain
from distributor.inventory import json_schema, load
from distributor.lab.accounts import Account
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import Knobs
from distributor.model.bundle import Certificate, fingerprint, forecast, spki_fingerprint
from distributor.model.errors import Untrusted
from distributor.model.hosts import ApiAccess, SocketAddress
from distributor.model.report import CertificateOutcome
from distributor.model.snapshot import Snapshot
from distributor.model.state import CERTIFICATE, LEAF, Address, State
from distributor.model.trust import Trust
from distributor.obtaining import Obtained
from distributor.store import Store
from distributor.wiring.targets import HostTools
from tests.certs import Authority, hierarchy, pem
from tests.integration.checking.commands import ROOT
from tests.integration.checking.conftest import Lab

MakeLab = Callable[[int], Lab]
NAME = "attic.example.test"


def serves(box: DiskStation) -> str:
    return fingerprint(served_chain(SocketAddress(box.address, box.port), None)[0])


def key_of(box: DiskStation) -> str:
    return spki_fingerprint(served_chain(SocketAddress(box.address, box.port), None)[0])


def pinned(lab: Lab, name: str) -> str | None:
    known = Store(lab.range.state).trust.pinned(name)
    return known.leaf if known is not None else None


def trusts(lab: Lab, name: str, certificates: Mapping[str, Certificate] | None = None) -> Trust:
    host = load(lab.range.inventory).hosts[name]
    assert isinstance(host.access, ApiAccess)
    return trust_for(host, host.access, Store(lab.range.state), (certificates or {}).values())


@contextmanager
def vouched(folder: Path, issuer: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `issuer` stand for the public CAs, of which no test can have a certificate."""
    path = folder / "public-roots.pem"
    path.write_bytes(pem(issuer.root))
    with monkeypatch.context() as patch:
        patch.setattr("certifi.where", lambda: str(path))
        yield


def give(box: DiskStation, issuer: Authority, name: str = NAME, **dates: Any) -> str:
    """Let a box serve a leaf of `issuer` on its own port; return the leaf."""
    issued = issuer.issue((name,), **dates)
    entry = box.import_entry(issued.certificate_pem, issued.private_key_pem, issued.chain_pem)
    box.bind("system/default", entry)
    return fingerprint(issued.leaf)


# -- the first rule that applies, alone ------------------------------------------------------------


def test_the_first_rule_that_applies_counts_alone(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, issuer = make_lab(1), hierarchy(1)
    box = lab.range.boxes["attic"]
    factory = serves(box)
    leaf = give(box, issuer)
    lab.add_to_host("attic", f'server_name = "{NAME}"')
    store = Store(lab.range.state)
    with vouched(tmp_path, issuer, monkeypatch):
        # 2 before 3: the CA vouches for what the port serves, but another leaf is pinned.
        assert trusts(lab, "attic") == Trust(host="attic", leaves=frozenset({factory}))
        assert "Untrusted" in lab.run("status", "--services").out
        # 3 alone.
        (lab.range.state / "trust.toml").unlink()
        assert trusts(lab, "attic") == Trust(host="attic", leaves=frozenset({leaf}))
        assert "Untrusted" not in lab.run("status", "--services").out
        # 1 before 2 and 3: the key of somebody else, although both others would let it in.
        store.trust.pin("attic", pin_of(issuer.root, by="trust"))
        wrong = "sha256:" + "00" * 32
        lab.add_to_host("attic", f'tls_pin = "{wrong}"')
        assert trusts(lab, "attic") == Trust(host="attic", keys=frozenset({wrong}))
        logins = box.logins
        assert "Untrusted" in lab.run("status", "--services").out
        assert box.logins == logins
        # 1 alone lets in what 2 would not.
        lab.rewrite(wrong, key_of(box))
        assert "Untrusted" not in lab.run("status", "--services").out
        assert box.logins == logins + 1


@pytest.mark.parametrize("flaw", ["another name", "another root", "expired"])
def test_a_ca_vouches_for_the_right_name_with_a_valid_leaf_of_a_usual_root_only(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: str
) -> None:
    lab, issuer = make_lab(1), hierarchy(1)
    box = lab.range.boxes["attic"]
    ended = {"not_after": datetime.now(UTC) - timedelta(days=1)} if flaw == "expired" else {}
    give(box, issuer, "cellar.example.test" if flaw == "another name" else NAME, **ended)
    lab.add_to_host("attic", f'server_name = "{NAME}"')
    (lab.range.state / "trust.toml").unlink()
    before = len(box.requests)
    public = hierarchy(1).impostor() if flaw == "another root" else issuer
    with vouched(tmp_path, public, monkeypatch):
        ran = lab.run("status", "--services", "--json")
    assert ran.report["hosts"][0]["error"]["kind"] == "Untrusted"
    assert "distribute trust" in ran.report["hosts"][0]["error"]["hint"]
    assert len(box.requests) == before


def test_the_ca_bundle_of_a_certificate_vouches_for_nobody(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    assert lab.run("--all").code == 0  # it now serves a chain that ends at the `ca_bundle`
    lab.add_to_host("attic", f'server_name = "{NAME}"')
    (lab.range.state / "trust.toml").unlink()
    box = lab.range.boxes["attic"]
    before = len(box.requests)
    ran = lab.run("status", "--services", "--json")
    assert ran.report["hosts"][0]["error"]["kind"] == "Untrusted"
    assert len(box.requests) == before


def test_trust_is_kept_per_host(make_lab: MakeLab) -> None:
    lab = make_lab(2)
    attic, cellar = lab.range.boxes["attic"], lab.range.boxes["cellar"]
    assert pinned(lab, "attic") == serves(attic) != serves(cellar) == pinned(lab, "cellar")
    text = lab.range.inventory.read_text(encoding="utf-8")
    lab.range.inventory.write_text(text.replace(f"port = {attic.port}", f"port = {cellar.port}"))
    before = len(cellar.requests)
    ran = lab.run("--host", "attic", "--json")
    assert ran.report["hosts"][0]["error"]["kind"] == "Untrusted"
    assert len(cellar.requests) == before
    assert cellar.failed_logins == 0


def test_an_impostor_gets_no_byte_of_http(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    box = lab.range.boxes["attic"]
    password = (lab.range.folder / "attic.password").read_text().strip()
    with DiskStation("impostor", accounts=[Account("certs", password)]) as impostor:
        lab.rewrite(f"port = {box.port}", f"port = {impostor.port}")
        for command in (("--all",), ("status", "--services"), ("check", "--online")):
            assert lab.run(*command).code != 0
        assert impostor.requests == ()
        assert impostor.logins == impostor.failed_logins == 0


# -- moved forward only by what was verified -------------------------------------------------------


def test_only_a_verified_delivery_moves_the_pin(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    box, trust = lab.range.boxes["attic"], lab.range.state / "trust.toml"
    before = trust.read_bytes()
    for command in (
        ("--all", "--dry-run"),
        ("issue",),
        ("status", "--services"),
        ("check", "--online"),
        ("show", f"127.0.0.1:{box.port}"),
    ):
        lab.run(*command)
        assert trust.read_bytes() == before, command
    assert lab.run("--all").code == 0
    known = Store(lab.range.state).trust.pinned("attic")
    assert known is not None
    assert (known.leaf, known.by) == (serves(box), "delivery")
    assert trust.read_bytes() != before


def test_after_a_rollback_the_old_leaf_is_the_pinned_one(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    box = lab.range.boxes["attic"]
    factory = serves(box)
    box.knobs = replace(box.knobs, binding_not_moved=True)
    ran = lab.run("--all", "--json")
    assert ran.report["hosts"][0]["status"] == "rolled_back"
    assert pinned(lab, "attic") == serves(box) == factory
    box.knobs = replace(box.knobs, binding_not_moved=False)
    assert lab.run("--all").code == 0
    assert pinned(lab, "attic") == serves(box) != factory


def test_a_run_that_fails_before_its_first_write_moves_nothing(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    (lab.range.folder / "attic.password").write_text("wrong")
    before = (lab.range.state / "trust.toml").read_bytes()
    assert lab.run("--all").code == 1
    assert (lab.range.state / "trust.toml").read_bytes() == before


# -- a box's first day -----------------------------------------------------------------------------


@pytest.mark.parametrize("age", ["new", "just expired", "expired for years"])
def test_a_box_is_brought_in_by_its_first_certificate_even_an_expired_one(
    make_lab: MakeLab, age: str
) -> None:
    lab = make_lab(1)
    now = datetime.now(UTC)
    made = {
        "new": factory_certificate("first"),
        "just expired": factory_certificate("first", expired=True, now=now + timedelta(days=29)),
        "expired for years": factory_certificate(
            "first", expired=True, now=now - timedelta(days=900)
        ),
    }[age]
    with DiskStation(
        "first",
        accounts=[Account("certs", "secret")],
        knobs=Knobs(restart_delay=0.01, restart_seconds=0.05),
        factory=made,
    ) as box:
        lab.add_box("first", box, "secret")
        refused = lab.run("--host", "first", "--json")
        assert refused.report["hosts"][0]["error"]["kind"] == "Untrusted"
        assert box.requests == ()
        assert lab.run("trust", "first", "--fingerprint", fingerprint(made.leaf)).code == 0
        ran = lab.run("--host", "first", "--json")
        assert ran.report["hosts"][0]["status"] == "changed", ran.said
        assert pinned(lab, "first") == serves(box) != fingerprint(made.leaf)


def test_a_changed_fingerprint_needs_to_be_named(make_lab: MakeLab) -> None:
    lab, issuer = make_lab(1), hierarchy(1)
    box = lab.range.boxes["attic"]
    factory = serves(box)
    leaf = give(box, issuer)
    assert lab.run("trust", "attic", "--yes").code == 1
    assert pinned(lab, "attic") == factory
    assert lab.run("trust", "attic", "--fingerprint", factory).code == 1
    assert pinned(lab, "attic") == factory
    assert lab.run("trust", "attic", "--fingerprint", leaf).code == 0
    assert pinned(lab, "attic") == leaf


# -- what is accepted during one delivery ----------------------------------------------------------


def test_during_a_delivery_the_trusted_the_new_and_the_rollback_leaf_are_accepted(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(1)
    factory = serves(lab.range.boxes["attic"])
    new = replace(forecast("home", (NAME,), "ec256", "ca"), leaf="sha256:new")
    assert trusts(lab, "attic", {"home": new}).leaves == {factory, "sha256:new"}
    old, decoy = Address("certificate", "old", "a"), Address("certificate", "decoy", "b")
    before = State(
        {
            old: {LEAF: "sha256:old"},
            decoy: {LEAF: "sha256:decoy"},
            Address("service", "DSM Desktop Service", "system/default"): {CERTIFICATE: old},
            Address("service", "FTPS", "smbftpd/ftpd"): {CERTIFICATE: decoy},
        }
    )
    snapshots = Store(lab.range.state).snapshots
    later = datetime.now(UTC) + timedelta(seconds=2)
    snapshots.save(Snapshot(host="attic", taken=later, before=before))
    accepted = trusts(lab, "attic", {"home": new})
    assert accepted.leaves == {factory, "sha256:new", "sha256:old"}
    assert accepted.keys == frozenset()


def test_the_leaf_of_another_hosts_certificate_moves_no_pin(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    factory, store = serves(lab.range.boxes["attic"]), Store(lab.range.state)
    leaf = give(lab.range.boxes["attic"], hierarchy(1))
    obtained = {
        name: Obtained(
            outcome=CertificateOutcome(name=name, status="current"),
            certificate=replace(forecast(name, (NAME,), "ec256", "ca"), leaf=shown),
        )
        for name, shown in {"home": "sha256:new", "mail": leaf}.items()
    }
    tools = HostTools(store, obtained, lambda _host, _text: None, Logins(store))
    with pytest.raises(Untrusted):
        tools.remember(load(lab.range.inventory).hosts["attic"])
    assert pinned(lab, "attic") == factory


def test_a_leaf_that_was_replaced_counts_no_more_once_that_is_proved(make_lab: MakeLab) -> None:
    lab, issuer = make_lab(1), hierarchy(1)
    factory, store = serves(lab.range.boxes["attic"]), Store(lab.range.state)
    entry = Address("certificate", "old", "a")
    before = State(
        {
            entry: {LEAF: "sha256:old"},
            Address("service", "DSM Desktop Service", "system/default"): {CERTIFICATE: entry},
        }
    )
    earlier = datetime.now(UTC) - timedelta(hours=1)
    store.snapshots.save(Snapshot(host="attic", taken=earlier, before=before))
    store.trust.pin("attic", pin_of(issuer.root, by="delivery"))
    # What a person pinned for this box is its own; what a delivery brought and took away is not.
    assert trusts(lab, "attic").leaves == {factory, fingerprint(issuer.root)}


def test_a_leaf_that_is_being_put_back_counts_until_that_is_proved(make_lab: MakeLab) -> None:
    lab, issuer = make_lab(1), hierarchy(1)
    factory, store = serves(lab.range.boxes["attic"]), Store(lab.range.state)
    before = State({Address("certificate", "old", ""): {LEAF: factory}})
    earlier = datetime.now(UTC) - timedelta(hours=1)
    store.snapshots.save(Snapshot(host="attic", taken=earlier, before=before))
    store.trust.pin("attic", pin_of(hierarchy(1).root, by="trust"))
    store.trust.pin("attic", pin_of(issuer.root, by="delivery"))
    assert factory not in trusts(lab, "attic").leaves
    store.snapshots.mark("attic", undoing=True)
    assert factory in trusts(lab, "attic").leaves

    HostTools(store, {}, lambda _host, _text: None, Logins(store)).remember(
        load(lab.range.inventory).hosts["attic"]
    )

    assert pinned(lab, "attic") == factory
    kept = store.snapshots.last("attic")
    assert kept is not None
    assert not kept.undoing


def test_what_a_delivery_may_bring_is_no_basis_by_itself(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    (lab.range.state / "trust.toml").unlink()
    new = replace(forecast("home", (NAME,), "ec256", "ca"), leaf="sha256:new")
    with pytest.raises(Untrusted, match="never pinned"):
        trusts(lab, "attic", {"home": new})


# -- no switch ------------------------------------------------------------------------------------

_SWITCH = re.compile(
    r"insecure|verif|unsafe|no.?check|skip|trust.?(all|any)|force|ignore|ssl|cert.?none",
    re.IGNORECASE,
)


def test_no_option_and_no_key_turns_checking_off() -> None:
    options = set(_options(cli, click.Context(cli)))
    assert {"--fingerprint", "--yes", "--accept", "--online", "--state"} <= {
        option for _, option in options
    }
    # These two overwrite files that are there, and revoke what an endpoint may still serve.
    other = {("export", "--force"), ("revoke", "--force")}
    assert {one for one in options if _SWITCH.search(one[1])} == other
    keys = set(_keys(json_schema()))
    assert {"tls_pin", "tls", "server_name", "ca_bundle"} <= keys
    assert sorted(key for key in keys if _SWITCH.search(key)) == []


def test_nothing_in_the_product_connects_without_a_check() -> None:
    # Where verification by CA is off, the leaf is checked against pins, or nothing is sent at all.
    found = {
        str(path.relative_to(ROOT / "distributor"))
        for path in (ROOT / "distributor").rglob("*.py")
        if "lab" not in path.relative_to(ROOT / "distributor").parts
        and re.search(r"CERT_NONE|verify=False|verify_mode|_create_unverified", path.read_text())
    }
    assert found == {"clients/http.py"}
    assert "trust.check(" in (ROOT / "distributor/clients/http.py").read_text()


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str | None, str]]:
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            yield command.name, option
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _options(below, context)


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from _keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _keys(value)
