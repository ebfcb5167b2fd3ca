"""Boxes of every dialect with a clock of their own, and sessions with them as runs make them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distributor import access
from distributor.access import HostKeeper
from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.otp import OneTimeCodes
from distributor.clients.srm import SrmSession
from distributor.clients.web_api import Account, WebApiSession
from distributor.lab import accounts
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import (
    DSM62,
    DSM70,
    DSM72,
    DSM73,
    DSM74,
    SRM12,
    SRM13,
    Knobs,
    Profile,
)
from distributor.model.bundle import fingerprint
from distributor.model.errors import AuthRefused
from distributor.model.hosts import SocketAddress
from distributor.model.secret import Secret
from distributor.model.trust import Trust
from distributor.store import Store
from tests.contract.watch import Watch, require_private, watched

DSMS = (DSM62, DSM70, DSM72, DSM73, DSM74)
ROUTERS = (SRM12, SRM13)
TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
WRONG = Secret("wrong horse & battery staple")
WITH_2FA = replace(ADMIN, totp_secret=TOTP)
FACTORY = factory_certificate("attic")

every_dialect = pytest.mark.parametrize("profile", [*DSMS, *ROUTERS], ids=lambda one: one.name)
every_dsm = pytest.mark.parametrize("profile", DSMS, ids=lambda one: one.name)


@dataclass
class Clock:
    """Time for the box and for us: it passes only while somebody sleeps."""

    now: datetime = datetime(2026, 3, 5, 10, 0, 7, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def read(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@dataclass
class Door:
    """A box, and sessions with it as a run makes them; `begin` is the next run."""

    box: DiskStation
    store: Store
    clock: Clock
    codes: OneTimeCodes | None = None

    def begin(self, *, totp: str | None = None) -> None:
        """Begin another run: of the last one only the files are left."""
        self.store = Store(self.store.folder)
        if totp is not None:
            secret = Secret(totp)
            clock = self.clock
            self.codes = OneTimeCodes(lambda: secret, sleep=clock.sleep, now=clock.read)

    def session(
        self, password: Secret | None = None, code: Callable[[], Secret] | None = None
    ) -> WebApiSession:
        known = password or Secret(ADMIN.password)
        http = PinnedHttp(
            SocketAddress("127.0.0.1", self.box.port),
            Trust(host="attic", leaves=frozenset({fingerprint(FACTORY.leaf)})),
            None,
        )
        account = Account(
            user=ADMIN.name,
            password=lambda: known,
            keeper=HostKeeper("attic", self.store),
            one_time_code=code or self.codes,
        )
        is_router = self.box.profile.system == "srm"
        kind = SrmSession if is_router else DsmSession
        return kind(http, account, sleep=self.clock.sleep, patience=0.5)

    @contextmanager
    def open(self, password: Secret | None = None) -> Iterator[WebApiSession]:
        session = self.session(password)
        try:
            session.sign_in()
            yield session
        finally:
            session.close()

    def look(self) -> None:
        """One run: sign in, look, sign out."""
        with self.open() as session:
            listed(session)

    def refused(self, password: Secret | None = None) -> AuthRefused:
        with pytest.raises(AuthRefused) as caught, self.open(password):
            pass
        return caught.value

    @property
    def logins_sent(self) -> list[tuple[str, ...]]:
        """The parameters of every login that the box was sent."""
        return [one.names for one in self.box.requests if one.api_method.lower() == "login"]


def listed(session: WebApiSession) -> None:
    if isinstance(session, SrmSession):
        assert session.certificate().common_name == "synology"
    else:
        assert isinstance(session, DsmSession)
        assert len(session.certificates()) == 1


@pytest.fixture
def watch() -> Iterator[Watch]:
    with watched() as watch:
        yield watch


MakeDoor = Callable[..., Door]


@pytest.fixture
def make_door(tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDoor]:
    """Make doors whose every word, URL and file is searched for secrets at the end."""
    clock = Clock()
    monkeypatch.setattr(access, "utc_now", clock.read)
    doors: list[Door] = []
    given: set[str] = {ADMIN.password, WRONG.reveal(), TOTP}
    log_in = accounts.Accounts.login

    def noted(*arguments: object) -> accounts.Login:
        _, parameters, *_ = arguments
        assert isinstance(parameters, dict)
        given.update(parameters[name] for name in ("otp_code", "device_id") if parameters.get(name))
        login = log_in(*arguments)  # type: ignore[arg-type]  # as they came
        given.update({login.session.sid, login.session.token, login.device_id} - {""})
        return login

    monkeypatch.setattr(accounts.Accounts, "login", noted)

    def make(profile: Profile, account: accounts.Account = ADMIN, **knobs: object) -> Door:
        box = DiskStation(
            "attic",
            profile=profile,
            accounts=(account,),
            knobs=Knobs(**knobs),  # type: ignore[arg-type]  # as Knobs checks
            factory=FACTORY,
            clock=clock.seconds,
        )
        box.start()
        doors.append(Door(box, Store(tmp_path), clock))
        return doors[-1]

    yield make
    for door in doors:
        door.box.stop()
        assert not door.box.credentials_in_urls
        watch.hear(*(seen.target for seen in door.box.requests))
    watch.require_silence(given)
    require_private(tmp_path)
