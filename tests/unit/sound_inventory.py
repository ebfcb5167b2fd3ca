"""An inventory without a problem, table by table, and the problems of one that has some."""

from pathlib import Path

from distributor import inventory
from distributor.model.errors import InventoryError

FILE = Path("/srv/inventory/inventory.toml")

ACME = """\
[acme]
ca = "letsencrypt"
agree_tos = true
"""
DNS = """\
[dns.home]
provider = "rfc2136"
server = "192.0.2.53:53"
key_name = "acme-key"
key = { env = "TSIG" }
"""
CERTIFICATE = """\
[certificates.home]
source = "acme"
names = ["example.com", "*.example.com"]
dns = "home"
"""
HOST = """\
[hosts.attic]
kind = "diskstation"
via = "api"
address = "192.0.2.11"
user = "certs"
password = { env = "ATTIC" }
certificate = "home"
"""
SOUND = ACME + DNS + CERTIFICATE + HOST
"""Lines: [acme] 1, [dns.home] 4, [certificates.home] 9, [hosts.attic] 13."""


def problems(text: str, *, private: bool = False) -> list[str]:
    try:
        inventory.parse(text, path=FILE, private=private)
    except InventoryError as error:
        return [str(problem) for problem in error.problems]
    return []
