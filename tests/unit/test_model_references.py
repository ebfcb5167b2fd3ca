"""Where an inventory speaks of secrets by name."""

from pathlib import Path

from distributor.inventory import read
from distributor.model.references import named_secrets

TEXT = """
[acme]
ca = "letsencrypt"
agree_tos = true
eab = { kid = "k", hmac = { keyring = "eab" } }
[dns.home]
provider = "rfc2136"
server = "192.0.2.53"
key_name = "acme-key"
key = { keyring = "tsig" }
[certificates.home]
source = "acme"
names = ["example.com"]
dns = "home"
[defaults]
user = "certs"
certificate = "home"
kind = "diskstation"
password = { keyring = "boxes" }
[hosts.attic]
via = "api"
address = "192.0.2.1"
otp = { keyring = "totp" }
[hosts.cellar]
via = "api"
address = "192.0.2.2"
[hosts.garage]
via = "ssh"
address = "192.0.2.3"
password = { env = "GARAGE" }
identity = { keyring = "id" }
sudo_password = { keyring = "boxes" }
[notify]
urls = [{ env = "URL" }, { keyring = "push" }]
ping = { keyring = "ping" }
"""


def test_every_name_is_found_with_all_places_that_use_it() -> None:
    inventory, problems = read(TEXT, Path("inventory.toml"), private=True, not_built={})
    assert problems == ()
    assert inventory is not None
    assert named_secrets(inventory) == {
        "eab": ("certificates.home.eab.hmac",),
        "tsig": ("dns.home.key",),
        "boxes": (
            "hosts.attic.password",
            "hosts.cellar.password",
            "hosts.garage.sudo_password",
        ),
        "totp": ("hosts.attic.otp",),
        "id": ("hosts.garage.identity",),
        "push": ("notify.urls[1]",),
        "ping": ("notify.ping",),
    }
