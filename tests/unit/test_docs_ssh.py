"""docs/how-to/ssh.md says of old algorithms what the code does."""

import re
from pathlib import Path

import paramiko

from distributor.clients import ssh_connection, ssh_errors

PAGE = (Path(__file__).parents[2] / "docs/how-to/ssh.md").read_text(encoding="utf-8")


def row(name: str) -> tuple[set[str], set[str]]:
    """What a line of the table lists as used, and as refused."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {name} |"))
    _, _, used, refused, _ = line.split("|")
    return set(re.findall("`([^`]+)`", used)), set(re.findall("`([^`]+)`", refused))


def test_host_keys_of_the_page_are_those_of_the_code() -> None:
    used, refused = row("host keys")
    asked = {one for algorithms in ssh_connection._FAMILIES.values() for one in algorithms}
    assert used == asked
    assert refused == {"ssh-rsa", "ssh-dss"}
    assert not refused & asked


def test_no_signature_by_sha_1_is_made_with_a_key_of_ours() -> None:
    options = set(paramiko.Transport._preferred_pubkeys)  # type: ignore[attr-defined]  # left out of the stubs
    assert not options & {"ssh-rsa", "ssh-dss"}
    assert {"rsa-sha2-512", "ssh-ed25519"} <= options


def test_the_page_advises_as_the_error_does() -> None:
    error = paramiko.ssh_exception.IncompatiblePeer("(no acceptable host key)")
    told = ssh_errors.translate(error, "attic:22")
    assert "no SSH algorithm in common" in told.message
    assert "`no SSH algorithm in common`" in PAGE
    assert 'via = "api"' in (told.hint or "")
    assert '`via = "api"`' in PAGE
    for switch in ("Control Panel > Terminal & SNMP", "Control Panel > Services > SSH"):
        assert switch in PAGE
        assert switch in ssh_errors.OFF
