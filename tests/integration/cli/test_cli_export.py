"""`distribute export`: files for other programs, whole, for their owner alone."""

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distributor.model.bundle import Bundle, assemble, fingerprint
from distributor.model.pkcs12 import look_into
from distributor.model.revocation import Revocation
from distributor.model.secret import Secret
from distributor.protocol.archive import parse_export
from tests.certs import DAY, NOW, Authority, hierarchy
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import House, Ran, run
from tests.integration.cli.terminal import converse


@pytest.fixture
def home(house: House) -> Bundle:
    stored = house.store.bundles.current("home")
    assert stored is not None
    return stored.bundle


@pytest.fixture
def out(house: House) -> Path:
    return house.folder / "out"


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def shows_key(ran: Ran, bundle: Bundle) -> bool:
    lines = bundle.private_key_pem.reveal().splitlines()[1:-1]
    return "PRIVATE KEY" in ran.said or any(line in ran.said for line in lines)


def test_the_four_files_have_dsm_s_names_and_what_each_is_is_said(
    house: House, home: Bundle, out: Path
) -> None:
    ran = house.run("export", "home", "--out", str(out))

    assert ran.code == 0, ran.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "cert.pem": home.leaf_pem,
        "chain.pem": home.chain_pem,
        "fullchain.pem": home.fullchain_pem,
        "privkey.pem": home.private_key_pem.reveal().encode(),
    }
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert modes(out) == {0o600}
    assert f"    {out / 'cert.pem'}  the leaf alone\n" in ran.out
    assert f"    {out / 'chain.pem'}  1 intermediate, in order: DSM's intermediate " in ran.out
    assert f"    {out / 'privkey.pem'}  the private key, not encrypted\n" in ran.out
    assert ran.err == ""
    assert not shows_key(ran, home)


def test_what_was_exported_is_shown_as_a_complete_pair(house: House, out: Path) -> None:
    assert house.run("export", "home", "--out", str(out)).code == 0
    ran = run("show", str(out), "--ca-bundle", str(house.root))
    assert "complete, up to Test Root" in ran.out
    assert "privkey  fits the leaf" in ran.out
    assert "note " not in ran.out


def test_as_json_it_lists_the_files_and_nothing_of_the_key(
    house: House, home: Bundle, out: Path
) -> None:
    ran = house.run("export", "home", "--out", str(out), "--json")
    assert ran.report["leaf"] == fingerprint(home.leaf)
    assert [Path(one["path"]).name for one in ran.report["files"]] == [
        "cert.pem",
        "chain.pem",
        "fullchain.pem",
        "privkey.pem",
    ]
    assert ran.report["warnings"] == []
    assert ran.report["stored"] == house.store.bundles.versions("home")[-1]
    assert not shows_key(ran, home)
    assert house.run("export", "home", "--out", str(out), "--force", "-q").said == ""


def test_a_leaf_without_intermediates_has_no_chain_file(house: House, out: Path) -> None:
    issued = hierarchy(0).issue(["example.test"])
    house.keep(assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem))
    out.mkdir(mode=0o700)
    (out / "chain.pem").write_text("of another certificate")

    assert house.run("export", "home", "--out", str(out)).code == 2
    ran = house.run("export", "home", "--out", str(out), "--force")

    assert ran.code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "cert.pem",
        "fullchain.pem",
        "privkey.pem",
    ]
    assert "chain.pem  " not in ran.out.replace("fullchain.pem", "")


def test_nothing_is_replaced_without_force(house: House, home: Bundle, out: Path) -> None:
    out.mkdir(mode=0o700)
    (out / "privkey.pem").write_text("mine")

    ran = house.run("export", "home", "--out", str(out))

    assert ran.code == 2
    assert "has privkey.pem already" in ran.err
    assert "--force" in ran.err
    assert [path.name for path in out.iterdir()] == ["privkey.pem"]
    assert house.run("export", "home", "--out", str(out), "--force").code == 0
    assert (out / "privkey.pem").read_text() == home.private_key_pem.reveal()
    assert modes(out) == {0o600}


def test_a_folder_in_which_others_may_write_gets_no_key(house: House, out: Path) -> None:
    out.mkdir()
    out.chmod(0o777)
    ran = house.run("export", "home", "--out", str(out))
    assert ran.code == 2
    assert "others may write" in ran.err
    assert list(out.iterdir()) == []


def test_the_zip_is_as_dsm_exports_it(house: House, home: Bundle, out: Path) -> None:
    ran = house.run("export", "home", "--out", str(out), "--zip")

    assert ran.code == 0
    assert [path.name for path in out.iterdir()] == ["home.zip"]
    assert modes(out) == {0o600}
    pair = parse_export((out / "home.zip").read_bytes())
    assert (pair.certificate, pair.chain) == (home.leaf_pem, home.chain_pem)
    assert pair.private_key == home.private_key_pem.reveal().encode()
    unpacked = out / "unpacked"
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(out / "home.zip"), str(unpacked)], check=True
    )
    assert sorted(path.name for path in unpacked.iterdir()) == [
        "cert.pem",
        "chain.pem",
        "privkey.pem",
    ]
    assert not shows_key(ran, home)


def test_pkcs12_takes_its_passphrase_from_a_file_or_a_variable(
    house: House, home: Bundle, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = house.write("word", "seven dwarfs\n")
    monkeypatch.setenv("PFX_WORD", "seven dwarfs")
    ways = (("--passphrase-file", str(word)), ("--passphrase-env", "PFX_WORD", "--force"))
    for way in ways:
        ran = house.run("export", "home", "--out", str(out), "--pkcs12", *way)

        assert ran.code == 0, ran.err
        assert "AES-256 and SHA-256 (PBES2)" in ran.out
        assert "seven dwarfs" not in ran.said
        found = look_into((out / "home.pfx").read_bytes(), Secret("seven dwarfs"), "x")
        assert found.certificates == (home.leaf, *home.chain)
        assert modes(out) == {0o600}


def test_openssl_opens_the_pkcs12_file(house: House, home: Bundle, out: Path) -> None:
    word = house.write("word", "seven dwarfs\n")
    more = ("--pkcs12", "--passphrase-file", str(word))
    assert house.run("export", "home", "--out", str(out), *more).code == 0

    command = ["openssl", "pkcs12", "-in", str(out / "home.pfx"), "-passin", f"file:{word}"]
    ran = subprocess.run([*command, "-nodes"], capture_output=True, check=True, text=True)

    assert ran.stdout.count("BEGIN CERTIFICATE") == 2
    assert ran.stdout.count("BEGIN PRIVATE KEY") == 1
    assert home.private_key_pem.reveal().splitlines()[1] in ran.stdout


def test_on_a_terminal_a_new_passphrase_is_asked_for_twice(house: House, out: Path) -> None:
    answers = (("not shown\\): ", "seven dwarfs"), ("confirmation: ", "seven dwarfs"))
    ran = converse(house, answers, "export", "home", "--out", str(out), "--pkcs12")
    assert ran.code == 0, ran.out
    assert "seven dwarfs" not in ran.out
    assert look_into((out / "home.pfx").read_bytes(), Secret("seven dwarfs"), "x").key


def test_without_a_passphrase_no_pkcs12_is_written(
    house: House, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = house.run("export", "home", "--out", str(out), "--pkcs12")
    assert ran.code == 2
    assert "needs a passphrase" in ran.err
    monkeypatch.delenv("PFX_WORD", raising=False)
    more = ("--pkcs12", "--passphrase-env", "PFX_WORD")
    assert house.run("export", "home", "--out", str(out), *more).code == 1
    empty = house.write("word", "\n")
    more = ("--pkcs12", "--passphrase-file", str(empty))
    assert house.run("export", "home", "--out", str(out), *more).code == 1
    assert not out.exists()


def _expired(house: House, issuer: Authority) -> None:
    issued = issuer.issue(["example.test"], not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    house.keep(assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem))


def _revoked(house: House, _issuer: Authority) -> None:
    stored = house.store.bundles.current("home")
    assert stored is not None
    house.store.bundles.mark_revoked(
        "home", stored.version, Revocation(when=NOW, reason="superseded")
    )


@pytest.mark.parametrize(("spoil", "says"), [(_expired, "expired at "), (_revoked, "revoked at ")])
def test_a_certificate_that_is_of_no_use_is_exported_with_a_warning(
    house: House,
    out: Path,
    issuer: tuple[Authority, Path],
    spoil: Callable[[House, Authority], None],
    says: str,
) -> None:
    spoil(house, issuer[0])

    ran = house.run("export", "home", "--out", str(out), "--json")

    assert ran.code == 0
    assert len(ran.report["warnings"]) == 1
    assert says in ran.report["warnings"][0]
    assert says in ran.err
    assert "distribute issue home" in ran.err


def test_what_is_not_there_cannot_be_exported(make_house: MakeHouse) -> None:
    house = make_house("attic", stored=False)
    ran = house.run("export", "home", "--out", str(house.folder / "out"))
    assert ran.code == 1
    assert "the store holds no certificate 'home'" in ran.err
    assert house.run("export", "hoem", "--out", str(house.folder / "out")).code == 2
    assert house.run("export", "home").code == 2
    assert not (house.folder / "out").exists()
