"""A certificate that another program obtains, brought to two boxes by the command line."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from distributor.lab.accounts import Account
from distributor.lab.diskstation import DiskStation
from distributor.lab.factory import factory_certificate
from distributor.model.bundle import fingerprint
from tests.certs import DAY, NOW, Issued, hierarchy, key_pem, pem, private_key
from tests.integration.sourced_house import NAME, NAMES, PASSWORD, QUICK, House
from tests.layouts import certbot, container, exported, write, zipped

BOXES = ("cellar", "garage")
PASSPHRASE = "gehäß und 7 more"


class FilesHouse(House):
    """Two boxes; certbot runs beside them."""

    written: Issued

    def write_source(self, root: Path, *lines: str) -> None:
        write(self.folder / "password", PASSWORD.encode())
        write(self.folder / "passphrase", f"{PASSPHRASE}\n".encode())
        text = ["[certificates.home]", 'source = "files"', f"ca_bundle = '{root}'", *lines]
        text += ["[defaults]", 'kind = "diskstation"', 'via = "api"', 'user = "certs"']
        text += ['password = { file = "password" }', 'certificate = "home"']
        for name, box in self.boxes.items():
            text += [f"[hosts.{name}]", f'address = "{box.address}"', f"port = {box.port}"]
        (self.folder / "inventory.toml").write_text("\n".join(text) + "\n")

    def issued(self, *, days: int = 1) -> Issued:
        begins = NOW - days * DAY
        return self.issuer.issue(
            NAMES, not_before=begins, not_after=begins + 90 * DAY, key="rsa2048"
        )

    def let_certbot_run(self, *, days: int = 1) -> str:
        self.written = self.issued(days=days)
        root = self.folder / "letsencrypt"
        versions = len(list(root.glob("archive/*/cert*.pem")))
        certbot(root, NAME, self.written, version=versions + 1)
        return fingerprint(self.written.leaf)


@pytest.fixture(name="house")
def files_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FilesHouse]:
    issuer, root = hierarchy(2), tmp_path / "root.pem"
    root.write_bytes(pem(issuer.root))
    monkeypatch.setattr("certifi.where", lambda: str(root))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with ExitStack() as running:
        account = Account("certs", PASSWORD)
        boxes = {
            name: running.enter_context(
                DiskStation(
                    name, knobs=QUICK, factory=factory_certificate(name), accounts=[account]
                )
            )
            for name in BOXES
        }
        house = FilesHouse(folder=tmp_path, boxes=boxes, issuer=issuer)
        house.write_source(root, f'certificate = "letsencrypt/live/{NAME}"')
        house.let_certbot_run(days=10)
        code, _, said = house.run("trust", *BOXES, "--yes")
        assert code == 0, said
        yield house


def certificate(report: Any) -> Any:
    (found,) = report["certificates"]
    return found


def test_what_certbot_obtained_is_delivered_and_a_second_run_does_nothing(
    house: FilesHouse,
) -> None:
    leaf = fingerprint(house.written.leaf)
    code, report, _ = house.report("--all", "--dry-run")
    assert code == 0
    shown = certificate(report)
    assert (shown["status"], shown["reason"], shown["leaf"]) == ("due", "none yet", leaf)
    assert set(shown["names"]) == set(NAMES)
    assert {one["status"] for one in report["hosts"]} == {"planned"}
    assert house.writes == dict.fromkeys(BOXES, 0)
    assert not (house.folder / "state" / "certificates").exists()

    code, report, said = house.report("--all")
    assert code == 0, said
    assert (certificate(report)["status"], report["summary"]) == ("renewed", {"changed": 2})
    assert house.served() == dict.fromkeys(BOXES, leaf)

    writes = house.writes
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (0, {"unchanged": 2})
    assert (certificate(report)["status"], certificate(report)["warnings"]) == ("current", [])
    assert house.writes == writes


def test_files_that_were_replaced_are_noticed_although_they_look_older(house: FilesHouse) -> None:
    house.report("--all")
    leaf = house.let_certbot_run()
    for path in (house.folder / "letsencrypt").rglob("*"):
        os.utime(path, (0, 0))
    code, report, said = house.report("--all")
    assert code == 0, said
    assert certificate(report)["reason"] == "the files hold a newer one"
    assert house.served() == dict.fromkeys(BOXES, leaf)


def test_issue_stores_it_and_show_says_what_it_is(house: FilesHouse) -> None:
    code, report, _ = house.report("show", "home")
    assert code == 0
    assert report["shown"][0]["renewal"] == "due now: none yet"
    code, report, said = house.report("issue", "home")
    assert code == 0, said
    assert certificate(report)["status"] == "renewed"
    assert house.writes == dict.fromkeys(BOXES, 0)
    code, report, _ = house.report("show", "home")
    shown = report["shown"][0]
    assert shown["leaf"] == fingerprint(house.written.leaf)
    assert shown["chain"]["complete"] is True
    assert [link["role"] for link in shown["chain"]["links"]] == ["leaf", *["intermediate"] * 2]
    assert shown["renewal"] == "due when the files hold a newer one"


def test_half_written_files_leave_everything_as_it_is_and_say_so(house: FilesHouse) -> None:
    house.report("--all")
    served = house.served()
    leaf = house.let_certbot_run()
    private = house.folder / "letsencrypt" / "live" / NAME / "privkey.pem"
    new_key = private.read_bytes()
    write(private, key_pem(private_key("rsa2048", number=1)))

    code, report, _ = house.report("--all", "--dry-run")
    assert (code, certificate(report)["status"]) == (3, "failed")
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (3, {"unchanged": 2})
    shown = certificate(report)
    assert (shown["status"], shown["error"]["kind"]) == ("failed", "KeyMismatch")
    assert shown["error"]["hint"].endswith("if they were just being written, run it again")
    assert house.served() == served

    write(private, new_key)
    code, report, said = house.report("--all")
    assert code == 0, said
    assert house.served() == dict.fromkeys(BOXES, leaf)


def test_an_older_one_is_kept_out_until_it_is_asked_for(house: FilesHouse) -> None:
    newer = fingerprint(house.written.leaf)
    house.report("--all")
    older = house.let_certbot_run(days=40)
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (0, {"unchanged": 2})
    assert "holds an older certificate" in certificate(report)["warnings"][0]
    assert house.served() == dict.fromkeys(BOXES, newer)
    code, _, said = house.report("issue", "home", "--renew-now")
    assert code == 0, said
    code, report, _ = house.report("show", "home")
    assert report["shown"][0]["leaf"] == older
    code, report, _ = house.report("--all", "--accept", "earlier-expiry")
    assert (code, report["summary"]) == (0, {"changed": 2})
    assert house.served() == dict.fromkeys(BOXES, older)


@pytest.mark.parametrize("form", ["archive", "pkcs12", "pem"])
def test_other_forms_are_delivered_too(house: FilesHouse, form: str) -> None:
    one = house.issued()
    root = house.folder / "root.pem"
    if form == "archive":
        write(house.folder / "archive.zip", zipped(exported(one)))
        house.write_source(root, 'archive = "archive.zip"')
    elif form == "pkcs12":
        write(house.folder / "home.pfx", container(one, PASSPHRASE, reverse=True))
        lines = ['pkcs12 = "home.pfx"', 'passphrase = { file = "passphrase" }']
        house.write_source(root, *lines)
    else:
        for name, content in exported(one).items():
            write(house.folder / name, content)
        names = ('certificate = "cert.pem"', 'chain = "chain.pem"', 'private_key = "privkey.pem"')
        house.write_source(root, *names, f'names = ["{NAME}"]')
    code, report, said = house.report("--all", "-v")
    assert code == 0, said
    assert report["summary"] == {"changed": 2}
    assert house.served() == dict.fromkeys(BOXES, fingerprint(one.leaf))
    lines_of_key = one.private_key_pem.decode().splitlines()
    assert not [line for line in lines_of_key if "-----" not in line and line in said]
    assert PASSPHRASE not in said
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (0, {"unchanged": 2})


def test_a_chain_that_was_forgotten_is_refused_and_once_it_is_named_delivered(
    house: FilesHouse,
) -> None:
    one, root = house.issued(), house.folder / "root.pem"
    for name, content in exported(one).items():
        write(house.folder / name, content)
    names = ['certificate = "cert.pem"', 'private_key = "privkey.pem"']
    house.write_source(root, *names)
    code, report, _ = house.report("--all")
    assert (code, report["summary"]) == (1, {"refused": 2})
    assert house.writes == dict.fromkeys(BOXES, 0)
    house.write_source(root, *names, 'chain = "chain.pem"')
    code, report, said = house.report("--all")
    assert code == 0, said
    assert certificate(report)["reason"] == "the files hold another chain for it"
    assert house.served() == dict.fromkeys(BOXES, fingerprint(one.leaf))
    assert report["summary"] == {"changed": 2}


def test_a_wrong_passphrase_says_what_to_do_and_nothing_else(house: FilesHouse) -> None:
    write(house.folder / "home.pfx", container(house.issued(), "another one"))
    house.write_source(
        house.folder / "root.pem", 'pkcs12 = "home.pfx"', 'passphrase = { file = "passphrase" }'
    )
    code, report, said = house.report("--all")
    assert code == 3
    error = certificate(report)["error"]
    assert "home.pfx does not open with the passphrase given, or is damaged" in error["message"]
    assert error["hint"].startswith("correct `passphrase`")
    assert PASSPHRASE not in said
    assert house.writes == dict.fromkeys(BOXES, 0)
