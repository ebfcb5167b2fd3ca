"""One issuance at a time against Pebble and BIND, ended where a test says, and what it left.

Moments are named as in killed_process.py.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import dns.name
import dns.rcode
import pytest
import requests
from acme import client, errors, messages
from acme.challenges import DNS01
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import VerificationError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from distributor.lab.authority import Authority
from tests.e2e.servers import Bind, Issued, PatientNetwork, send_update, verify

LAUNCHER = Path(__file__).with_name("killed_process.py")
ZONE = "kill.test"
GRANT = f"subdomain {ZONE}. TXT"
RUN_SECONDS = 60
KILLED = -signal.SIGKILL
POLLED = re.compile(r"(send|got) (authorization|order|query TXT) \d+")
"""How often these are asked depends on how fast others are: a run may end without such a moment."""
TELLING = frozenset(
    {"send newAccount", "send newOrder", "send challenge", "send finalize", "send TXT-add"}
)
"""What a run does that obtains a certificate, and no other run."""


@dataclass(frozen=True, slots=True)
class Event:
    """What was met, and how often before: `got newOrder`, 1."""

    what: str
    ordinal: int
    told: tuple[str, ...] = ()
    """Status and Location of an answer."""

    def __str__(self) -> str:
        return f"{self.what} {self.ordinal}"


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended, what it printed, and which moments it came to."""

    code: int
    out: str
    err: str
    events: tuple[Event, ...]

    @property
    def moments(self) -> tuple[str, ...]:
        return tuple(map(str, self.events))

    def did(self) -> frozenset[str]:
        return frozenset(event.what for event in self.events)

    def created(self, resource: str) -> frozenset[str]:
        """URLs of what the CA made new in this run (201): it says 200 for what was there."""
        return frozenset(
            event.told[1]
            for event in self.events
            if event.what == f"got {resource}" and event.told[0] == "201"
        )

    def __str__(self) -> str:
        last = ", ".join(self.moments[-4:])
        return f"exit code {self.code}, last moments: {last}\n{self.out}{self.err}"


@dataclass(kw_only=True)
class Case:
    """One certificate with a state folder, an account and a name of its own."""

    folder: Path
    name: str
    bind: Bind
    authority: Authority
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700)
        self._write("tsig.key", self.bind.key_secret)
        self.want(self.name)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def names(self) -> tuple[str, str]:
        return self.name, f"*.{self.name}"

    def want(self, name: str, *, update_at: str | None = None, certificate: str = "home") -> None:
        """Have the inventory ask for `name` and its wildcard, and send updates to that address."""
        self.name = name
        server = f"{self.bind.address}:{self.bind.port}"
        self._write(
            "inventory.toml",
            f"""
[acme]
ca = "{self.authority.directory_url}"
email = "admin@example.test"
agree_tos = true
ca_bundle = '{self.authority.ca_bundle}'

[dns.home]
provider = "rfc2136"
server = "{update_at or server}"
key_name = "{self.bind.key_name}"
key_algorithm = "hmac-sha256"
key = {{ file = "tsig.key" }}
nameservers = ["{server}"]
resolvers = ["{server}"]
propagation_timeout = "20s"

[certificates.{certificate}]
source = "acme"
names = {list(self.names)}
dns = "home"
key_type = "ec256"
ca_bundle = '{self.authority.root}'
""",
        )

    def run(self, moment: str = "", *options: str, by: signal.Signals = signal.SIGKILL) -> Run:
        """Run `issue` in a process of its own, ended at `moment` if one is given.

        No bit of the file modes is masked, so that each is the one that the command asked for.
        """
        trace = self.folder / f"trace-{len(self.runs)}"
        words = [str(self.state), str(trace), str(int(by)), moment, ""]
        command = ["-i", str(self.folder / "inventory.toml"), "--state", str(self.state)]
        done = subprocess.run(
            [sys.executable, "-P", str(LAUNCHER), *words, *command, "issue", *options],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder)},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            umask=0,
            check=False,
        )
        run = Run(done.returncode, done.stdout, done.stderr, events_in(trace))
        self.runs.append(run)
        return run

    def killed_at(self, moment: str, *options: str) -> Run:
        """Run until `moment`, and fail where a run does not come to it.

        What is polled may come fewer times than it once did; such a run ends by itself.
        """
        run = self.run(moment, *options)
        if not (POLLED.fullmatch(moment) and run.code == 0):
            assert run.code == KILLED, f"was not killed at {moment!r}: {run}"
            assert run.moments[-1] == moment
        return run

    def txt(self, name: str | None = None) -> set[str]:
        return self.bind.txt(f"_acme-challenge.{name or self.name}")

    def created(self, resource: str) -> frozenset[str]:
        return frozenset().union(*(run.created(resource) for run in self.runs))

    def leaf(self) -> str:
        return sha256(self._version().joinpath("cert.pem").read_bytes()).hexdigest()

    def files(self, below: str) -> dict[str, bytes]:
        folder = self.state / below
        return {
            str(path.relative_to(self.state)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def complaints(self, *, orders: int = 1, valid: int = 1) -> list[str]:
        """What is not as it has to be once a run came to its end.

        `orders` may have been made since the first run, and `valid` of them are to be valid.
        """
        found = [*self._about_the_store(), *self._about_the_ca(orders, valid)]
        if left := self.txt():
            found.append(f"{len(left)} TXT left in the zone")
        if under_way := [name for name in self.files("orders") if not is_hidden(name)]:
            found.append(f"an order is still under way: {under_way}")
        open_to_others = [
            str(path.relative_to(self.state))
            for path in [self.state, *self.state.rglob("*")]
            if path.stat().st_mode & 0o077
        ]
        return [*found, *(f"others may read {name}" for name in open_to_others)]

    def litter(self) -> list[str]:
        """What nobody will read any more: temporary files, and versions that were saved in part."""
        found = [name for name in self.files("") if is_hidden(name)]
        current = self._version()
        whole = {path.name for path in current.iterdir()}
        versions = [path for path in current.parent.iterdir() if path.is_dir()]
        cut = [v.name for v in versions if not whole <= {path.name for path in v.iterdir()}]
        return [*found, *(f"version {name}" for name in cut)]

    def settled(self) -> list[str]:
        """Run once more, and return what that did although there was nothing to do."""
        before, run = self.files("certificates"), self.run()
        found = [f"a further run asks for it: {what}" for what in sorted(TELLING & run.did())]
        if run.code != 0:
            found.append(f"a further run ends otherwise: {run}")
        if self.files("certificates") != before:
            found.append("a further run changes what is stored")
        return found

    @contextmanager
    def at_the_ca(self) -> Iterator[tuple[client.ClientV2, PatientNetwork]]:
        """Speak to the CA as the account of the state folder; it has to have exactly one."""
        files = self.files("accounts").items()
        keys = [key for name, key in files if b"PRIVATE KEY" in key and not is_hidden(name)]
        assert len(keys) == 1, f"{len(keys)} account keys"
        network = PatientNetwork(
            JWKEC(key=load_pem_private_key(keys[0], password=None)),
            alg=ES256,
            verify_ssl=str(self.authority.ca_bundle),  # type: ignore[arg-type]  # requests takes a bundle's path
            timeout=10,
        )
        network.session.trust_env = False
        with network.session:
            directory = client.ClientV2.get_directory(self.authority.directory_url, network)
            acme = client.ClientV2(directory, net=network)
            with pytest.raises(errors.ConflictError) as known:
                acme.new_account(messages.NewRegistration(only_return_existing=True))
            url = known.value.location
            network.account = messages.RegistrationResource(uri=url, body=messages.Registration())
            yield acme, network

    def orders(self) -> dict[str, str]:
        """Every order that the CA has of this account, with its status."""
        with self.at_the_ca() as (acme, network):

            def get(url: str) -> requests.Response:
                return network.post(url, None, new_nonce_url=acme.directory["newNonce"])

            assert network.account is not None
            page: str | None = get(str(network.account.uri)).json()["orders"]
            found: list[str] = []
            while page is not None:
                answer = get(page)
                found += answer.json()["orders"]
                page = answer.links.get("next", {}).get("url")
            return {url: get(url).json()["status"] for url in found}

    def spoil_order(self) -> None:
        """Have the CA look while nothing is published, so that the order becomes invalid."""
        owner = dns.name.from_text(f"_acme-challenge.{self.name}")
        rcode = send_update(
            self.bind.endpoint, ZONE, self.bind.key.keyring(), lambda update: update.delete(owner)
        )
        assert rcode == dns.rcode.NOERROR
        (url,) = self.created("newOrder")
        with self.at_the_ca() as (acme, network):

            def get(url: str) -> Any:
                return network.post(url, None, new_nonce_url=acme.directory["newNonce"]).json()

            for authorization in get(url)["authorizations"]:
                body = messages.Authorization.from_json(get(authorization))
                (challenge,) = (c for c in body.challenges if isinstance(c.chall, DNS01))
                acme.answer_challenge(challenge, challenge.chall.response(network.key))
            deadline = time.monotonic() + RUN_SECONDS
            while get(url)["status"] != "invalid":
                assert time.monotonic() < deadline, "the CA does not give the order up"
                time.sleep(0.05)

    def _about_the_store(self) -> Iterator[str]:
        try:
            version = self._version()
            fullchain = (version / "fullchain.pem").read_bytes()
            chain = tuple(x509.load_pem_x509_certificates(fullchain))
            key = load_pem_private_key((version / "privkey.pem").read_bytes(), password=None)
        except (OSError, ValueError) as error:
            yield f"no certificate is stored: {error}"
            return
        issued = Issued(chain, fullchain.decode())
        if issued.names != set(self.names):
            yield f"the certificate is for {issued.names}"
        if chain[0].public_key() != key.public_key():
            yield "key and certificate do not match"
        try:
            verify(issued, self.authority.root_pem(), f"www.{self.name}")
        except VerificationError as error:
            yield f"the chain does not verify: {error}"

    def _about_the_ca(self, made: int, valid: int) -> Iterator[str]:
        accounts, seen = self.created("newAccount"), self.created("newOrder")
        if len(accounts) != 1:
            yield f"{len(accounts)} accounts were registered"
        if len(seen) != made:
            yield f"{len(seen)} orders were made instead of {made}"
        known = self.orders()
        if not set(known) <= seen:
            yield f"the CA has orders that no run was seen to make: {sorted(set(known) - seen)}"
        if list(known.values()).count("valid") != valid:
            yield f"at the CA the orders are {sorted(known.values())}, of which {valid} be valid"

    def _version(self) -> Path:
        folder = self.state / "certificates/home"
        return folder / (folder / "current").read_text(encoding="ascii").strip()

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")


def events_in(trace: Path) -> tuple[Event, ...]:
    """Return the events that killed_process.py wrote down."""
    found = []
    for line in trace.read_text(encoding="utf-8").splitlines():
        moment, *told = line.split("\t")
        what, _, ordinal = moment.rpartition(" ")
        found.append(Event(what, int(ordinal), tuple(told)))
    return tuple(found)


def is_hidden(name: str) -> bool:
    """Tell whether a file of the state folder is one that is not in place yet."""
    return any(part.startswith(".") for part in Path(name).parts)
