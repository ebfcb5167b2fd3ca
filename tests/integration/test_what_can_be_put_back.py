"""Whether what is replaced could be put back is known, and said, before anything is changed."""

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from distributor.clients.dsm import DsmSession
from distributor.model.bundle import Bundle, fingerprint
from distributor.model.errors import DeviceRefused
from tests.certs import DAY, NOW
from tests.contract.scenarios import bundle_of
from tests.integration.sourced_house import NAMES, House, sourced_house

__all__ = ["sourced_house"]

COPIED = "the key of certificate 'by hand' is copied to this computer"


def by_hand(house: House, *, since: timedelta = 40 * DAY) -> Bundle:
    """Put an entry on cellar that the store does not know and ours will replace."""
    begins = NOW - since
    bundle = bundle_of(house.issuer.issue(NAMES, not_before=begins, not_after=begins + 90 * DAY))
    house.place("cellar", bundle, "hand01", "by hand")
    house.boxes["cellar"].bind("system/default", "hand01")
    code, _, said = house.run("trust", "cellar", "--fingerprint", fingerprint(bundle.leaf), "--yes")
    assert code == 0, said
    return bundle


def cellar(report: Any) -> Any:
    (found,) = [one for one in report["hosts"] if one["name"] == "cellar"]
    return found


def refuse(_self: DsmSession, _entry: str) -> bytes:
    raise DeviceRefused("export: you may not", hint="be an administrator", step="export", code=105)


def nonsense(_self: DsmSession, _entry: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    return made.getvalue()


def test_a_dry_run_says_what_restarts_and_that_a_key_is_copied(house: House) -> None:
    by_hand(house)
    code, report, _ = house.report("--host", "cellar", "--dry-run")
    assert code == 0
    notes = cellar(report)["notes"]
    assert notes[0] == "will restart: the web server"
    assert COPIED in notes[1]
    assert cellar(report)["hazards"] == []
    _, _, said = house.run("--host", "cellar", "--dry-run")
    assert "note: will restart: the web server" in said
    assert COPIED in said
    assert not (house.folder / "state" / "snapshots").exists(), "a dry run kept a key"
    assert house.boxes["cellar"].writes == 0


def test_what_the_store_holds_is_not_copied(house: House) -> None:
    assert house.run("--all")[0] == 0
    house.renew_on_attic()
    code, report, _ = house.report("--host", "cellar", "--dry-run")
    assert code == 0
    assert cellar(report)["status"] == "planned"
    assert cellar(report)["notes"] == ["will restart: the web server"]


@pytest.mark.parametrize("export", [refuse, nonsense])
def test_what_cannot_be_exported_is_a_hazard_before_anything_is_changed(
    house: House, monkeypatch: pytest.MonkeyPatch, export: Callable[..., bytes]
) -> None:
    by_hand(house)
    assert house.run("issue", "ddns")[0] == 0
    monkeypatch.setattr(DsmSession, "export", export)
    for arguments in (("--dry-run",), ()):
        code, report, _ = house.report("--host", "cellar", *arguments)
        assert code == 1
        assert cellar(report)["status"] == "refused"
        (hazard,) = cellar(report)["hazards"]
        assert hazard["name"] == "not-restorable"
        assert "could not be copied" in hazard["reason"]
        assert house.boxes["cellar"].writes == 0

    code, report, said = house.report("--host", "cellar", "--accept", "not-restorable")
    assert code == 0, said
    assert cellar(report)["status"] == "changed"
    assert house.served()["cellar"] == fingerprint(house.on_attic.leaf)
