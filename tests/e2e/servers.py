"""Real servers for tests, and a small ACME client made of the `acme` library alone."""

import base64
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from distributor.lab.authority import Authority
from distributor.lab.child import Child

Publish = Callable[[Mapping[str, set[str]]], None]

_START_SECONDS = 10.0
_DNS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TsigKey:
    """The one key of a test: name and base64 secret, which shows in no repr."""

    name: str = "acme-key"
    secret: str = field(
        default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode(), repr=False
    )

    def keyring(self) -> dns.tsig.Key:
        return dns.tsig.Key(self.name, base64.b64decode(self.secret), "hmac-sha256")


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone of BIND: grants to the key (named.conf: "name x TXT") and more zone file lines."""

    origin: str
    grants: Sequence[str] = ()
    lines: Sequence[str] = ()
    negative: int = 10
    """Seconds for which a resolver may keep that something is not there."""

    def statement(self, key_name: str) -> str:
        grants = self.grants or [f"name _acme-challenge.{self.origin}. TXT"]
        policy = " ".join(f"grant {key_name} {grant};" for grant in grants)
        return (
            f'zone "{self.origin}" {{ type primary; file "{self.origin}.db"; '
            f"update-policy {{ {policy} }}; }};\n"
        )

    def file(self) -> str:
        return "\n".join(
            (
                f"$ORIGIN {self.origin}.",
                "$TTL 60",
                f"@ {max(60, self.negative)} IN SOA ns1 admin 1 3600 600 86400 {self.negative}",
                "@ IN NS ns1",
                "ns1 IN A 127.0.0.1",
                *self.lines,
                "",
            )
        )


class Bind:
    """BIND's named on a free port of 127.0.0.1, as whoever runs the tests.

    It resolves for loopback, since Pebble follows no aliases, but knows a root zone of its own and
    so asks nobody outside; with `forward_to` it asks that server for all it does not serve itself.
    Where there is an IPv6 loopback it listens there, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        zones: Sequence[Zone] = (Zone("example.test"),),
        recursion: bool = True,
        forward_to: tuple[str, int] | None = None,
    ) -> None:
        self.folder = folder
        self.zones = tuple(zones)
        self.recursion = recursion
        self.forward_to = forward_to
        self.key = TsigKey()
        self.address = "127.0.0.1"
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def key_name(self) -> str:
        return self.key.name

    @property
    def key_secret(self) -> str:
        return self.key.secret

    @property
    def endpoint(self) -> tuple[str, int]:
        return self.address, self.port

    def start(self) -> None:
        """Start it; again, after `stop`, on the same port and with what its zones held then."""
        program = shutil.which(
            "named", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin"
        )
        assert program, "named is missing: apt install bind9"
        configuration = self.folder / "named.conf"
        if not configuration.exists():
            self._configure(configuration)
        self._child = Child(
            [program, "-g", "-n", "1", "-c", str(configuration)],
            folder=self.folder,
            log=self.folder / "named.log",
            environment={"PATH": "/usr/bin:/bin"},
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._child.exit_code is not None or time.monotonic() > deadline:
                tail = self._child.tail()
                self._child.stop()
                raise AssertionError(f"named did not start:\n{tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        self._child.stop()

    def txt(self, name: str) -> set[str]:
        return txt(self.endpoint, name)

    def _configure(self, path: Path) -> None:
        self.port = free_dns_port()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        zone_folder = self.folder / "zones"
        zone_folder.mkdir(exist_ok=True)
        for zone in self.zones:
            (zone_folder / f"{zone.origin}.db").write_text(zone.file())
        (zone_folder / "root.db").write_text(
            "$TTL 60\n. IN SOA ns. hostmaster. 1 3600 600 86400 10\n"
            ". IN NS ns.\nns. IN A 127.0.0.1\n"
        )
        recursion = "recursion yes; allow-recursion { 127.0.0.0/8; ::1; };"
        rest = 'zone "." { type primary; file "root.db"; };\n'
        if self.forward_to is not None:
            address, port = self.forward_to
            recursion += f" forward only; forwarders {{ {address} port {port}; }};"
            rest = ""
        text = (
            f'key "{self.key.name}" {{ algorithm hmac-sha256; secret "{self.key.secret}"; }};\n'
            f'options {{ directory "{zone_folder}"; pid-file "{self.folder}/named.pid"; '
            f'session-keyfile "{self.folder}/session.key"; '
            f'managed-keys-directory "{self.folder}"; '
            f"listen-on port {self.port} {{ {self.address}; }}; "
            f"listen-on-v6 port {self.port} {{ ::1; }}; "
            f"{recursion if self.recursion else 'recursion no;'} dnssec-validation no; "
            f'allow-transfer {{ key "{self.key.name}"; }}; notify no; empty-zones-enable no; }};\n'
            f"controls {{ }};\n{rest}"
        )
        path.touch(mode=0o600)
        path.write_text(text + "".join(zone.statement(self.key.name) for zone in self.zones))

    def _answers(self) -> bool:
        try:
            return ask(self.endpoint, self.zones[0].origin, "SOA").rcode() == dns.rcode.NOERROR
        except (OSError, EOFError, dns.exception.DNSException):
            return False


def free_dns_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP."""
    while True:
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


def ask(server: tuple[str, int], name: str, rdtype: str) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype)
    return dns.query.tcp(query, server[0], _DNS_SECONDS, server[1])


def txt(server: tuple[str, int], name: str) -> set[str]:
    answer = ask(server, name, "TXT")
    return {
        b"".join(rdata.strings).decode()
        for rrset in answer.answer
        if rrset.rdtype == dns.rdatatype.TXT
        for rdata in rrset
    }


def send_update(
    server: tuple[str, int],
    zone: str,
    key: dns.tsig.Key | None,
    change: Callable[[dns.update.UpdateMessage], None],
    *,
    over: str = "tcp",
) -> dns.rcode.Rcode:
    """Send one dynamic update, signed if there is a key; the answer's signature is checked."""
    update = dns.update.UpdateMessage(zone)
    change(update)
    if key is not None:
        update.use_tsig(key)
    send = dns.query.tcp if over == "tcp" else dns.query.udp
    return send(update, server[0], _DNS_SECONDS, server[1]).rcode()


MakeBind = Callable[..., Bind]
MakePebble = Callable[..., Authority]


@dataclass(frozen=True, slots=True)
class Issued:
    """What the CA gave: leaf first, then the intermediates."""

    fullchain: tuple[x509.Certificate, ...]
    pem: str

    @property
    def names(self) -> set[str]:
        extension = self.fullchain[0].extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        return set(extension.value.get_values_for_type(x509.DNSName))


class PatientNetwork(client.ClientNetwork):
    """Answers badNonce with a fresh nonce as often as it takes; the library does so once."""

    def post(self, *arguments: Any, **options: Any) -> requests.Response:
        for _ in range(8):
            try:
                return super().post(*arguments, **options)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        raise AssertionError("the CA refused every nonce")


def issue(
    directory_url: str,
    ca_bundle: Path,
    names: Sequence[str],
    publish: Publish,
    external_account: tuple[str, str] | None = None,
) -> Issued:
    """Get a certificate by DNS-01; `publish` gets every challenge name with its values at once."""
    account_key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    network = PatientNetwork(
        account_key,
        alg=ES256,
        verify_ssl=str(ca_bundle),  # type: ignore[arg-type]  # requests takes a bundle's path
        user_agent="lab-proof",
        timeout=10,
    )
    network.session.trust_env = False
    with network.session:
        return _issue(network, account_key, directory_url, names, publish, external_account)


def _issue(
    network: client.ClientNetwork,
    account_key: JWKEC,
    directory_url: str,
    names: Sequence[str],
    publish: Publish,
    external_account: tuple[str, str] | None,
) -> Issued:
    directory = client.ClientV2.get_directory(directory_url, network)
    acme = client.ClientV2(directory, net=network)
    binding = None
    if external_account is not None:
        binding = messages.ExternalAccountBinding.from_data(
            account_key.public_key(), external_account[0], external_account[1], directory
        )
    acme.new_account(
        messages.NewRegistration.from_data(
            terms_of_service_agreed=True, external_account_binding=binding
        )
    )
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    order = acme.new_order(crypto_util.make_csr(key, list(names)))
    values: dict[str, set[str]] = {}
    answers = []
    for authorization in order.authorizations:
        for body in authorization.body.challenges:
            if isinstance(body.chall, challenges.DNS01):
                response, value = body.response_and_validation(account_key)
                name = body.chall.validation_domain_name(authorization.body.identifier.value)
                values.setdefault(name, set()).add(value)
                answers.append((body, response))
    publish(values)
    for body, response in answers:
        acme.answer_challenge(body, response)
    deadline = datetime.now() + timedelta(seconds=20)  # noqa: DTZ005 - acme wants it naive
    order = acme.poll_authorizations(order, deadline)
    # acme2certifier may say invalid without saying why, which the library lets pass.
    failed = [each for each in order.authorizations if each.body.status != messages.STATUS_VALID]
    if failed:
        raise errors.ValidationError(failed)
    order = acme.finalize_order(order, deadline)
    pem = order.fullchain_pem
    return Issued(tuple(x509.load_pem_x509_certificates(pem.encode())), pem)


def publish_in(server: tuple[str, int], zone: str, key: dns.tsig.Key) -> Publish:
    """Say how to publish challenges by one signed update per name, for `issue`."""

    def publish(values: Mapping[str, set[str]]) -> None:
        for name, texts in values.items():
            owner = dns.name.from_text(name)

            def add(
                update: dns.update.UpdateMessage,
                owner: dns.name.Name = owner,
                texts: set[str] = texts,
            ) -> None:
                update.add(owner, 60, "TXT", *(f'"{text}"' for text in texts))

            assert send_update(server, zone, key, add) == dns.rcode.NOERROR

    return publish


def verify(issued: Issued, root_pem: str, name: str) -> None:
    """Verify the chain for a TLS server `name` with cryptography's verifier."""
    roots = x509.load_pem_x509_certificates(root_pem.encode())
    verifier = verification.PolicyBuilder().store(verification.Store(roots))
    leaf, *chain = issued.fullchain
    verifier.build_server_verifier(x509.DNSName(name)).verify(leaf, chain)
