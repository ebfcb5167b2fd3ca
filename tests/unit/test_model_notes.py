"""Before a plan is applied it says what will restart, and what stays as it is."""

from collections.abc import Mapping

import pytest

from distributor.model.bundle import Certificate
from distributor.model.plan import Plan, make_plan
from distributor.model.state import (
    CERTIFICATE,
    DEFAULT,
    LEAF,
    NAMES,
    SAKE,
    Address,
    FactValue,
    State,
)

HOME = Address("certificate", "home", "aaaaaa")
OTHER = Address("certificate", "other", "bbbbbb")
DSM = Address("service", "DSM Desktop Service", "system/default")
QUICKCONNECT = Address("service", "QuickConnect", "system/quickconnect")
PROXY = Address("service", "git.example.com", "ReverseProxy/1")
FTPS = Address("service", "FTPS\x1b[2J", "smbftpd/ftpd")
NEW = Certificate(name="home", leaf="sha256:new", names=("a",), key_type="rsa2048")
WANTED = Address("certificate", "home")


def plan_of(
    bindings: Mapping[Address, Address],
    *services: str,
    leaf: str = "sha256:old",
    default: bool = False,
) -> Plan:
    observed: dict[Address, dict[str, FactValue]] = {
        HOME: {LEAF: leaf, NAMES: ("a",)},
        OTHER: {LEAF: "sha256:other", NAMES: ("b",)},
        **{service: {CERTIFICATE: entry} for service, entry in bindings.items()},
    }
    desired: dict[Address, dict[str, FactValue]] = {
        WANTED: {SAKE: "home", LEAF: NEW.leaf},
        **{Address("service", one): {CERTIFICATE: WANTED} for one in services},
    }
    if default:
        desired[DEFAULT] = {CERTIFICATE: WANTED}
    return make_plan("attic", State(observed), State(desired), [NEW], notes=["a note"])


@pytest.mark.parametrize(
    ("plan", "notes"),
    [
        (plan_of({DSM: HOME}), ["will restart: the web server"]),
        (plan_of({PROXY: HOME}), ["will restart: the web server"]),
        (plan_of({DSM: OTHER}), []),
        (plan_of({}), []),
        (plan_of({FTPS: HOME}), [r"will restart: FTPS\x1b[2J"]),
        (
            plan_of({DSM: HOME, FTPS: HOME, PROXY: OTHER}),
            [r"will restart: the web server, FTPS\x1b[2J"],
        ),
        (plan_of({DEFAULT: HOME}), ["will restart: the web server"]),
        (plan_of({DSM: OTHER}, "system/default"), ["will restart: the web server"]),
        (plan_of({FTPS: OTHER}, "smbftpd/ftpd"), [r"will restart: FTPS\x1b[2J"]),
        (plan_of({DEFAULT: OTHER}, default=True), ["will restart: the web server"]),
        (plan_of({DSM: HOME}, leaf=NEW.leaf), []),
    ],
)
def test_what_gets_another_certificate_restarts(plan: Plan, notes: list[str]) -> None:
    assert list(plan.notes) == [*notes, "a note"]


@pytest.mark.parametrize("selector", ["*", "quickconnect", "system/quickconnect"])
def test_quickconnect_is_left_alone_and_that_is_said(selector: str) -> None:
    plan = plan_of({QUICKCONNECT: OTHER}, selector, leaf=NEW.leaf)
    assert plan.is_noop
    assert plan.notes == (
        "service 'QuickConnect' keeps its certificate: the device does not let it be moved",
        "a note",
    )


def test_quickconnect_is_not_spoken_of_when_nobody_asks_for_it() -> None:
    assert plan_of({QUICKCONNECT: OTHER}, leaf=NEW.leaf).notes == ("a note",)


def test_notes_are_no_part_of_the_digest() -> None:
    quiet = plan_of({QUICKCONNECT: OTHER}, leaf=NEW.leaf)
    said = plan_of({QUICKCONNECT: OTHER}, "*", leaf=NEW.leaf)
    assert quiet.notes != said.notes
    assert quiet.digest == said.digest
