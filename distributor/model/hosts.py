"""What the inventory says, as frozen values: certificates, DNS settings, hosts, roll-out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from distributor.model.secret import Secret

KeyType = Literal["rsa2048", "rsa3072", "rsa4096", "ec256", "ec384"]
Kind = Literal["diskstation", "router", "files"]
Via = Literal["api", "ssh"]
StartTls = Literal["ftp", "smtp", "imap", "ldap"]

KNOWN_CAS: Final[Mapping[str, str]] = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
}
"""Directory URLs by the name that the inventory uses."""

BINDING_CAS: Final = frozenset({KNOWN_CAS["zerossl"], KNOWN_CAS["google"]})
"""Directory URLs of CAs that open accounts only by external binding (acme-dns facts 3.3)."""


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """The secret is the value of an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class FileSecret:
    """The secret is the content of a file, less one final newline."""

    path: Path


@dataclass(frozen=True, slots=True)
class KeyringSecret:
    """The secret lies in the system's keyring under this name."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandSecret:
    """The secret is what a command prints, less one final newline."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlainSecret:
    """The secret stands in the inventory, which then only its owner may read."""

    value: Secret


SecretRef = EnvSecret | FileSecret | KeyringSecret | CommandSecret | PlainSecret


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """A host name or address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAccount:
    """External account binding, RFC 8555 section 7.3.4."""

    kid: str
    hmac: SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSource:
    """A certificate ordered from an ACME CA by DNS-01."""

    ca: str
    """The word or URL of the inventory, for people."""
    directory_url: str
    email: str | None
    agree_tos: bool
    dns: str
    """Name of the `[dns.NAME]` table."""
    eab: ExternalAccount | None = None
    profile: str | None = None
    preferred_chain: str | None = None
    ca_bundle: Path | None = None
    """Roots for the CA's own HTTPS; None for the usual ones."""
    fallback: "tuple[AcmeSource, ...]" = ()
    """CAs to ask, in this order, when this one cannot issue; each whole, without fallback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskstationSource:
    """A certificate that a DiskStation of the inventory obtained by itself."""

    host: str
    id: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource:
    """A certificate that lies in files."""

    certificate: Path | None = None
    """A PEM file, or a folder of certbot, lego or acme.sh."""
    chain: Path | None = None
    private_key: Path | None = None
    """None where it lies in the same file or folder as the certificate."""
    archive: Path | None = None
    pkcs12: Path | None = None
    passphrase: SecretRef | None = None
    """Of the PKCS #12 container; None for an empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCertificate:
    """One `[certificates.NAME]` table."""

    name: str
    source: AcmeSource | DiskstationSource | FilesSource
    names: tuple[str, ...] = ()
    """The first is the common name; empty where the source decides."""
    key_type: KeyType = "rsa2048"
    renew_before: timedelta | None = None
    """Renew when less than this is left; None lets ARI and the lifetime decide."""
    reuse_key: bool = False
    ca_bundle: Path | None = None
    """Roots that hosts are expected to be verified against; None for the usual ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rfc2136Settings:
    """Where and how to send dynamic updates (RFC 2136), signed by TSIG (RFC 8945)."""

    server: SocketAddress
    key_name: str
    key_algorithm: str
    key: SecretRef
    """The TSIG key, base64 as key files write it."""

    @property
    def place(self) -> str:
        """What tells where updates go from where they went before."""
        return str(self.server)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """One `[dns.NAME]` table."""

    name: str
    provider: str
    settings: Rfc2136Settings
    nameservers: tuple[SocketAddress, ...] = ()
    """Asked instead of the zone's NS addresses; empty for those."""
    resolvers: tuple[SocketAddress, ...] = ()
    """Recursive servers for zone and CNAME look-ups; empty for the system's."""
    doh: tuple[str, ...] = ()
    """https URLs of DNS-over-HTTPS servers (RFC 8484), asked where no authority can be."""
    propagation_timeout: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A port whose TLS handshake proves what a host serves."""

    address: SocketAddress
    certificate: str
    """Name of the certificate it should serve."""
    server_name: str | None = None
    """Name to send as SNI; None sends none."""
    starttls: StartTls | None = None
    legacy_tls: bool = False
    """TLS below version 1.2 is allowed."""
    service: str | None = None
    """The service of the host that answers there, as its own user interface names it."""

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One certificate as one host should hold it."""

    certificate: str
    id: str | None = None
    description: str | None = None
    default: bool = False
    services: Literal["keep", "all"] | tuple[str, ...] = "keep"
    remove_superseded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """How to reach a host's Web API."""

    port: int
    user: str
    password: SecretRef
    server_name: str | None = None
    """Name the host's certificate is verified against when no pin applies, and sent as SNI."""
    legacy_tls: bool = False
    otp: SecretRef | None = None
    tls_pin: str | None = None
    """`sha256:` and 64 hex digits over the public key (SPKI)."""


@dataclass(frozen=True, slots=True)
class JumpHost:
    """An SSH server to go through, and who logs in there."""

    user: str
    address: SocketAddress

    def __str__(self) -> str:
        return f"{self.user}@{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccess:
    """How to reach a host's SSH server."""

    port: int
    user: str
    password: SecretRef | None = None
    identity: SecretRef | None = None
    identity_passphrase: SecretRef | None = None
    host_key: str | None = None
    """Fingerprint, as `ssh-keygen -l` prints it."""
    sudo_password: SecretRef | None = None
    """Password that sudo asks for; None stands for the account's own."""
    proxy_jump: JumpHost | None = None
    method: Literal["files", "synowebapi"] = "files"
    packages: Literal["restart", "keep"] = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class PemPaths:
    """Where a host of kind `files` wants its PEM files, and what makes them used."""

    fullchain: str | None = None
    leaf: str | None = None
    chain: str | None = None
    private_key: str | None = None
    combined: str | None = None
    owner: str | None = None
    mode: str | None = None
    reload: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One `[hosts.NAME]` table, the defaults filled in."""

    name: str
    kind: Kind
    via: Via
    address: str
    access: ApiAccess | SshAccess
    deliveries: tuple[Delivery, ...]
    endpoints: tuple[Endpoint, ...]
    tags: tuple[str, ...] = ()
    accept: frozenset[str] = frozenset()
    """Names of hazards accepted for good."""
    files: PemPaths | None = None

    @property
    def certificates(self) -> tuple[str, ...]:
        """Names of the certificates it gets, each once, in the inventory's order."""
        return tuple(dict.fromkeys(delivery.certificate for delivery in self.deliveries))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """In what order, and how many at once."""

    canary: str | None = None
    parallel: int = 8
    max_failures: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who hears of a run."""

    urls: tuple[SecretRef, ...] = ()
    on: tuple[Literal["changed", "failed", "always"], ...] = ("changed", "failed")
    ping: SecretRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The whole inventory, checked."""

    path: Path
    certificates: Mapping[str, WantedCertificate]
    dns: Mapping[str, DnsSettings]
    hosts: Mapping[str, Host]
    rollout: Rollout = field(default_factory=Rollout)
    notify: Notify | None = None
