"""The shape of the inventory: which tables and keys there are, and of which type each is.

No key is required here, so that what is right in a table can be looked at although something else
in it is wrong; `checks` tells what is missing. These models make the JSON Schema for editors.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from distributor.inventory import names, values
from distributor.inventory.fields import (
    Description,
    Duration,
    Hazard,
    Jump,
    Line,
    LocalPath,
    Nameserver,
    Place,
    Port,
    RemotePath,
    RenewBefore,
    SecretTable,
    ServerName,
    Services,
    Table,
)
from distributor.model.hosts import KeyType, Kind, StartTls, Via

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class EabTable(Table):
    """External account binding (RFC 8555 section 7.3.4)."""

    kid: Line | None = None
    """Key identifier that the CA gave."""
    hmac: SecretTable | None = None
    """MAC key that the CA gave, base64url."""


class CaKeys(Table):
    """A CA, and what is said to that CA alone."""

    ca: Annotated[str, AfterValidator(values.ca)] | None = None
    """letsencrypt, letsencrypt-staging, zerossl, google, or the https URL of an ACME directory."""
    eab: EabTable | None = None
    """Binds the CA's account to one of its customers; zerossl and google need it."""
    profile: Line | None = None
    """Certificate profile to ask for."""
    preferred_chain: Line | None = None
    """Common name of the root whose chain is preferred."""


class FallbackTable(CaKeys):
    """A CA to ask when those before it cannot issue; a string gives just `ca`."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: _also_a_string(schema, required="ca")
    )

    ca_bundle: LocalPath | None = None
    """PEM file of the roots that the CA's own HTTPS is verified against."""


class IssuanceKeys(CaKeys):
    """What `[acme]` sets for all certificates with source "acme", and each may set for itself."""

    email: Annotated[str, AfterValidator(values.email)] | None = None
    """Where the CAs may write to."""
    agree_tos: bool | None = None
    """True once you have read the terms of service of the CAs and agree."""
    fallback: list[FallbackTable] | None = None
    """CAs to ask, in this order, when the first cannot issue."""


class AcmeTable(IssuanceKeys):
    """Defaults of certificates with source "acme"."""

    ca_bundle: LocalPath | None = None
    """PEM file of the roots that the CA's own HTTPS is verified against."""


class DnsTable(Table):
    """Who can publish the challenge."""

    model_config = ConfigDict(json_schema_extra={"required": ["provider"]})

    provider: (
        Literal[
            "rfc2136",
            "route53",
            "cloudflare",
            "powerdns",
            "acme-dns",
            "exec",
            "httpreq",
            "lexicon",
            "manual",
        ]
        | None
    ) = None
    """Kind of nameserver or service."""
    nameservers: list[Nameserver] | None = None
    """Asked instead of the zone's NS addresses (hidden primary, split horizon)."""
    resolvers: list[Nameserver] | None = None
    """Recursive servers for zone and CNAME look-ups; default: the system's."""
    doh: list[Annotated[str, AfterValidator(values.doh)]] | None = None
    """https URLs of DNS-over-HTTPS servers, asked where port 53 is closed."""
    propagation_timeout: Duration | None = None
    """How long the nameservers may take to serve the challenge, such as "5m", the default."""
    server: Nameserver | None = None
    """rfc2136: primary that takes the updates."""
    key_name: Annotated[str, AfterValidator(values.tsig_key_name)] | None = None
    """rfc2136: name of the TSIG key."""
    key_algorithm: (
        Annotated[
            str,
            AfterValidator(values.tsig_algorithm),
            WithJsonSchema(
                {"type": "string", "enum": ["hmac-sha256", "hmac-sha384", "hmac-sha512"]}
            ),
        ]
        | None
    ) = None
    """rfc2136: algorithm of the TSIG key; default: hmac-sha256."""
    key: SecretTable | None = None
    """rfc2136: the TSIG key, base64."""


class CertificateTable(IssuanceKeys):
    """One certificate, and where it comes from."""

    model_config = ConfigDict(json_schema_extra={"required": ["source"]})

    source: Literal["acme", "diskstation", "files"] | None = None
    """Where it comes from."""
    names: list[str] | None = None
    """acme: DNS names, the first being the common name; files: names that it must cover."""
    dns: str | None = None
    """acme: NAME of the [dns.NAME] that publishes the challenge."""
    key_type: KeyType | None = None
    """acme: default rsa2048, which every DSM and SRM takes; else which of two pairs is taken."""
    renew: RenewBefore | None = None
    """acme: "ari", the default, or the time before expiry, such as "20d"."""
    reuse_key: bool | None = None
    """acme: keep the key when renewing; default: false."""
    ca_bundle: LocalPath | None = None
    """PEM file of the roots that hosts are expected to be verified against."""
    from_: Annotated[str | None, Field(alias="from")] = None
    """diskstation: name of the host that obtained it."""
    id: Line | None = None
    """diskstation: id of its entry."""
    description: Description | None = None
    """diskstation: description of its entry."""
    certificate: LocalPath | None = None
    """files: PEM file of the leaf, or of leaf and chain; or a folder of certbot, lego, acme.sh."""
    chain: LocalPath | None = None
    """files: PEM file of the intermediates."""
    private_key: LocalPath | None = None
    """files: PEM file of the private key, where `certificate` does not hold it."""
    archive: LocalPath | None = None
    """files: ZIP as DSM exports it."""
    pkcs12: LocalPath | None = None
    """files: PKCS #12 container."""
    passphrase: SecretTable | None = None
    """files: passphrase of the PKCS #12 container; default: an empty one."""


class EntryKeys(Table):
    """One certificate as one host should hold it."""

    certificate: str | None = None
    """NAME of a [certificates.NAME]."""
    description: Description | None = None
    """Description of the entry; default: the certificate's name."""
    default: bool | None = None
    """Make and keep it the host's default certificate."""
    services: Services | None = None
    """"keep", the default, "all", or a list of services."""
    remove_superseded: bool | None = None
    """Remove entries that this one has replaced."""


class DeliverTable(EntryKeys):
    """One of several deliveries to a host."""

    model_config = ConfigDict(json_schema_extra={"required": ["certificate"]})

    id: Line | None = None
    """Id of the entry to keep it in."""


class EndpointTable(Table):
    """A port whose TLS handshake proves what the host serves; a string gives just `name:port`."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: _also_a_string(schema, required="address")
    )

    address: Place | None = None
    """"name:port", "address:port" or "[IPv6 address]:port"."""
    server_name: ServerName | None = None
    """Name to send as SNI; default: the name in the address."""
    certificate: str | None = None
    """NAME of the certificate it should serve; default: the delivered one that covers the name."""
    starttls: StartTls | None = None
    """Protocol that goes over to TLS after a command."""
    service: Line | None = None
    """The host's service that answers there, as its own user interface names it."""


class SharedHostKeys(EntryKeys):
    """What `[defaults]` may set for every host."""

    kind: Kind | None = None
    """What the host is."""
    via: Via | None = None
    """How it is reached."""
    port: Port | None = None
    """Default: 5001 (diskstation, api), 8001 (router, api), 22 (ssh)."""
    user: Line | None = None
    """Account to log in with."""
    password: SecretTable | None = None
    """Password of the account; required via api."""
    otp: SecretTable | None = None
    """api: secret of the time-based one-time codes."""
    tls: Literal["legacy"] | None = None
    """api: accept the old TLS versions of old devices."""
    tags: list[Line] | None = None
    """Words to choose hosts by."""
    accept: list[Hazard] | None = None
    """Hazards accepted for good."""
    identity: SecretTable | None = None
    """ssh: private key; without it and without password the agent's keys are tried."""
    identity_passphrase: SecretTable | None = None
    """ssh: passphrase of an encrypted private key."""
    sudo_password: SecretTable | None = None
    """ssh: password that sudo asks for; default: the account's own."""
    proxy_jump: Jump | None = None
    """ssh: host to go through, user@host or user@host:port."""
    method: Literal["files", "synowebapi"] | None = None
    """ssh: how the certificate is put in place; default: files."""
    packages: Literal["restart", "keep"] | None = None
    """ssh: what becomes of packages that use the certificate; default: restart."""


class DefaultsTable(SharedHostKeys):
    """For every host; a host's own keys win."""


class HostTable(SharedHostKeys):
    """One host."""

    model_config = ConfigDict(json_schema_extra={"required": ["address"]})

    address: Annotated[str, AfterValidator(names.address)] | None = None
    """Name or IP address."""
    server_name: ServerName | None = None
    """Name that the host's certificate is verified against when no pin applies."""
    tls_pin: Annotated[str, AfterValidator(values.pin)] | None = None
    """api: sha256: and 64 hex digits over the public key (SPKI) of the host's leaf."""
    host_key: Annotated[str, AfterValidator(values.host_key)] | None = None
    """ssh: fingerprint of the host key, SHA256: and base64."""
    id: Line | None = None
    """Id of the entry to keep it in."""
    deliver: list[DeliverTable] | None = None
    """Several certificates for one host, instead of `certificate`."""
    endpoints: list[EndpointTable] | None = None
    """Ports that prove the delivery; default: the host's own HTTPS port."""
    fullchain: RemotePath | None = None
    """files: where leaf and chain go."""
    leaf: RemotePath | None = None
    """files: where the leaf goes."""
    chain: RemotePath | None = None
    """files: where the intermediates go."""
    private_key: RemotePath | None = None
    """files: where the private key goes."""
    combined: RemotePath | None = None
    """files: where leaf, chain and key go together."""
    owner: Annotated[str, AfterValidator(values.owner)] | None = None
    """files: user, or user:group; default: that of the file that is replaced."""
    mode: Annotated[str, AfterValidator(values.mode)] | None = None
    """files: octal digits, such as "0640"; default: as the replaced file's, else 0600."""
    reload: Line | None = None
    """files: shell command that makes the new files used; root's where writing them takes root."""


class RolloutTable(Table):
    """In what order, and how many at once."""

    canary: str | None = None
    """Host to change first; default: the first that answered and has changes."""
    parallel: Annotated[int, AfterValidator(values.at_least_one)] | None = None
    """Hosts changed at once; default: 8."""
    max_failures: Annotated[int, AfterValidator(values.at_least_one)] | None = None
    """Failed deliveries after which no further host is begun; default: 1."""


class NotifyTable(Table):
    """Who hears of a run."""

    urls: list[SecretTable] | None = None
    """Apprise URLs, which are secrets."""
    on: list[Literal["changed", "failed", "always"]] | None = None
    """When to notify; default: changed, failed."""
    ping: SecretTable | None = None
    """URL of a dead man's switch."""


class Document(Table):
    """The inventory of `distribute`."""

    acme: AcmeTable | None = None
    dns: dict[str, DnsTable] = Field(default={})
    certificates: dict[str, CertificateTable] = Field(default={})
    defaults: DefaultsTable | None = None
    rollout: RolloutTable | None = None
    hosts: dict[str, HostTable] = Field(default={})
    notify: NotifyTable | None = None


def json_schema() -> dict[str, object]:
    """Return a JSON Schema (2020-12) of the inventory, for editors."""
    schema = _without_noise(Document.model_json_schema(), names_are_free=False)
    return {"$schema": _DIALECT, "title": "Inventory of distribute", **schema}


def _also_a_string(schema: dict[str, Any], *, required: str) -> None:
    table = {**schema, "required": [required]}
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, table]


def _without_noise(node: Any, *, names_are_free: bool) -> Any:
    """Drop what TOML cannot say (null) and titles that only repeat the key."""
    if isinstance(node, list):
        return [_without_noise(item, names_are_free=False) for item in node]
    if not isinstance(node, dict):
        return node
    if names_are_free:  # below `properties` and `$defs` the keys are names, not keywords
        return {key: _without_noise(item, names_are_free=False) for key, item in node.items()}
    kept = {
        key: _without_noise(item, names_are_free=key in {"properties", "$defs"})
        for key, item in node.items()
        if key not in {"title", "default"}
    }
    choices = [item for item in kept.get("anyOf", ()) if item != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        return choices[0] | kept
    return kept | ({"anyOf": choices} if choices else {})
