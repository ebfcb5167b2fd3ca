"""The source `diskstation` keeps the laws against a virtual box that renews by itself."""

import io
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from distributor.clients.dsm import DsmSession
from distributor.clients.http import PinnedHttp
from distributor.clients.tls import probe
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import Knobs
from distributor.model.bundle import Bundle, fingerprint
from distributor.model.endpoints import Served
from distributor.model.errors import Ambiguous, AuthRefused, IssuanceError, Unreachable
from distributor.model.hosts import (
    ApiAccess,
    Delivery,
    DiskstationSource,
    Endpoint,
    Host,
    PlainSecret,
    SocketAddress,
    WantedCertificate,
)
from distributor.model.renewal import Held, Hints, is_newer, key_family
from distributor.model.secret import Secret
from distributor.model.trust import Trust
from distributor.sources.contract import Source
from distributor.sources.diskstation import Diskstation
from distributor.store import Store
from tests.certs import DAY, NOW, hierarchy
from tests.contract.scenarios import bundle_of
from tests.contract.source_laws import NAMES, SourceLaws, SourceRig

QUICK = Knobs(restart_delay=0.003, restart_seconds=0.015)
FACTORY = factory_certificate("attic")
ISSUER = hierarchy(1)
ENTRY = "ddns01"
DESCRIPTION = "Synology DDNS"


def issued(
    *, since: timedelta = 1 * DAY, lasts: timedelta = 90 * DAY, key: Any = "ec256"
) -> Bundle:
    begins = NOW - since
    return bundle_of(ISSUER.issue(NAMES, not_before=begins, not_after=begins + lasts, key=key))


class DiskstationRig(SourceRig):
    name = "ddns"
    forecast_names = ()

    def __init__(self, box: DiskStation, folder: Path) -> None:
        self.box = box
        self.store = Store(folder)
        self.on_box = issued(since=10 * DAY)
        self.put(self.on_box)

    def put(self, bundle: Bundle, entry_id: str = ENTRY) -> None:
        """Let the box have this as the certificate that it renews by itself."""
        self.on_box = bundle
        self.box.import_entry(
            bundle.leaf_pem,
            bundle.private_key_pem.reveal().encode(),
            bundle.chain_pem,
            desc=DESCRIPTION,
            entry_id=entry_id,
            renewable=True,
        )
        self.box.bind("system/default", ENTRY)

    def source(self) -> Diskstation:
        return self.made()

    def made(self, *, account: str = ADMIN.password, port: int = 0, **other: Any) -> Diskstation:
        source = DiskstationSource(host="attic", description=DESCRIPTION)
        known: dict[str, Any] = {
            "wanted": WantedCertificate(name=self.name, source=source),
            "source": source,
            "host": self.host(),
            "store": self.store,
            "connect": lambda: self.connect(account, port or self.box.port),
            "probe": probe_all,
            "roots": lambda: [ISSUER.root],
            "now": lambda: datetime.now(UTC),
        }
        return Diskstation(**(known | other))

    def host(self, **more: Any) -> Host:
        own = Endpoint(
            address=SocketAddress("127.0.0.1", self.box.port),
            certificate=self.name,
            service="system/default",
        )
        password = PlainSecret(Secret(ADMIN.password))
        host = Host(
            name="attic",
            kind="diskstation",
            via="api",
            address="127.0.0.1",
            access=ApiAccess(port=self.box.port, user=ADMIN.name, password=password),
            deliveries=(),
            endpoints=(own,),
        )
        return replace(host, **more)

    def connect(self, password: str = ADMIN.password, port: int = 0) -> DsmSession:
        leaves = frozenset(map(fingerprint, (self.on_box.leaf, FACTORY.leaf)))
        trust = Trust(host="attic", leaves=leaves)
        http = PinnedHttp(SocketAddress("127.0.0.1", port or self.box.port), trust, None)
        return DsmSession(
            http, ADMIN.name, lambda: Secret(password), sleep=lambda _: time.sleep(0.005)
        )

    def entry(self, **named: str) -> Diskstation:
        return self.made(source=DiskstationSource(host="attic", **named))

    def failures(self) -> dict[str, Callable[[], Source]]:
        return {
            "the box is off": lambda: self.made(port=dead_port(), probe=lambda _: ()),
            "the password is wrong": lambda: self.made(account="wrong"),
            "no entry of this description": lambda: self.entry(description="other"),
            "no entry of this id": lambda: self.entry(id="nobody"),
            "the box signed it itself": lambda: self.entry(description=""),
            "it has ended": lambda: self.made(now=lambda: NOW + 200 * DAY),
        }

    def outside(self) -> object:
        return self.box.snapshot(), self.box.writes

    def hints_when_due(self) -> Hints:
        return Hints(seen=issued(since=timedelta(0)).certificate(self.name))

    def let_renew(self) -> None:
        self.put(issued(since=timedelta(0)))


def probe_all(endpoints: Sequence[Endpoint]) -> tuple[Served, ...]:
    return tuple(map(probe, endpoints))


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture
def servers() -> None:
    """What the laws hand through; each rig has a box of its own."""


@contextmanager
def diskstation_rig(folder: Path) -> Iterator[DiskstationRig]:
    with DiskStation("attic", knobs=QUICK, factory=FACTORY) as box:
        yield DiskstationRig(box, folder)


def hush(_line: str) -> None:
    """Take a line of progress, for nobody."""


def held(bundle: Bundle) -> Held:
    return Held(certificate=bundle.certificate("ddns"), ca="")


class TestDiskstation(SourceLaws):
    covers = "diskstation"

    @contextmanager
    def make_rig(self, servers: Any, folder: Path) -> Iterator[SourceRig]:  # noqa: ARG002 - the laws'
        with diskstation_rig(folder) as rig:
            yield rig

    def test_the_leaf_is_seen_by_handshake_before_it_is_exported(self, rig: DiskstationRig) -> None:
        hints = rig.source().look()
        assert hints.seen is not None
        assert hints.seen.leaf == fingerprint(rig.on_box.leaf)
        assert hints.seen.name == "ddns"
        ready = rig.source().renew(hush)
        assert ready.held.certificate.leaf == hints.seen.leaf
        assert ready.bundle == rig.on_box
        assert ready.held.certificate.trusted is True
        assert ready.held.ca == ""

    def test_a_box_that_still_serves_what_we_hold_is_not_logged_in_to(
        self, rig: DiskstationRig
    ) -> None:
        ready = rig.source().renew(hush)
        before = rig.box.logins
        hints = rig.source().look()
        assert rig.box.logins == before
        assert rig.source().due(ready.held, hints, NOW) is None

    def test_a_box_that_gets_it_delivered_is_asked_for_its_list(self, rig: DiskstationRig) -> None:
        ready = rig.source().renew(hush)
        before = rig.box.logins
        host = rig.host(deliveries=(Delivery(certificate="ddns", description="copy"),))
        hints = rig.made(host=host).look()
        assert rig.box.logins == before + 1
        assert rig.source().due(ready.held, hints, NOW) is None

    def test_a_renewal_on_the_box_is_due_here(self, rig: DiskstationRig) -> None:
        ready = rig.source().renew(hush)
        rig.let_renew()
        renewal = rig.source().due(ready.held, rig.source().look(), NOW)
        assert renewal is not None
        assert renewal.reason == "attic has a newer one"
        assert renewal.forecast.leaf == fingerprint(rig.on_box.leaf)

    def test_an_older_one_on_the_box_is_not_due(self, rig: DiskstationRig) -> None:
        ready = rig.source().renew(hush)
        rig.put(issued(since=30 * DAY))
        assert rig.source().due(ready.held, rig.source().look(), NOW) is None

    def test_an_entry_that_no_port_serves_is_told_by_its_dates(self, rig: DiskstationRig) -> None:
        factory = next(e for e in rig.box.snapshot()["entries"] if e != ENTRY)
        rig.box.bind("system/default", factory)
        seen = rig.source().look().seen
        assert seen is not None
        assert seen.leaf == "next:ddns"
        assert set(seen.names) == set(NAMES)
        assert seen.not_after == rig.on_box.leaf.not_valid_after_utc
        assert seen.not_before == rig.on_box.leaf.not_valid_before_utc
        ready = rig.source().renew(hush)
        assert rig.source().due(ready.held, rig.source().look(), NOW) is None

    def test_an_unchanged_entry_makes_no_second_version(self, rig: DiskstationRig) -> None:
        first = rig.source().renew(hush)
        assert rig.source().renew(hush) == first
        assert len(rig.store.bundles.versions("ddns")) == 1

    def test_one_from_a_ca_in_the_store_is_replaced(self, rig: DiskstationRig) -> None:
        rig.store.bundles.save("ddns", rig.on_box, ca="https://ca.example.test/dir", now=NOW)
        ready = rig.source().current()
        assert ready is not None
        renewal = rig.source().due(ready.held, Hints(seen=ready.held.certificate), NOW)
        assert renewal is not None
        assert renewal.reason == "source changed"
        assert rig.source().renew(hush).held.ca == ""

    def test_an_entry_is_found_by_its_id(self, rig: DiskstationRig) -> None:
        assert rig.entry(id=ENTRY).renew(hush).bundle == rig.on_box

    def test_two_entries_of_one_description_are_ambiguous(self, rig: DiskstationRig) -> None:
        rig.put(rig.on_box, entry_id="twin01")
        hints = rig.source().look()
        assert hints.error is not None
        assert "twin01" in hints.error
        with pytest.raises(IssuanceError, match="2 certificates have the description") as caught:
            rig.source().renew(hush)
        assert isinstance(caught.value.__cause__, Ambiguous)

    def test_what_the_box_signed_itself_is_not_for_others(self, rig: DiskstationRig) -> None:
        hints = rig.entry(description="").look()
        assert hints.seen is None
        assert hints.error is not None
        assert "signed by the box itself" in hints.error
        assert hints.warnings

    def test_a_refused_login_is_said_with_its_reason(self, rig: DiskstationRig) -> None:
        source = rig.made(account="wrong")
        (warning,) = source.look().warnings
        assert "attic: login as" in warning
        with pytest.raises(IssuanceError, match="attic: login as") as caught:
            source.renew(hush)
        assert isinstance(caught.value.__cause__, AuthRefused)
        assert caught.value.code == 400

    def test_a_box_that_is_off_costs_nothing_but_a_warning(self, rig: DiskstationRig) -> None:
        ready = rig.source().renew(hush)
        rig.box.stop()
        source = rig.source()
        hints = source.look()
        assert hints.error is not None
        assert source.due(ready.held, hints, NOW) is None
        with pytest.raises(IssuanceError) as caught:
            source.renew(hush)
        assert isinstance(caught.value.__cause__, Unreachable)

    @pytest.mark.parametrize(("days", "late"), [(59, False), (61, True)])
    def test_a_box_that_is_late_with_its_renewal_is_warned_of(
        self, rig: DiskstationRig, days: int, late: bool
    ) -> None:
        rig.put(issued(since=timedelta(0)))
        rig.source().renew(hush)
        warnings = rig.made(now=lambda: NOW + days * DAY).look().warnings
        assert bool(warnings) is late
        if late:
            assert "attic is late with its renewal" in warnings[0]

    def test_every_session_is_ended(self, rig: DiskstationRig) -> None:
        rig.source().look()
        rig.source().renew(hush)
        for make in rig.failures().values():
            with pytest.raises(IssuanceError):
                make().renew(hush)
        assert rig.box.sessions_open == 0
        assert not rig.box.credentials_in_urls


RSA, ECC = issued(key="rsa2048"), issued(key="ec256")


def dual(*, marked: bool = True) -> bytes:
    """Return an archive with two pairs; that DSM marks them so in the zip is inferred."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for family, bundle in (("RSA", RSA), ("ECC", ECC)):
            mark = f"{family}-" if marked or family == "ECC" else ""
            archive.writestr(f"{mark}cert.pem", bundle.leaf_pem)
            archive.writestr(f"{mark}chain.pem", bundle.chain_pem)
            archive.writestr(f"{mark}privkey.pem", bundle.private_key_pem.reveal())
    return made.getvalue()


@pytest.mark.parametrize("marked", [True, False], ids=["both marked", "RSA plain"])
@pytest.mark.parametrize(("key_type", "expected"), [("rsa2048", RSA), ("ec256", ECC)])
def test_of_two_pairs_the_key_type_of_the_inventory_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: bool, key_type: Any, expected: Bundle
) -> None:
    with diskstation_rig(tmp_path / "state") as rig:
        rig.put(RSA)
        monkeypatch.setattr(DsmSession, "export", lambda _self, _id: dual(marked=marked))
        wanted = replace(rig.source().wanted, key_type=key_type)
        ready = rig.made(wanted=wanted).renew(hush)
        assert ready.bundle == expected
        assert rig.made(wanted=wanted).due(ready.held, rig.made(wanted=wanted).look(), NOW) is None


def test_the_other_pair_of_one_renewal_is_not_newer() -> None:
    moments_later = NOW - 1 * DAY + timedelta(minutes=5)
    shown = replace(ECC.certificate("ddns"), not_before=moments_later)
    assert key_family(shown) == "ECC"
    assert not is_newer(shown, RSA.certificate("ddns"))
    assert is_newer(replace(shown, not_before=NOW), RSA.certificate("ddns"))
    assert is_newer(shown, replace(ECC.certificate("ddns"), leaf="sha256:00"))
    assert not is_newer(ECC.certificate("ddns"), shown)


def test_what_has_no_dates_is_not_newer() -> None:
    shown = replace(ECC.certificate("ddns"), leaf="next:ddns", not_before=None)
    assert not is_newer(shown, RSA.certificate("ddns"))


def test_an_export_of_another_entry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bundle_of(ISSUER.issue(["other.test"]))
    with diskstation_rig(tmp_path / "state") as rig:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("cert.pem", other.leaf_pem)
            archive.writestr("privkey.pem", other.private_key_pem.reveal())
        monkeypatch.setattr(DsmSession, "export", lambda _self, _id: made.getvalue())
        with pytest.raises(IssuanceError, match="does not cover"):
            rig.source().renew(hush)
        assert rig.source().current() is None
