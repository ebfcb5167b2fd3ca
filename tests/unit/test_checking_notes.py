"""Notes on an inventory: keys that hosts share, pins that a renewal will break."""

from pathlib import Path

from distributor.checking.notes import notes
from distributor.checking.remarks import Remark
from distributor.inventory import read

PIN = "sha256:" + "ab" * 32
HEAD = """
[acme]
ca = "letsencrypt"
agree_tos = true
[dns.home]
provider = "rfc2136"
server = "192.0.2.53"
key_name = "acme-key"
key = { env = "TSIG" }
[certificates.home]
source = "acme"
names = ["example.com"]
dns = "home"
[certificates.kept]
source = "acme"
names = ["kept.example.com"]
dns = "home"
reuse_key = true
[defaults]
user = "certs"
password = { env = "PASSWORD" }
"""


def of(hosts: str) -> list[Remark]:
    inventory, problems = read(
        HEAD + hosts,
        Path("inventory.toml"),
        private=True,
        not_built={},
    )
    assert problems == ()
    assert inventory is not None
    found = list(notes(inventory))
    assert not any(one.is_finding for one in found)
    return found


def host(name: str, certificate: str = "home", address: str = "", more: str = "") -> str:
    where = address or f"192.0.2.{len(name)}"
    return (
        f'[hosts.{name}]\nkind = "diskstation"\nvia = "api"\naddress = "{where}"\n'
        f'certificate = "{certificate}"\nendpoints = []\n{more}\n'
    )


def test_hosts_of_one_certificate_are_named_with_the_remedies() -> None:
    (note,) = of(host("attic") + host("cellar") + host("den"))
    assert note.name == "shared-key"
    assert note.about == "certificate home"
    assert note.message.startswith("attic, cellar and den hold one private key")
    for remedy in ("an account and a password of its own", 'via = "ssh"', "certificate of its own"):
        assert remedy in note.hint
    assert "\n" not in note.message + note.hint


def test_hosts_with_certificates_of_their_own_share_nothing() -> None:
    assert of(host("attic") + host("cellar", "kept")) == []


def test_two_hosts_of_one_box_share_nothing_with_another() -> None:
    assert of(host("attic", address="192.0.2.1") + host("again", address="192.0.2.1")) == []
    by_ssh = host("again", address="192.0.2.1").replace('"api"', '"ssh"')
    assert of(host("attic", address="192.0.2.1") + by_ssh) == []


def test_two_ports_of_one_address_are_two_boxes() -> None:
    found = of(
        host("attic", address="192.0.2.1") + host("again", address="192.0.2.1", more="port = 5003")
    )
    assert [one.name for one in found] == ["shared-key"]


def test_each_certificate_makes_a_group_of_its_own() -> None:
    found = of(host("attic") + host("cellar") + host("garage", "kept") + host("loft", "kept"))
    assert [one.about for one in found] == ["certificate home", "certificate kept"]


def test_hosts_reached_by_ssh_alone_send_no_password_by_tls() -> None:
    by_ssh = (host("attic") + host("cellar")).replace('"api"', '"ssh"')
    assert of(by_ssh) == []


def test_a_host_reached_by_ssh_that_holds_the_key_counts_against_the_others() -> None:
    (note,) = of(host("attic") + host("cellar").replace('"api"', '"ssh"'))
    assert "attic and cellar hold one private key" in note.message
    assert note.message.endswith("it sends to attic")


def test_a_pin_that_the_next_renewal_breaks_is_named() -> None:
    (note,) = of(host("attic", more=f'tls_pin = "{PIN}"'))
    assert note.name == "pin-will-break"
    assert note.about == "host attic"
    assert "stops matching" in note.message
    assert "distribute trust attic" in note.hint
    assert "reuse_key = true" in note.hint


def test_a_pin_of_a_key_that_is_kept_is_no_trouble() -> None:
    assert of(host("attic", "kept", more=f'tls_pin = "{PIN}"')) == []


def test_without_a_pin_there_is_none_to_break() -> None:
    assert of(host("attic")) == []
