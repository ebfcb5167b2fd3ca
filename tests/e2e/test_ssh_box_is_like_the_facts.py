"""What changes the leaf that a virtual box serves, and what does not, is as the facts say."""

from contextlib import closing

import pytest

from tests.e2e.ssh_box_client import (
    MakeBox,
    as_root,
    connect,
    files_of,
    happens,
    leaf,
    new_pair,
    put,
    say,
    serves,
    spoken,
    still_serves,
    to_archive,
    to_services,
)
from tests.e2e.ssh_box_ports import answers
from tests.e2e.ssh_box_tree import (
    DESKTOP,
    INFO,
    LAYER,
    VHOST,
    Item,
    Release,
)

_SSL = "/usr/syno/etc/ssl"


def test_writing_the_archive_and_reloading_changes_nothing_on_dsm_6(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62")
    before = leaf(box.target)

    done = as_root(box, to_archive(new_pair(box)) + "/usr/syno/etc/rc.sysv/nginx.sh reload\n")

    assert (done.status, done.out) == (0, "alias-register stop/waiting\n"), done
    assert "reload nginx" in spoken(box)
    for port, name in (("dsm", None), ("https", "git.example.test"), ("ftps", None)):
        assert still_serves(box, before, port, name)


@pytest.mark.parametrize("release", ["dsm72", "dsm73"])
def test_writing_the_archive_and_reloading_changes_nothing_on_dsm_7(
    make_ssh_box: MakeBox, release: Release
) -> None:
    box = make_ssh_box(release)

    script = to_archive(new_pair(box)) + (
        "/usr/syno/bin/synow3tool --gen-all && /usr/syno/bin/synow3tool --nginx=reload\n"
    )
    done = as_root(box, script)

    assert done.status == 0, done
    assert still_serves(box, leaf(box.target))


def test_dsm_6_serves_the_service_directories_once_reloaded_hook_by_hook(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm62")
    old, pair = leaf(box.target), new_pair(box)
    new = leaf(pair)

    as_root(box, to_archive(pair) + to_services(box, pair))
    assert still_serves(box, old)
    assert as_root(box, "/usr/syno/sbin/synoservicectl --reload nginx").out.endswith(
        "nginx reloaded.\n"
    )
    assert serves(box, new)
    for name in ("nas.example.test", "git.example.test", "files.example.test"):
        assert serves(box, new, "https", name)
    assert box.served("https", "wiki.other.test") == leaf(box.decoy)

    assert box.served("ftps") == old
    assert as_root(box, "/usr/libexec/certificate.d/smbftpd ftpd").status == 0
    assert serves(box, new, "ftps")
    assert as_root(box, "/usr/libexec/certificate.d/smbftpd other").status == 1

    assert box.served("drive") == old
    assert as_root(box, "/usr/syno/sbin/synoservicectl --reload pkgctl-SynologyDrive").status == 0
    assert serves(box, new, "drive")


def test_dsm_7_serves_new_files_only_after_gen_all_and_a_reload(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    old, pair = leaf(box.target), new_pair(box)
    new = leaf(pair)
    before = box.files(LAYER)

    as_root(box, to_archive(pair) + to_services(box, pair))
    assert as_root(box, "/usr/syno/bin/synow3tool --nginx=reload").status == 0
    assert still_serves(box, old)
    assert box.files(LAYER) == before

    done = as_root(box, "/usr/syno/bin/synow3tool --gen-all")
    assert (done.status, done.out) == (
        0,
        "Sync W3 certificate info successfully\nGenerate nginx tmp config successfully\n",
    )
    assert still_serves(box, old)
    assert as_root(box, "/usr/syno/bin/synow3tool --nginx=reload").status == 0
    assert serves(box, new)
    assert serves(box, new, "https", "git.example.test")
    assert box.served("https", "wiki.other.test") == leaf(box.decoy)
    assert box.served("ftps") == old
    assert as_root(box, "/usr/syno/bin/synosystemctl restart ftpd").out == "[ftpd] restarted.\n"
    assert serves(box, new, "ftps")
    assert box.served("drive") == old
    restart = "./synopkg is_onoff SynologyDrive && ./synopkg restart SynologyDrive"
    assert as_root(box, f"cd /usr/syno/bin && {restart}").status == 0
    assert serves(box, new, "drive")

    after = box.files(f"{LAYER}/system_default")
    old_names = {path for path in before if path.startswith(f"{LAYER}/system_default/")}
    assert {path for path in after if path.endswith(".pem")}.isdisjoint(old_names)
    assert {facts.mode for path, facts in after.items() if path.endswith(".pem")} == {"-r--------"}
    assert after[f"{LAYER}/system_default"].mode == "drwx------"


def test_a_directory_that_info_does_not_name_goes_on_serving_what_it_holds(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm72")
    pair = new_pair(box)
    assert VHOST.service.encode() not in box.read(INFO)

    as_root(
        box,
        to_archive(pair)
        + to_services(box, pair)
        + "/usr/syno/bin/synow3tool --gen-all && /usr/syno/bin/synow3tool --nginx=reload\n",
    )

    assert serves(box, leaf(pair))
    assert box.served("https", VHOST.server_name) == leaf(box.target)


def test_gen_all_ends_with_255_when_fullchain_and_cert_are_of_two_pairs(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm72")
    files = files_of(new_pair(box))
    some = {name: files[name] for name in ("fullchain.pem", "privkey.pem")}

    done = as_root(box, put(DESKTOP.directory, some) + "/usr/syno/bin/synow3tool --gen-all\n")

    assert (done.status, done.out) == (
        255,
        "Generate synow3.sc successfully\nCannot sync certificate\n",
    )


@pytest.mark.parametrize("broken", ["{", ""])
def test_gen_all_ends_with_255_when_info_is_no_json(make_ssh_box: MakeBox, broken: str) -> None:
    box = make_ssh_box("dsm72")
    box.place(Item(path=INFO, content=broken.encode(), mode=0o600))
    assert as_root(box, "/usr/syno/bin/synow3tool --gen-all").status == 255


def test_restarting_nginx_takes_docker_along_and_a_reload_does_not(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    assert as_root(box, "/usr/bin/systemctl reload nginx").status == 0
    assert "docker restarted" not in spoken(box)
    done = as_root(box, "/usr/syno/bin/synosystemctl restart nginx")
    assert (done.status, done.out) == (0, "[nginx] restarted.\n")
    assert "docker restarted" in spoken(box)
    assert serves(box, leaf(box.target))


def test_restarting_the_dsm_service_takes_its_port_away_for_a_moment(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    started = box.run(
        "/bin/sh",
        "-c",
        "/usr/syno/bin/synow3tool --restart-dsm-service </dev/null >/dev/null 2>&1 &",
    )
    assert started.returncode == 0
    assert happens(lambda: not answers(box.ports["dsm"]))
    assert answers(box.ports["https"])
    assert serves(box, leaf(box.target))


def test_a_router_serves_its_one_pair_after_a_graceful_reload(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("srm13")
    old, pair = leaf(box.target), new_pair(box)
    script = (
        put(f"{_SSL}/ssl.crt", {"server.crt": pair.certificate_pem})
        + put(f"{_SSL}/ssl.key", {"server.key": pair.private_key_pem})
        + put(f"{_SSL}/ssl.intercrt", {"server-ca.crt": pair.chain_pem})
    )
    with closing(connect(box, box.root)) as client:
        assert say(client, "/bin/sh -s", script).status == 0
        assert still_serves(box, old)
        assert say(client, "kill -USR1 $(cat /run/httpd/httpd-sys.pid)").status == 0
    assert serves(box, leaf(pair))


def test_a_routers_web_server_dies_of_a_key_that_does_not_fit_and_comes_back(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("srm13")
    good = box.read(f"{_SSL}/ssl.key/server.key")
    key = f"{_SSL}/ssl.key/server.key"
    other = new_pair(box).private_key_pem
    box.place(Item(path=key, content=other, mode=0o400))
    with closing(connect(box, box.root)) as client:
        say(client, "kill -USR1 $(cat /run/httpd/httpd-sys.pid)")
        assert happens(lambda: not answers(box.ports["dsm"]))
        restart = "/usr/syno/sbin/synoservicecfg --restart httpd-sys"
        assert say(client, restart).status != 0
        box.place(Item(path=key, content=good, mode=0o400))
        assert say(client, restart).status == 0
    assert serves(box, leaf(box.target))
