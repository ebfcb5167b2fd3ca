"""PEM files of a proxy on an ordinary Linux host, by the command line: real sshd, real nginx."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from distributor import delivery
from distributor.model.bundle import fingerprint
from tests.certs import hierarchy
from tests.e2e.proxy_house import BASE, FULL, KEY, ProxyHouse
from tests.e2e.sshd import Sshd


@pytest.fixture
def house(tmp_path: Path) -> Iterator[ProxyHouse]:
    with Sshd(tmp_path / "sshd", ProxyHouse.users(tmp_path)) as sshd:
        made = ProxyHouse(tmp_path, sshd, hierarchy(1))
        made.begin(made.issue(days_left=20))
        yield made


def test_a_proxy_is_brought_to_a_certificate_once(house: ProxyHouse) -> None:
    leaf = house.obtain(house.issue())

    looked = house.deliver("--dry-run")
    assert (looked.code, looked.statuses()) == (0, {"docker": "planned"})
    assert house.reloads == 0
    done = house.deliver()

    assert done.code == 0, done.said
    told = done.host("docker")
    assert (told["status"], told["proof"], told["warnings"]) == ("changed", "handshake", [])
    assert {(one["address"], one["fact"]) for one in told["changes"]} >= {
        (FULL, "leaf"),
        (KEY, "key"),
    }
    assert told["notes"] == ["then `reload` runs as web"]
    assert house.serves(leaf)
    assert house.reloads == 1

    before = house.files()
    again = house.deliver()
    assert (again.code, again.statuses()) == (0, {"docker": "unchanged"})
    assert house.files() == before
    assert house.reloads == 1


def test_rights_of_files_stay_as_they_were_and_nothing_is_left_beside_them(
    house: ProxyHouse,
) -> None:
    house.put(FULL, house.issue(days_left=3).fullchain_pem, mode="644")
    before = house.files()
    house.obtain(house.issue())

    assert house.deliver().code == 0

    after = house.files()
    assert after.keys() == before.keys()
    assert {path: rights for path, (rights, _) in after.items()} == {
        path: rights for path, (rights, _) in before.items()
    }
    ours = house.sshd.as_root(f"stat -c '%A %U' {BASE}/certs/.distribute").strip()
    assert ours == "drwx------ web"


def test_a_reload_that_fails_is_told_in_its_words_and_all_is_put_back(house: ProxyHouse) -> None:
    was, before = leaf_of_served(house), house.files()
    house.obtain(house.issue())
    house.write_inventory(reload='"echo the proxy is out of order >&2; exit 7"')

    done = house.deliver()

    assert done.code == 1
    told = done.host("docker")
    assert told["status"] == "rolled_back"
    assert told["error"]["code"] == 7
    assert told["error"]["message"] == "`reload` ended with 7: the proxy is out of order"
    assert told["error"]["hint"] == "try it on the host as web, which it runs as"
    assert house.files() == before
    assert house.serves(was)


def test_a_reload_that_does_nothing_is_found_out_and_all_is_put_back(
    house: ProxyHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SERVED_SECONDS", 1.0)
    was, before = leaf_of_served(house), house.files()
    house.obtain(house.issue())
    house.write_inventory(reload='"true"')

    done = house.deliver()

    assert (done.code, done.statuses()) == (1, {"docker": "rolled_back"})
    assert done.host("docker")["error"]["kind"] == "VerifyFailed"
    assert house.files() == before
    assert house.serves(was)


def test_a_port_that_was_never_told_is_told_and_no_file_is_written(house: ProxyHouse) -> None:
    pair = house.issue()
    leaf = house.obtain(pair)
    house.place(pair)
    before = house.files()

    done = house.deliver()

    assert (done.code, done.statuses()) == (0, {"docker": "changed"})
    assert house.serves(leaf)
    assert house.files() == before
    assert house.reloads == 1


def test_a_torn_pair_is_repaired(house: ProxyHouse) -> None:
    pair = house.issue()
    leaf = house.obtain(pair)
    house.put(FULL, pair.fullchain_pem)

    done = house.deliver()

    assert (done.code, done.statuses()) == (0, {"docker": "changed"})
    changed = {(one["address"], one["fact"]) for one in done.host("docker")["changes"]}
    assert changed == {(KEY, "key")}
    assert house.serves(leaf)
    assert house.deliver().statuses() == {"docker": "unchanged"}


def test_a_proxy_that_a_torn_pair_keeps_down_comes_back(house: ProxyHouse) -> None:
    house.sshd.as_root(f"kill $(cat {BASE}/nginx.pid)")
    leaf = house.obtain(house.issue())
    house.put(KEY, house.issue().private_key_pem)
    start = house.as_web(f"nginx -c {BASE}/nginx.conf")
    assert "it did not start" in house.sshd.as_root(f"{start} || echo it did not start")
    house.write_inventory(reload=f'"/usr/sbin/nginx -c {BASE}/nginx.conf"')

    done = house.deliver()

    assert (done.code, done.statuses()) == (0, {"docker": "changed"}), done.said
    assert house.serves(leaf)


def test_without_endpoints_the_files_are_the_proof_and_it_says_so(house: ProxyHouse) -> None:
    leaf = house.obtain(house.issue())
    house.write_inventory(endpoints="[]")

    done, again = house.deliver(), house.deliver()

    for run, status in ((done, "changed"), (again, "unchanged")):
        told = run.host("docker")
        assert (run.code, told["status"], told["proof"]) == (0, status, "files")
        assert told["warnings"] == [
            "no endpoint proves what it serves, only what its files hold: add `endpoints`"
        ]
    assert house.serves(leaf)
    assert house.reloads == 1


def test_sudo_is_used_where_the_account_may_not_write(house: ProxyHouse) -> None:
    leaf = house.obtain(house.issue())
    house.write_inventory(
        user='"other"',
        identity='{ file = "id_other" }',
        sudo_password='{ plain = "other\'s words" }',
    )

    done = house.deliver()

    told = done.host("docker")
    assert (done.code, told["status"]) == (0, "changed"), done.said
    assert told["notes"] == ["the files are written as root", "then `reload` runs as root"]
    assert house.serves(leaf)
    assert {rights for rights, _ in house.files().values()} == {
        "-rw------- web:users",
        "drwxr-xr-x web:users",
    }


def test_an_account_without_rights_is_told_which_it_takes(house: ProxyHouse) -> None:
    house.obtain(house.issue())
    house.write_inventory(user='"other"', identity='{ file = "id_other" }')
    before = house.files()

    told = house.deliver().host("docker")

    assert (told["status"], told["error"]["kind"]) == ("failed", "AuthRefused")
    assert f"there is none to give, which it takes to read {KEY}" in told["error"]["message"]
    assert house.files() == before


def test_a_group_that_only_root_may_give_is_said_to_take_root(house: ProxyHouse) -> None:
    house.sshd.as_root(f"chgrp games {FULL}")
    house.obtain(house.issue())

    told = house.deliver("--dry-run").host("docker")

    assert told["error"]["message"].endswith(f"which it takes to write {FULL} and keep its owner")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (f"ln -sf {BASE}/nginx.conf {FULL}", f"{FULL} is a symbolic link, which would be lost"),
        (f"rm {KEY}; mkdir {KEY}", f"{KEY} is no file"),
        (f"rm -r {BASE}/certs", f"there is no folder {BASE}/certs"),
    ],
)
def test_what_cannot_be_replaced_is_refused_before_anything_is_written(
    house: ProxyHouse, prepare: str, words: str
) -> None:
    house.obtain(house.issue())
    house.sshd.as_root(prepare)

    for arguments in (("--dry-run",), ()):
        told = house.deliver(*arguments).host("docker")
        assert (told["status"], told["error"]["message"]) == ("failed", words)
    assert house.reloads == 0


def test_a_disk_that_takes_no_write_leaves_all_as_it_was(house: ProxyHouse) -> None:
    certs, before = f"{BASE}/certs", house.files()
    house.sshd.as_root(f"mount --bind {certs} {certs}; mount -o remount,bind,ro {certs}")
    house.obtain(house.issue())
    house.write_inventory(user='"root"', identity='{ file = "id_root" }')

    told = house.deliver().host("docker")

    assert told["status"] == "rolled_back"
    assert "Read-only file system" in told["error"]["message"]
    assert house.files() == before


@pytest.mark.parametrize("size", [12, 20, 28, 36, 44])
def test_a_disk_that_is_full_leaves_all_as_it_was(house: ProxyHouse, size: int) -> None:
    certs = f"{BASE}/certs"
    full, key = house.read(FULL).encode(), house.read(KEY).encode()
    tmpfs = f"mount -t tmpfs -o mode=755,size={size}k tmpfs {certs}"
    house.sshd.as_root(f"{tmpfs}; chown web:users {certs}")
    house.put(FULL, full)
    house.put(KEY, key)
    was, before = leaf_of_served(house), house.files()
    leaf = house.obtain(house.issue())

    told = house.deliver().host("docker")

    if told["status"] == "changed":
        assert house.serves(leaf)
        return
    assert told["status"] == "rolled_back"
    assert told["error"]["kind"] == "DeviceRefused"
    assert house.files() == before
    assert house.serves(was)


def test_owner_and_mode_of_the_inventory_are_kept(house: ProxyHouse) -> None:
    house.obtain(house.issue())
    house.write_inventory(
        user='"other"',
        identity='{ file = "id_other" }',
        sudo_password='{ plain = "other\'s words" }',
        owner='"web:games"',
        mode='"0640"',
    )
    assert house.deliver().code == 0
    assert {shown for shown, _ in house.files().values()} == {
        "-rw-r----- web:games",
        "drwxr-xr-x web:users",
    }

    house.sshd.as_root(f"chmod 600 {KEY}; chown root {FULL}")
    again = house.deliver()
    changed = {(one["address"], one["fact"]) for one in again.host("docker")["changes"]}
    assert changed == {(KEY, "mode"), (FULL, "owner")}
    assert again.statuses() == {"docker": "changed"}
    assert house.deliver().statuses() == {"docker": "unchanged"}


def leaf_of_served(house: ProxyHouse) -> str:
    return fingerprint(x509.load_pem_x509_certificate(house.read(FULL).encode()))


def test_no_process_there_is_given_a_key_and_no_file_is_opened_to_others(tmp_path: Path) -> None:
    calls = ("execve", "chmod", "fchmod", "fchmodat", "umask", "openat")
    with Sshd(tmp_path / "sshd", ProxyHouse.users(tmp_path), trace=calls) as sshd:
        house = ProxyHouse(tmp_path, sshd, hierarchy(1))
        house.begin(house.issue(days_left=20))
        pair = house.issue()
        leaf = house.obtain(pair)
        assert house.deliver().statuses() == {"docker": "changed"}
        assert house.serves(leaf)
        told = sshd.traced

    secrets = [line for line in pair.private_key_pem.decode().splitlines() if len(line) > 20]
    assert "execve(" in told
    assert secrets
    for line in told.splitlines():
        assert not any(secret in line for secret in secrets)
    given = re.findall(r"chmod(?:at)?\([^\n]*, (0[0-7]{3})", told)
    assert set(given) == {"0600", "0700"}
    assert "umask(077)" in told
    made = [line for line in told.splitlines() if "O_CREAT" in line and "/certs/" in line]
    assert any(f"{BASE}/certs/.key.pem.distribute-" in line for line in made)
    assert all("O_EXCL" in line for line in made if ".pem.distribute-" in line)
