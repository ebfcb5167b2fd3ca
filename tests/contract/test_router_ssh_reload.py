"""A router's web server: put back when it does not come up, and woken when it is down."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from distributor import delivery
from distributor.model.bundle import Bundle
from distributor.model.errors import DistributorError
from distributor.model.hosts import Delivery
from distributor.model.report import Outcome
from tests.certs import DAY, NOW, hierarchy, private_key
from tests.contract.delivering import Bench
from tests.contract.router_ssh_rig import KEY_FILE, RouterSshRig, router_ssh_rig
from tests.contract.scenarios import NEW, OWN_PORT, Placed, Scenario, bundle_of, rsa_of
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_ports import answers
from tests.e2e.ssh_box_tree import ARCHIVE, Item

CONF = "/etc/httpd/conf/httpd.conf-sys"
STRICT = b"SSLCipherSuite DEFAULT@SECLEVEL=3\n"
"""The server ends when it reads a key of less than 3072 bits."""


def pair(bits: str, *, days: int) -> Bundle:
    key = private_key("rsa3072" if bits == "3072" else "rsa2048", number=70 + days)
    names = ("example.test", "*.example.test")
    return bundle_of(hierarchy(1).issue(names, key=key, not_after=NOW + days * DAY))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBox]:
    """A router with BusyBox's own shell and tools, as the laws do not have it."""
    with SshBox(tmp_path_factory.mktemp("router"), "srm13") as box:
        yield box


def router(
    box: SshBox, folder: Path, *, bits: str = "2048", new: Bundle | None = None
) -> AbstractContextManager[RouterSshRig]:
    held = Placed(id="", description="", bundle=pair(bits, days=20))
    scenario = Scenario(
        name="a reload",
        placed=(held,),
        deliveries=(Delivery(certificate="wild"),),
        bundles={"wild": new or rsa_of(NEW)},
        proved={OWN_PORT: "wild"},
    )
    return router_ssh_rig(box, scenario, folder)


def brought(rig: RouterSshRig, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setattr(delivery, "SERVED_SECONDS", 10.0)
    return Bench(rig).run()


def test_a_router_is_brought_to_a_certificate_once(
    box: SshBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with router(box, tmp_path) as rig:
        first, raw = brought(rig, monkeypatch), rig.raw()
        assert (first.status, first.proof) == ("changed", "handshake"), first.error
        rig.served()
        again = brought(rig, monkeypatch)
        assert again.status == "unchanged"
        assert rig.raw() == raw
        assert box.calls() == []  # a graceful reload, and no restart


def test_a_web_server_that_does_not_come_up_gets_back_what_it_had(
    box: SshBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with router(box, tmp_path, bits="3072") as rig:
        plain = box.read(CONF)
        box.place(Item(path=CONF, content=STRICT + plain, mode=0o644))
        try:
            before, state = rig.raw(), rig.inspect()
            outcome = brought(rig, monkeypatch)
            assert outcome.status == "rolled_back", outcome.error
            assert outcome.error is not None
            assert outcome.error.message == (
                "the router's web server ended when it was told of the certificate"
            )
            assert (rig.raw(), rig.inspect()) == (before, state)
            assert [str(call) for call in box.calls()] == ["synoservicecfg --restart httpd-sys"]
        finally:
            box.place(Item(path=CONF, content=plain, mode=0o644))


def test_a_web_server_that_a_torn_pair_keeps_down_comes_back(
    box: SshBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with router(box, tmp_path) as rig:
        other = pair("2048", days=5).private_key_pem.reveal().encode()
        box.place(Item(path=KEY_FILE, content=other, mode=0o400))
        box.restart_web()
        assert not answers(box.ports["dsm"])
        outcome = brought(rig, monkeypatch)
        assert outcome.status == "changed", outcome.error
        assert rig.served()[0].serves(rig.certificates["wild"])


def test_a_certificate_without_chain_is_refused_with_the_way_that_may_work(
    box: SshBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(rsa_of(NEW), chain=())
    with router(box, tmp_path, new=bare) as rig:
        raw = rig.raw()
        with pytest.raises(DistributorError, match="has no chain") as caught:
            brought(rig, monkeypatch)
        assert caught.value.hint == 'bring it by the Web API instead: via = "api"'
        assert rig.raw() == raw


def test_a_diskstation_is_not_taken_for_a_router(box: SshBox, tmp_path: Path) -> None:
    with router(box, tmp_path) as rig:
        box.place(Item(path=ARCHIVE, mode=0o700))
        try:
            with pytest.raises(DistributorError, match="this is a DiskStation, not a router"):
                rig.inspect()
        finally:
            box.remove("/usr/syno/etc/certificate")
