"""`distribute show`: the forum's question about chain.pem, of files, folders, zips and ports."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from distributor.cli.shown import FILES
from distributor.model.bundle import assemble, fingerprint
from distributor.model.pkcs12 import make_pkcs12
from distributor.model.revocation import Revocation
from distributor.model.secret import Secret
from tests.certs import DAY, NOW, Authority, Issued, hierarchy, key_pem, pem, self_signed
from tests.integration.cli.conftest import MakeHouse
from tests.integration.cli.house import QUICK, House, Ran, run
from tests.integration.cli.terminal import converse

NAME = "nas.example.test"


@pytest.fixture(scope="module")
def two() -> Authority:
    return hierarchy(2)


@pytest.fixture(scope="module")
def issued(two: Authority) -> Issued:
    return two.issue([NAME, "*.example.test"])


@pytest.fixture
def roots(tmp_path: Path, two: Authority) -> Path:
    path = tmp_path / "roots.pem"
    path.write_bytes(pem(two.root))
    return path


def shown(thing: Path, roots: Path, *more: str) -> tuple[Ran, Ran]:
    """Run it for people and for programs."""
    words = ("show", str(thing), "--ca-bundle", str(roots), *more)
    return run(*words), run(*words, "--json")


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def without_key(ran: Ran, issued: Issued) -> bool:
    """Tell whether no line of the private key was printed."""
    lines = issued.private_key_pem.decode().splitlines()[1:-1]
    return "PRIVATE KEY-----" not in ran.said and not any(line in ran.said for line in lines)


# -- files -------------------------------------------------------------------------------------


def test_a_complete_fullchain_is_told_in_words(tmp_path: Path, issued: Issued, roots: Path) -> None:
    file = write(tmp_path / "fullchain.pem", issued.fullchain_pem)

    ran, data = shown(file, roots)

    assert ran.code == 0
    lines = ran.out.splitlines()
    assert "    holds    a leaf and more, as fullchain.pem" in lines
    assert "    chain    complete, up to Test Root" in lines
    assert (
        f"             2 intermediates; the root Test Root is known from {roots}, and is not sent"
        in lines
    )
    assert any(
        line.startswith("             intermediate Test Intermediate 2, signed by Test ")
        for line in lines
    )
    assert lines.count(FILES) == 1
    chain = data.report["shown"][0]["chain"]
    assert chain["complete"] is True
    assert (chain["root"], chain["root_sent"], chain["intermediates"]) == ("Test Root", False, 2)
    assert (chain["missing"], chain["findings"]) == (None, [])
    assert [one["role"] for one in chain["links"]] == ["leaf", "intermediate", "intermediate"]


def test_the_usual_roots_judge_when_no_other_are_named(tmp_path: Path, issued: Issued) -> None:
    chain = run("show", str(write(tmp_path / "x.pem", issued.fullchain_pem)), "--json").report[
        "shown"
    ][0]["chain"]
    assert chain["complete"] is False
    assert chain["missing"]["issuer"] == "Test Root"
    assert chain["roots"] == "known to clients (Mozilla's list)"


def test_of_a_private_chain_that_is_whole_nothing_is_said_to_be_missing(
    tmp_path: Path, issued: Issued
) -> None:
    """As it is sent: without its root, which nobody can see to be one."""
    write(tmp_path / "exp" / "cert.pem", issued.certificate_pem)
    write(tmp_path / "exp" / "chain.pem", issued.chain_pem)
    things = (
        tmp_path / "exp",
        write(tmp_path / "home.zip", zipped(members(issued))),
        write(tmp_path / "fullchain.pem", issued.fullchain_pem),
    )
    for thing in things:
        ran, data = run("show", str(thing)), run("show", str(thing), "--json")
        [finding] = data.report["shown"][0]["chain"]["findings"]
        assert finding["name"] == "unknown-root"
        assert "! missing" not in ran.out
        assert "refuse" not in ran.out
        assert "or it is a private root: --ca-bundle FILE" in ran.out


def test_a_chain_file_is_told_for_what_it_is(tmp_path: Path, issued: Issued, roots: Path) -> None:
    ran, data = shown(write(tmp_path / "chain.pem", issued.chain_pem), roots)

    assert "    holds    certificates of CAs and no leaf, as chain.pem" in ran.out
    assert "    chain    no leaf; leads up to Test Root" in ran.out
    assert "    leaf " not in ran.out
    found = data.report["shown"][0]
    assert "leaf" not in found
    assert found["chain"]["complete"] is False


def test_everything_that_is_wrong_is_named(
    tmp_path: Path, two: Authority, issued: Issued, roots: Path
) -> None:
    stranger = hierarchy(1).certificate
    content = pem(*reversed(issued.chain), issued.leaf, issued.leaf, two.root, stranger)

    ran, data = shown(write(tmp_path / "mess.pem", content), roots)

    names = {"wrong-order", "repeated", "root-included", "stranger"}
    assert {one["name"] for one in data.report["shown"][0]["chain"]["findings"]} == names
    assert all(f"             ! {name}: " in ran.out for name in names)
    assert data.report["shown"][0]["leaf"] == fingerprint(issued.leaf)


@pytest.mark.parametrize("fits", [True, False])
def test_of_a_key_in_the_file_it_is_said_whether_it_fits_and_nothing_else(
    tmp_path: Path, two: Authority, issued: Issued, roots: Path, fits: bool
) -> None:
    key = issued if fits else two.issue([NAME])
    file = write(tmp_path / "combined.pem", key.private_key_pem + issued.fullchain_pem)

    ran, data = shown(file, roots)

    words = "fits the leaf" if fits else "belongs to another certificate"
    assert f"    privkey  {words}" in ran.out
    assert data.report["shown"][0]["key_fits"] is fits
    assert without_key(ran, key)
    assert without_key(data, key)


def test_a_key_alone_is_an_error_that_shows_nothing_of_it(tmp_path: Path, issued: Issued) -> None:
    ran = run("show", str(write(tmp_path / "privkey.pem", issued.private_key_pem)))

    assert ran.code == 1
    assert "holds a private key and no certificate" in ran.err
    assert without_key(ran, issued)


def test_a_key_under_a_passphrase_is_a_note(tmp_path: Path, issued: Issued, roots: Path) -> None:
    content = issued.fullchain_pem + key_pem(issued.key, password=b"word")

    ran, data = shown(write(tmp_path / "x.pem", content), roots)

    assert ran.code == 0
    assert "is protected by a passphrase" in ran.out
    assert data.report["shown"][0]["key_fits"] is None


def test_der_is_read(tmp_path: Path, issued: Issued, roots: Path) -> None:
    der = write(tmp_path / "leaf.cer", issued.leaf.public_bytes(Encoding.DER))
    ran, data = shown(der, roots)
    assert "    holds    a leaf alone, as cert.pem" in ran.out
    assert data.report["shown"][0]["leaf"] == fingerprint(issued.leaf)
    assert data.report["shown"][0]["chain"]["missing"]["issuer"] == "Test Intermediate 2"


# -- PKCS#12 -----------------------------------------------------------------------------------


@pytest.fixture
def pfx(tmp_path: Path, issued: Issued) -> Path:
    bundle = assemble(certificate=issued.fullchain_pem, private_key=issued.private_key_pem)
    return write(tmp_path / "home.pfx", make_pkcs12(bundle, "home", Secret("snow white")))


def test_pkcs12_is_opened_with_a_passphrase_from_a_file_or_variable(
    pfx: Path, roots: Path, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = write(pfx.with_name("word"), b"snow white\n")
    word.chmod(0o600)
    monkeypatch.setenv("PFX_WORD", "snow white")

    for more in (("--passphrase-file", str(word)), ("--passphrase-env", "PFX_WORD")):
        ran, data = shown(pfx, roots, *more)
        assert ran.code == 0, ran.err
        assert "    holds    PKCS#12" in ran.out
        assert "    privkey  fits the leaf" in ran.out
        assert data.report["shown"][0]["chain"]["complete"] is True
        assert "snow white" not in ran.said + data.said
        assert without_key(ran, issued)


def test_pkcs12_without_the_passphrase_says_how_to_give_it(
    pfx: Path, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, _ = shown(pfx, roots)
    assert ran.code == 1
    assert "is protected by a passphrase" in ran.err
    assert "--passphrase-file" in ran.err

    monkeypatch.setenv("PFX_WORD", "wrong")
    ran, _ = shown(pfx, roots, "--passphrase-env", "PFX_WORD")
    assert ran.code == 1
    assert "does not open with this passphrase" in ran.err
    both = ("--passphrase-env", "PFX_WORD", "--passphrase-file", str(pfx))
    assert shown(pfx, roots, *both)[0].code == 2


def test_on_a_terminal_the_passphrase_is_asked_for(pfx: Path, house: House) -> None:
    ran = converse(house, (("not shown\\): ", "snow white"),), "show", str(pfx))
    assert ran.code == 0, ran.out
    assert "privkey  fits the leaf" in ran.out
    assert "snow white" not in ran.out


# -- folders and zips --------------------------------------------------------------------------


def members(issued: Issued) -> dict[str, bytes]:
    return {
        "cert.pem": issued.certificate_pem,
        "chain.pem": issued.chain_pem,
        "privkey.pem": issued.private_key_pem,
    }


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "folder"])
def test_an_export_of_dsm_is_read_whole(
    tmp_path: Path, issued: Issued, roots: Path, as_zip: bool
) -> None:
    if as_zip:
        thing = write(tmp_path / "archive.zip", zipped(members(issued)))
    else:
        thing = tmp_path / "live"
        for name, content in (members(issued) | {"fullchain.pem": issued.fullchain_pem}).items():
            write(thing / name, content)

    ran, data = shown(thing, roots)

    assert ran.code == 0, ran.err
    assert "complete, up to Test Root" in ran.out
    assert "    privkey  fits the leaf" in ran.out
    assert "    note " not in ran.out
    assert "chain.pem" in data.report["shown"][0]["holds"]
    assert without_key(ran, issued)


def test_no_key_is_needed(tmp_path: Path, issued: Issued, roots: Path) -> None:
    content = {name: text for name, text in members(issued).items() if name != "privkey.pem"}
    ran, data = shown(write(tmp_path / "a.zip", zipped(content)), roots)
    assert ran.code == 0
    assert "privkey " not in ran.out.replace(FILES, "")
    assert data.report["shown"][0]["key_fits"] is None


def test_a_key_of_another_certificate_in_the_zip_is_said(
    tmp_path: Path, two: Authority, issued: Issued, roots: Path
) -> None:
    other = two.issue([NAME])
    content = members(issued) | {"privkey.pem": other.private_key_pem}
    ran, data = shown(write(tmp_path / "a.zip", zipped(content)), roots)
    assert "    privkey  belongs to another certificate" in ran.out
    assert data.report["shown"][0]["key_fits"] is False
    assert without_key(ran, other)


def test_both_pairs_of_an_export_are_shown(tmp_path: Path, two: Authority, roots: Path) -> None:
    pairs = {"RSA-": two.issue([NAME], key="rsa2048"), "ECC-": two.issue([NAME])}
    content = {
        f"{mark}{name}": text for mark, one in pairs.items() for name, text in members(one).items()
    }
    file = write(tmp_path / "a.zip", zipped(content))

    _, data = shown(file, roots)

    found = {one["what"]: one for one in data.report["shown"]}
    assert found.keys() == {f"{file} (RSA)", f"{file} (ECC)"}
    assert [one["key_type"] for one in found.values()] == ["rsa2048", "ec256"]
    assert all(one["key_fits"] and one["chain"]["complete"] for one in found.values())


def test_a_box_s_own_certificate_is_told(tmp_path: Path, roots: Path) -> None:
    own = hierarchy(0)
    issued = own.issue(["synology"])
    content = {
        "cert.pem": issued.certificate_pem,
        "privkey.pem": issued.private_key_pem,
        "syno-ca-cert.pem": pem(own.root),
        "syno-ca-privkey.pem": key_pem(own.key),
    }
    ran, _ = shown(write(tmp_path / "a.zip", zipped(content)), roots)
    assert "signed by the box's own CA (syno-ca-cert.pem): nobody else trusts it" in ran.out
    assert "ends at the unknown root Test Root" in ran.out


def test_a_key_that_may_not_be_read_is_a_note(tmp_path: Path, issued: Issued, roots: Path) -> None:
    write(tmp_path / "live" / "cert.pem", issued.fullchain_pem)
    (tmp_path / "live" / "privkey.pem").symlink_to("/proc/self/mem")  # no one reads its beginning

    ran, data = shown(tmp_path / "live", roots)

    assert ran.code == 0, ran.err
    assert "whether it fits the leaf is not known" in ran.out
    assert data.report["shown"][0]["key_fits"] is None


def test_a_fullchain_that_is_of_another_time_is_told(
    tmp_path: Path, two: Authority, issued: Issued, roots: Path
) -> None:
    for name, content in members(issued).items():
        write(tmp_path / "live" / name, content)
    write(tmp_path / "live" / "fullchain.pem", two.issue([NAME]).fullchain_pem)
    ran, _ = shown(tmp_path / "live", roots)
    assert "fullchain.pem is not cert.pem and chain.pem one after the other" in ran.out


@pytest.mark.parametrize(
    ("certificate", "chain", "key"),
    [
        ("_.example.test.crt", "_.example.test.issuer.crt", "_.example.test.key"),
        ("fullchain.cer", "ca.cer", "*.example.test.key"),
    ],
    ids=["lego", "acme.sh"],
)
def test_folders_of_lego_and_acme_sh_are_known(
    tmp_path: Path, issued: Issued, roots: Path, certificate: str, chain: str, key: str
) -> None:
    folder = tmp_path / "kept"
    write(folder / certificate, issued.fullchain_pem)
    write(folder / chain, issued.chain_pem)
    write(folder / key, issued.private_key_pem)
    if certificate == "fullchain.cer":
        write(folder / key.replace(".key", ".cer"), issued.certificate_pem)

    ran, data = shown(folder, roots)

    assert ran.code == 0, ran.err
    [one] = data.report["shown"]
    assert one["key_fits"] is True
    assert (one["chain"]["complete"], one["chain"]["findings"]) == (True, [])
    assert without_key(ran, issued)


@pytest.mark.parametrize("rest", [{}, {"chain.pem": b"\n"}, {"privkey.pem": b""}])
def test_an_empty_certificate_in_a_zip_or_folder_is_an_error(
    tmp_path: Path, roots: Path, issued: Issued, rest: dict[str, bytes]
) -> None:
    content = {"cert.pem": b" \n", **rest}
    for name, one in content.items():
        write(tmp_path / "folder" / name, one)
    for thing in (write(tmp_path / "a.zip", zipped(content)), tmp_path / "folder"):
        ran, data = shown(thing, roots)
        assert (ran.code, data.code) == (1, 1)
        assert "cert.pem holds no certificate" in ran.err


@pytest.mark.parametrize("content", [b"PK\x03\x04 no zip", zipped({"x.txt": b"x"})])
def test_a_zip_without_a_certificate_is_an_error(tmp_path: Path, content: bytes) -> None:
    ran = run("show", str(write(tmp_path / "a.zip", content)))
    assert ran.code == 1
    assert "try: " in ran.err


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    ran = run("show", str(tmp_path))
    assert ran.code == 1
    assert "holds no certificate by a name that is known" in ran.err
    assert "acme.sh" in ran.err


# -- ports -------------------------------------------------------------------------------------


def test_a_port_is_asked_by_the_name_that_is_given(house: House) -> None:
    assert house.run("--all").code == 0
    port = f"127.0.0.1:{house.boxes['attic'].port}"

    good = run("show", port, "--server-name", "attic.example.test", "--ca-bundle", str(house.root))
    other = run("show", port, "--server-name", "attic.example.com", "--json")

    assert good.code == other.code == 0
    findings = other.report["shown"][0]["chain"]["findings"]
    assert [one["name"] for one in findings] == ["unknown-root"]
    assert "complete, up to Test Root" in good.out
    assert "(not " not in good.out
    assert other.report["shown"][0]["covers_server_name"] is False
    assert other.report["shown"][0]["server_name"] == "attic.example.com"
    text = run("show", port, "--server-name", "attic.example.com")
    assert "    names    *.example.test, example.test (not attic.example.com)" in text.out


def test_a_port_that_begins_in_plain_text(house: House) -> None:
    box = house.boxes["attic"]
    port = f"127.0.0.1:{box.starttls_ports['FTPS', 'ftp']}"

    assert run("show", port, "--starttls", "ftp").code == 0
    assert run("show", port, "--starttls", "smtp").code == 1
    assert run("show", port, "--starttls", "pop3").code == 2


def test_old_tls_is_looked_at_only_when_that_is_asked_for(make_house: MakeHouse) -> None:
    house = make_house("attic", knobs={"attic": replace(QUICK, old_tls=True)}, pinned=False)
    port = f"127.0.0.1:{house.boxes['attic'].port}"

    refused = run("show", port)
    assert refused.code == 1
    assert "try: it speaks only old TLS: --legacy-tls looks at it all the same" in refused.err
    assert run("show", port, "--legacy-tls").code == 0


@pytest.mark.parametrize(
    ("thing", "hint"),
    [
        ("::1", "[::1]:5001"),
        ("[::1]", "[::1]:5001"),
        ("fe80::1:5001", "[fe80::1:5001]:5001"),
        ("2001:db8:1:2:3:4:5:6:5002", "[2001:db8:1:2:3:4:5:6]:5002"),
        ("192.0.2.1", "192.0.2.1:5001"),
    ],
)
def test_an_address_whose_port_cannot_be_told_is_a_usage_error(thing: str, hint: str) -> None:
    ran = run("show", thing)
    assert ran.code == 2
    assert f"try: write {hint}" in ran.err
    assert "inventory" not in ran.err


def test_an_address_in_brackets_is_asked() -> None:
    ran = run("show", "[::1]:9")
    assert ran.code == 1
    assert "[::1]:9" in ran.err


@pytest.mark.parametrize("more", [(), ("--server-name", "a..b")])
def test_a_wrong_name_on_the_command_line_is_not_looked_for_in_the_inventory(
    house: House, more: tuple[str, ...]
) -> None:
    port = f"127.0.0.1:{house.boxes['attic'].port}" if more else "nas..example:5001"
    ran = run("show", port, *more)
    assert ran.code == 1
    assert "try: correct the " in ran.err
    assert "inventory" not in ran.err


@pytest.mark.parametrize(
    "option", [("--starttls", "ftp"), ("--legacy-tls",), ("--server-name", "x.example")]
)
def test_options_of_ports_are_for_ports(house: House, option: tuple[str, ...]) -> None:
    ran = house.run("show", "home", *option)
    assert ran.code == 2
    assert f"{option[0]} is for HOST:PORT" in ran.err


# -- the store ---------------------------------------------------------------------------------


def test_what_could_not_be_learnt_of_renewal_is_a_note(house: House) -> None:
    ran, data = house.run("show"), house.run("show", "--json")

    assert ran.code == data.code == 0
    [note] = data.report["shown"][0]["notes"]
    assert note.startswith("about renewal: ")
    assert house.directory_url in note
    assert f"    note     {note}" in ran.out.splitlines()


def add_certificate(house: House, name: str, *lines: str) -> None:
    text = house.inventory.read_text(encoding="utf-8")
    head = f'[certificates.{name}]\nsource = "files"\n'
    house.inventory.write_text(head + "\n".join(lines) + "\n\n" + text, encoding="utf-8")


def test_a_source_that_is_late_or_cannot_be_used_says_so_in_notes(
    house: House, two: Authority
) -> None:
    add_certificate(house, "bought", 'certificate = "bought.pem"')
    file = house.folder / "bought.pem"
    late = two.issue([NAME], not_before=NOW - 85 * DAY, not_after=NOW + 5 * DAY)
    unfit = two.issue([NAME], key="ec384")

    write(file, late.private_key_pem + late.fullchain_pem)
    [note] = house.run("show", "bought", "--json").report["shown"][0]["notes"]
    assert "was not replaced yet" in note
    write(file, unfit.private_key_pem + late.fullchain_pem)
    notes = house.run("show", "bought", "--json").report["shown"][0]["notes"]
    assert notes == [f"about renewal: {file}: the private key does not belong to the leaf"]
    file.unlink()
    ran = house.run("show", "bought")
    assert "    note     whether there is a newer one could not be seen: " in ran.out
    assert ran.out.count("    note ") == 1


def test_one_that_is_broken_does_not_hide_the_others(house: House) -> None:
    add_certificate(house, "bought", 'certificate = "bought.pem"', 'ca_bundle = "none.pem"')
    stored = house.store.bundles.current("home")
    assert stored is not None
    house.store.bundles.save("bought", stored.bundle, ca="", now=NOW)
    add_certificate(house, "cut", 'certificate = "cut.pem"')
    version = house.store.bundles.save("cut", stored.bundle, ca="", now=NOW).version
    (house.state / "certificates" / "cut" / version / "privkey.pem").unlink()

    ran, data = house.run("show"), house.run("show", "--json")

    assert ran.code == data.code == data.report["exit"] == 1
    found = {one["what"]: one for one in data.report["shown"]}
    assert found.keys() == {"cut", "bought", "home"}
    assert found["cut"]["error"]["kind"] == "StateError"
    assert found["bought"]["error"]["problems"][0]["path"] == "ca_bundle"
    assert (found["home"]["error"], found["home"]["chain"]["complete"]) == (None, True)
    assert "    StateError: " in ran.out
    assert "none.pem is no readable PEM file" in ran.out
    assert "    chain    complete, up to Test Root" in ran.out
    assert house.run("show", "cut").code == 1
    assert house.run("show", "home").code == 0


def test_of_several_things_each_is_looked_at(house: House, tmp_path: Path, issued: Issued) -> None:
    good = write(tmp_path / "good.pem", issued.fullchain_pem)
    bad = write(tmp_path / "bad.pem", b"hello")

    ran = house.run("show", "127.0.0.1:9", str(bad), str(good), "--json")

    assert (ran.code, ran.report["exit"]) == (1, 1)
    kinds = [one["error"] and one["error"]["kind"] for one in ran.report["shown"]]
    assert kinds == ["Unreachable", "BundleError", None]
    assert house.run("show", str(good), "hoem").code == 2
    broken = house.run("show", str(good), "127.0.0.1:9", "--ca-bundle", str(bad))
    assert broken.code == 2, broken.said


def test_a_revoked_version_is_shown_as_such(house: House) -> None:
    stored = house.store.bundles.current("home")
    assert stored is not None
    house.store.bundles.mark_revoked(
        "home", stored.version, Revocation(when=NOW, reason="superseded")
    )

    ran, data = house.run("show"), house.run("show", "--json")

    assert "    revoked  revoked at " in ran.out
    assert f"{stored.version} (revoked: superseded)" in ran.out
    assert "    renewal  due now: revoked" in ran.out
    assert data.report["shown"][0]["revoked"][stored.version]["reason"] == "superseded"


def test_a_folder_of_the_certificate_s_name_does_not_hide_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    write(house.folder / "home" / "cert.pem", pem(self_signed([NAME]).leaf))

    assert house.run("show", "home", "--json").report["shown"][0]["versions"]
    folder = house.run("show", f".{os.sep}home", "--json").report["shown"][0]
    assert folder["chain"]["verdict"] == "self-signed"


def test_a_folder_without_a_slash_is_pointed_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    (house.folder / "exp").mkdir()
    for ran in (house.run("show", "exp"), run("-i", "none.toml", "show", "exp")):
        assert ran.code == 2
        assert "try: write ./exp" in ran.err
        assert "there is a folder of that name" in ran.err
    assert "did you mean 'home'" in house.run("show", "hoem").err


def test_the_question_is_answered_once_for_many_things(house: House, tmp_path: Path) -> None:
    file = write(tmp_path / "x.pem", pem(self_signed([NAME]).leaf))
    ran = house.run("show", "home", str(file), str(file))
    assert ran.out.count(FILES) == 1
