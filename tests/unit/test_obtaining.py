"""One certificate: current, due, renewed or failed, and what is delivered in each case."""

import threading
from dataclasses import replace

from distributor.model.bundle import Certificate, forecast
from distributor.model.errors import BundleError, CaUnreachable, Interrupted, StateError
from distributor.model.reviewed import Reviewed
from distributor.obtaining import IssueTerms, Obtained, obtain, obtain_each
from distributor.sources.contract import Ready
from tests.certs import DAY, NOW
from tests.unit.sources import CA, FORECAST, FakeSource, ready


class Lines:
    def __init__(self) -> None:
        self.said: list[str] = []

    def certificate(self, name: str, text: str) -> None:
        self.said.append(f"{name}: {text}")


TERMS = IssueTerms(renew_now=False)


def obtained(
    source: FakeSource, terms: IssueTerms = TERMS, stop: bool = False, lines: Lines | None = None
) -> Obtained:
    stopping = threading.Event()
    if stop:
        stopping.set()
    return obtain(source, terms, lines or Lines(), stopping, lambda: NOW)


def test_a_current_one_is_delivered_as_it_is() -> None:
    have = ready()
    source = FakeSource(has=have)

    found = obtained(source)

    assert found.outcome.status == "current"
    assert found.certificate == have.held.certificate
    assert found.bundle is have.bundle
    assert source.did == ["tidy"]


def test_a_due_one_is_renewed() -> None:
    source, lines = FakeSource(has=ready(), reason="names changed"), Lines()
    assert isinstance(source.new, Ready)

    found = obtained(source, lines=lines)

    assert (found.outcome.status, found.outcome.reason) == ("renewed", "names changed")
    assert found.certificate == source.new.held.certificate
    assert found.bundle is source.new.bundle
    assert lines.said == ["home: ordering"]


def test_a_renewal_that_fails_leaves_the_current_one_to_deliver() -> None:
    have = ready()
    source = FakeSource(has=have, reason="old", new=CaUnreachable("down"))

    found = obtained(source)

    assert found.outcome.status == "failed"
    assert isinstance(found.outcome.error, CaUnreachable)
    assert found.outcome.certificate == found.certificate == have.held.certificate
    assert found.bundle is have.bundle


def test_an_unknown_error_while_renewing_leaves_the_current_one_to_deliver() -> None:
    have = ready()

    found = obtained(FakeSource(has=have, reason="old", new=ZeroDivisionError()))

    assert found.outcome.status == "failed"
    assert "(ZeroDivisionError)" in str(found.outcome.error)
    assert found.certificate == have.held.certificate
    assert found.bundle is have.bundle


def test_an_unknown_error_with_one_certificate_ends_no_other() -> None:
    sources = {
        "home": FakeSource(broken=ZeroDivisionError()),
        "mail": FakeSource(has=ready(), reason="old"),
    }

    found = obtain_each(sources, TERMS, Lines(), threading.Event(), lambda: NOW)

    assert [(name, one.outcome.status) for name, one in found.items()] == [
        ("home", "failed"),
        ("mail", "renewed"),
    ]
    assert "(ZeroDivisionError)" in str(found["home"].outcome.error)


def test_a_renewal_that_fails_with_an_expired_current_one_leaves_nothing() -> None:
    source = FakeSource(has=ready(not_after=NOW - DAY), reason="old", new=CaUnreachable("down"))

    found = obtained(source)

    assert found.outcome.status == "failed"
    assert isinstance(found.outcome.error, CaUnreachable), "the cause, not its consequence"
    assert found.certificate is None
    assert found.bundle is None


def test_a_renewal_that_fails_with_none_stored_leaves_nothing() -> None:
    found = obtained(FakeSource(reason="none yet", new=CaUnreachable("down")))

    assert found.outcome.status == "failed"
    assert isinstance(found.outcome.error, CaUnreachable)
    assert (found.certificate, found.bundle) == (None, None)


def test_a_dry_run_plans_for_the_forecast_and_does_nothing() -> None:
    source = FakeSource(reason="none yet")

    found = obtained(source, replace(TERMS, dry_run=True))

    assert found.outcome.status == "due"
    assert found.certificate == FORECAST
    assert found.bundle is None
    assert source.did == []


def test_no_renew_delivers_what_is_due() -> None:
    source = FakeSource(has=ready(), reason="old")

    found = obtained(source, replace(TERMS, no_renew=True))

    assert found.outcome.status == "current"
    assert source.did == ["tidy"]


def test_no_renew_delivers_nothing_that_has_expired() -> None:
    source = FakeSource(has=ready(not_after=NOW - DAY), reason="old")

    found = obtained(source, replace(TERMS, no_renew=True))

    assert found.outcome.status == "failed"
    assert isinstance(found.outcome.error, BundleError)
    assert found.certificate is None


def test_renew_now_renews_what_is_not_due() -> None:
    found = obtained(FakeSource(has=ready()), replace(TERMS, renew_now=True))

    assert (found.outcome.status, found.outcome.reason) == ("renewed", "asked for")


def test_a_store_that_cannot_be_read_is_said_and_nothing_renewed_over_it() -> None:
    source = FakeSource(broken=StateError("torn"), reason="none yet")

    found = obtained(source)

    assert found.outcome.status == "failed"
    assert isinstance(found.outcome.error, StateError)
    assert source.did == []


def test_what_an_earlier_run_left_outside_is_named() -> None:
    lines = Lines()

    obtained(FakeSource(has=ready(), left=("TXT at x could not be removed yet",)), lines=lines)

    assert lines.said == ["home: TXT at x could not be removed yet"]


def test_an_interrupted_run_renews_nothing() -> None:
    source = FakeSource(has=ready(), reason="old")

    found = obtained(source, stop=True)

    assert isinstance(found.outcome.error, Interrupted)
    assert source.did == ["tidy"]


# -- a saved plan ------------------------------------------------------------------------------


def plan_for(certificate: Certificate) -> IssueTerms:
    reviewed = Reviewed(digests={}, certificates={"home": certificate})
    return replace(TERMS, reviewed=reviewed)


def test_a_reviewed_forecast_is_obtained_and_is_as_reviewed() -> None:
    found = obtained(FakeSource(reason="none yet"), plan_for(FORECAST))

    assert found.outcome.status == "renewed"
    assert found.as_reviewed


def test_a_forecast_that_differs_from_the_reviewed_one_is_not_ordered() -> None:
    other = forecast("home", ("example.test",), "ec256", CA)
    source = FakeSource(reason="none yet")

    found = obtained(source, plan_for(other))

    assert found.outcome.status == "due"
    assert not found.as_reviewed
    assert source.did == ["tidy"]


def test_a_reviewed_leaf_that_became_due_since_is_not_replaced_unreviewed() -> None:
    have = ready()
    source = FakeSource(has=have, reason="old")

    found = obtained(source, plan_for(have.held.certificate))

    assert found.outcome.status == "due"
    assert not found.as_reviewed
    assert source.did == ["tidy"]


def test_a_reviewed_leaf_is_delivered_as_long_as_it_is_the_current_one() -> None:
    have = ready()

    assert obtained(FakeSource(has=have), plan_for(have.held.certificate)).as_reviewed
    assert not obtained(FakeSource(has=ready()), plan_for(have.held.certificate)).as_reviewed


def test_a_certificate_that_the_plan_does_not_know_is_not_as_reviewed() -> None:
    terms = replace(TERMS, reviewed=Reviewed(digests={}, certificates={}))

    assert not obtained(FakeSource(has=ready()), terms).as_reviewed
