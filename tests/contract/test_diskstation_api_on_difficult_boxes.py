"""Every knob of the lab, one by one, by observe and deliver: the new leaf, or the box as it was.

Waits are short, restarts are not: a restart must be met where it hurts.
"""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from distributor import delivery
from distributor.lab.diskstation import ADMIN
from distributor.lab.knobs import DSM70, DSM72, DSM73, DSM74, HOSTILE_DESCRIPTION, Fault, Knobs
from distributor.model.endpoints import all_serve
from distributor.model.errors import (
    AuthRefused,
    DeviceRefused,
    HostError,
    ProtocolError,
    Unreachable,
    Untrusted,
)
from distributor.model.hosts import Delivery
from tests.contract.delivering import WORK, Bench
from tests.contract.diskstation_rig import DiskstationRig, diskstation_rig
from tests.contract.scenarios import DSM, FTPS, NEW, STRANGERS, Scenario, ours
from tests.contract.watch import key_lines, require_private, watched

SLOW = Knobs(restart_delay=0.02, restart_seconds=0.06)
NEW_ENTRY = Scenario(
    name="a new entry",
    deliveries=(Delivery(certificate="wild", services=(FTPS,), default=True),),
    proved={DSM: "wild", FTPS: "wild"},
    makes=1,
)


def rig_with(
    knobs: Knobs, folder: Path, scenario: Scenario = WORK
) -> AbstractContextManager[DiskstationRig]:
    return diskstation_rig(scenario, folder, DSM72, knobs)


TAKEN = {
    "healthy": SLOW,
    "502 pages during restarts": replace(SLOW, restart_answers_502=True),
    "answers overtaken by restarts": replace(SLOW, restart_drops_answer=True),
    "sessions ended by restarts": replace(SLOW, restart_ends_sessions=True),
    "answers and sessions lost": replace(
        SLOW, restart_drops_answer=True, restart_ends_sessions=True, restart_answers_502=True
    ),
    "no word on restarts": replace(SLOW, restart_httpd_absent=True),
    "no id after an import": replace(SLOW, id_absent=True),
    "no data after writes": replace(SLOW, data_absent=frozenset({"import", "set"})),
    "plain text": replace(SLOW, plain_text=True),
    "no device id": replace(SLOW, device_id_empty=True),
    "login without ik_message": replace(SLOW, login_without_ik_message=True),
    "a slow import": replace(SLOW, import_seconds=0.2),
    "RSA key types named": replace(SLOW, rsa_key_types="RSA"),
    "an unknown id is a new entry": replace(SLOW, unknown_id_is_new=True),
    "an expired leaf from the shop": replace(SLOW, expired_at_start=True),
    "a hostile description from the shop": replace(SLOW, description=HOSTILE_DESCRIPTION),
    "twins from the shop": replace(SLOW, twins=True),
    "token missing is 103": replace(SLOW, token_missing_code=103),
    "token missing is 105": replace(SLOW, token_missing_code=105),
    "a long restart": replace(SLOW, restart_seconds=0.4),
    "a late restart": replace(SLOW, restart_delay=0.15),
    "a new default that tells its restart": replace(SLOW, set_tells_restart=True),
}
"""What a box may do and be delivered to all the same."""


@pytest.mark.parametrize("scenario", [WORK, NEW_ENTRY], ids=str)
@pytest.mark.parametrize("knobs", TAKEN.values(), ids=TAKEN.keys())
def test_a_difficult_box_comes_to_serve_the_new_leaf(
    tmp_path: Path, knobs: Knobs, scenario: Scenario
) -> None:
    with watched() as watch, rig_with(knobs, tmp_path, scenario) as rig:
        entries = len(rig.raw().entries)
        outcome = Bench(rig).run()
        watch.hear(outcome, *rig.urls())
        assert (outcome.status, outcome.error) == ("changed", None)
        assert all_serve(rig.served(), rig.certificates)
        assert len(rig.raw().entries) == entries + scenario.makes
        writes = rig.writes
        assert Bench(rig).run().status == "unchanged"
        assert rig.writes == writes
        placed = (one.bundle for one in scenario.placed)
        watch.require_silence(key_lines(NEW, *placed) | set(rig.secrets()))
        require_private(tmp_path)


@pytest.mark.parametrize("profile", [DSM70, DSM73, DSM74], ids=lambda profile: profile.name)
def test_every_release_of_dsm_7_is_served(tmp_path: Path, profile: object) -> None:
    assert isinstance(profile, type(DSM70))
    with diskstation_rig(NEW_ENTRY, tmp_path, profile, SLOW) as rig:
        assert Bench(rig).run().status == "changed"
        assert all_serve(rig.served(), rig.certificates)


@pytest.mark.parametrize("scenario", [WORK, NEW_ENTRY], ids=str)
def test_a_binding_that_was_promised_and_not_moved_is_put_back(
    tmp_path: Path, scenario: Scenario
) -> None:
    with rig_with(replace(SLOW, binding_not_moved=True), tmp_path, scenario) as rig:
        before, state = rig.raw(), rig.inspect()
        outcome = Bench(rig).run()
        assert outcome.status == "rolled_back"
        assert outcome.error is not None
        assert outcome.error.kind == "ApplyFailed"
        assert "FTPS" in outcome.error.message
        assert rig.raw() == before
        assert rig.inspect() == state


DURING_A_CHANGE = {
    "502 pages": replace(SLOW, restart_answers_502=True),
    "answers overtaken": replace(SLOW, restart_drops_answer=True),
    "sessions ended": replace(SLOW, restart_ends_sessions=True),
    "a late restart": replace(SLOW, restart_delay=0.15),
    "a late restart that is told": replace(SLOW, restart_delay=0.15, set_tells_restart=True),
}


@pytest.mark.parametrize("scenario", [WORK, NEW_ENTRY], ids=str)
@pytest.mark.parametrize("knobs", DURING_A_CHANGE.values(), ids=DURING_A_CHANGE.keys())
def test_a_box_is_put_back_through_its_restarts(
    tmp_path: Path, knobs: Knobs, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The service that an endpoint names is not the one that answers there: nothing can prove it.
    # Only that wait is cut short. Several late restarts take their time until all is as before.
    monkeypatch.setattr(delivery, "SERVED_SECONDS", 0.3)
    with rig_with(knobs, tmp_path, scenario) as rig:
        drive = rig.box.service_ports["Synology Drive Server"]
        astray = tuple(
            replace(one, address=replace(one.address, port=drive)) if one.service == FTPS else one
            for one in rig.host.endpoints
        )
        true_host = rig.host
        before, state = rig.raw(), rig.inspect()
        rig.host = replace(rig.host, endpoints=astray)
        bench = Bench(rig)
        bench.at["putting back"] = lambda: monkeypatch.setattr(delivery, "SERVED_SECONDS", 10)
        outcome = bench.run()
        assert outcome.status == "rolled_back"
        assert outcome.error is not None
        assert outcome.error.kind == "VerifyFailed"
        rig.host = true_host
        assert rig.raw() == before
        assert rig.inspect() == state


NOT_TAKEN: Mapping[str, tuple[Knobs, type[HostError]]] = {
    "another service's pages": (replace(SLOW, html_status=200), ProtocolError),
    "a web server without its API": (replace(SLOW, html_status=502), ProtocolError),
    "a list without data": (replace(SLOW, data_absent=frozenset({"list"})), ProtocolError),
    "a login without data": (replace(SLOW, data_absent=frozenset({"login"})), ProtocolError),
    "no APIs": (replace(SLOW, data_absent=frozenset({"query"})), ProtocolError),
    "cut at the first request": (
        replace(SLOW, faults=(Fault(1, "before", "requests"),)),
        Unreachable,
    ),
    "cut after the login": (replace(SLOW, faults=(Fault(2, "after", "requests"),)), Unreachable),
    "cut at the list": (replace(SLOW, faults=(Fault(3, "before", "requests"),)), Unreachable),
}


@pytest.mark.parametrize(("knobs", "error"), NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_a_box_that_cannot_be_read_is_left_alone(
    tmp_path: Path, knobs: Knobs, error: type[HostError]
) -> None:
    with watched() as watch, rig_with(knobs, tmp_path) as rig:
        before = rig.raw()
        with pytest.raises(error) as caught:
            Bench(rig).run()
        watch.hear(caught.value, *rig.urls())
        watch.require_silence(rig.secrets())
        assert caught.value.hint
        assert rig.raw() == before
        assert rig.writes == 0


def test_a_wrong_password_is_sent_once(tmp_path: Path) -> None:
    with watched() as watch, rig_with(replace(SLOW, auto_block_after=3), tmp_path) as rig:
        rig.box._accounts._accounts[ADMIN.name] = replace(ADMIN, password="another")
        with pytest.raises(AuthRefused) as caught:
            Bench(rig).run()
        watch.hear(caught.value)
        watch.require_silence(rig.secrets())
        assert caught.value.code == 400
        assert (rig.box.failed_logins, rig.writes) == (1, 0)


def test_a_peer_that_is_not_pinned_gets_no_byte_of_http(tmp_path: Path) -> None:
    with rig_with(SLOW, tmp_path) as rig:
        rig.scenario = replace(rig.scenario, placed=STRANGERS)
        with pytest.raises(Untrusted):
            Bench(rig).run()
        assert rig.box.requests == ()


def test_two_services_of_one_name_prove_nothing_of_either(tmp_path: Path) -> None:
    # Their entries differ, and the endpoint does not say whose handshake it was.
    from distributor.lab.box_state import Service
    from tests.contract import diskstation_rig as rigs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rigs, "SERVICES", (*rigs.SERVICES, Service("other", "ftpd", "FTPS")))
        with rig_with(SLOW, tmp_path, replace(WORK, placed=(ours(services=(DSM, FTPS)),))) as rig:
            leaves = [
                rig.inspect().get(one, "leaf") for one in rig.inspect().of_kind("certificate")
            ]
            known = {leaf for leaf in leaves if isinstance(leaf, str)}
            assert known == {rig.raw().entries["known1"].leaf}


def test_a_refused_import_is_the_boxs_own_word(tmp_path: Path) -> None:
    with rig_with(SLOW, tmp_path) as rig:
        factory = rig.raw().default
        assert factory is not None
        served = rig.served()
        target = rig.target()
        with target.open() as session:
            plan = rig.plan(session.inspect(served))
            kept = rig.keep(session, plan)
            rig.box._state._entries.pop("known1")
            rig.box._state._bindings |= {"system/default": factory}
            with pytest.raises(DeviceRefused) as caught:
                session.apply(plan, rig.scenario.bundles)
        assert caught.value.code == 5503
        assert kept.before == plan.observed
        assert rig.writes == 0


@pytest.mark.parametrize("scenario", [WORK, NEW_ENTRY], ids=str)
@pytest.mark.parametrize("code", [100, 117, 5503])
def test_a_box_that_refuses_every_import_is_as_it_was_and_not_broken(
    tmp_path: Path, scenario: Scenario, code: int
) -> None:
    with rig_with(replace(SLOW, import_refused_code=code), tmp_path, scenario) as rig:
        before = rig.raw()
        outcome = Bench(rig).run()
        assert outcome.status == "rolled_back"
        assert outcome.error is not None
        assert outcome.error.code == code
        assert (rig.raw(), rig.writes) == (before, 0)


@pytest.mark.parametrize("code", [100, 109, 117, 118])
def test_a_box_that_is_busy_at_the_login_is_not_taken_to_refuse_the_account(
    tmp_path: Path, code: int
) -> None:
    with rig_with(replace(SLOW, login_busy_code=code), tmp_path) as rig:
        with pytest.raises(DeviceRefused) as caught, rig.target().open():
            pass
        assert caught.value.code == code
        rig.box.knobs = SLOW
        assert Bench(rig).run().status == "changed"


def test_a_box_that_is_busy_while_it_is_put_back_is_waited_for(tmp_path: Path) -> None:
    knobs = replace(SLOW, binding_not_moved=True)
    with rig_with(knobs, tmp_path, NEW_ENTRY) as rig:
        before, bench = rig.raw(), Bench(rig)

        def busy() -> None:
            rig.box.knobs = replace(knobs, login_busy_code=118)
            threading.Timer(0.3, lambda: setattr(rig.box, "knobs", knobs)).start()

        bench.at["putting back"] = busy
        assert bench.run().status == "rolled_back"
        assert rig.raw() == before
