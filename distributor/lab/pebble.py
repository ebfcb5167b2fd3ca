"""Pebble, Let's Encrypt's ACME server for tests, as the lab's CA (facts: acme-dns §1.4)."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from distributor.lab.launch import Launch, Site
from distributor.lab.signing import write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class PebbleOptions:
    """What Pebble can be told; None keeps its own default.

    `nonce_reject_percent` (Pebble: 5) and `authorization_reuse_percent` (Pebble: 50) are shares of
    100. `chain_length` counts intermediates (Pebble: 1), `orders_per_page` what one page of an
    account's list holds (Pebble: 3). `external_accounts` maps key ids to base64url MAC keys; if
    there are any, an account needs one of them.
    """

    nonce_reject_percent: int | None = None
    authorization_reuse_percent: int | None = None
    chain_length: int | None = None
    orders_per_page: int | None = None
    alternate_roots: int = 0
    strict: bool = False
    external_accounts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that say this to Pebble."""
        numbers = {
            "PEBBLE_WFE_NONCEREJECT": self.nonce_reject_percent,
            "PEBBLE_AUTHZREUSE": self.authorization_reuse_percent,
            "PEBBLE_CHAIN_LENGTH": self.chain_length,
            "PEBBLE_ALTERNATE_ROOTS": self.alternate_roots,
            "PEBBLE_WFE_ORDERS_PER_PAGE": self.orders_per_page,
        }
        told = {name: str(number) for name, number in numbers.items() if number is not None}
        return {"PEBBLE_VA_NOSLEEP": "1", **told}


def is_installed() -> bool:
    """Say whether `pebble` is on the PATH."""
    return shutil.which("pebble") is not None


def prepare(
    site: Site,
    *,
    ports: tuple[int, int],
    dns: tuple[str, int],
    validity_seconds: int,
    options: PebbleOptions,
) -> Launch:
    """Write Pebble's configuration to the site's folder and say how to start it."""
    port, management_port = ports
    settings: dict[str, object] = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management_port}",
        "certificate": str(site.certificate),
        "privateKey": str(site.key),
        # Where Pebble would connect to for HTTP-01 and TLS-ALPN-01; nothing listens there.
        "httpPort": 5002,
        "tlsPort": 5001,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": bool(options.external_accounts),
        "externalAccountMACKeys": dict(options.external_accounts),
        "certificateValidityPeriod": validity_seconds,
    }
    configuration = site.folder / "pebble.json"
    write_private(configuration, json.dumps({"pebble": settings}, indent=1).encode())
    host, dns_port = dns
    program = shutil.which("pebble") or "pebble"
    command = [program, "-config", str(configuration), "-dnsserver", f"{host}:{dns_port}"]
    return Launch(
        command=(*command, "-strict") if options.strict else tuple(command),
        environment=options.environment(),
        directory_url=f"https://127.0.0.1:{port}/dir",
        root_urls=tuple(
            f"https://127.0.0.1:{management_port}/roots/{number}"
            for number in range(options.alternate_roots + 1)
        ),
    )
