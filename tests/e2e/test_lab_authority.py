"""The lab's CA issues to a client made of the `acme` library alone, and never outlives us."""

import base64
import contextlib
import http.client
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import dns.tsig
import pytest
from acme import errors, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from distributor.lab.authority import Authority, AuthorityError, Engine
from distributor.lab.child import Child
from distributor.lab.nameserver import Nameserver
from distributor.lab.pebble import PebbleOptions
from tests.e2e.servers import Issued, MakePebble, issue, publish_in, verify

DAY = 86_400
SECRET = base64.b64encode(b"s" * 32).decode()
KEY = dns.tsig.Key("lab-key", base64.b64decode(SECRET), "hmac-sha256")
NAMES = ["example.test", "*.example.test"]
ENGINES: list[Engine] = ["pebble", "acme2certifier"]


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Nameserver]:
    zones = ["example.test", "acme.test"]
    with Nameserver(zones, key_name="lab-key", key_secret=SECRET) as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def authority(
    request: pytest.FixtureRequest, nameserver: Nameserver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("ca") / "100% private"
    with Authority(
        engine=request.param, dns=nameserver.address, folder=folder, validity_seconds=45 * DAY
    ) as running:
        yield running


def get_certificate(authority: Authority, nameserver: Nameserver, names: list[str]) -> Issued:
    publish = publish_in(nameserver.address, "example.test", KEY)
    return issue(authority.directory_url, authority.ca_bundle, names, publish)


def is_served(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.suppress(OSError):
        socket.create_connection((str(parts.hostname), parts.port or 0), timeout=1).close()
        return True
    return False


def test_apex_and_wildcard_are_issued_with_a_chain(
    authority: Authority, nameserver: Nameserver
) -> None:
    issued = get_certificate(authority, nameserver, NAMES)

    leaf, intermediate = issued.fullchain
    assert issued.names == set(NAMES)
    assert leaf.issuer == intermediate.subject
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == pytest.approx(
        timedelta(days=45), abs=timedelta(seconds=1)
    )
    assert isinstance(intermediate.public_key(), rsa.RSAPublicKey)
    verify(issued, authority.root_pem(), "nas.example.test")
    assert len(nameserver.records("_acme-challenge.example.test", "TXT")) >= 2


def test_a_challenge_behind_an_alias_is_found(authority: Authority, nameserver: Nameserver) -> None:
    nameserver.put("_acme-challenge.deleg.example.test", "CNAME", "_acme-challenge.acme.test.")
    in_other_zone = publish_in(nameserver.address, "acme.test", KEY)

    issued = issue(
        authority.directory_url,
        authority.ca_bundle,
        ["deleg.example.test"],
        lambda values: in_other_zone({"_acme-challenge.acme.test": set().union(*values.values())}),
    )

    assert issued.names == {"deleg.example.test"}


def test_without_the_value_in_dns_nothing_is_issued(authority: Authority) -> None:
    with pytest.raises(errors.ValidationError) as caught:
        issue(authority.directory_url, authority.ca_bundle, ["absent.example.test"], lambda _: None)

    (failed,) = caught.value.failed_authzrs
    assert failed.body.identifier.value == "absent.example.test"


def test_the_directory_is_verified_by_the_bundle_only(authority: Authority) -> None:
    parts = urlsplit(authority.directory_url)
    assert (parts.scheme, parts.hostname) == ("https", "127.0.0.1")
    connection = http.client.HTTPSConnection(
        "127.0.0.1", parts.port, timeout=5, context=ssl.create_default_context()
    )
    try:
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("GET", parts.path)
    finally:
        connection.close()


def test_it_listens_on_loopback_only(authority: Authority) -> None:
    port = urlsplit(authority.directory_url).port

    # A server that listened on every address would hold this one, too.
    with socket.create_server(("127.0.0.2", port or 0)):
        assert is_served(authority.directory_url)


def test_keys_and_log_are_closed_to_other_users(authority: Authority) -> None:
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    names = {"pebble": ["pebble.json"], "acme2certifier": ["issuer.key", "acme_srv.cfg"]}
    for name in ["https.key", authority.log.name, *names[authority.engine]]:
        assert stat.S_IMODE((authority.folder / name).stat().st_mode) == 0o600, name


@pytest.mark.parametrize("engine", ENGINES)
def test_it_starts_within_three_seconds_and_is_gone_after_stop(
    engine: Engine, nameserver: Nameserver, tmp_path: Path
) -> None:
    started = time.monotonic()
    authority = Authority(engine=engine, dns=nameserver.address, folder=tmp_path)
    authority.start()
    elapsed = time.monotonic() - started
    try:
        assert is_served(authority.directory_url)
    finally:
        authority.stop()
        authority.stop()

    assert elapsed < 3
    assert not is_served(authority.directory_url)


HOLDER = """
import sys, time
from pathlib import Path
from distributor.lab.authority import Authority
authority = Authority(engine=sys.argv[1], dns=("127.0.0.1", 9), folder=Path(sys.argv[2]))
authority.start()
print(authority.directory_url, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_it_ends_when_we_are_killed(engine: Engine, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, engine, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            url = holder.stdout.readline().strip()
            assert is_served(url)
        finally:
            os.kill(holder.pid, signal.SIGKILL)

    deadline = time.monotonic() + 5
    while is_served(url):
        assert time.monotonic() < deadline, "the server outlived the process that started it"
        time.sleep(0.05)


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(
    nameserver: Nameserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pebble"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'no luck today'\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    with pytest.raises(AuthorityError, match=r"exit code 7(?s:.)*no luck today"):
        Authority(engine="pebble", dns=nameserver.address, folder=tmp_path / "ca").start()


def test_a_server_that_never_answers_is_given_up_and_ended(
    nameserver: Nameserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pebble"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho $$\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("distributor.lab.authority._START_SECONDS", 0.5)
    authority = Authority(engine="pebble", dns=nameserver.address, folder=tmp_path / "ca")

    with pytest.raises(AuthorityError, match="did not answer at https"):
        authority.start()

    with pytest.raises(ProcessLookupError):
        os.kill(int(authority.log.read_text()), 0)


def test_a_port_taken_in_between_is_tried_again(
    nameserver: Nameserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        taken = squatter.getsockname()[1]
        offers = iter([(taken, taken), (taken, taken)])
        really = Authority.__init__.__globals__["_free_ports"]
        monkeypatch.setattr(
            "distributor.lab.authority._free_ports", lambda: next(offers, None) or really()
        )
        with Authority(engine="pebble", dns=nameserver.address, folder=tmp_path) as authority:
            assert urlsplit(authority.directory_url).port != taken


def test_without_pebble_acme2certifier_is_taken(
    nameserver: Nameserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Authority(dns=nameserver.address, folder=tmp_path).engine == "pebble"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Authority(dns=nameserver.address, folder=tmp_path).engine == "acme2certifier"

    with pytest.raises(AuthorityError, match=r"\(pebble\): install Pebble"):
        Authority(engine="pebble", dns=nameserver.address, folder=tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(AuthorityError, match=r"install Pebble .* or the lab extra"):
        Authority(dns=nameserver.address, folder=tmp_path)


def test_what_an_engine_cannot_do_is_refused(nameserver: Nameserver, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PebbleOptions"):
        Authority(
            engine="acme2certifier",
            dns=nameserver.address,
            folder=tmp_path,
            options=PebbleOptions(),
        )
    with pytest.raises(ValueError, match="whole days"):
        Authority(
            engine="acme2certifier", dns=nameserver.address, folder=tmp_path, validity_seconds=3600
        ).start()


def test_pebble_asks_for_an_external_account_and_builds_longer_chains(
    nameserver: Nameserver, make_pebble: MakePebble
) -> None:
    mac_key = base64.urlsafe_b64encode(b"m" * 32).decode().rstrip("=")
    options = PebbleOptions(
        nonce_reject_percent=20,
        authorization_reuse_percent=0,
        chain_length=2,
        alternate_roots=1,
        strict=True,
        external_accounts={"kid-1": mac_key},
    )
    authority = make_pebble(dns=nameserver.address, options=options, validity_seconds=3600)
    publish = publish_in(nameserver.address, "example.test", KEY)

    with pytest.raises(messages.Error, match="externalAccountRequired"):
        issue(authority.directory_url, authority.ca_bundle, NAMES, publish)
    issued = issue(authority.directory_url, authority.ca_bundle, NAMES, publish, ("kid-1", mac_key))

    assert len(issued.fullchain) == 3
    assert len(x509.load_pem_x509_certificates(authority.root_pem().encode())) == 2
    verify(issued, authority.root_pem(), "example.test")
    assert mac_key not in repr(options)


def test_the_environment_of_the_server_holds_nothing_of_ours(
    nameserver: Nameserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_TOKEN", "very-secret")
    program = tmp_path / "bin" / "pebble"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nenv\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    authority = Authority(engine="pebble", dns=nameserver.address, folder=tmp_path / "ca")

    with pytest.raises(AuthorityError):
        authority.start()

    seen = authority.log.read_text()
    assert "PEBBLE_VA_NOSLEEP=1" in seen
    assert "very-secret" not in seen


DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_server_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEAF]
    child = Child(command, folder=tmp_path, log=tmp_path / "log", environment={})
    deadline = time.monotonic() + 5
    while not child.tail():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = time.monotonic()

    child.stop()

    assert 2.5 < time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.tail()), 0)


def test_a_supervisor_that_hangs_is_killed_with_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributor.lab.child._STOP_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", CONNECTED, str(listener.getsockname()[1])]
        child = Child(command, folder=tmp_path, log=tmp_path / "log", environment={})
        connection, _ = listener.accept()
        child._process.send_signal(signal.SIGSTOP)

        child.stop()

    with connection:
        connection.settimeout(5)
        assert connection.recv(1) == b"", "the server lives on"


CONNECTED = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""


def test_an_exit_by_signal_is_told_as_shells_do(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.abort()"]
    child = Child(command, folder=tmp_path, log=tmp_path / "log", environment={})
    deadline = time.monotonic() + 5
    while child.exit_code is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.stop()

    assert child.exit_code == 128 + signal.SIGABRT
