"""Six boxes of six dialects brought to one wildcard: from a CA, and from what one box obtained."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from distributor.lab.authority import Authority
from distributor.lab.knobs import SRM12, SRM13, Profile
from distributor.model.bundle import Bundle, fingerprint
from tests.certs import DAY, NOW, hierarchy, pem
from tests.certs import Authority as Issuer
from tests.contract.scenarios import bundle_of
from tests.e2e.servers import Bind
from tests.e2e.six_boxes import DISKSTATIONS, NAMES, ROUTER, SixBoxes, six_boxes
from tests.integration.cli.house import ZONE, House, Ran

DDNS = "name.synology.test"
SOURCE = "attic"
OTHERS = tuple(name for name in NAMES if name != SOURCE)
ON_SOURCE = "ddns01"

both_routers = pytest.mark.parametrize("router", [SRM13, SRM12], ids=lambda one: one.name)


def certificate_of(ran: Ran) -> tuple[str, str]:
    (one,) = ran.report["certificates"]
    return one["status"], one["leaf"]


def everywhere(leaf: str) -> dict[str, set[str]]:
    """Return what `SixBoxes.served` gives when every port serves `leaf`."""
    return {name: {leaf} for name in NAMES}


def run_all(house: House) -> Ran:
    ran = house.run("--all", "--json")
    assert ran.code == 0, ran.said
    return ran


@both_routers
def test_one_run_brings_six_mixed_boxes_to_one_wildcard_and_the_next_does_nothing(
    tmp_path: Path, bind: Bind, pebble: Authority, router: Profile
) -> None:
    with six_boxes(router) as (boxes, passwords):
        house = SixBoxes(
            folder=tmp_path,
            boxes=boxes,
            passwords=passwords,
            zone=ZONE,
            directory_url=pebble.directory_url,
            ca_bundle=pebble.ca_bundle,
            root=pebble.root,
            nameserver=f"{bind.address}:{bind.port}",
            key_name=bind.key_name,
            key_type="rsa2048",
        )
        house.write("tsig.key", bind.key_secret + "\n")
        house.prepare()
        house.pin()
        decoys = house.untouched()
        factory = {name: box.snapshot()["entries"] for name, box in boxes.items()}

        ran = run_all(house)

        status, leaf = certificate_of(ran)
        assert (status, ran.statuses()) == ("renewed", dict.fromkeys(NAMES, "changed"))
        assert house.served() == everywhere(leaf)
        assert house.untouched() == decoys
        assert house.drive_serves() == house.decoys
        for name in DISKSTATIONS:  # what was there is there, and one entry more
            entries = boxes[name].snapshot()["entries"]
            assert factory[name].items() <= entries.items()
            assert len(entries) == len(factory[name]) + 1
        assert len(boxes[ROUTER].snapshot()["entries"]) == 1
        effects = house.effects
        assert min(effects[0].values()) >= 1

        again = run_all(house)

        assert certificate_of(again) == ("current", leaf)
        assert again.statuses() == dict.fromkeys(NAMES, "unchanged")
        assert house.effects == effects
        assert house.untouched() == decoys

        assert house.run("issue", "--renew-now").code == 0
        renewed = run_all(house)

        assert renewed.statuses() == dict.fromkeys(NAMES, "changed")
        assert certificate_of(renewed)[1] != leaf
        assert house.served() == everywhere(certificate_of(renewed)[1])
        assert house.untouched() == decoys
        assert house.drive_serves() == house.decoys
        assert all(box.sessions_open == 0 for box in boxes.values())
        assert not any(box.credentials_in_urls for box in boxes.values())


@dataclass(kw_only=True)
class Sourced(SixBoxes):
    """Six boxes, of which one obtains the wildcard of its Synology DDNS by itself."""

    issuer: Issuer
    obtained: Bundle = field(init=False)

    def obtain(self, *, since: timedelta) -> str:
        """Let the box get a certificate, as DSM does by itself, and serve it; return the leaf."""
        begins = NOW - since
        names = [DDNS, f"*.{DDNS}"]
        issued = self.issuer.issue(
            names, not_before=begins, not_after=begins + 90 * DAY, key="rsa2048"
        )
        self.obtained = bundle_of(issued)
        box = self.boxes[SOURCE]
        box.import_entry(
            self.obtained.leaf_pem,
            self.obtained.private_key_pem.reveal().encode(),
            self.obtained.chain_pem,
            desc="Synology DDNS",
            entry_id=ON_SOURCE,
            default=True,
            renewable=True,
        )
        box.bind("system/default", ON_SOURCE)
        box.bind("FTPS", ON_SOURCE)
        return fingerprint(self.obtained.leaf)


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """A CA that the usual roots are patched to, as they know the one that DSM obtains from."""
    made = hierarchy(1)
    (tmp_path / "root.pem").write_bytes(pem(made.root))
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "root.pem"))
    return made


@pytest.fixture(params=[SRM13, SRM12], ids=lambda one: one.name)
def sourced(tmp_path: Path, issuer: Issuer, request: pytest.FixtureRequest) -> Iterator[Sourced]:
    with six_boxes(request.param) as (boxes, passwords):
        house = Sourced(
            folder=tmp_path,
            boxes=boxes,
            passwords=passwords,
            issuer=issuer,
            zone=DDNS,
            directory_url="",
            ca_bundle=tmp_path / "root.pem",
            root=tmp_path / "root.pem",
            nameserver="",
            source=('source = "diskstation"', f'from = "{SOURCE}"', f'id = "{ON_SOURCE}"'),
            of_host={SOURCE: (f'server_name = "{SOURCE}.{DDNS}"', "deliver = []")},
        )
        house.prepare()
        house.pin(*OTHERS)
        house.obtain(since=20 * DAY)
        yield house


def test_what_one_box_obtained_is_brought_to_the_other_five_and_again_when_it_renews(
    sourced: Sourced,
) -> None:
    leaf = fingerprint(sourced.obtained.leaf)
    source = sourced.boxes[SOURCE]
    decoys, own = sourced.untouched(), source.snapshot()
    at_first = sourced.effects

    ran = run_all(sourced)

    assert certificate_of(ran) == ("renewed", leaf)
    assert ran.statuses() == dict.fromkeys(OTHERS, "changed")
    assert sourced.served() == everywhere(leaf)
    assert source.snapshot() == own
    assert sourced.untouched() == decoys
    assert sourced.drive_serves() == sourced.decoys
    effects = sourced.effects
    assert [one[SOURCE] for one in effects] == [one[SOURCE] for one in at_first]

    again = run_all(sourced)

    assert certificate_of(again) == ("current", leaf)
    assert again.statuses() == dict.fromkeys(OTHERS, "unchanged")
    assert sourced.effects == effects

    new = sourced.obtain(since=1 * DAY)
    own = source.snapshot()
    assert sourced.served()[SOURCE] == {new}
    renewed = run_all(sourced)

    assert certificate_of(renewed) == ("renewed", new)
    assert renewed.statuses() == dict.fromkeys(OTHERS, "changed")
    assert sourced.served() == everywhere(new)
    assert source.snapshot() == own
    assert source.writes == 0
    assert sourced.untouched() == decoys
    for name in (one for one in DISKSTATIONS if one != SOURCE):  # in place: no entry more
        assert len(sourced.boxes[name].snapshot()["entries"]) == 3
    assert all(box.sessions_open == 0 for box in sourced.boxes.values())
    assert not any(box.credentials_in_urls for box in sourced.boxes.values())
