"""Certificates on disk as other programs leave them there."""

import io
import zipfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    pkcs12,
)

from tests.certs import Issued

README: Final = "This directory contains your keys and certificates.\n"


def parts_of(issued: Issued) -> dict[str, bytes]:
    """The four files that certbot, DSM and our own store know."""
    return {
        "cert": issued.certificate_pem,
        "chain": issued.chain_pem,
        "fullchain": issued.fullchain_pem,
        "privkey": issued.private_key_pem,
    }


def certbot(root: Path, name: str, issued: Issued, version: int = 1) -> Path:
    """`live/NAME`, whose files are links to those of the last version below `archive/NAME`."""
    live, archive = root / "live" / name, root / "archive" / name
    live.mkdir(parents=True, exist_ok=True)
    archive.mkdir(parents=True, exist_ok=True)
    (root / "live" / "README").write_text(README)
    (live / "README").write_text(README)
    for part, content in parts_of(issued).items():
        write(archive / f"{part}{version}.pem", content)
        (live / f"{part}.pem").unlink(missing_ok=True)
        (live / f"{part}.pem").symlink_to(f"../../archive/{name}/{part}{version}.pem")
    return live


def lego(root: Path, name: str, issued: Issued, *, bundled: bool = True) -> Path:
    """`certificates`, with the files of one certificate; `bundled` False is its --no-bundle."""
    folder = root / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace("*", "_")
    write(folder / f"{stem}.crt", issued.fullchain_pem if bundled else issued.certificate_pem)
    write(folder / f"{stem}.issuer.crt", issued.chain_pem)
    write(folder / f"{stem}.key", issued.private_key_pem)
    write(folder / f"{stem}.json", b'{"domain": "%s"}' % name.encode())
    return folder


def acme_sh(root: Path, name: str, issued: Issued, *, ecc: bool = False) -> Path:
    """`NAME` or `NAME_ecc`; a wildcard keeps its asterisk."""
    folder = root / f"{name}_ecc" if ecc else root / name
    (folder / "backup").mkdir(parents=True, exist_ok=True)
    write(folder / f"{name}.cer", issued.certificate_pem)
    write(folder / "ca.cer", issued.chain_pem)
    write(folder / "fullchain.cer", issued.fullchain_pem)
    write(folder / f"{name}.key", issued.private_key_pem)
    for other in (".conf", ".csr", ".csr.conf"):
        write(folder / f"{name}{other}", b"Le_Domain=x\n")
    return folder


def exported(issued: Issued, mark: str = "") -> dict[str, bytes]:
    """Members of the archive that DSM exports of an entry."""
    return {
        f"{mark}cert.pem": issued.certificate_pem,
        f"{mark}chain.pem": issued.chain_pem,
        f"{mark}privkey.pem": issued.private_key_pem,
    }


def zipped(members: dict[str, bytes]) -> bytes:
    """An archive of these members."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def container(issued: Issued, passphrase: str = "", *, reverse: bool = False) -> bytes:
    """A PKCS #12 container; `reverse` puts the chain into it from the top down."""
    chain = tuple(reversed(issued.chain)) if reverse else issued.chain
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    key = issued.key
    return pkcs12.serialize_key_and_certificates(b"home", key, issued.leaf, chain, encryption)


def write(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read."""
    path.touch(mode=0o600)
    path.write_bytes(content)
