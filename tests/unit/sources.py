"""A source of certificates whose answers are set, for tests of what is done with them."""

from dataclasses import dataclass, field
from datetime import datetime

from distributor.model.bundle import Bundle, Certificate, assemble, forecast
from distributor.model.renewal import Held, Hints, Outlook, Renewal
from distributor.sources.contract import Progress, Ready
from tests.certs import DAY, NOW, hierarchy

ISSUER = hierarchy(1)
NAMES = ("example.test", "*.example.test")
CA = "https://ca.test/dir"
FORECAST = forecast("home", NAMES, "ec256", CA)


def ready(*, not_after: datetime = NOW + 90 * DAY) -> Ready:
    issued = ISSUER.issue(NAMES, not_after=not_after)
    bundle: Bundle = assemble(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
    )
    return Ready(Held(certificate=bundle.certificate("home"), ca=CA), bundle)


@dataclass
class FakeSource:
    """A source whose answers are set, and which notes what it was asked to do."""

    has: Ready | None = None
    reason: str | None = None
    new: Ready | Exception = field(default_factory=ready)
    broken: Exception | None = None
    left: tuple[str, ...] = ()
    did: list[str] = field(default_factory=list)

    def current(self) -> Ready | None:
        if self.broken is not None:
            raise self.broken
        return self.has

    def forecast(self) -> Certificate:
        return FORECAST

    def look(self) -> Hints:
        return Hints()

    def due(self, _current: Held | None, _hints: Hints, _now: datetime) -> Renewal | None:
        return None if self.reason is None else Renewal(reason=self.reason, forecast=FORECAST)

    def outlook(self, _current: Held, _hints: Hints) -> Outlook:
        return Outlook(reason="set by the test", when=NOW + 60 * DAY)

    def tidy(self) -> tuple[str, ...]:
        self.did.append("tidy")
        return self.left

    def renew(self, progress: Progress, *, is_asked_for: bool = False) -> Ready:
        self.did.append("renew, asked for" if is_asked_for else "renew")
        progress("ordering")
        if isinstance(self.new, Exception):
            raise self.new
        return self.new
