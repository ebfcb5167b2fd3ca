"""What becomes of a certificate that somebody else renews: in a dry run, and with warnings."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from distributor.model.bundle import Bundle, Certificate
from distributor.model.errors import IssuanceError
from distributor.model.renewal import Held, Hints, Outlook, Renewal
from distributor.obtaining import IssueTerms, Obtained, obtain
from distributor.render.as_json import certificate_as_json
from distributor.render.text import certificate_lines
from distributor.sources.contract import Ready
from tests.certs import NOW, hierarchy
from tests.contract.scenarios import bundle_of

BUNDLE: Bundle = bundle_of(hierarchy(1).issue(["example.test"]))
HELD = Held(certificate=BUNDLE.certificate("ddns"), ca="")
UNKNOWN = Certificate(name="ddns", leaf="next:ddns", names=(), key_type="rsa")


@dataclass
class Elsewhere:
    """A source whose every answer the test gives."""

    hints: Hints
    renewal: Renewal | None
    ready: Ready | None = None
    calls: list[str] = field(default_factory=list)

    def current(self) -> Ready | None:
        return self.ready

    def forecast(self) -> Certificate:
        return UNKNOWN

    def look(self) -> Hints:
        self.calls.append("look")
        return self.hints

    def due(self, current: Held | None, hints: Hints, now: datetime) -> Renewal | None:
        assert hints == self.hints
        assert current == (self.ready.held if self.ready else None)
        assert now.tzinfo is not None
        return self.renewal

    def outlook(self, current: Held, hints: Hints) -> Outlook:
        assert (current, hints) == (HELD, self.hints)
        return Outlook(reason="when attic has a newer one")

    def tidy(self) -> tuple[str, ...]:
        return ()

    def renew(self, progress: Callable[[str], None], *, is_asked_for: bool = False) -> Ready:
        assert not is_asked_for
        self.calls.append("renew")
        progress("exporting")
        return Ready(HELD, BUNDLE)


class Deaf:
    def certificate(self, name: str, text: str) -> None:
        pass


def obtained(source: Elsewhere, *, dry_run: bool = False, no_renew: bool = False) -> Obtained:
    terms = replace(IssueTerms(renew_now=False), dry_run=dry_run, no_renew=no_renew)
    return obtain(source, terms, Deaf(), threading.Event(), lambda: datetime.now(UTC))


def test_a_dry_run_plans_no_certificate_of_which_nothing_is_known() -> None:
    source = Elsewhere(
        Hints(error="attic: no connection", warnings=("attic cannot be asked",)),
        Renewal(reason="none yet", forecast=UNKNOWN),
    )
    found = obtained(source, dry_run=True)
    assert source.calls == ["look"]
    assert found.certificate is None
    assert found.outcome.status == "failed"
    assert isinstance(found.outcome.error, IssuanceError)
    assert "attic: no connection" in found.outcome.error.message


def test_a_dry_run_plans_for_the_leaf_that_was_seen() -> None:
    seen = BUNDLE.certificate("ddns")
    source = Elsewhere(Hints(seen=seen), Renewal(reason="none yet", forecast=seen))
    found = obtained(source, dry_run=True)
    assert (found.outcome.status, found.certificate) == ("due", seen)
    assert found.bundle is None


def test_warnings_of_a_look_are_in_the_report() -> None:
    source = Elsewhere(Hints(warnings=("attic is late \x1b[2J",)), None, Ready(HELD, BUNDLE))
    outcome = obtained(source).outcome
    assert outcome.status == "current"
    assert certificate_as_json(outcome)["warnings"] == ["attic is late \x1b[2J"]
    text = "\n".join(line.plain for line in certificate_lines(outcome, NOW))
    assert r"note: attic is late \x1b[2J" in text


def test_what_the_store_holds_already_is_current_and_not_renewed() -> None:
    seen = replace(BUNDLE.certificate("ddns"), leaf="next:ddns")
    source = Elsewhere(Hints(seen=seen), Renewal(reason="x", forecast=seen), Ready(HELD, BUNDLE))
    found = obtained(source)
    assert source.calls == ["look", "renew"]
    assert found.outcome.status == "current"


def test_nobody_is_asked_when_nothing_is_to_be_renewed() -> None:
    source = Elsewhere(Hints(), None, Ready(HELD, BUNDLE))
    assert obtained(source, no_renew=True).outcome.status == "current"
    assert source.calls == []
