"""Folders of other programs and files of every kind are read as they stand, or refused in words."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distributor.model.errors import BundleError, DistributorError, IssuanceError
from distributor.model.hosts import FilesSource, WantedCertificate
from distributor.sources.files import SIZE_LIMIT, Files
from distributor.store import Store
from tests.certs import NOW, Issued, hierarchy, pem
from tests.contract.scenarios import bundle_of
from tests.layouts import acme_sh, certbot, container, exported, lego, write, zipped

NAMES = ("*.example.com", "example.com")
ISSUER = hierarchy(2)
ISSUED = ISSUER.issue(NAMES)


def files(state: Path, **named: Any) -> Files:
    source = FilesSource(**named)
    return Files(
        wanted=WantedCertificate(name="home", source=source),
        source=source,
        store=Store(state / "state"),
        passphrase=None,
        roots=lambda: [ISSUER.root],
        now=lambda: NOW,
    )


def takes(path: Path, one: Issued = ISSUED, **named: Any) -> bool:
    """Whether what is stored of a path is this certificate whole, and a look found no fault."""
    source = files(path.parent, **(named or {"certificate": path}))
    hints = source.look()
    return source.renew(lambda _: None).bundle == bundle_of(one) and (
        (hints.error, hints.warnings) == (None, ())
    )


def refusal(path: Path, **named: Any) -> DistributorError:
    """Why a path is refused, by a look and by an attempt alike; nothing is stored."""
    source = files(path.parent, **(named or {"certificate": path}))
    hints = source.look()
    with pytest.raises(DistributorError) as caught:
        source.renew(lambda _: None)
    assert hints.error == caught.value.message
    assert caught.value.hint
    assert source.current() is None
    return caught.value


def test_certbot(tmp_path: Path) -> None:
    live = certbot(tmp_path, "example.com", ISSUER.issue(NAMES))
    live = certbot(tmp_path, "example.com", ISSUED, version=2)
    assert (live / "privkey.pem").is_symlink()
    assert takes(live)


def test_certbot_by_its_files(tmp_path: Path) -> None:
    live = certbot(tmp_path, "example.com", ISSUED)
    assert takes(live, certificate=live / "fullchain.pem", private_key=live / "privkey.pem")
    key, chain = live / "privkey.pem", live / "chain.pem"
    assert takes(live, certificate=live / "cert.pem", chain=chain, private_key=key)
    assert takes(live, certificate=live / "fullchain.pem", chain=chain, private_key=key)


@pytest.mark.parametrize("name", ["example.com", "*.example.com"])
@pytest.mark.parametrize("bundled", [True, False])
def test_lego(tmp_path: Path, name: str, bundled: bool) -> None:
    assert takes(lego(tmp_path, name, ISSUED, bundled=bundled))


def test_lego_whose_issuer_file_is_of_an_earlier_renewal(tmp_path: Path) -> None:
    folder = lego(tmp_path, "example.com", ISSUED)
    write(folder / "example.com.issuer.crt", hierarchy(1).issue(NAMES).chain_pem)
    assert takes(folder)


@pytest.mark.parametrize("name", ["example.com", "*.example.com"])
@pytest.mark.parametrize("ecc", [True, False])
def test_acme_sh(tmp_path: Path, name: str, ecc: bool) -> None:
    assert takes(acme_sh(tmp_path, name, ISSUED, ecc=ecc))


def test_acme_sh_without_a_fullchain(tmp_path: Path) -> None:
    folder = acme_sh(tmp_path, "example.com", ISSUED)
    (folder / "fullchain.cer").unlink()
    assert takes(folder)


def test_an_unpacked_export_is_a_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, content in exported(ISSUED).items():
        write(folder / name, content)
    assert takes(folder)


def test_a_version_of_our_own_store_is_a_folder_too(tmp_path: Path) -> None:
    stored = Store(tmp_path / "other").bundles.save("home", bundle_of(ISSUED), ca="", now=NOW)
    assert takes(tmp_path / "other" / "certificates" / "home" / stored.version)


def test_one_file_may_hold_everything(tmp_path: Path) -> None:
    path = tmp_path / "all.pem"
    write(path, ISSUED.private_key_pem + ISSUED.fullchain_pem)
    assert takes(path)


def test_windows_line_ends_and_text_between_the_blocks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "all.pem"
    content = b"Bag Attributes\n" + ISSUED.private_key_pem + b"subject=x\n" + ISSUED.fullchain_pem
    write(path, content.replace(b"\n", b"\r\n"))
    assert takes(path)


@pytest.mark.parametrize("mark", ["", "RSA-", "ECC-"])
def test_an_exported_archive(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "archive.zip"
    write(path, zipped(exported(ISSUED, mark)))
    assert takes(path, archive=path)


def test_a_container_without_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "home.pfx"
    write(path, container(ISSUED))
    assert takes(path, pkcs12=path)


def test_a_folder_with_several_certificates_is_ambiguous(tmp_path: Path) -> None:
    folder = lego(tmp_path, "example.com", ISSUED)
    lego(tmp_path, "*.example.org", ISSUED)
    error = refusal(folder)
    assert error.message == (
        f"{folder} holds 2 certificates: _.example.org.crt with _.example.org.key, "
        "example.com.crt with example.com.key"
    )
    assert takes(
        folder,
        certificate=folder / "example.com.crt",
        private_key=folder / "example.com.key",
    )


@pytest.mark.parametrize("folder", ["live", "archive/example.com", "."])
def test_a_folder_of_unknown_content_says_what_was_looked_for(tmp_path: Path, folder: str) -> None:
    certbot(tmp_path / "letsencrypt", "example.com", ISSUED)
    error = refusal(tmp_path / "letsencrypt" / folder)
    assert "holds no certificate with its key; looked for fullchain.pem" in error.message
    assert "name the folder of one certificate" in str(error.hint)


@pytest.mark.parametrize("key", ["chain", "private_key"])
def test_a_folder_is_named_alone(tmp_path: Path, key: str) -> None:
    live = certbot(tmp_path, "example.com", ISSUED)
    error = refusal(live, certificate=live, **{key: live / "privkey.pem"})
    assert "is a folder, in which chain and key are found by themselves" in error.message


def test_a_link_that_leads_nowhere_is_told_by_its_own_name(tmp_path: Path) -> None:
    live = certbot(tmp_path, "example.com", ISSUED)
    (tmp_path / "archive" / "example.com" / "privkey1.pem").unlink()
    error = refusal(live)
    assert isinstance(error, IssuanceError)
    assert error.message == f"{live / 'privkey.pem'} cannot be read: No such file or directory"


def test_a_link_to_itself_is_no_endless_loop(tmp_path: Path) -> None:
    path = tmp_path / "loop.pem"
    path.symlink_to("loop.pem")
    assert "cannot be read: Too many levels of symbolic links" in refusal(path).message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.pem"
    os.mkfifo(path)
    assert refusal(path).message == f"{path} is no file"


@pytest.mark.parametrize("key", ["certificate", "archive", "pkcs12"])
def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path, key: str) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(SIZE_LIMIT * 1000)
    assert refusal(path, **{key: path}).message == f"{path} is larger than {SIZE_LIMIT} bytes"


@pytest.mark.parametrize("prefix", ["../", "/", "a/", "..\\"])
def test_members_outside_of_the_archive_are_not_taken(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "archive.zip"
    write(path, zipped(exported(ISSUED, prefix)))
    error = refusal(path, archive=path)
    assert type(error) is BundleError
    assert error.message.startswith(f"{path}: the exported archive does not hold cert.pem")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    write(path, zipped({**exported(ISSUED), "cert.pem": b"\0" * (64 << 20)}))
    assert "is larger than" in refusal(path, archive=path).message


@pytest.mark.parametrize("key", ["archive", "pkcs12"])
@pytest.mark.parametrize("content", [b"", b"<html>", ISSUED.fullchain_pem])
def test_what_is_of_another_kind_is_refused(tmp_path: Path, key: str, content: bytes) -> None:
    path = tmp_path / "thing"
    write(path, content)
    assert str(path) in refusal(path, **{key: path}).message


def test_a_name_with_control_characters_is_shown_harmless(tmp_path: Path) -> None:
    assert "\x1b" not in str(refusal(tmp_path / "a\x1b[2J.pem"))


def test_the_root_at_the_end_of_a_chain_is_taken_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "all.pem"
    write(path, ISSUED.fullchain_pem + pem(ISSUER.root) + ISSUED.private_key_pem)
    ready = files(tmp_path, certificate=path).renew(lambda _: None)
    assert ready.bundle.chain == (*ISSUED.chain, ISSUER.root)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those that tests usually get."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        if any(not one.stat().st_mode & stat.S_IXOTH for one in folder.parents):
            raise AssertionError(f"{folder} lies in a folder that is closed to others")
        yield folder


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
@pytest.mark.parametrize("kind", ["certificate", "archive", "pkcs12", "folder"])
def test_a_key_that_everybody_may_read_is_warned_of(
    open_folder: Path, kind: str, mode: int
) -> None:
    path = open_folder / "thing"
    if kind == "folder":
        path = certbot(open_folder, "example.com", ISSUED)
        shown = path / "privkey.pem"
    else:
        shown = path
        write(
            path,
            {
                "certificate": ISSUED.fullchain_pem + ISSUED.private_key_pem,
                "archive": zipped(exported(ISSUED)),
                "pkcs12": container(ISSUED),
            }[kind],
        )
    shown.chmod(mode)
    source = files(open_folder, **{"certificate" if kind == "folder" else kind: path})
    warned = source.look().warnings
    if mode & stat.S_IROTH:
        assert warned == (
            f"everybody on this machine may read the private key in {shown}: chmod o-r '{shown}'",
        )
    else:
        assert warned == ()
    assert source.renew(lambda _: None).bundle == bundle_of(ISSUED)


def test_a_key_in_a_folder_that_is_closed_to_others_is_not_warned_of(open_folder: Path) -> None:
    folder = acme_sh(open_folder, "example.com", ISSUED)
    (folder / "example.com.key").chmod(0o644)
    folder.chmod(0o700)
    assert files(open_folder, certificate=folder).look().warnings == ()
