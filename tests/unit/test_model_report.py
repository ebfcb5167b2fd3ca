"""One exit code that tells the truth, whatever happened together."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import StateError
from distributor.model.plan import Plan, make_plan
from distributor.model.report import (
    BROKEN,
    INTERRUPTED,
    LOCKED,
    NOT_OBTAINED,
    NOT_WELL,
    OK,
    PENDING,
    USAGE,
    CertificateOutcome,
    CertificateStatus,
    HostStatus,
    Outcome,
    Report,
    plans_digest,
)
from distributor.model.state import Address, State
from tests.certs import NOW

HOST_STATUSES: tuple[HostStatus, ...] = get_args(HostStatus)
CERTIFICATE_STATUSES: tuple[CertificateStatus, ...] = get_args(CertificateStatus)
WELL = {"unchanged", "planned", "changed"}


def report(
    hosts: tuple[HostStatus, ...] = (),
    certificates: tuple[CertificateStatus, ...] = (),
    *,
    interrupted: bool = False,
    dry_run: bool = False,
    want_exit_code: bool = False,
    plans: tuple[Plan | None, ...] = (),
) -> Report:
    planned = (*plans, *(None for _ in hosts))
    return Report(
        started=NOW,
        seconds=4.2,
        dry_run=dry_run,
        interrupted=interrupted,
        want_exit_code=want_exit_code,
        certificates=tuple(
            CertificateOutcome(name=f"c{number}", status=status)
            for number, status in enumerate(certificates)
        ),
        hosts=tuple(
            Outcome(host=f"h{number}", kind="diskstation", via="api", status=status, plan=plan)
            for number, (status, plan) in enumerate(zip(hosts, planned, strict=False))
        ),
    )


def test_the_codes_are_those_that_scripts_know() -> None:
    codes = (OK, NOT_WELL, USAGE, NOT_OBTAINED, PENDING, BROKEN, LOCKED, INTERRUPTED)
    assert codes == (0, 1, 2, 3, 4, 5, 6, 130)


@pytest.mark.parametrize("status", HOST_STATUSES)
def test_one_host_alone(status: HostStatus) -> None:
    expected = 0 if status in WELL else 5 if status == "broken" else 1
    assert report((status,)).exit_code == expected
    assert report((status,)).hosts[0].is_well == (status in WELL)


@pytest.mark.parametrize(
    ("status", "code"), [("current", 0), ("renewed", 0), ("due", 0), ("failed", 3)]
)
def test_one_certificate_alone(status: CertificateStatus, code: int) -> None:
    assert report((), (status,)).exit_code == code


Mix = tuple[frozenset[str], frozenset[str], bool, bool, bool, bool]
"""Statuses of hosts and certificates; interrupted, dry run, asked for the code, asked back."""
CODES: tuple[tuple[int, Callable[[Mix], bool]], ...] = (
    (BROKEN, lambda mix: "broken" in mix[0]),
    (INTERRUPTED, lambda mix: mix[2]),
    (NOT_OBTAINED, lambda mix: "failed" in mix[1]),
    (NOT_WELL, lambda mix: bool(mix[0] & {"refused", "failed", "skipped", "held"})),
    (NOT_WELL, lambda mix: "rolled_back" in mix[0] and not mix[5]),
    (PENDING, lambda mix: mix[3] and mix[4] and ("planned" in mix[0] or "due" in mix[1])),
    (OK, lambda _mix: True),
)
"""The codes of the interface, the one that wins first."""


def every_mix() -> Iterator[Mix]:
    for hosts, certificates in itertools.product(
        _subsets(HOST_STATUSES), _subsets(CERTIFICATE_STATUSES)
    ):
        for stopped, dry, wanted, back in itertools.product((False, True), repeat=4):
            yield hosts, certificates, stopped, dry, wanted, back


def _subsets(statuses: Sequence[str]) -> list[frozenset[str]]:
    sizes = range(len(statuses) + 1)
    return [frozenset(some) for size in sizes for some in itertools.combinations(statuses, size)]


def test_every_mix_of_outcomes_has_the_code_of_the_interface() -> None:
    met = set()
    for mix in every_mix():
        hosts, certificates, interrupted, dry_run, wanted, asked_back = mix
        made = report(
            tuple(hosts),  # type: ignore[arg-type]  # subsets of the statuses
            tuple(certificates),  # type: ignore[arg-type]  # the same
            interrupted=interrupted,
            dry_run=dry_run,
            want_exit_code=wanted,
        )
        expected = next(code for code, applies in CODES if applies(mix))
        assert replace(made, asked_back=asked_back).exit_code == expected, mix
        met.add(expected)
    assert met == {OK, NOT_WELL, NOT_OBTAINED, PENDING, BROKEN, INTERRUPTED}


def test_what_was_asked_back_and_cannot_be_held_there_is_not_well() -> None:
    made = replace(report(("rolled_back",)), asked_back=True)
    (host,) = made.hosts
    unheld = replace(made, hosts=(replace(host, error=StateError("no space")),))
    assert (made.exit_code, unheld.exit_code) == (OK, NOT_WELL)


@given(
    st.lists(st.sampled_from(HOST_STATUSES), max_size=6),
    st.lists(st.sampled_from(CERTIFICATE_STATUSES), max_size=3),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_the_code_does_not_depend_on_the_order(
    hosts: list[HostStatus],
    certificates: list[CertificateStatus],
    dry_run: bool,
    wanted: bool,
    data: st.DataObject,
) -> None:
    def code(of: list[HostStatus], and_of: list[CertificateStatus]) -> int:
        return report(tuple(of), tuple(and_of), dry_run=dry_run, want_exit_code=wanted).exit_code

    mixed = data.draw(st.permutations(hosts)), data.draw(st.permutations(certificates))
    assert code(*mixed) == code(hosts, certificates)
    assert sum(report(tuple(hosts)).summary.values()) == len(hosts)


def test_a_run_without_hosts_is_well() -> None:
    assert report().exit_code == 0
    assert report().summary == {}


def test_the_summary_counts_each_status() -> None:
    made = report(("changed", "unchanged", "changed", "failed"))
    assert made.summary == {"changed": 2, "unchanged": 1, "failed": 1}


def plan_of(host: str) -> Plan:
    return make_plan(host, State({Address("file", f"/{host}"): {}}), State({}), ())


@given(st.permutations([plan_of("attic"), plan_of("cellar"), plan_of("router")]))
def test_plans_have_one_digest_in_any_order(plans: list[Plan]) -> None:
    whole = plans_digest(plans)
    assert whole == plans_digest(sorted(plans, key=lambda plan: plan.host))
    assert whole not in {plans_digest(plans[:2]), plans_digest(plans[1:]), plans_digest([])}


def test_a_report_has_the_digest_of_the_plans_there_are() -> None:
    one, other = plan_of("attic"), plan_of("cellar")
    made = report(("planned", "failed", "planned"), plans=(one, None, other))
    assert made.plan_digest == plans_digest([other, one])
    assert report(("failed",)).plan_digest == plans_digest([])
