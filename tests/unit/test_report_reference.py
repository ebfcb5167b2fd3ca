"""The page on the report names every field that there is, and none that is not."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from distributor.model.endpoints import Served
from distributor.model.errors import AuthRefused, InventoryError, Problem
from distributor.model.hazards import Hazard
from distributor.model.hosts import Endpoint, SocketAddress
from distributor.model.plan import Change, Plan
from distributor.model.renewal import Outlook
from distributor.model.report import (
    CertificateOutcome,
    CertificateStatus,
    HostStatus,
    Outcome,
    Proof,
    Report,
)
from distributor.model.state import Address, State
from distributor.render.as_json import VERSION, failure_as_json, report_as_json
from tests.certs import NOW
from tests.unit.bench import issue

PAGE = (Path(__file__).parents[2] / "docs/reference/report.md").read_text()
HOME = Address("certificate", "home", "h1")


def report() -> dict[str, Any]:
    certificate = issue().certificate("home")
    endpoint = Endpoint(address=SocketAddress("attic", 5001), certificate="home")
    outcome = Outcome(
        host="attic",
        kind="diskstation",
        via="api",
        status="failed",
        certificates=("home",),
        plan=Plan(
            host="attic",
            observed=State({}),
            changes=(Change(HOME, "leaf", None, certificate.leaf, "home"),),
            certificates=(certificate,),
        ),
        endpoints=(Served(endpoint=endpoint, certificate=certificate),),
        hazards=(Hazard("fewer-names", "it would lose one"),),
        error=AuthRefused("no", hint="look", step="login", code=400),
    )
    return report_as_json(
        Report(
            started=NOW,
            seconds=1.0,
            dry_run=False,
            certificates=(
                CertificateOutcome(
                    name="home",
                    status="current",
                    certificate=certificate,
                    outlook=Outlook(when=NOW, reason="lifetime"),
                ),
            ),
            hosts=(outcome,),
        )
    )


def section(title: str) -> str:
    return re.split(r"\n#+ ", PAGE.split(title, 1)[1], maxsplit=1)[0]


def rows(title: str) -> dict[str, str]:
    """The fields of a table, each with what is said of it."""
    found = re.findall(r"^\| (`.*?) \| (.*) \|$", section(title), re.MULTILINE)
    return {name: text for names, text in found for name in re.findall(r"`([a-z_]+)`", names)}


def test_the_page_is_of_the_version_that_is_printed() -> None:
    assert f"describes version {VERSION}." in PAGE
    assert report()["version"] == failure_as_json(AuthRefused("no"), 1)["version"] == VERSION == 1


@pytest.mark.parametrize(
    ("title", "shown", "apart"),
    [
        ("## A run", report(), {"error"}),
        ("### `certificates[]`", report()["certificates"][0], set[str]()),
        ("### `hosts[]`", report()["hosts"][0], set[str]()),
    ],
    ids=["a run", "a certificate", "a host"],
)
def test_every_field_is_on_the_page_and_no_other(
    title: str, shown: dict[str, Any], apart: set[str]
) -> None:
    assert rows(title).keys() - apart == shown.keys()


def test_the_fields_within_a_field_are_on_the_page() -> None:
    told, host = rows("### `hosts[]`"), report()["hosts"][0]
    for name in ("changes", "endpoints", "hazards"):
        for field in host[name][0]:
            assert f"`{field}`" in told[name]
    for field in report()["certificates"][0]["renewal"]:
        assert f"`{field}`" in rows("### `certificates[]`")["renewal"]


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("### `certificates[]`", get_args(CertificateStatus)),
        ("### `hosts[]`", get_args(HostStatus)),
    ],
    ids=["a certificate", "a host"],
)
def test_every_status_is_on_the_page(title: str, words: tuple[str, ...]) -> None:
    assert set(re.findall(r"`([a-z_]+)`", rows(title)["status"])) == set(words)


def test_every_proof_is_on_the_page() -> None:
    told = rows("### `hosts[]`")["proof"]
    assert set(re.findall(r"`([a-z_]+)`", told)) == set(get_args(Proof))


def test_the_fields_of_an_error_are_on_the_page() -> None:
    faulty = InventoryError("file", (Problem(path="hosts", message="none", line=1),))
    data = failure_as_json(faulty, 2)["error"]
    named = set(re.findall(r"`([a-z]+)`", section("### `error`")))
    assert {*data, *data["problems"][0]} == named
