"""What the files of a box tell, and what of a plan files can do. Pure: no box is there."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from distributor.model.endpoints import Served
from distributor.model.errors import ProtocolError, StalePlan, Unsupported
from distributor.model.hosts import (
    Delivery,
    Endpoint,
    Host,
    PlainSecret,
    SocketAddress,
    SshAccess,
)
from distributor.model.plan import Plan, make_plan
from distributor.model.secret import Secret
from distributor.model.state import (
    CERTIFICATE,
    CHAIN,
    DEFAULT,
    DEVICE,
    KEY,
    LEAF,
    MANAGED_BY,
    MODE,
    NAMES,
    OWNER,
    RELOAD_OWED,
    SELF_SIGNED,
    UNREADABLE,
    UPLOADED,
    Address,
    State,
)
from distributor.protocol.dsm_commands import (
    LAYER,
    NGINX_SH,
    OPENSSL,
    ROUTER_FILES,
    SYNOSYSTEMCTL,
    SYNOW3TOOL,
)
from distributor.protocol.dsm_info import ARCHIVE
from distributor.protocol.dsm_survey import SeenFile, Survey
from distributor.targets.diskstation_wanted import wanted_state
from distributor.targets.dsm_files import (
    heals,
    holds,
    new_files,
    notes_on,
    require_as_planned,
    require_files_do,
    touched,
)
from distributor.targets.dsm_tree import Tree, observed_state, owed_in, tree_of
from tests.certs import DAY, NOW, Issued, authority, hierarchy
from tests.contract.scenarios import bundle_of

INFO, DEFAULT_FILE = f"{ARCHIVE}/INFO", f"{ARCHIVE}/DEFAULT"
DSM7 = frozenset({INFO, DEFAULT_FILE, SYNOW3TOOL, SYNOSYSTEMCTL, OPENSSL, LAYER})
SYSTEM, PACKAGES = "/usr/syno/etc/certificate", "/usr/local/etc/certificate"
ISSUER = hierarchy(1)
OLD = ISSUER.issue(["example.test", "*.example.test"], not_after=NOW + 9 * DAY)
NEW = ISSUER.issue(["example.test", "*.example.test"])
OTHER = ISSUER.issue(["other.test"])
HOME = Address("certificate", "home", "3xTgtK")
DESKTOP = Address("service", "DSM Desktop Service", "system/default")
DRIVE = Address("service", "Drive", "SynologyDrive/SynologyDrive")
VHOST = f"{PACKAGES}/WebStation/vhost_x"


class Box:
    """A survey in the making."""

    def __init__(self) -> None:
        self.there = set(DSM7)
        self.folders: dict[str, dict[str, SeenFile]] = {}
        self.contents: dict[str, bytes | None] = {}
        self.keys: dict[str, bytes | None] = {}
        self.default: bytes | None = b"3xTgtK\n"
        self.layer: dict[str, tuple[str | None, ...]] = {}
        self.owed: set[str] = set()
        self.info: dict[str, Any] = {
            "3xTgtK": {
                "desc": "home",
                "services": [
                    _service("system/default", "DSM Desktop Service"),
                    _service("SynologyDrive/SynologyDrive", "Drive", isPkg=True),
                    _service("ReplicationService/snapshot_receiver", "Replication", isPkg=True),
                ],
            },
            "8ec29f37": {"desc": "other", "services": []},
        }
        self.put(f"{ARCHIVE}/3xTgtK", OLD)
        self.put(f"{SYSTEM}/system/default", OLD)
        drive = f"{PACKAGES}/SynologyDrive/SynologyDrive"
        self.put(drive, OLD, owner="SynologyDrive:SynologyDrive")
        self.put(f"{ARCHIVE}/8ec29f37", OTHER)

    def put(self, folder: str, pair: Issued, half: str = "", owner: str = "root:root") -> None:
        public = pair.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.file(folder, f"{half}cert.pem", pair.certificate_pem, owner)
        self.file(folder, f"{half}fullchain.pem", pair.fullchain_pem, owner)
        if pair.chain:
            self.file(folder, f"{half}chain.pem", pair.chain_pem, owner)
        digest = self.file(folder, f"{half}privkey.pem", pair.private_key_pem, owner)
        del self.contents[digest]
        self.keys[digest] = public

    def file(self, folder: str, name: str, content: bytes, owner: str = "root:root") -> str:
        digest = sha256(content).hexdigest()
        seen = SeenFile(digest=digest, mode="0400", owner=owner)
        self.folders.setdefault(folder, {})[name] = seen
        self.contents[digest] = content
        return digest

    def tree(self, *, takes_unnamed: bool = True) -> Tree:
        survey = Survey(
            there=frozenset(self.there),
            info=json.dumps(self.info).encode(),
            default=self.default,
            folders=self.folders,
            contents=self.contents,
            public_keys=self.keys,
            layer=self.layer,
            owed=frozenset(self.owed),
        )
        return tree_of(survey, takes_unnamed=takes_unnamed)

    def publish(self, name: str, pair: Issued | None) -> None:
        """Let the web server read that from its own layer; None for what is no certificate."""
        content = b"nonsense" if pair is None else pair.fullchain_pem
        digest = sha256(content).hexdigest()
        self.contents[digest] = content
        self.layer[f"{LAYER}/{name}"] = (digest,)

    def brought(self) -> None:
        """Hold the new pair everywhere."""
        for folder in self.tree().copies(self.tree().entries[0]):
            self.put(folder.path, NEW)

    def state(self, *served: Served) -> State:
        return observed_state(self.tree(), served)

    def plan(self, *deliveries: Delivery, served: Sequence[Served] = ()) -> Plan:
        certificate = bundle_of(NEW).certificate("home")
        wanted = wanted_state(host(*deliveries), {"home": certificate}, with_keys=True)
        return make_plan("cellar", self.state(*served), wanted, (certificate,))


def shown(pair: Issued, *, server_name: str | None = None, service: str | None = None) -> Served:
    return Served(
        endpoint=Endpoint(
            address=SocketAddress("192.0.2.1", 443),
            certificate="home",
            server_name=server_name,
            service=service,
        ),
        certificate=bundle_of(pair).certificate("home"),
    )


def host(*deliveries: Delivery) -> Host:
    access = SshAccess(port=22, user="certs", password=PlainSecret(Secret("x")))
    return Host(
        name="cellar",
        kind="diskstation",
        via="ssh",
        address="192.0.2.1",
        access=access,
        deliveries=deliveries or (Delivery(certificate="home"),),
        endpoints=(),
    )


def _service(key: str, name: str, **more: Any) -> dict[str, Any]:
    subscriber, _, service = key.partition("/")
    return {"subscriber": subscriber, "service": service, "display_name": name, **more}


def leaf(pair: Issued) -> str:
    return bundle_of(pair).certificate("").leaf


def test_entries_bindings_and_copies_are_told_with_owner_and_mode() -> None:
    state = Box().state()
    told = bundle_of(OLD).certificate("")
    assert state.get(HOME, LEAF) == told.leaf
    assert state.get(HOME, CHAIN) == told.chain
    assert state.get(HOME, KEY) == told.key
    assert state.get(HOME, NAMES) == ("*.example.test", "example.test")
    assert state.get(HOME, MANAGED_BY) == UPLOADED
    assert state.get(DEFAULT, CERTIFICATE) == HOME
    assert dict(state.facts[DRIVE]) == {
        CERTIFICATE: HOME,
        LEAF: told.leaf,
        CHAIN: told.chain,
        KEY: told.key,
        MODE: "0400",
        OWNER: "SynologyDrive:SynologyDrive",
    }
    missing = next(one for one in state.of_kind("service") if one.name == "Replication")
    assert dict(state.facts[missing]) == {CERTIFICATE: HOME}


def test_what_is_delivered_leaves_nothing_to_do() -> None:
    box = Box()
    assert {change.fact for change in box.plan().changes} == {LEAF, "not_after", KEY}
    for folder in box.tree().copies(box.tree().entries[0]):
        box.put(folder.path, NEW, owner=folder.pair["cert.pem"].owner)
    assert box.plan().is_noop


@pytest.mark.parametrize("name", ["cert.pem", "fullchain.pem", "privkey.pem", "chain.pem"])
@pytest.mark.parametrize("where", [f"{ARCHIVE}/3xTgtK", f"{SYSTEM}/system/default"])
def test_one_file_of_another_pair_is_drift(name: str, where: str) -> None:
    box = Box()
    for folder in box.tree().copies(box.tree().entries[0]):
        box.put(folder.path, NEW)
    foreign = authority("Elsewhere").issue(["example.test"])
    box.put("/aside", foreign)
    box.file("/aside", "chain.pem", foreign.certificate_pem)
    box.folders[where][name] = box.folders["/aside"][name]
    assert not box.plan().is_noop


@pytest.mark.parametrize("name", ["cert.pem", "fullchain.pem", "privkey.pem"])
def test_a_file_that_is_missing_or_holds_something_else_is_drift(name: str) -> None:
    for content in (None, b"", b"nonsense"):
        box = Box()
        for folder in box.tree().copies(box.tree().entries[0]):
            box.put(folder.path, NEW)
        files = box.folders[f"{SYSTEM}/system/default"]
        if content is None:
            del files[name]
        else:
            box.file(f"{SYSTEM}/system/default", name, content)
        state = box.state()
        assert not box.plan().is_noop
        assert state.get(DESKTOP, KEY if name == "privkey.pem" else LEAF) is UNREADABLE
        assert state.get(DRIVE, LEAF) == leaf(NEW)


def test_an_entry_whose_certificate_cannot_be_read_is_unreadable_and_brought_anew() -> None:
    box = Box()
    box.file(f"{ARCHIVE}/3xTgtK", "cert.pem", b"nonsense")
    state = box.state()
    for fact in (LEAF, CHAIN, KEY, NAMES):
        assert state.get(HOME, fact) is UNREADABLE
    assert {change.fact for change in box.plan(Delivery(certificate="home")).changes} >= {LEAF, KEY}


def test_who_renews_an_entry_is_told() -> None:
    box = Box()
    box.file(f"{ARCHIVE}/3xTgtK", "renew.json", b"{}")
    box.info["8ec29f37"]["user_deletable"] = False
    state = box.state()
    assert {state.get(one, MANAGED_BY) for one in state.of_kind("certificate")} == {DEVICE}
    own = authority("Synology Inc. CA")
    box = Box()
    box.put(f"{ARCHIVE}/3xTgtK", own.issue(["synology"]))
    box.file(f"{ARCHIVE}/3xTgtK", "syno-ca-cert.pem", own.root.public_bytes(Encoding.PEM))
    assert box.state().get(HOME, MANAGED_BY) == SELF_SIGNED
    box.put(f"{ARCHIVE}/3xTgtK", NEW)  # the CA's file stays when the pair is replaced
    assert box.state().get(HOME, MANAGED_BY) == UPLOADED


def test_a_default_that_names_nothing_is_unreadable_and_a_missing_one_absent() -> None:
    box = Box()
    box.default = b"gone00\n"
    assert box.state().get(DEFAULT, CERTIFICATE) is UNREADABLE
    box.there -= {DEFAULT_FILE}
    assert box.state().get(DEFAULT, CERTIFICATE) is None


def test_a_folder_that_info_does_not_name_goes_with_the_one_entry_that_holds_its_leaf() -> None:
    box = Box()
    box.put(VHOST, OLD)
    tree = box.tree()
    home, other = tree.entries
    assert next(iter(tree.copies(home))).path == VHOST
    assert box.state().get(Address("file", VHOST), CERTIFICATE) == HOME
    assert tree.unnamed(other) == ()
    note, _ = notes_on(box.plan(), tree, packages=True)
    assert note.startswith(f"{VHOST} holds the same certificate")
    box.put(VHOST, OTHER)
    assert box.tree().unnamed(home) == ()


def test_a_folder_whose_leaf_two_entries_hold_is_left_alone() -> None:
    box = Box()
    box.put(VHOST, OLD)
    box.put(f"{ARCHIVE}/8ec29f37", OLD)
    tree = box.tree()
    assert [tree.unnamed(entry) for entry in tree.entries] == [(), ()]


def test_dsm_s_own_import_is_not_thought_to_know_unnamed_folders() -> None:
    box = Box()
    box.put(VHOST, OLD)
    tree = box.tree(takes_unnamed=False)
    assert VHOST not in {folder.path for folder in tree.copies(tree.entries[0])}
    assert Address("file", VHOST) not in observed_state(tree, ()).facts
    (note,) = notes_on(box.plan(), tree, packages=False)
    assert note.endswith("DSM leaves it as it is")


def test_only_files_that_differ_are_written_and_a_chain_that_is_too_much_goes() -> None:
    box = Box()
    folder = box.tree().folders[f"{SYSTEM}/system/default"]
    assert new_files(folder, bundle_of(OLD)) == {}
    assert {path.rpartition("/")[2] for path in new_files(folder, bundle_of(NEW))} == {
        *("cert.pem", "fullchain.pem", "privkey.pem"),  # the chain is the same
    }
    alone = authority("Alone").issue(["example.test"])
    written = new_files(folder, bundle_of(alone))
    assert written[f"{folder.path}/chain.pem"] is None
    assert holds(folder, bundle_of(OLD).certificate(""))
    assert not holds(folder, bundle_of(NEW).certificate(""))


def test_a_file_that_was_not_there_looks_like_its_neighbours() -> None:
    box = Box()
    del box.folders[f"{SYSTEM}/system/default"]["chain.pem"]
    folder = box.tree().folders[f"{SYSTEM}/system/default"]
    new = new_files(folder, bundle_of(OLD))[f"{folder.path}/chain.pem"]
    assert new is not None
    assert new.like == f"{folder.path}/cert.pem"


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (Delivery(certificate="home", description="new"), "certificate 'new' would be a new entry"),
        (Delivery(certificate="home", id="8ec29f37", default=True), "the default would become"),
        (
            Delivery(certificate="home", id="8ec29f37", services=("Drive",)),
            "service 'Drive' would move to certificate 'other'",
        ),
    ],
)
def test_what_info_would_have_to_say_is_refused_by_name(delivery: Delivery, words: str) -> None:
    box = Box()
    box.info["3xTgtK"]["user_deletable"] = False  # so that it is not adopted
    with pytest.raises(Unsupported, match='use via = "api", or method = "synowebapi"') as caught:
        require_files_do(box.plan(delivery), box.tree())
    assert words in caught.value.message


def test_an_entry_with_two_pairs_is_refused_with_the_reason_and_the_way_that_works() -> None:
    box = Box()
    files = box.folders[f"{SYSTEM}/system/default"]
    files.clear()
    for half, pair in (("RSA-", OLD), ("ECC-", NEW)):
        box.put(f"{SYSTEM}/system/default", pair, half)
    plan = box.plan()
    with pytest.raises(Unsupported, match="system/default holds an RSA and an ECC pair") as caught:
        require_files_do(plan, box.tree())
    assert 'method = "synowebapi"' in (caught.value.hint or "")
    assert set(_leaves(box.state().get(HOME, LEAF))) == {leaf(OLD), leaf(NEW)}


def test_an_entry_without_files_is_refused() -> None:
    box = Box()
    del box.folders[f"{ARCHIVE}/3xTgtK"]
    with pytest.raises(Unsupported, match="certificate 'home' has no files"):
        require_files_do(box.plan(), box.tree())


def test_what_a_plan_can_do_by_files_is_not_refused() -> None:
    box = Box()
    require_files_do(box.plan(), box.tree())
    assert {folder.path for folder in touched(box.plan(), box.tree())} == {
        f"{ARCHIVE}/3xTgtK",
        f"{SYSTEM}/system/default",
        f"{PACKAGES}/SynologyDrive/SynologyDrive",
    }


def test_packages_that_are_kept_are_named() -> None:
    notes = list(notes_on(Box().plan(), Box().tree(), packages=False))
    assert notes[1].startswith("SynologyDrive/SynologyDrive go on with the old certificate")


def test_a_service_that_info_names_and_that_has_no_folder_is_named() -> None:
    (note,) = notes_on(Box().plan(), Box().tree(), packages=True)
    assert note == (
        "ReplicationService/snapshot_receiver has no files in "
        f"{PACKAGES}/ReplicationService/snapshot_receiver, so that there is nothing to replace "
        "for it"
    )


def test_what_the_web_server_s_own_layer_holds_counts_as_served() -> None:
    box = Box()
    box.brought()
    box.publish("system_default", NEW)
    assert box.plan().is_noop
    box.publish("system_default", OLD)
    (change,) = box.plan().changes
    assert (change.address, change.fact) == (HOME, LEAF)
    assert set(_leaves(change.before)) == {leaf(OLD), leaf(NEW)}
    box.publish("system_default", None)
    assert not box.plan().is_noop


def test_what_the_layer_has_of_other_services_says_nothing() -> None:
    box = Box()
    box.brought()
    for name in ("SynologyDrive_SynologyDrive", "system_quickconnect", "ReverseProxy_gone"):
        box.publish(name, OLD)
    assert box.plan().is_noop


def test_a_folder_that_info_does_not_name_has_its_layer_too() -> None:
    box = Box()
    box.put(VHOST, OLD)
    box.brought()
    assert box.plan().is_noop
    box.publish("WebStation_vhost_x", OLD)
    assert not box.plan().is_noop


def test_a_reload_that_is_owed_is_a_change_that_the_plan_shows() -> None:
    box = Box()
    box.brought()
    box.owed = {"8ec29f37", "gone00"}
    assert box.plan().is_noop
    box.owed = {"3xTgtK"}
    plan = box.plan()
    (change,) = plan.changes
    assert (change.address, change.before, change.after) == (
        HOME,
        (leaf(NEW), RELOAD_OWED),
        leaf(NEW),
    )
    assert owed_in(plan.observed) == {"3xTgtK"}
    assert any("cut off" in note for note in notes_on(plan, box.tree(), packages=True))
    assert heals(plan, box.tree())


def test_what_no_server_can_start_with_heals() -> None:
    box = Box()
    assert not heals(box.plan(), box.tree())
    box.file(f"{SYSTEM}/system/default", "privkey.pem", b"nonsense")
    assert heals(box.plan(), box.tree())
    box.put(f"{SYSTEM}/system/default", OTHER)  # one pair, sound by itself
    assert not heals(box.plan(), box.tree())
    half = box.folders[f"{SYSTEM}/system/default"]
    half["cert.pem"] = box.folders[f"{ARCHIVE}/3xTgtK"]["cert.pem"]
    assert heals(box.plan(), box.tree())


def test_a_port_of_no_known_service_that_shows_what_no_file_holds_was_not_told() -> None:
    box = Box()
    box.brought()
    assert box.plan(served=[shown(NEW)]).is_noop
    assert not box.plan(served=[shown(OLD)]).is_noop
    assert not box.plan(served=[shown(OLD, server_name="nas.example.test")]).is_noop
    assert box.plan(served=[shown(OTHER)]).is_noop  # a file holds it: it is another entry's
    assert box.plan(served=[shown(ISSUER.issue(["elsewhere.test"]))]).is_noop
    box.info["8ec29f37"]["desc"] = "twin"
    box.put(f"{ARCHIVE}/8ec29f37", NEW)
    assert box.plan(Delivery(certificate="home", id="3xTgtK"), served=[shown(OLD)]).is_noop


def test_a_plan_is_stale_once_a_service_came_or_a_copy_changed() -> None:
    box = Box()
    plan = box.plan()
    require_as_planned(plan, box.state())
    box.info["3xTgtK"]["services"].append(_service("smbftpd/ftpd", "FTPS"))
    with pytest.raises(StalePlan, match="used by other services"):
        require_as_planned(plan, box.state())
    box = Box()
    box.put(f"{SYSTEM}/system/default", OTHER)
    with pytest.raises(StalePlan, match="holds something else"):
        require_as_planned(plan, box.state())


def test_a_plan_is_stale_once_an_entry_that_nobody_uses_changed() -> None:
    box = Box()
    box.info["3xTgtK"]["services"] = []
    plan = box.plan()
    require_as_planned(plan, box.state())
    box.put(f"{ARCHIVE}/3xTgtK", OTHER)
    with pytest.raises(StalePlan, match="holds something else"):
        require_as_planned(plan, box.state())
    box.info.pop("3xTgtK")
    with pytest.raises(StalePlan, match="holds something else"):
        require_as_planned(plan, box.state())


def test_a_port_that_was_not_told_does_not_make_a_plan_stale() -> None:
    box = Box()
    served = shown(OLD, service="system/default")
    box.brought()
    plan = box.plan(served=[served])
    assert not plan.is_noop
    require_as_planned(plan, box.state(served))


@pytest.mark.parametrize(
    ("there", "info", "hint"),
    [
        (frozenset({ROUTER_FILES}), None, 'a Synology router wants kind = "router"'),
        (frozenset(), None, 'via = "api"'),
        (DSM7 - {LAYER}, b"{}", 'via = "api"'),
        (frozenset({INFO, NGINX_SH}), b"{}", 'via = "api"'),
    ],
)
def test_an_unknown_box_is_refused(there: frozenset[str], info: bytes | None, hint: str) -> None:
    survey = Survey(
        there=there,
        info=info,
        default=None,
        folders={},
        contents={},
        public_keys={},
        layer={},
        owed=frozenset(),
    )
    with pytest.raises(ProtocolError, match="of no DSM that is known here") as caught:
        tree_of(survey, takes_unnamed=True)
    assert hint in (caught.value.hint or "")


def test_what_an_unknown_box_has_is_shown_as_text() -> None:
    there = frozenset({"/usr/\x1b[31m", "/usr/\u202e"} | {f"/{number}" for number in range(9999)})
    survey = Survey(
        there=there,
        info=None,
        default=None,
        folders={},
        contents={},
        public_keys={},
        layer={},
        owed=frozenset(),
    )
    with pytest.raises(ProtocolError) as caught:
        tree_of(survey, takes_unnamed=True)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


def _leaves(found: object) -> tuple[str, ...]:
    assert isinstance(found, tuple)
    return found
