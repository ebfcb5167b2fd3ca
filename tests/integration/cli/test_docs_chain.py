"""docs/how-to/chain.md shows what `show` really prints."""

import re
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from distributor.model.chain import FindingName
from tests.certs import authority, pem
from tests.integration.cli.house import run

PAGE = (Path(__file__).parents[3] / "docs/how-to/chain.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def masked(text: str) -> list[str]:
    """Return the lines, without what differs from day to day and from key to key."""
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:…", text)
    text = re.sub(r"\d{4}-\d\d-\d\d", "DATE", text)
    return [line for line in text.splitlines() if not line.startswith("In files: ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page."""
    root = authority("Example Root X1")
    issuer = authority("Example R1", parent=authority("Example Root Y", parent=root))
    url = x509.UniformResourceIdentifier("http://r1.ca.example.com/")
    place = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)
    issued = issuer.issue(
        ["nas.example.com"], key="rsa2048", extensions=[x509.AuthorityInformationAccess([place])]
    )
    files = {
        "cert.pem": issued.certificate_pem,
        "chain.pem": issued.chain_pem,
        "privkey.pem": issued.private_key_pem,
    }
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            archive.writestr(name, content)
    (tmp_path / "root.pem").write_bytes(pem(root.certificate))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n", 1)[0])
def test_an_example_of_the_page_is_what_is_printed(folder: Path, example: str) -> None:
    ran = run("show", example.split("\n", 1)[0], "--ca-bundle", "root.pem")

    assert ran.code == 0, ran.err
    assert masked(ran.out) == masked(example)


def test_the_page_explains_every_finding_there_is() -> None:
    assert len(EXAMPLES) == 3
    missing = [name for name in get_args(FindingName) if f"`{name}`" not in PAGE]
    assert missing == []
