"""`distribute check --online` for hosts by SSH: real sshd and sudo; nothing is changed there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.certs import hierarchy
from tests.e2e.proxy_house import ProxyHouse
from tests.e2e.ssh_box import Knobs, SshBox
from tests.e2e.ssh_box_client import BoxOf, MakeBox
from tests.e2e.ssh_box_people import Person
from tests.e2e.ssh_box_tree import INFO, Item
from tests.e2e.sshd import Sshd
from tests.e2e.sudo_tries import TRIES, count_sudo
from tests.integration.checking.commands import Ran, run


@dataclass
class Checked:
    """An inventory of hosts by SSH, and what `check --online` says of it."""

    folder: Path
    hosts: list[str] = field(default_factory=list)

    def add(self, box: SshBox, who: Person, *, by: str = "password", **more: str | None) -> None:
        """Describe a host; `more` are further keys of it as TOML, None for none."""
        name = f"h{len(self.hosts)}"
        kind = "router" if box.release == "srm13" else "diskstation"
        login = {
            "password": f'password = {{ plain = "{who.password}" }}',
            "key": f'identity = {{ file = "{who.key_file}" }}',
        }[by]
        keys = {
            "port": str(box.ports["ssh"]),
            "kind": f'"{kind}"',
            "user": f'"{who.user}"',
            "endpoints": f'["127.0.0.1:{box.ports["dsm"]}"]',
            "host_key": f'"{box.host_keys["ed25519"]}"',
            **more,
        }
        lines = [
            f"[hosts.{name}]",
            'via = "ssh"',
            'address = "127.0.0.1"',
            'certificate = "home"',
            login,
            *(f"{key} = {value}" for key, value in keys.items() if value is not None),
        ]
        self.hosts.append("\n".join(lines))

    def run(self) -> Ran:
        inventory = self.folder / "inventory.toml"
        inventory.touch(mode=0o600)
        head = '[certificates.home]\nsource = "files"\ncertificate = "full.pem"\n'
        inventory.write_text("\n\n".join([head, *self.hosts]) + "\n", encoding="utf-8")
        state = str(self.folder / "state")
        return run("-i", str(inventory), "--state", state, "check", "--online", "--json")


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Checked(tmp_path)


def found(ran: Ran, name: str, what: str = "findings") -> dict[str, Any]:
    (one,) = [one for one in ran.report[what] if one["name"] == name]
    assert isinstance(one, dict)
    return one


def names(ran: Ran) -> list[str]:
    return [one["name"] for one in ran.report["findings"]]


def test_of_sound_devices_it_tells_what_they_are_and_changes_nothing(
    ssh_box_of: BoxOf, checked: Checked
) -> None:
    old, new, router = (ssh_box_of(one) for one in ("dsm62", "dsm72", "srm13"))
    checked.add(old, old.admin)
    checked.add(old, old.root, by="key")
    checked.add(new, new.silent, by="key")
    checked.add(router, router.root)
    before = [box.files() for box in (old, new, router)]

    ran = checked.run()

    assert ran.code == 0, ran.said
    assert ran.report["findings"] == []
    told = [one["message"] for one in ran.report["notes"] if one["name"] == "ssh"]
    known = "its host key is that of the inventory's host_key"
    old_dsm = f"{known}; its files and tools are those of DSM 6; it calls itself 6.2.3-25426"
    new_dsm = f"{known}; its files and tools are those of DSM 7; it calls itself DSM 7.2.2-72806"
    assert told == [
        f"{old_dsm}; '{old.admin.user}' becomes root by sudo with a password",
        f"{old_dsm}; 'root' is root",
        f"{new_dsm}; '{new.silent.user}' becomes root by sudo, without a password",
        f"{known}; its files are those of SRM; it calls itself SRM 5.2-9346; 'root' is root",
    ]
    for box, was in zip((old, new, router), before, strict=True):
        assert box.files() == was
        assert box.calls() == []


def test_a_wrong_password_is_sent_once(ssh_box_of: BoxOf, checked: Checked) -> None:
    box = ssh_box_of("dsm62")
    before = box.log().count("Failed password")
    checked.add(box, Person(user=box.admin.user, password="wrong"))
    ran = checked.run()
    assert ran.code == 1
    assert names(ran) == ["login"]
    assert "does not take the password" in found(ran, "login")["message"]
    assert box.log().count("Failed password") == before + 1


def test_a_wrong_password_for_sudo_is_sent_once(make_ssh_box: MakeBox, checked: Checked) -> None:
    box = make_ssh_box("dsm62")
    count_sudo(box)
    checked.add(box, box.admin, by="key", sudo_password='{ plain = "wrong" }')
    ran = checked.run()
    assert names(ran) == ["rights"]
    assert f"sudo refuses the password of '{box.admin.user}'" in found(ran, "rights")["message"]
    assert "sudo_password" in found(ran, "rights")["hint"]
    assert box.read(TRIES) == b"tried\n"
    assert names(checked.run()) == ["login"]  # it says when these words were refused
    assert box.read(TRIES) == b"tried\n"


def test_who_may_not_become_root_is_told_what_it_takes(ssh_box_of: BoxOf, checked: Checked) -> None:
    box, router = ssh_box_of("dsm72"), ssh_box_of("srm13")
    checked.add(box, box.admin, by="key")
    checked.add(router, router.admin)
    ran = checked.run()
    assert names(ran) == ["rights", "rights"]
    asked, none = ran.report["findings"]
    assert "sudo wants a password, and there is none to give" in asked["message"]
    assert "NOPASSWD" in asked["hint"]
    assert "there is no sudo" in none["message"]
    assert "root" in none["hint"]


def test_a_key_that_a_home_folder_keeps_out_is_explained(
    make_ssh_box: MakeBox, checked: Checked
) -> None:
    for mode in (0o777, None):
        box = make_ssh_box("dsm62", Knobs(home_mode=mode))
        checked.add(box, box.admin, by="key")
    ran = checked.run()
    assert names(ran) == ["login", "login"]
    for one in ran.report["findings"]:
        assert "chmod 755 ~" in one["hint"]
        assert "User Home service" in one["hint"]


def test_an_unknown_or_another_host_key_is_named_and_nothing_is_sent(
    ssh_box_of: BoxOf, checked: Checked
) -> None:
    box = ssh_box_of("dsm62")
    before = box.log().count("Accepted")
    checked.add(box, box.admin, host_key=None)
    checked.add(box, box.admin, host_key='"SHA256:' + "A" * 43 + '"')
    ran = checked.run()
    assert names(ran) == ["not-trusted", "not-trusted"]
    assert "distribute trust h0" in ran.report["findings"][0]["hint"]
    assert box.log().count("Accepted") == before


@pytest.mark.parametrize(
    ("tool", "method", "word"),
    [
        ("/usr/bin/base64", "files", "it has no base64, which a delivery runs"),
        ("/usr/syno/bin/synow3tool", "files", "it has no /usr/syno/bin/synow3tool, which"),
        (None, "synowebapi", "it has no /usr/syno/bin/synowebapi, which a delivery needs"),
    ],
)
def test_a_missing_tool_is_named(
    make_ssh_box: MakeBox, checked: Checked, tool: str | None, method: str, word: str
) -> None:
    box = make_ssh_box("dsm72")
    if tool is not None:
        box.remove(tool)
    checked.add(box, box.silent, by="key", method=f'"{method}"')
    ran = checked.run()
    assert ran.code == 1
    assert word in found(ran, "tools")["message"]
    assert 'via = "api"' in found(ran, "tools")["hint"] or "install" in found(ran, "tools")["hint"]


def test_the_missing_reload_of_dsm_6_is_named(make_ssh_box: MakeBox, checked: Checked) -> None:
    box = make_ssh_box("dsm62")
    box.remove("/usr/syno/etc/rc.sysv/nginx.sh")
    checked.add(box, box.root, by="key")
    ran = checked.run()
    assert "/usr/syno/etc/rc.sysv/nginx.sh" in found(ran, "tools")["message"]


@pytest.mark.parametrize(
    ("minutes", "words"), [(-30, "30 minutes behind"), (90, "90 minutes ahead of")]
)
def test_a_clock_that_is_off_is_a_finding(
    make_ssh_box: MakeBox, checked: Checked, minutes: int, words: str
) -> None:
    box = make_ssh_box("dsm62")
    real = box.run("/usr/bin/readlink", "-f", "/usr/bin/date").stdout.decode().strip()
    script = f'#!/bin/sh\necho $(($({real} "$@") + {minutes * 60}))\n'
    box.place(Item(path="/usr/bin/date", content=script.encode(), mode=0o755))
    checked.add(box, box.root, by="key")
    ran = checked.run()
    assert names(ran) == ["clock"]
    assert words in found(ran, "clock")["message"]
    assert "NTP" in found(ran, "clock")["hint"]


def test_a_port_of_another_server_is_named_with_where_ssh_is_switched_on(
    ssh_box_of: BoxOf, checked: Checked
) -> None:
    box = ssh_box_of("dsm62")
    for port in ("http", "dsm", "ftps"):
        checked.add(box, box.admin, port=str(box.ports[port]), endpoints="[]")
    ran = checked.run()
    shown = [one["message"].partition("but ")[2] for one in ran.report["findings"]]
    assert shown == ["a web server", "a web server", "an FTP or mail server"]
    assert all("Control Panel > Terminal & SNMP" in one["hint"] for one in ran.report["findings"])


def test_the_wrong_kind_of_device_is_named_once(ssh_box_of: BoxOf, checked: Checked) -> None:
    box, router = ssh_box_of("dsm72"), ssh_box_of("srm13")
    checked.add(box, box.root, by="key", kind='"router"')
    checked.add(router, router.root, kind='"diskstation"')
    ran = checked.run()
    assert names(ran) == ["host", "host"]
    as_router, as_diskstation = ran.report["findings"]
    assert as_router["message"] == "this is a DiskStation, not a router"
    assert as_diskstation["hint"] == 'a Synology router wants kind = "router"'
    assert not [one for one in ran.report["notes"] if one["name"] == "ssh"]


def test_a_broken_info_is_one_finding(make_ssh_box: MakeBox, checked: Checked) -> None:
    box = make_ssh_box("dsm62")
    box.place(Item(path=INFO, content=b"{ broken", mode=0o600))
    checked.add(box, box.root, by="key")
    ran = checked.run()
    assert ran.code == 1
    assert len(ran.report["findings"]) == 1


@pytest.fixture
def house(tmp_path: Path) -> Iterator[ProxyHouse]:
    with Sshd(tmp_path / "sshd", ProxyHouse.users(tmp_path)) as sshd:
        made = ProxyHouse(tmp_path, sshd, hierarchy(1))
        made.begin(made.issue(days_left=20))
        yield made


def online(house: ProxyHouse) -> Any:
    done = house.run("check", "--online", "--json")
    return json.loads(done.out)


def test_a_host_with_files_is_told_who_writes_them(house: ProxyHouse) -> None:
    house.write_inventory(endpoints="[]")
    before = house.files()
    other = {
        "user": '"other"',
        "identity": '{ file = "id_other" }',
        "endpoints": "[]",
    }
    owner = online(house)
    house.write_inventory(**other, sudo_password='{ plain = "other\'s words" }')
    by_sudo = online(house)
    house.write_inventory(**other)
    refused = online(house)

    assert owner["findings"] == by_sudo["findings"] == []
    (mine,), (rooted,) = owner["notes"], by_sudo["notes"]
    assert mine["message"].endswith("'web' writes the files without being root")
    assert rooted["message"].endswith("'other' becomes root by sudo with a password")
    (finding,) = refused["findings"]
    assert finding["name"] == "rights"
    assert "sudo wants a password" in finding["message"]
    assert house.files() == before


def test_a_host_with_files_that_may_be_read_but_not_written_takes_root(house: ProxyHouse) -> None:
    house.sshd.as_root("chmod -R a+rX /run/proxy")
    house.write_inventory(user='"other"', identity='{ file = "id_other" }', endpoints="[]")
    (finding,) = online(house)["findings"]
    assert finding["name"] == "rights"
    assert finding["message"].endswith("and keep its owner")


def test_a_reload_command_that_is_not_there_is_named(house: ProxyHouse) -> None:
    house.write_inventory(reload='"docker-of-yesterday kill -s HUP proxy"', endpoints="[]")
    (finding,) = online(house)["findings"]
    assert finding["name"] == "tools"
    assert "docker-of-yesterday" in finding["message"]
