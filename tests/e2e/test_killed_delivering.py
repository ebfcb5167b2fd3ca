"""The process is killed at any moment of a delivery; the next run brings that to its end.

No host is left torn, what is not ours stays as it was, and nothing is ordered. A seeded part of all
moments is tried on each kind of host, or each of them with DISTRIBUTE_EXHAUSTIVE=1.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from distributor.lab.box_state import DRIVE, DSM_DESKTOP, FTPS
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.lab.knobs import DSM62, DSM72, SRM13, Knobs, Profile
from distributor.lab.material import Material
from tests.certs import DAY, NOW, hierarchy, pem, private_key
from tests.contract.scenarios import bundle_of, is_exhaustive
from tests.contract.ssh_diskstation_box import diskstation_box
from tests.contract.ssh_diskstation_rig import Method
from tests.e2e.killing import Run
from tests.e2e.killing_by_ssh import DiskstationSite, ProxySite, RouterSite
from tests.e2e.killing_deliveries import NAME, ZONE, ApiSite, Certificates, Site
from tests.e2e.proxy_house import ProxyHouse
from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_tree import Release
from tests.e2e.sshd import Sshd

ALL = is_exhaustive()
PARTS = 8 if ALL else 1
IN_PART = 1
"""How many moments are tried on each kind of host besides its last write, where not all are."""
QUICK = Knobs(restart_delay=0.01, restart_seconds=0.05)


class Boxes:
    """One box of each release that is reached by SSH, when it is asked for."""

    def __init__(self, running: ExitStack, make_folder: Callable[[], Path]) -> None:
        self.diskstation = cache(
            lambda release: running.enter_context(diskstation_box(make_folder(), release))
        )
        self.router = cache(lambda: running.enter_context(SshBox(make_folder(), "srm13")))


OpenSite = Callable[[Path, Certificates, Boxes], AbstractContextManager[Site]]


@cache
def shop_certificate(*, is_router: bool) -> Material:
    return factory_certificate(NAME, is_router=is_router)


def by_api(profile: Profile, *, has_past: bool) -> OpenSite:
    @contextmanager
    def opened(folder: Path, certificates: Certificates, _boxes: Boxes) -> Iterator[Site]:
        is_router = profile.system == "srm"
        box = DiskStation(
            NAME,
            profile=profile,
            services=None if is_router else (DSM_DESKTOP, FTPS, DRIVE),
            knobs=QUICK,
            factory=shop_certificate(is_router=is_router),
        )
        with box:
            yield ApiSite(folder=folder, certificates=certificates, box=box, has_past=has_past)

    return opened


def diskstation_by_ssh(release: Release, method: Method = "files") -> OpenSite:
    @contextmanager
    def opened(folder: Path, certificates: Certificates, boxes: Boxes) -> Iterator[Site]:
        box = boxes.diskstation(release)
        yield DiskstationSite(folder=folder, certificates=certificates, box=box, method=method)

    return opened


@contextmanager
def router_by_ssh(folder: Path, certificates: Certificates, boxes: Boxes) -> Iterator[Site]:
    yield RouterSite(folder=folder, certificates=certificates, box=boxes.router())


@contextmanager
def files_by_ssh(folder: Path, certificates: Certificates, _boxes: Boxes) -> Iterator[Site]:
    place = folder.with_name(f"{folder.name}-proxy")
    place.mkdir(mode=0o700)
    with Sshd(place / "sshd", ProxyHouse.users(place)) as sshd:
        proxy = ProxyHouse(place, sshd, certificates.issuer)
        yield ProxySite(folder=folder, certificates=certificates, proxy=proxy)


KINDS: dict[str, OpenSite] = {
    "a DiskStation by API, adopted": by_api(DSM72, has_past=True),
    "a DiskStation by API, from the shop": by_api(DSM72, has_past=False),
    "an old DiskStation by API, adopted": by_api(DSM62, has_past=True),
    "a router by API": by_api(SRM13, has_past=True),
    "a DiskStation by SSH": diskstation_by_ssh("dsm72"),
    "a router by SSH": router_by_ssh,
    "PEM files by SSH": files_by_ssh,
}
if ALL:
    KINDS |= {
        "an old DiskStation by SSH": diskstation_by_ssh("dsm62"),
        "a DiskStation by SSH, synowebapi": diskstation_by_ssh("dsm73", "synowebapi"),
    }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    issuer = hierarchy(1)
    root = tmp_path_factory.mktemp("root") / "root.pem"
    root.write_bytes(pem(issuer.root))
    names = (ZONE, f"*.{ZONE}")
    old, new, newer = (
        bundle_of(issuer.issue(names, key=private_key("rsa2048", number=number), not_after=end))
        for number, end in enumerate((NOW + 20 * DAY, NOW + 80 * DAY, NOW + 90 * DAY))
    )
    return Certificates(issuer, old, new, newer, root)


class Kind:
    """One kind of host, and a run on it that nobody ends."""

    def __init__(self, name: str, folder: Path, certificates: Certificates, boxes: Boxes) -> None:
        self.name = name
        self._boxes = boxes
        self._folder = folder
        self._certificates = certificates
        self._numbers = itertools.count()
        with self.site() as site:
            self.unharmed: Run = site.run()
            self.wrong = [*site.complaints(self.unharmed), *site.settled(), *site.orders()]

    def site(self) -> AbstractContextManager[Site]:
        folder = self._folder / f"site{next(self._numbers)}"
        return KINDS[self.name](folder, self._certificates, self._boxes)

    def wrong_after(self, moment: str) -> list[str]:
        with self.site() as site:
            site.killed_at(moment)
            site.recover()
            wrong = [*site.complaints(site.run()), *site.settled(), *site.orders()]
        return [f"{self.name}, killed at {moment!r}: {complaint}" for complaint in wrong]

    def written(self) -> int:
        """Return where the last content to be served is on its way, and nobody has answered."""
        moments = self.unharmed.moments
        to_host = [
            number
            for number, moment in enumerate(moments)
            if moment.startswith((f"sent {NAME} Certificate.import", f"half {NAME}"))
        ]
        is_half = moments[to_host[-1]].startswith("half")
        return to_host[-1] + is_half

    def in_part(self, part: int) -> list[str]:
        moments = self.unharmed.moments
        if ALL:
            return list(moments[part::PARTS])
        seeded = random.Random(self.name)  # noqa: S311 - the same part each time
        return [moments[self.written()], *seeded.sample(moments, IN_PART)]


@pytest.fixture(scope="module")
def kind_of(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Callable[[str], Kind]]:
    with ExitStack() as running:
        boxes = Boxes(running, lambda: tmp_path_factory.mktemp("box"))
        yield cache(lambda name: Kind(name, tmp_path_factory.mktemp("sites"), certificates, boxes))


@pytest.mark.parametrize("name", KINDS)
def test_a_delivery_that_nobody_kills_comes_to_its_end(
    kind_of: Callable[[str], Kind], name: str
) -> None:
    kind = kind_of(name)
    assert not kind.wrong, "\n".join(kind.wrong)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", KINDS)
def test_a_delivery_killed_anywhere_is_brought_to_its_end(
    kind_of: Callable[[str], Kind], name: str, part: int
) -> None:
    kind = kind_of(name)
    chosen = kind.in_part(part)
    assert chosen
    wrong = [complaint for moment in chosen for complaint in kind.wrong_after(moment)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", KINDS)
def test_a_host_whose_delivery_was_killed_gets_what_is_current_by_then(
    kind_of: Callable[[str], Kind], certificates: Certificates, name: str
) -> None:
    kind = kind_of(name)
    with kind.site() as site:
        site.killed_at(kind.unharmed.moments[kind.written() + 1])
        site.recover()
        site.store(certificates.newer)
        wrong = [*site.complaints(site.run()), *site.settled(), *site.orders()]
    assert not wrong, "\n".join(wrong)
