"""The inventory that the contract with users shows, whole."""

import re
from datetime import timedelta
from pathlib import Path

from distributor import inventory
from distributor.inventory import read
from distributor.model.errors import InventoryError
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    CommandSecret,
    Delivery,
    DiskstationSource,
    DnsSettings,
    Endpoint,
    EnvSecret,
    ExternalAccount,
    FileSecret,
    FilesSource,
    Inventory,
    JumpHost,
    KeyringSecret,
    Notify,
    PemPaths,
    PlainSecret,
    Rfc2136Settings,
    Rollout,
    SocketAddress,
    SshAccess,
)
from distributor.model.secret import Secret

PIN = "sha256:" + "0a" * 32
HOST_KEY = "SHA256:" + "a" * 43

# Each option that the contract shows as a comment stands here as a line that begins with "#: ".
CONTRACT = f"""
[acme]                                    # defaults of certificates with source = "acme"
ca = "letsencrypt"
email = "admin@example.com"
agree_tos = true
#: eab = {{ kid = "kid-1", hmac = {{ env = "EAB_HMAC" }} }}
#: profile = "classic"
#: preferred_chain = "ISRG Root X1"
#: ca_bundle = "private-ca.pem"
#: fallback = [{{ ca = "zerossl", eab = {{ kid = "kid-2", hmac = {{ keyring = "zerossl" }} }} }}]

[dns.home]
provider = "route53"
zone_id = "Z0123456789"
#: nameservers = ["192.0.2.53:5353"]
#: resolvers = ["192.0.2.1:53"]
#: doh = ["https://dns.example.net/dns-query"]
#: propagation_timeout = "5m"

[certificates.home]
source = "acme"
names = ["example.com", "*.example.com"]
dns = "home"
key_type = "rsa2048"
#: renew = "ari"
#: reuse_key = false
#: ca_bundle = "private-root.pem"

[certificates.ddns]
source = "diskstation"
from = "attic"
description = "wild.synology.me"

[certificates.bought]
source = "files"
certificate = "leaf-or-fullchain.pem"
chain = "chain.pem"
private_key = "privkey.pem"

[defaults]
user = "certs"
certificate = "home"
#: accept = ["untrusted-issuer"]

[rollout]
#: canary = "attic"
parallel = 8
max_failures = 1

[hosts.attic]
kind = "diskstation"
via = "api"
address = "192.168.1.11"
#: port = 5001
#: server_name = "attic.example.com"
#: tls = "legacy"
password = {{ keyring = "attic" }}
#: otp = {{ keyring = "attic-totp" }}
#: tls_pin = "{PIN}"
tags = ["home"]
#: certificate = "home"
#: id = "xoEBak"
#: description = "home"
#: default = true
#: services = ["system/default", "FTPS", "navidrome.example.com"]
#: remove_superseded = false
#: endpoints = ["attic.example.com:5001", {{ address = "192.168.1.11:21", starttls = "ftp", \
server_name = "attic.example.com", certificate = "home", service = "FTPS" }}]

[hosts.cellar]
kind = "diskstation"
via = "ssh"
address = "cellar.example.com"
#: port = 22
#: identity = {{ file = "certs-key" }}
#: identity_passphrase = {{ env = "CERTS_KEY" }}
#: host_key = "{HOST_KEY}"
#: sudo_password = {{ command = ["op", "read", "op://nas/sudo"] }}
#: proxy_jump = "user@jump:2222"
#: method = "files"
#: packages = "restart"

[hosts.router]
kind = "router"
via = "api"
address = "192.168.1.1"
password = {{ env = "ROUTER_PASSWORD" }}

[hosts.docker]
kind = "files"
via = "ssh"
address = "192.168.1.20"
fullchain = "/volume1/docker/traefik/certs/example.com.pem"
private_key = "/volume1/docker/traefik/certs/example.com.key"
#: owner = "root:docker"
#: mode = "0640"
reload = "docker kill -s HUP traefik"
endpoints = ["app.example.com:443"]

[notify]
urls = [{{ env = "NOTIFY_URL" }}]
on = ["changed", "failed"]
#: ping = {{ env = "PING_URL" }}
"""
WITH_OPTIONS = re.sub("^#: ", "", CONTRACT, flags=re.MULTILINE)
FOLDER = Path("/srv/inventory")
FILE = FOLDER / "inventory.toml"


def problems_of(text: str) -> list[str]:
    try:
        inventory.parse(text, path=FILE, private=True)
    except InventoryError as error:
        return [str(problem) for problem in error.problems]
    raise AssertionError("no problem was found")


def everything(text: str) -> Inventory:
    """Read as if everything were built; only rfc2136 has settings that the values can hold."""
    built = text.replace(
        'provider = "route53"\nzone_id = "Z0123456789"',
        'provider = "rfc2136"\nserver = "192.0.2.53"\nkey_name = "acme-key"\n'
        'key_algorithm = "hmac-sha512"\nkey = { plain = "c2VjcmV0" }',
    )
    result, problems = read(built, FILE, private=True, not_built={})
    assert problems == ()
    assert result is not None
    return result


def test_the_contract_as_it_stands_has_no_problem_but_what_is_not_built() -> None:
    found = problems_of(CONTRACT)
    assert [problem for problem in found if not problem.endswith("is not built yet")] == []
    assert 'line 13: dns.home.provider: provider = "route53" is not built yet' in found


def test_the_contract_with_every_option_has_no_problem_but_what_is_not_built() -> None:
    found = problems_of(WITH_OPTIONS)
    assert [problem for problem in found if not problem.endswith("is not built yet")] == []
    assert {problem.split(": ")[1] for problem in found} == {
        "dns.home.provider",
        "notify",
    }


def test_every_problem_is_in_the_order_of_the_file() -> None:
    lines = [int(problem.split(": ")[0].removeprefix("line ")) for problem in problems_of(CONTRACT)]
    assert lines == sorted(lines)


def test_certificates_carry_what_the_contract_says() -> None:
    found = everything(WITH_OPTIONS)
    home = found.certificates["home"]
    assert home.source == AcmeSource(
        ca="letsencrypt",
        directory_url="https://acme-v02.api.letsencrypt.org/directory",
        email="admin@example.com",
        agree_tos=True,
        dns="home",
        eab=ExternalAccount(kid="kid-1", hmac=EnvSecret("EAB_HMAC")),
        profile="classic",
        preferred_chain="ISRG Root X1",
        ca_bundle=FOLDER / "private-ca.pem",
        fallback=(
            AcmeSource(
                ca="zerossl",
                directory_url="https://acme.zerossl.com/v2/DV90",
                email="admin@example.com",
                agree_tos=True,
                dns="home",
                eab=ExternalAccount(kid="kid-2", hmac=KeyringSecret("zerossl")),
            ),
        ),
    )
    assert home.names == ("example.com", "*.example.com")
    assert home.renew_before is None
    assert home.ca_bundle == FOLDER / "private-root.pem"
    assert found.certificates["ddns"].source == DiskstationSource(
        host="attic", description="wild.synology.me"
    )
    assert found.certificates["bought"].source == FilesSource(
        certificate=FOLDER / "leaf-or-fullchain.pem",
        chain=FOLDER / "chain.pem",
        private_key=FOLDER / "privkey.pem",
    )


def test_dns_roll_out_and_notify_carry_what_the_contract_says() -> None:
    found = everything(WITH_OPTIONS)
    assert found.dns["home"] == DnsSettings(
        name="home",
        provider="rfc2136",
        settings=Rfc2136Settings(
            server=SocketAddress("192.0.2.53", 53),
            key_name="acme-key",
            key_algorithm="hmac-sha512",
            key=PlainSecret(Secret("c2VjcmV0")),
        ),
        nameservers=(SocketAddress("192.0.2.53", 5353),),
        resolvers=(SocketAddress("192.0.2.1", 53),),
        doh=("https://dns.example.net/dns-query",),
        propagation_timeout=timedelta(minutes=5),
    )
    assert found.rollout == Rollout(canary="attic", parallel=8, max_failures=1)
    assert found.notify == Notify(
        urls=(EnvSecret("NOTIFY_URL"),), on=("changed", "failed"), ping=EnvSecret("PING_URL")
    )


def test_a_diskstation_by_api_carries_what_the_contract_says() -> None:
    attic = everything(WITH_OPTIONS).hosts["attic"]
    assert attic.access == ApiAccess(
        port=5001,
        user="certs",
        password=KeyringSecret("attic"),
        server_name="attic.example.com",
        legacy_tls=True,
        otp=KeyringSecret("attic-totp"),
        tls_pin=PIN,
    )
    assert attic.deliveries == (
        Delivery(
            certificate="home",
            id="xoEBak",
            description="home",
            default=True,
            services=("system/default", "FTPS", "navidrome.example.com"),
        ),
    )
    assert attic.endpoints == (
        Endpoint(
            address=SocketAddress("attic.example.com", 5001),
            certificate="home",
            server_name="attic.example.com",
            legacy_tls=True,
            service="system/default",
        ),
        Endpoint(
            address=SocketAddress("192.168.1.11", 21),
            certificate="home",
            server_name="attic.example.com",
            legacy_tls=True,
            starttls="ftp",
            service="FTPS",
        ),
    )
    assert attic.tags == ("home",)
    assert attic.accept == {"untrusted-issuer"}
    assert attic.files is None


def test_hosts_by_ssh_carry_what_the_contract_says() -> None:
    hosts = everything(WITH_OPTIONS).hosts
    assert hosts["cellar"].access == SshAccess(
        port=22,
        user="certs",
        identity=FileSecret(FOLDER / "certs-key"),
        identity_passphrase=EnvSecret("CERTS_KEY"),
        host_key=HOST_KEY,
        sudo_password=CommandSecret(("op", "read", "op://nas/sudo")),
        proxy_jump=JumpHost("user", SocketAddress("jump", 2222)),
    )
    assert [str(endpoint) for endpoint in hosts["cellar"].endpoints] == ["cellar.example.com:5001"]
    assert hosts["docker"].files == PemPaths(
        fullchain="/volume1/docker/traefik/certs/example.com.pem",
        private_key="/volume1/docker/traefik/certs/example.com.key",
        owner="root:docker",
        mode="0640",
        reload="docker kill -s HUP traefik",
    )
    assert hosts["docker"].endpoints == (
        Endpoint(
            address=SocketAddress("app.example.com", 443),
            certificate="home",
            server_name="app.example.com",
        ),
    )


def test_a_router_is_proved_at_its_own_port() -> None:
    router = everything(CONTRACT).hosts["router"]
    assert isinstance(router.access, ApiAccess)
    assert router.access.port == 8001
    assert router.endpoints == (
        Endpoint(address=SocketAddress("192.168.1.1", 8001), certificate="home"),
    )


def test_an_inventory_without_notify_has_the_usual_moments_when_it_gets_one() -> None:
    text = CONTRACT.replace('on = ["changed", "failed"]', "")
    assert everything(text).notify == Notify(urls=(EnvSecret("NOTIFY_URL"),))


def test_the_example_that_we_ship_has_no_problem() -> None:
    root = Path(__file__).parents[2]
    text = (root / "inventory.example.toml").read_text(encoding="utf-8")
    found = inventory.parse(text, path=FILE, private=False)
    assert list(found.hosts) == ["attic", "cellar"]
    assert found.certificates["home"].names == ("example.com", "*.example.com")
