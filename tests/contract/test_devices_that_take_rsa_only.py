"""DSM 6 and routers: an EC key is a hazard before anything is touched, and a typed error after."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from distributor.delivery import Visit, observe
from distributor.lab.calls import Answer, Call
from distributor.lab.knobs import DSM62, SRM12, SRM13, Profile
from distributor.lab.webapi import CERTIFICATE
from distributor.model.errors import DeviceRefused
from distributor.model.hazards import DEVICE_MANAGED, KEY_TYPE_UNSUPPORTED, NOT_RESTORABLE
from distributor.model.report import Outcome
from distributor.model.state import DEVICE, MANAGED_BY
from distributor.targets.router_facts import ENTRY
from tests.contract.delivering import ACCEPTED, WORK, Bench
from tests.contract.diskstation_rig import diskstation_rig
from tests.contract.lab_rig import QUICK, LabRig
from tests.contract.router_rig import router_rig
from tests.contract.scenarios import ROUTER_CASES, ROUTER_SCENARIOS, scenario_with_rsa

RSA_ONLY = [DSM62, SRM12, SRM13]


@contextmanager
def box_for_ec(
    profile: Profile, folder: Path, code: Literal[5529, 5598] = 5529
) -> Iterator[LabRig]:
    """Give a box that holds RSA pairs and is to get an EC one."""
    if profile is DSM62:
        scenario = replace(scenario_with_rsa(WORK), bundles=WORK.bundles)
        knobs = replace(QUICK, ec_refused_code=code)
        with diskstation_rig(scenario, folder, profile, knobs) as box:
            yield box
    else:
        held = ROUTER_CASES.scenarios[1]
        scenario = replace(held, bundles=ROUTER_SCENARIOS[1].bundles)
        with router_rig(scenario, folder, profile, replace(QUICK, router_ec_code=code)) as router:
            yield router


@pytest.mark.parametrize("profile", RSA_ONLY, ids=lambda one: one.name)
def test_an_ec_key_is_a_hazard_and_nothing_is_touched(profile: Profile, tmp_path: Path) -> None:
    with box_for_ec(profile, tmp_path) as rig:
        before = rig.raw()
        outcome = Bench(rig).run()
        assert outcome.status == "refused"
        assert [hazard.name for hazard in outcome.hazards if hazard.name not in ACCEPTED] == [
            KEY_TYPE_UNSUPPORTED
        ]
        assert rig.raw() == before
        assert rig.box.counted["writes"] == 0
        assert rig.box.sessions_open == 0


@pytest.mark.parametrize("profile", RSA_ONLY, ids=lambda one: one.name)
@pytest.mark.parametrize("code", [5529, 5598])
def test_an_ec_key_that_the_box_refuses_is_its_own_word(
    profile: Profile, code: Literal[5529, 5598], tmp_path: Path
) -> None:
    with box_for_ec(profile, tmp_path, code) as rig:
        before, state, served = rig.raw(), rig.inspect(), rig.served()
        with rig.target().open() as session:
            plan = rig.plan(session.inspect(served))
            kept = rig.keep(session, plan)
            with pytest.raises(DeviceRefused) as caught:
                session.apply(plan, rig.scenario.bundles)
        assert caught.value.code == code
        assert "rsa2048" in (caught.value.hint or "")
        with rig.target().open() as session:
            session.rollback(kept)
        assert rig.raw() == before
        assert rig.inspect() == state


def renewed_by_itself(rig: LabRig) -> None:
    """Let a router say of its certificate that it renews it."""
    methods = rig.box._api.admin_methods
    listed = methods[CERTIFICATE, "list"]

    def told(call: Call) -> Answer:
        answer = listed(call)
        body = answer.body.replace(b'"renewable":false', b'"renewable":true')
        assert body != answer.body
        return replace(answer, body=body)

    methods[CERTIFICATE, "list"] = told


@pytest.mark.parametrize("profile", [SRM12, SRM13], ids=lambda one: one.name)
def test_a_certificate_that_a_router_renews_itself_is_left_alone(
    profile: Profile, tmp_path: Path
) -> None:
    with router_rig(ROUTER_CASES.scenarios[1], tmp_path, profile) as rig:
        renewed_by_itself(rig)
        assert rig.inspect().get(ENTRY, MANAGED_BY) == DEVICE
        found: Any = observe(
            rig.host, rig.certificates, Bench(rig), dry_run=False, accepted=ACCEPTED, reviewed=None
        )
        assert not isinstance(found, Visit)
        assert isinstance(found, Outcome)
        assert found.status == "refused"
        names = [hazard.name for hazard in found.hazards if hazard.name not in ACCEPTED]
        assert names == [NOT_RESTORABLE, DEVICE_MANAGED]
        assert rig.box.counted["writes"] == 0


@pytest.mark.parametrize("profile", [SRM12, SRM13], ids=lambda one: one.name)
@pytest.mark.parametrize("scenario", ROUTER_CASES.scenarios, ids=str)
def test_a_router_comes_to_serve_the_new_leaf_and_is_left_alone_then(
    profile: Profile, scenario: Any, tmp_path: Path
) -> None:
    with router_rig(scenario, tmp_path, profile) as rig:
        outcome = Bench(rig).run()
        assert (outcome.status, outcome.error) == ("changed", None)
        writes, restarts = rig.writes, rig.box.restarts
        assert Bench(rig).run().status == "unchanged"
        assert (rig.writes, rig.box.restarts) == (writes, restarts)
        assert rig.box.sessions_open == 0
