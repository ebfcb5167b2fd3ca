"""Inventory, CA, nameserver or state folder that are not as they should be."""

import base64
import errno
import http.server
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distributor.lab.nameserver import Nameserver
from tests.certs import Authority as Issuer
from tests.certs import key_pem
from tests.integration.cli.conftest import NOBODY, MakeHouse, World
from tests.integration.cli.house import House, stored_bundle

CHALLENGE = "_acme-challenge.example.test"


def test_every_problem_of_the_inventory_is_named_at_once(house: House) -> None:
    house.rewrite('via = "api"', 'via = "apu"')
    house.rewrite('certificate = "home"', 'certificate = "hoem"')
    house.rewrite("[hosts.attic]\n", '[hosts.attic]\nadress = "x"\n')

    ran = house.run("--all")

    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"{house.inventory} has 3 problems:\n")
    assert [line.split(": ", 1)[1] for line in ran.err.splitlines()[1:]] == [
        'defaults.certificate: there is no certificate of this name; did you mean "home"?',
        'hosts.attic.adress: unknown key in [hosts.attic]; did you mean "address"?',
        'hosts.attic.via: must be one of "api", "ssh"; did you mean "api"?',
    ]
    assert all(line.startswith("  line ") for line in ran.err.splitlines()[1:])
    assert house.boxes["attic"].requests == ()


def test_a_broken_inventory_is_json_too(house: House) -> None:
    house.rewrite('via = "api"', 'via = "apu"')

    ran = house.run("--all", "--json")

    assert ran.code == ran.report["exit"] == 2
    error = ran.report["error"]
    assert error["kind"] == "InventoryError"
    assert [problem["path"] for problem in error["problems"]] == ["hosts.attic.via"]
    assert isinstance(error["problems"][0]["line"], int)


@pytest.mark.parametrize("command", [("--all",), ("status",), ("check",), ("issue",), ("show",)])
def test_an_inventory_that_is_not_there_is_named(house: House, command: tuple[str, ...]) -> None:
    house.inventory.unlink()

    ran = house.run(*command)

    assert ran.code == 2
    assert str(house.inventory) in ran.err
    assert "No such file" in ran.err


def test_an_inventory_that_others_may_write_is_refused(house: House) -> None:
    house.inventory.chmod(0o622)

    ran = house.run("--all")

    assert ran.code == 2
    assert "others may write this file" in ran.err
    assert "chmod go-w" in ran.err


def make_due(house: House) -> None:
    """Let the stored certificate lack a name."""
    house.rewrite('"*.example.test"]', '"*.example.test", "a.b.example.test"]')


def test_a_ca_that_is_down_still_leaves_hosts_with_the_current_certificate(house: House) -> None:
    stored = house.store.bundles.current("home")
    make_due(house)

    ran = house.run("--all", "--json")

    assert ran.code == 3
    (certificate,) = ran.report["certificates"]
    assert certificate["status"] == "failed"
    assert certificate["reason"] == "names changed (new: a.b.example.test)"
    assert certificate["error"]["kind"] == "CaUnreachable"
    assert NOBODY in certificate["error"]["message"]
    assert certificate["error"]["hint"]
    assert ran.statuses() == {"attic": "changed"}
    assert stored is not None
    assert house.all_serve(stored.bundle.certificate("home").leaf)
    assert house.store.bundles.versions("home") == (stored.version,)


def test_a_ca_that_is_down_fails_hosts_that_there_is_nothing_for(make_house: MakeHouse) -> None:
    house = make_house("attic", stored=False)

    ran = house.run("--all", "--json")

    assert ran.code == 3
    assert ran.statuses() == {"attic": "failed"}
    error = ran.host("attic")["error"]
    assert (error["kind"], error["step"]) == ("IssuanceError", "issue")
    assert error["message"] == "there is no valid certificate 'home' to deliver"
    assert house.boxes["attic"].requests == ()
    text = house.run("--all")
    assert text.out.splitlines()[0].startswith("failed       certificate home  none yet")
    assert "CaUnreachable [account]" in text.out


def test_no_renew_delivers_what_the_store_holds(house: House) -> None:
    make_due(house)

    ran = house.run("--all", "--no-renew", "--json")

    assert ran.code == 0
    assert ran.report["certificates"][0]["status"] == "current"
    assert ran.statuses() == {"attic": "changed"}


def test_no_renew_with_an_empty_store_says_so(make_house: MakeHouse) -> None:
    house = make_house("attic", stored=False)

    ran = house.run("--all", "--no-renew")

    assert ran.code == 3
    assert "the store holds no certificate 'home'" in ran.out
    assert "try: run without --no-renew" in ran.out


@contextmanager
def html_server(issuer: Issuer, folder: Path) -> Iterator[str]:
    """Serve an HTML page at every path, over HTTPS that verifies; give its URL."""
    issued = issuer.issue(["127.0.0.1"])
    pair = folder / "https.pem"
    pair.write_bytes(issued.fullchain_pem + key_pem(issued.key))

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html><title>\x1b[2J[bold]not ACME[/]</title></html>")

        do_POST = do_HEAD = do_GET  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/dir"
        finally:
            server.shutdown()
            thread.join()


def test_a_ca_that_answers_html_is_no_ca(
    make_house: MakeHouse, issuer: tuple[Issuer, Path], tmp_path: Path
) -> None:
    house = make_house("attic", stored=False)
    with html_server(issuer[0], tmp_path) as url:
        house.rewrite(house.directory_url, url)

        ran = house.run("--all", "--json")

    assert ran.code == 3
    error = ran.report["certificates"][0]["error"]
    assert error["kind"] == "CaUnreachable"
    assert url in error["message"]
    assert "not ACME" in error["message"]
    assert "is `ca` the URL of an ACME directory?" in error["hint"]
    assert house.store.bundles.versions("home") == ()


def test_a_ca_with_a_certificate_of_unknown_origin_is_not_believed(
    make_house: MakeHouse, issuer: tuple[Issuer, Path], tmp_path: Path
) -> None:
    house = make_house("attic", stored=False)
    with html_server(issuer[0], tmp_path) as url:
        house.rewrite(house.directory_url, url)
        house.rewrite(f"agree_tos = true\nca_bundle = '{house.ca_bundle}'", "agree_tos = true")

        ran = house.run("--all", "--json")

    assert ran.code == 3
    error = ran.report["certificates"][0]["error"]
    assert "itself is not trusted" in error["message"]
    assert "ca_bundle" in error["hint"]


Spoil = Callable[[House], None]


def no_nameserver(house: House) -> None:
    house.rewrite(f'server = "{house.nameserver}"', f'server = "{NOBODY}"')


def no_resolver(house: House) -> None:
    house.rewrite(f'resolvers = ["{house.nameserver}"]', f'resolvers = ["{NOBODY}"]')


def unknown_key(house: House) -> None:
    house.rewrite('key_name = "acme-key"', 'key_name = "stranger"')


def wrong_secret(house: House) -> None:
    house.write("tsig.key", base64.b64encode(os.urandom(32)).decode())


def no_base64(house: House) -> None:
    house.write("tsig.key", "a secret that is not base64")


def secret_missing(house: House) -> None:
    (house.folder / "tsig.key").unlink()


@pytest.mark.parametrize(
    ("spoil", "kind", "says", "hint"),
    [
        (no_nameserver, "DnsRefused", f"no connection to {NOBODY}", "is it running"),
        (no_resolver, "DnsRefused", f"looking up CNAME of {CHALLENGE}", "is it running"),
        (unknown_key, "DnsRefused", "does not know the TSIG key", "correct `key_name`"),
        (wrong_secret, "DnsRefused", "does not accept the TSIG signature", "correct `key`"),
        (no_base64, "DnsRefused", "'acme-key' is not base64", "after `secret`"),
        (secret_missing, "SecretError", "cannot be read: No such file", "correct the path"),
    ],
)
def test_a_challenge_that_cannot_be_published_loses_nothing(
    issuing: House,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    kind: str,
    says: str,
    hint: str,
) -> None:
    monkeypatch.setattr("distributor.clients.nameservers.QUERY_SECONDS", 0.3)
    serial = world.nameserver.serial("example.test")
    spoil(issuing)

    ran = issuing.run("--all", "--json")

    assert ran.code == 3
    (certificate,) = ran.report["certificates"]
    assert (certificate["status"], certificate["reason"]) == ("failed", "none yet")
    error = certificate["error"]
    assert error["kind"] == kind
    assert says in error["message"]
    assert hint in error["hint"]
    assert "a secret that is not base64" not in ran.said
    assert ran.statuses() == {"attic": "failed"}
    assert issuing.store.bundles.versions("home") == ()
    assert world.nameserver.records(CHALLENGE, "TXT") == set()
    assert world.nameserver.serial("example.test") == serial


def test_the_next_run_after_a_refused_key_takes_the_order_up_and_issues(
    issuing: House, world: World
) -> None:
    unknown_key(issuing)
    assert issuing.run("issue").code == 3
    issuing.rewrite('key_name = "stranger"', 'key_name = "acme-key"')

    ran = issuing.run("--all")

    assert ran.code == 0, ran.said
    assert "taking up the order of an earlier run" in ran.err
    assert world.nameserver.records(CHALLENGE, "TXT") == set()


def test_a_challenge_that_is_not_served_in_time_is_removed_again(
    issuing: House, late: Nameserver
) -> None:
    issuing.rewrite('propagation_timeout = "20s"', 'propagation_timeout = "1s"')

    ran = issuing.run("issue", "--json")

    assert ran.code == 3
    error = ran.report["certificates"][0]["error"]
    assert (error["kind"], error["step"]) == ("PropagationTimeout", "propagation")
    assert issuing.nameserver in error["message"]
    assert late.updates == 2, "it was published, and removed"
    assert late.records(CHALLENGE, "TXT") == set()


def test_a_state_folder_that_others_may_read_is_refused(house: House) -> None:
    house.state.chmod(0o755)

    ran = house.run("--all")

    assert ran.code == 1
    assert ran.err.splitlines() == [
        f"StateError: others may read {house.state}, which holds private keys",
        f"try: chmod 700 '{house.state}'",
    ]
    assert house.boxes["attic"].requests == ()


def test_a_state_folder_that_cannot_be_made_is_named(house: House) -> None:
    house.write("file", "")
    options = ("-i", str(house.inventory), "--state", str(house.folder / "file" / "state"))
    from tests.integration.cli.house import run

    ran = run(*options, "--all")

    assert ran.code == 1
    assert f"cannot create {house.folder / 'file' / 'state'}" in ran.err
    assert "try: choose another with --state" in ran.err


def full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_host_unchanged(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = house.files()
    monkeypatch.setattr("distributor.store.files.os.fsync", full_disk)

    ran = house.run("--all", "--json")

    assert ran.code == 1
    assert ran.statuses() == {"attic": "failed"}
    error = ran.host("attic")["error"]
    assert error["kind"] == "StateError"
    assert "No space left on device" in error["message"]
    assert house.writes == {"attic": 0}
    assert house.files() == files


def test_a_full_disk_keeps_the_store_as_it_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_due(house)
    files = house.files()
    monkeypatch.setattr("distributor.store.files.os.fsync", full_disk)

    ran = house.run("issue", "--json")

    assert ran.code == 3
    assert "No space left on device" in ran.report["certificates"][0]["error"]["message"]
    assert house.files() == files


def test_a_stored_key_that_does_not_match_is_said_and_a_person_is_told_what_to_do(
    house: House, issuer: tuple[Issuer, Path]
) -> None:
    stored = house.store.bundles.current("home")
    assert stored is not None
    other = stored_bundle(issuer[0])
    folder = house.state / "certificates" / "home" / stored.version
    (folder / "privkey.pem").write_text(other.private_key_pem.reveal())

    ran = house.run("--all", "--json")

    assert ran.code == 3
    assert ran.report["certificates"][0]["error"]["kind"] == "KeyMismatch"
    assert ran.report["certificates"][0]["error"]["hint"]
    assert house.boxes["attic"].requests == ()
