"""`distribute check --online`: what it finds, what it leaves behind (nothing), and who goes on."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distributor.inventory import load
from distributor.lab.accounts import Account
from distributor.lab.box_state import DSM_DESKTOP, reverse_proxy
from distributor.lab.diskstation import DiskStation
from distributor.store import Store
from tests.integration.checking.commands import CHILD_SECONDS, Ran, child_environment, command
from tests.integration.checking.conftest import Lab

MakeLab = Callable[[int], Lab]


def names_of(ran: Ran, about: str, what: str = "findings") -> list[str]:
    return [one["name"] for one in ran.report[what] if one["about"].startswith(about)]


def test_a_sound_house_has_no_findings_and_is_as_it_was(make_lab: MakeLab) -> None:
    lab = make_lab(2)
    lab.nameserver.put("_acme-challenge.example.test", "TXT", '"a stranger"')
    before = {name: box.snapshot() for name, box in lab.range.boxes.items()}
    updates = lab.nameserver.updates

    ran = lab.run("check", "--online", "--json")

    assert ran.code == 0, ran.said
    assert ran.report["findings"] == []
    assert lab.nameserver.updates == updates + 2
    assert lab.txt == {"a stranger"}
    assert not lab.journal.exists()
    for name, box in lab.range.boxes.items():
        assert box.snapshot() == before[name]
        assert box.logins == 1
        assert box.sessions_open == 0
        assert not box.credentials_in_urls
    assert not (lab.range.state / "certificates").exists()


def test_a_ca_that_is_away_is_named_and_all_else_is_looked_at(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    text = lab.range.inventory.read_text(encoding="utf-8")
    directory = next(line for line in text.splitlines() if line.startswith("ca = "))
    lab.rewrite(directory, 'ca = "https://127.0.0.1:9/dir"')

    ran = lab.run("check", "--online", "--json")

    assert ran.code == 1
    assert [one["name"] for one in ran.report["findings"]] == ["ca"]
    assert ran.report["findings"][0]["about"] == "certificate home"
    assert "127.0.0.1:9" in ran.report["findings"][0]["message"]
    assert lab.range.boxes["attic"].logins == 1
    assert lab.txt == set()


def test_a_ca_that_would_refuse_the_order_is_named_and_so_is_a_fallback(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    more = 'profile = "short"\nfallback = [{ ca = "https://127.0.0.1:9/dir" }]'
    lab.rewrite("agree_tos = true\n", f"agree_tos = true\n{more}\n")

    ran = lab.run("check", "--online", "--json")

    assert ran.code == 1
    offered, away = ran.report["findings"]
    assert (offered["name"], away["name"]) == ("ca", "ca")
    assert "does not offer the profile short: it has none at all" in offered["message"]
    assert "leave it out" in offered["hint"]
    assert "127.0.0.1:9" in away["message"]
    assert {offered["about"], away["about"]} == {"certificate home"}


def test_a_ca_whose_https_is_not_trusted_is_named(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    text = lab.range.inventory.read_text(encoding="utf-8")
    bundle = next(line for line in text.splitlines() if line.startswith("ca_bundle = "))
    lab.rewrite(f"agree_tos = true\n{bundle}\n", "agree_tos = true\n")
    ran = lab.run("check", "--online", "--json")
    assert ran.code == 1
    (finding,) = ran.report["findings"]
    assert "not trusted" in finding["message"]
    assert "ca_bundle" in finding["hint"]


def test_an_address_that_is_no_acme_directory_is_named(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    text = lab.range.inventory.read_text(encoding="utf-8")
    directory = next(line for line in text.splitlines() if line.startswith("ca = "))
    lab.rewrite(directory, directory.replace("/dir", "/root-keys/0"))
    ran = lab.run("check", "--online", "--json")
    assert ran.code == 1
    assert names_of(ran, "certificate home") == ["ca"]


def test_a_refused_dns_update_is_named_with_the_name(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    (lab.range.folder / "tsig.key").write_text("d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXk=")
    ran = lab.run("check", "--online", "--json")
    assert ran.code == 1
    (finding,) = ran.report["findings"]
    assert finding["name"] == "dns"
    assert finding["about"] == "certificate home, _acme-challenge.example.test"
    assert "TSIG signature" in finding["message"]
    assert lab.range.boxes["attic"].logins == 1


def test_a_missing_secret_of_the_zone_stops_nothing_else(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    (lab.range.folder / "tsig.key").unlink()
    ran = lab.run("check", "--online", "--json")
    assert ran.code == 1
    (finding,) = ran.report["findings"]
    assert "secret file" in finding["message"]
    assert lab.range.boxes["attic"].logins == 1


def test_a_nameserver_that_does_not_serve_the_value_is_named_and_the_value_removed(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(1)
    lab.rewrite('propagation_timeout = "30s"', 'propagation_timeout = "1s"')
    lab.nameserver.lag = 20
    ran = lab.run("check", "--online", "--json")
    assert ran.code == 1
    (finding,) = ran.report["findings"]
    assert "not served everywhere" in finding["message"]
    assert lab.txt == set()
    assert not lab.journal.exists()


def test_each_broken_host_is_named_and_the_others_are_looked_at(make_lab: MakeLab) -> None:
    lab = make_lab(3)
    lab.range.boxes["attic"].stop()
    (lab.range.folder / "cellar.password").write_text("wrong")
    with DiskStation("thin", accounts=[Account("certs", "secret", admin=False)]) as thin:
        lab.add_box("thin", thin, "secret")
        lab.pin("thin")
        with DiskStation("new", accounts=[Account("certs", "secret")]) as new:
            lab.add_box("new", new, "secret")
            ran = lab.run("check", "--online", "--json")
            assert new.requests == ()
        text = lab.run("check", "--online").out
    assert ran.code == 1
    assert names_of(ran, "host attic") == ["unreachable", "endpoint"]
    assert names_of(ran, "host cellar") == ["login"]
    assert names_of(ran, "host garage") == []
    assert names_of(ran, "host thin") == ["rights"]
    assert names_of(ran, "host new") == ["not-trusted"]
    assert lab.range.boxes["garage"].logins == 2
    assert lab.range.boxes["cellar"].failed_logins == 1  # the second run remembers it
    assert all(one["message"] and one["hint"] for one in ran.report["findings"])
    assert "wrong  host thin\n" in text
    assert "may not list certificates" in text


def test_a_name_that_leads_elsewhere_comes_with_the_record_to_set(make_lab: MakeLab) -> None:
    lab = make_lab(2)
    lab.nameserver.put("attic.example.test", "A", "127.0.0.2")
    lab.rewrite(
        f'"127.0.0.1:{lab.range.boxes["cellar"].port}", server_name = "cellar.example.test"',
        f'"127.0.0.1:{lab.range.boxes["cellar"].port}", server_name = "nowhere.example.test"',
    )
    ran = lab.run("check", "--online", "--json")
    assert ran.code == 1
    assert names_of(ran, "host attic") == ["other-address"]
    assert names_of(ran, "host cellar") == ["no-address"]
    other, none = ran.report["findings"]
    assert "127.0.0.2" in other["message"]
    assert "attic.example.test. A 127.0.0.1" in other["hint"]
    assert "nowhere.example.test. A 127.0.0.1" in none["hint"]


def test_a_reverse_proxy_is_proposed_as_an_endpoint(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    services = (DSM_DESKTOP, reverse_proxy("git.example.test"), reverse_proxy("git.other.test"))
    with DiskStation("proxy", accounts=[Account("certs", "secret")], services=services) as box:
        lab.add_box("proxy", box, "secret")
        lab.pin("proxy")
        ran = lab.run("check", "--online", "--json")
        assert ran.code == 0, ran.said
        notes = [one for one in ran.report["notes"] if one["about"] == "host proxy"]
        assert [one["name"] for one in notes] == ["reverse-proxy"]
        line = notes[0]["hint"].removeprefix("add to its `endpoints`: ").partition(" (")[0]
        line = line.replace(":443", f":{box.https_port}")
        lab.rewrite(
            f'endpoints = ["{box.address}:{box.port}"]',
            f'endpoints = ["{box.address}:{box.port}", {line}]',
        )
        added = load(lab.range.inventory).hosts["proxy"].endpoints[1]
        assert (added.server_name, added.service) == ("git.example.test", "git.example.test")
        lab.nameserver.put("git.example.test", "A", "127.0.0.1")
        again = lab.run("check", "--online", "--json")
        assert again.code == 0, again.said
        assert names_of(again, "host proxy", "notes") == []


def test_while_another_run_holds_the_lock_nothing_is_tried(make_lab: MakeLab) -> None:
    lab = make_lab(1)
    updates = lab.nameserver.updates
    with Store(lab.range.state).lock():
        ran = lab.run("check", "--online")
    assert ran.code == 6
    assert lab.range.boxes["attic"].logins == 0
    assert lab.nameserver.updates == updates
    assert lab.run("check").code == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_check_that_is_stopped_leaves_nothing_or_is_tidied_up_after(
    make_lab: MakeLab, tmp_path: Path, how: signal.Signals
) -> None:
    lab = make_lab(1)
    lab.nameserver.lag = 4  # the value is there, but not served: the check waits for it
    process = subprocess.Popen(
        command(*lab.options, "check", "--online"),
        env=child_environment(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        ends = time.monotonic() + CHILD_SECONDS
        while not lab.txt:
            assert process.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.02)
        (value,) = lab.txt
        assert value.startswith("distribute-check-")
        (noted,) = json.loads(lab.journal.read_text(encoding="utf-8"))["challenges"]
        assert noted["values"] == {"_acme-challenge.example.test": [value]}
        process.send_signal(how)
        out, _ = process.communicate(timeout=CHILD_SECONDS)
    finally:
        process.kill()
        process.communicate()
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert b"interrupted, so that not everything was looked at" in out
        assert b"nothing wrong" not in out
        assert lab.txt == set()
        assert not lab.journal.exists()
        return
    assert lab.txt == {value}
    assert lab.run("check", "--online").code == 0
    assert lab.txt == set()
    assert not lab.journal.exists()
