"""acme2certifier under gunicorn, the lab's CA where Pebble is not installed (facts: acme-dns §1.5).

It comes with the `lab` extra and is under the GPL: it runs as a program of its own, and nothing
here imports it.
"""

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from distributor.lab.launch import Launch, Site
from distributor.lab.signing import make_authority, write_private

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme2certifierOptions:
    """What acme2certifier can be told; None keeps its own default.

    `profiles` maps names to descriptions. It puts in place of an unknown profile the only one it
    has, without a word: give none or several. The window to renew in begins when
    `renewal_threshold_percent` (85) of the lifetime are over and ends with it; `ask_again_seconds`
    (86400) is the Retry-After beside it.
    """

    profiles: Mapping[str, str] = field(default_factory=dict)
    renewal_threshold_percent: float | None = None
    ask_again_seconds: int | None = None

    def sections(self) -> str:
        """Return the sections of its configuration that say this."""
        window = {
            "renewalthreshold_pctg": self.renewal_threshold_percent,
            "retry_after_timeout": self.ask_again_seconds,
        }
        told = [f"{name}: {value}" for name, value in window.items() if value is not None]
        order = [f"profiles: {json.dumps(dict(self.profiles))}"] if self.profiles else []
        return "\n".join(("", "[Renewalinfo]", *told, "", "[Order]", *order, ""))


# dnspython resolvers always ask port 53, and acme2certifier builds its own from a list of
# addresses. gunicorn reads its configuration before the application, so the port is set there.
_GUNICORN = """\
import dns.resolver

bind = "127.0.0.1:{port}"
certfile = {certificate!r}
keyfile = {key!r}
workers = 1
graceful_timeout = 1
control_socket_disable = True

_reset = dns.resolver.BaseResolver.reset


def _reset_with_port(self):
    _reset(self)
    self.port = {dns_port}


dns.resolver.BaseResolver.reset = _reset_with_port
"""

# An account needs no contact (RFC 8555 §7.1.2), which acme2certifier must be told.
_SETTINGS = """\
[DEFAULT]
debug: False
dns_server_list: {nameservers}

[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {folder}/issuer.key
issuing_ca_cert: {folder}/issuer.pem
issuing_ca_crl: {folder}/issuer.crl
cert_save_path: {folder}/issued
cert_validity_days: {days}
cn_enforce: True

[Account]
contact_check_disable: True

[DBhandler]
handler: wsgi
dbfile: {folder}/acme.db
"""


def is_installed() -> bool:
    """Say whether this Python has the `lab` extra; nothing of it is imported."""
    return all(importlib.util.find_spec(name) for name in ("acme2certifier", "gunicorn"))


def prepare(
    site: Site,
    *,
    port: int,
    dns: tuple[str, int],
    validity_seconds: int,
    options: Acme2certifierOptions,
) -> Launch:
    """Make an issuing hierarchy and the configuration, and say how to start.

    The keys are RSA 2048, so that DSM 7 and older take the chain: root, one intermediate, leaf.
    ValueError unless the validity is a whole number of days, all that acme2certifier knows.
    """
    days, rest = divmod(validity_seconds, _DAY)
    if rest or not days:
        raise ValueError(
            f"acme2certifier issues for whole days, not for {validity_seconds} s; use Pebble"
        )
    root = make_authority("Lab root", rsa_key=True)
    issuer = make_authority("Lab intermediate", issuer=root, rsa_key=True)
    site.root.write_bytes(root.pem())
    (site.folder / "issuer.pem").write_bytes(issuer.pem())
    issuer.write_key(site.folder / "issuer.key")
    (site.folder / "issued").mkdir(exist_ok=True)

    host, dns_port = dns
    settings = _SETTINGS.format(folder=site.folder, nameservers=json.dumps([host]), days=days)
    write_private(site.folder / "acme_srv.cfg", (settings + options.sections()).encode())
    configuration = site.folder / "gunicorn_settings.py"
    text = _GUNICORN.format(
        port=port, certificate=str(site.certificate), key=str(site.key), dns_port=dns_port
    )
    write_private(configuration, text.encode())
    return Launch(
        command=(
            *(sys.executable, "-m", "gunicorn", "--config", str(configuration)),
            "acme2certifier.share.acme2certifier_wsgi:application",
        ),
        environment={"ACME_SRV_CONFIGFILE": str(site.folder / "acme_srv.cfg")},
        directory_url=f"https://127.0.0.1:{port}/directory",
    )
